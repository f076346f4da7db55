//! Examination of a database, which changes nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::Client;

use super::connecting::{Connections, DatabaseAddress};
use super::schema;
use super::sql::{args, find_time, get_i64, get_text, get_u64, only_row};
use crate::{Contents, DatabaseFacts, StoreError};

/// Connects to a database and looks at it.
///
/// # Errors
/// When the address is wrong, or the database cannot be reached or read.
pub(crate) async fn examine(url: &str) -> Result<DatabaseFacts, StoreError> {
    let connections = Connections::new(DatabaseAddress::parse(url)?)?;
    let (sql, other) = (connections.connect().await?, connections.connect().await?);
    let settings = only_row(
        &sql,
        "SELECT current_setting('server_version'), current_setting('server_version_num')::bigint,
                current_setting('synchronous_commit'), current_setting('fsync'),
                current_setting('server_encoding'),
                to_regclass('thoughtwire_schema') IS NOT NULL",
        args![],
    )
    .await?;
    let before = now_millis();
    let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let clock = get_i64(&only_row(&sql, clock, args![]).await?, 0)?;
    // The database's clock was read between the two.
    let own = before + (now_millis() - before) / 2;
    let schema = if settings.try_get(5)? { schema::version(&sql).await? } else { 0 };
    Ok(DatabaseFacts {
        version: get_text(&settings, 0)?,
        is_supported: get_i64(&settings, 1)? >= schema::OLDEST_SERVER,
        synchronous_commit: get_text(&settings, 2)?,
        fsync: get_text(&settings, 3)? == "on",
        encoding: get_text(&settings, 4)?,
        clock_ahead_ms: clock - own,
        schema,
        known_schema: schema::known(),
        // Two connections of ours share one of the database's.
        is_pooled: process(&sql).await? == process(&other).await?,
        contents: if schema == 0 { None } else { Some(contents(&sql).await?) },
    })
}

/// The database's process that serves a connection at this moment.
async fn process(sql: &Client) -> Result<i64, StoreError> {
    get_i64(&only_row(sql, "SELECT pg_backend_pid()::bigint", args![]).await?, 0)
}

async fn contents(sql: &Client) -> Result<Contents, StoreError> {
    let row = only_row(
        sql,
        "SELECT (SELECT count(*) FROM agents), (SELECT count(*) FROM sessions),
                (SELECT coalesce(sum(head - first + 1), 0)::bigint FROM sessions),
                (SELECT count(*) FROM keys), (SELECT max(updated_at) FROM sessions)",
        args![],
    )
    .await?;
    Ok(Contents {
        agents: get_u64(&row, 0)?,
        sessions: get_u64(&row, 1)?,
        events: get_u64(&row, 2)?,
        keys: get_u64(&row, 3)?,
        newest: find_time(&row, 4)?,
    })
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
