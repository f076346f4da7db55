//! Erasing in PostgreSQL: what is deleted disappears for all readers at once, and leaves the tables
//! in steps, so that other writes hardly wait.

use thoughtwire_proto::{AgentId, SessionId};
use tokio_postgres::Client;

use super::sql::{Text, args, execute, first_row, get_i64, get_text, only_row};
use crate::StoreError;
use crate::upkeep::Deleted;

/// Rows erased with one write.
const ROWS: i64 = 500;

/// Erases some of what was deleted. Tells whether there may be more.
pub(super) async fn erase_deleted(sql: &Client) -> Result<bool, StoreError> {
    // Two nodes may erase at once: each takes another session.
    let session = first_row(
        sql,
        "SELECT session FROM erased_sessions LIMIT 1 FOR UPDATE SKIP LOCKED",
        args![],
    )
    .await?;
    if let Some(row) = session {
        let session = get_i64(&row, 0)?;
        if erase_events(sql, session, i64::MAX).await? {
            return Ok(true);
        }
        for statement in [
            "DELETE FROM outputs WHERE session = $1",
            "DELETE FROM kept_replies WHERE session = $1",
            "DELETE FROM erased_sessions WHERE session = $1",
        ] {
            execute(sql, statement, args![session]).await?;
        }
        return Ok(true);
    }
    let agent =
        first_row(sql, "SELECT agent FROM erased_agents LIMIT 1 FOR UPDATE SKIP LOCKED", args![])
            .await?;
    let Some(row) = agent else { return Ok(false) };
    let agent = get_text(&row, 0)?;
    if !erase_notes(sql, &agent).await? {
        execute(sql, "DELETE FROM erased_agents WHERE agent = $1", args![Text(&agent)]).await?;
    }
    Ok(true)
}

/// Deletes sessions for all readers, and tells how many. Their logs are left for [`erase_deleted`].
pub(super) async fn hide_sessions(
    sql: &Client,
    which: Deleted,
    key: &str,
) -> Result<u64, StoreError> {
    let which = match which {
        Deleted::Session => "sessions.id = $1",
        Deleted::Agent => "sessions.agent = $1",
    };
    let mut gone = 0;
    for statement in [
        "UPDATE agents SET erased = erased + 1
         WHERE id IN (SELECT agent FROM sessions WHERE WHICH)",
        "INSERT INTO erased_sessions SELECT num FROM sessions WHERE WHICH",
        "DELETE FROM open_items WHERE session IN (SELECT num FROM sessions WHERE WHICH)",
        "DELETE FROM receipts
         WHERE (owner, session) IN (SELECT owner, num FROM sessions WHERE WHICH)",
        "DELETE FROM chats WHERE session IN (SELECT id FROM sessions WHERE WHICH)",
        "DELETE FROM proven WHERE session IN (SELECT id FROM sessions WHERE WHICH)",
        "DELETE FROM sessions WHERE WHICH",
    ] {
        gone = execute(sql, &statement.replace("WHICH", which), args![Text(key)]).await?;
    }
    Ok(gone)
}

/// Leaves an agent's notes for [`erase_deleted`]. Deleting it twice at once is no error.
pub(super) async fn hide_notes(sql: &Client, agent: &AgentId) -> Result<(), StoreError> {
    let insert = "INSERT INTO erased_agents VALUES ($1) ON CONFLICT DO NOTHING";
    execute(sql, insert, args![Text(agent.as_str())]).await?;
    Ok(())
}

/// Erases a log's oldest events before a position, and from the search index. Tells whether there
/// may be more.
async fn erase_events(sql: &Client, session: i64, before: i64) -> Result<bool, StoreError> {
    let oldest = only_row(
        sql,
        "SELECT max(seq), count(*) FROM (
            SELECT seq FROM events WHERE session = $1 AND seq < $2 ORDER BY seq LIMIT $3
         ) AS oldest",
        args![session, before, ROWS],
    )
    .await?;
    let last: Option<i64> = oldest.try_get(0)?;
    let Some(last) = last else { return Ok(false) };
    for statement in [
        "DELETE FROM outputs WHERE session = $1 AND call IN
            (SELECT call FROM events WHERE session = $1 AND seq <= $2 AND call IS NOT NULL)",
        "UPDATE sessions SET said = said
            - (SELECT count(*) FROM said WHERE session = $1 AND seq <= $2) WHERE num = $1",
        "UPDATE agents SET erased = erased + 1
         WHERE id = (SELECT agent FROM sessions WHERE num = $1) AND $2::bigint > 0",
        "DELETE FROM vectors WHERE texts = 1 AND text IN
            (SELECT id FROM said WHERE session = $1 AND seq <= $2)",
        "DELETE FROM said WHERE session = $1 AND seq <= $2",
        "DELETE FROM kept_replies WHERE session = $1 AND seq <= $2",
        "DELETE FROM events WHERE session = $1 AND seq <= $2",
    ] {
        execute(sql, statement, args![session, last]).await?;
    }
    Ok(get_i64(&oldest, 1)? == ROWS)
}

async fn erase_notes(sql: &Client, agent: &str) -> Result<bool, StoreError> {
    execute(
        sql,
        "DELETE FROM vectors WHERE texts = 0 AND text IN (
            SELECT id FROM notes WHERE agent = $1 ORDER BY id LIMIT $2)",
        args![Text(agent), ROWS],
    )
    .await?;
    let erased = execute(
        sql,
        "DELETE FROM notes WHERE id IN (
            SELECT id FROM notes WHERE agent = $1 ORDER BY id LIMIT $2)",
        args![Text(agent), ROWS],
    )
    .await?;
    Ok(erased > 0)
}

/// Erases some of what lies before a log's beginning. Tells whether there may be more.
pub(super) async fn erase_trimmed(sql: &Client, session: &SessionId) -> Result<bool, StoreError> {
    let found = first_row(
        sql,
        "SELECT num, first FROM sessions WHERE id = $1",
        args![Text(session.as_str())],
    )
    .await?;
    let Some(row) = found else { return Ok(false) };
    erase_events(sql, get_i64(&row, 0)?, get_i64(&row, 1)?).await
}
