//! The schema and its migrations: numbered, forward only, one process at a time.

use tokio_postgres::Client;

use super::sql::{args, execute, first_row, get_i64, only_row};
use crate::StoreError;

/// The migrations, in order. A released one never changes.
const MIGRATIONS: &[&str] = &[include_str!("migrations/1.sql")];

/// Name of the lock that one migrating process holds. "TW" and "schema" in ASCII.
const LOCK: i64 = 0x5457_7363_6865_6d61;

/// Oldest version of the database that is supported, as it numbers itself.
pub(super) const OLDEST_SERVER: i64 = 140_000;

/// Brings the schema to this version.
///
/// # Errors
/// When a newer version wrote it, the server is too old, or the database fails.
pub(super) async fn migrate(sql: &Client) -> Result<(), StoreError> {
    let version = "SELECT current_setting('server_version_num')::bigint";
    let server = get_i64(&only_row(sql, version, args![]).await?, 0)?;
    if server < OLDEST_SERVER {
        return Err(StoreError::Invalid(format!(
            "the database is PostgreSQL {}; version 14 or newer is needed",
            server / 10_000
        )));
    }
    // A lock of the transaction: a pooler in transaction mode keeps no lock of a session.
    sql.batch_execute("BEGIN").await?;
    let outcome = migrate_locked(sql).await;
    sql.batch_execute(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    outcome
}

/// Number of migrations that this version knows.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Number of migrations that a database has had, where it has the table that counts them.
pub(super) async fn version(sql: &Client) -> Result<i64, StoreError> {
    let found = first_row(sql, "SELECT version FROM thoughtwire_schema", args![]).await?;
    found.map_or(Ok(0), |row| get_i64(&row, 0))
}

async fn migrate_locked(sql: &Client) -> Result<(), StoreError> {
    first_row(sql, "SELECT pg_advisory_xact_lock($1)::text", args![LOCK]).await?;
    sql.batch_execute("CREATE TABLE IF NOT EXISTS thoughtwire_schema (version bigint NOT NULL)")
        .await?;
    let (found, known) = (version(sql).await?, known());
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        sql.batch_execute(migration).await?;
    }
    execute(sql, "DELETE FROM thoughtwire_schema", args![]).await?;
    execute(sql, "INSERT INTO thoughtwire_schema VALUES ($1)", args![known]).await?;
    Ok(())
}
