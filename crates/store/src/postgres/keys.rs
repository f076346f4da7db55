//! Keys and secrets in PostgreSQL.

use thoughtwire_proto::Timestamp;
use tokio_postgres::Row;

use super::PostgresHandle;
use super::sql::{
    Text, args, count_to_i64, execute, find_text, find_time, first_row, get_id, get_json, get_text,
    get_time, only_row, rows,
};
use crate::{Commit, Key, KeyId, KeyStore, NewTicket, StoreChange, StoreError, StoreRead};

/// [`KeyStore`] in PostgreSQL.
pub(super) struct PostgresKeys(pub(super) PostgresHandle);

impl KeyStore for PostgresKeys {
    fn add(&self, key: Key, digest: String) -> Commit<()> {
        let recorder = self.0.recorder();
        self.0.write(move |sql| {
            Box::pin(async move {
                execute(
                    sql,
                    "INSERT INTO keys (id, digest, owner, name, scopes, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    args![
                        Text(key.id.as_str()),
                        Text(&digest),
                        Text(key.user.as_str()),
                        key.name.as_deref().map(Text),
                        Text(&serde_json::to_string(&key.scopes)?),
                        key.created_at.as_millis(),
                        key.expires_at.map(Timestamp::as_millis)
                    ],
                )
                .await?;
                recorder.record(sql, &StoreChange::Keys).await
            })
        })
    }

    fn delete(&self, id: &KeyId) -> Commit<bool> {
        let (id, recorder) = (id.clone(), self.0.recorder());
        self.0.write(move |sql| {
            Box::pin(async move {
                let delete = "DELETE FROM keys WHERE id = $1";
                let existed = execute(sql, delete, args![Text(id.as_str())]).await? > 0;
                if existed {
                    recorder.record(sql, &StoreChange::Keys).await?;
                }
                Ok(existed)
            })
        })
    }

    fn list(&self) -> StoreRead<Vec<(String, Key)>> {
        self.0.read_unlimited(|sql| {
            Box::pin(async move {
                let found = rows(
                    sql,
                    "SELECT digest, id, owner, name, scopes, created_at, expires_at FROM keys
                     ORDER BY created_at, id COLLATE \"C\"",
                    args![],
                )
                .await?;
                found.iter().map(|row| Ok((get_text(row, 0)?, key(row)?))).collect()
            })
        })
    }

    fn secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<Vec<u8>> {
        self.0.write(move |sql| {
            Box::pin(async move {
                let insert = "INSERT INTO secrets VALUES ($1, $2) ON CONFLICT DO NOTHING";
                execute(sql, insert, args![Text(name), fresh]).await?;
                let select = "SELECT value FROM secrets WHERE name = $1";
                Ok(only_row(sql, select, args![Text(name)]).await?.try_get(0)?)
            })
        })
    }

    fn replace_secret(&self, name: &'static str, fresh: Vec<u8>) -> Commit<()> {
        let recorder = self.0.recorder();
        self.0.write(move |sql| {
            Box::pin(async move {
                execute(
                    sql,
                    "INSERT INTO secrets VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    args![Text(name), fresh],
                )
                .await?;
                execute(sql, "DELETE FROM tickets", args![]).await?;
                recorder.record(sql, &StoreChange::Keys).await
            })
        })
    }

    fn add_ticket(&self, ticket: NewTicket, most: usize) -> Commit<bool> {
        self.0.write(move |sql| {
            Box::pin(async move {
                let NewTicket { digest, bearer, lasts } = ticket;
                let expired = "DELETE FROM tickets WHERE until <= clock_timestamp()";
                execute(sql, expired, args![]).await?;
                let added = execute(
                    sql,
                    "INSERT INTO tickets (digest, bearer, until)
                     SELECT $1, $2, clock_timestamp() + $3 * interval '1 millisecond'
                     WHERE (SELECT count(*) FROM tickets) < $4",
                    args![
                        Text(&digest),
                        Text(&bearer),
                        i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX),
                        count_to_i64(most)
                    ],
                )
                .await?;
                Ok(added > 0)
            })
        })
    }

    fn take_ticket(&self, digest: String) -> Commit<Option<String>> {
        self.0.write(move |sql| {
            Box::pin(async move {
                let taken = first_row(
                    sql,
                    "DELETE FROM tickets WHERE digest = $1
                     RETURNING CASE WHEN until > clock_timestamp() THEN bearer END",
                    args![Text(&digest)],
                )
                .await?;
                taken.map_or(Ok(None), |row| find_text(&row, 0))
            })
        })
    }
}

fn key(row: &Row) -> Result<Key, StoreError> {
    Ok(Key {
        id: get_id(row, 1)?,
        user: get_id(row, 2)?,
        name: find_text(row, 3)?,
        scopes: get_json(row, 4)?,
        created_at: get_time(row, 5)?,
        expires_at: find_time(row, 6)?,
    })
}
