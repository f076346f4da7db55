//! Keys: who may come in, and what for. Only their digests are here.

use rusqlite::{OptionalExtension, Row, params};
use thoughtwire_proto::{Key, KeyId, Timestamp};

use crate::log::get_id;
use crate::{Commit, Store, StoreError};

impl Store {
    /// Keeps a key under the digest of what opens.
    pub fn add_key(&self, key: Key, digest: String) -> Commit<()> {
        self.writer.write(move |connection| {
            connection.execute(
                "INSERT INTO keys (id, digest, user, name, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
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

    /// Deletes a key. Resolves to whether there was one.
    pub fn delete_key(&self, id: &KeyId) -> Commit<bool> {
        let id = id.clone();
        self.writer.write(move |connection| {
            Ok(connection.execute("DELETE FROM keys WHERE id = ?", [id.as_str()])? > 0)
        })
    }

    /// All keys with their digests, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn keys(&self) -> Result<Vec<(String, Key)>, StoreError> {
        self.readers.read_at_length(|connection| {
            let mut select =
                connection.prepare("SELECT digest, id, user, name, scopes, created_at, expires_at FROM keys ORDER BY created_at, id")?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, key(row)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A secret of this data directory: kept as `fresh` the first time it is asked for, the same ever after.
    pub fn secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<Vec<u8>> {
        self.writer.write(move |connection| {
            let found = connection
                .query_row("SELECT value FROM secrets WHERE name = ?", [name], |row| row.get(0))
                .optional()?;
            if let Some(found) = found {
                return Ok(found);
            }
            connection
                .execute("INSERT INTO secrets (name, value) VALUES (?, ?)", params![name, fresh])?;
            Ok(fresh)
        })
    }

    /// Replaces a secret of this data directory. What was signed with the old one is worth nothing
    /// any more.
    pub fn replace_secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<()> {
        self.writer.write(move |connection| {
            connection.execute(
                "INSERT OR REPLACE INTO secrets (name, value) VALUES (?, ?)",
                params![name, fresh],
            )?;
            Ok(())
        })
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
