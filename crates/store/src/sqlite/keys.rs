//! Keys and secrets in SQLite.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row, params};
use thoughtwire_proto::Timestamp;

use super::Handle;
use super::row::get_id;
use crate::{Commit, Key, KeyId, KeyStore, NewTicket, StoreRead};

/// [`KeyStore`] in SQLite.
pub(super) struct SqliteKeys(pub(super) Handle);

impl KeyStore for SqliteKeys {
    fn add(&self, key: Key, digest: String) -> Commit<()> {
        self.0.writer().write(move |connection| {
            connection.execute(
                "INSERT INTO keys (id, digest, user, name, scopes, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    key.id.as_str(),
                    digest,
                    key.user.as_str(),
                    key.name,
                    serde_json::to_string(&key.scopes)?,
                    key.created_at.as_millis(),
                    key.expires_at.map(Timestamp::as_millis)
                ],
            )?;
            Ok(())
        })
    }

    fn delete(&self, id: &KeyId) -> Commit<bool> {
        let id = id.clone();
        self.0.writer().write(move |connection| {
            Ok(connection.execute("DELETE FROM keys WHERE id = ?", [id.as_str()])? > 0)
        })
    }

    fn list(&self) -> StoreRead<Vec<(String, Key)>> {
        self.0.read_unlimited(|connection| {
            let mut select = connection.prepare(
                "SELECT digest, id, user, name, scopes, created_at, expires_at FROM keys
                 ORDER BY created_at, id",
            )?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, key(row)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<Vec<u8>> {
        self.0.writer().write(move |connection| {
            let found =
                connection.query_row("SELECT value FROM secrets WHERE name = ?", [name], |row| {
                    row.get(0)
                });
            if let Some(found) = found.optional()? {
                return Ok(found);
            }
            connection
                .execute("INSERT INTO secrets (name, value) VALUES (?, ?)", params![name, fresh])?;
            Ok(fresh)
        })
    }

    fn replace_secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<()> {
        let database = Arc::clone(&self.0.database);
        self.0.writer().write(move |connection| {
            database.tickets.clear();
            connection.execute(
                "INSERT OR REPLACE INTO secrets (name, value) VALUES (?, ?)",
                params![name, fresh],
            )?;
            Ok(())
        })
    }

    fn add_ticket(&self, ticket: NewTicket, most: usize) -> Commit<bool> {
        Commit::done(self.0.database.tickets.add(ticket, most))
    }

    fn take_ticket(&self, digest: String) -> Commit<Option<String>> {
        Commit::done(self.0.database.tickets.take(&digest))
    }
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let scopes: String = row.get(4)?;
    let scopes = serde_json::from_str(&scopes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Key {
        id: get_id(row, 1)?,
        user: get_id(row, 2)?,
        name: row.get(3)?,
        scopes,
        created_at: Timestamp::from_millis(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
    })
}
