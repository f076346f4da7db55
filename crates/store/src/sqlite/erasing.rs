//! Erasing in SQLite: what is deleted disappears for all readers at once, and leaves the file in
//! steps, so that other writes hardly wait.

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::{AgentId, SessionId};

use super::row::row_of;
use crate::StoreError;
use crate::upkeep::Deleted;

/// Rows, and bytes of their texts, erased with one write.
const ROWS: i64 = 200;
const BYTES: usize = 16 << 10;

/// Erases some of what was deleted. Tells whether there may be more.
pub(super) fn erase_deleted(connection: &Connection) -> Result<bool, StoreError> {
    let mut budget = Budget::default();
    while let Some(session) =
        first(connection, "SELECT session FROM erased_sessions LIMIT 1", |row| {
            row.get::<_, i64>(0)
        })?
    {
        if erase_events(connection, session, i64::MAX, &mut budget)? {
            return Ok(true);
        }
        connection.prepare_cached("DELETE FROM outputs WHERE session = ?")?.execute([session])?;
        connection
            .prepare_cached("DELETE FROM kept_replies WHERE session = ?")?
            .execute([session])?;
        connection
            .prepare_cached("DELETE FROM erased_sessions WHERE session = ?")?
            .execute([session])?;
    }
    while let Some(agent) =
        first(connection, "SELECT agent FROM erased_agents LIMIT 1", |row| row.get::<_, String>(0))?
    {
        if erase_notes(connection, &agent, &mut budget)? {
            return Ok(true);
        }
        connection.execute("DELETE FROM erased_agents WHERE agent = ?", [agent])?;
    }
    Ok(false)
}

/// The amount that this write may still erase.
struct Budget {
    rows: i64,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { rows: ROWS, bytes: BYTES }
    }
}

impl Budget {
    fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    /// Spends the budget on rows that are selected as number and length, in order. Gives the number
    /// of the last row that is within it.
    fn take(
        &mut self,
        connection: &Connection,
        select: &str,
        of: &dyn rusqlite::ToSql,
        before: i64,
    ) -> Result<Option<i64>, StoreError> {
        let mut select = connection.prepare_cached(select)?;
        let mut rows = select.query(params![of, before, self.rows])?;
        let mut last = None;
        while !self.is_used_up()
            && let Some(row) = rows.next()?
        {
            last = Some(row.get(0)?);
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(row.get(1)?);
        }
        Ok(last)
    }
}

/// Deletes sessions for all readers, and tells how many. Their logs are left for [`erase_deleted`].
pub(super) fn hide_sessions(
    connection: &Connection,
    which: Deleted,
    key: &str,
) -> Result<usize, StoreError> {
    let which = match which {
        Deleted::Session => "sessions.id = ?1",
        Deleted::Agent => "sessions.agent = ?1",
    };
    let mut gone = 0;
    for statement in [
        "UPDATE agents SET erased = erased + 1, said = agents.said
            - (SELECT count(*) FROM said JOIN sessions ON num = session WHERE WHICH)
         WHERE id IN (SELECT agent FROM sessions WHERE WHICH)",
        "INSERT INTO erased_sessions SELECT num FROM sessions WHERE WHICH",
        "DELETE FROM open_items WHERE session IN (SELECT num FROM sessions WHERE WHICH)",
        "DELETE FROM receipts
         WHERE (user, session) IN (SELECT user, num FROM sessions WHERE WHICH)",
        "DELETE FROM chats WHERE session IN (SELECT id FROM sessions WHERE WHICH)",
        "DELETE FROM proven WHERE session IN (SELECT id FROM sessions WHERE WHICH)",
        "DELETE FROM sessions WHERE WHICH",
    ] {
        gone = connection.execute(&statement.replace("WHICH", which), [key])?;
    }
    Ok(gone)
}

/// Leaves an agent's notes for [`erase_deleted`]. Deleting it twice at once is no error.
pub(super) fn hide_notes(connection: &Connection, agent: &AgentId) -> Result<(), StoreError> {
    connection.execute("INSERT OR IGNORE INTO erased_agents VALUES (?)", [agent.as_str()])?;
    Ok(())
}

/// Erases a log's oldest events before a position, and from the search index. Tells whether there
/// may be more.
fn erase_events(
    connection: &Connection,
    session: i64,
    before: i64,
    budget: &mut Budget,
) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT seq, octet_length(body) FROM events
                          WHERE session = ? AND seq < ? ORDER BY seq LIMIT ?";
    let Some(last) = budget.take(connection, SELECT, &session, before)? else {
        return Ok(budget.is_used_up());
    };
    for statement in [
        "DELETE FROM outputs WHERE session = ?1 AND call IN
            (SELECT call FROM events WHERE session = ?1 AND seq <= ?2 AND call IS NOT NULL)",
        "UPDATE agents SET erased = erased + 1, said = agents.said
            - (SELECT count(*) FROM said WHERE session = ?1 AND seq <= ?2)
         WHERE id = (SELECT agent FROM sessions WHERE num = ?1)",
        "DELETE FROM vectors
         WHERE texts = 1 AND text IN (SELECT id FROM said WHERE session = ?1 AND seq <= ?2)",
        "DELETE FROM said WHERE session = ?1 AND seq <= ?2",
        "DELETE FROM kept_replies WHERE session = ?1 AND seq <= ?2",
        "DELETE FROM events WHERE session = ?1 AND seq <= ?2",
    ] {
        connection.prepare_cached(statement)?.execute([session, last])?;
    }
    reset_index_position(connection)?;
    Ok(budget.is_used_up())
}

fn erase_notes(
    connection: &Connection,
    agent: &str,
    budget: &mut Budget,
) -> Result<bool, StoreError> {
    const SELECT: &str =
        "SELECT id, octet_length(text) FROM notes WHERE agent = ? AND id < ? ORDER BY id LIMIT ?";
    let Some(last) = budget.take(connection, SELECT, &agent, i64::MAX)? else {
        return Ok(budget.is_used_up());
    };
    for statement in [
        "DELETE FROM vectors
         WHERE texts = 0 AND text IN (SELECT id FROM notes WHERE agent = ?1 AND id <= ?2)",
        "DELETE FROM notes WHERE agent = ?1 AND id <= ?2",
    ] {
        connection.prepare_cached(statement)?.execute(params![agent, last])?;
    }
    Ok(budget.is_used_up())
}

/// Moves the index's position back to the last event: numbers of erased events may be given out
/// again.
fn reset_index_position(connection: &Connection) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE indexed SET id = min(id, (SELECT coalesce(max(id), 0) FROM events))",
        )?
        .execute([])?;
    Ok(())
}

fn first<T>(
    connection: &Connection,
    select: &str,
    get: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    Ok(connection.prepare_cached(select)?.query_row([], get).optional()?)
}

/// Erases some of what lies before a log's beginning. Tells whether there may be more.
pub(super) fn erase_trimmed(
    connection: &Connection,
    session: &SessionId,
) -> Result<bool, StoreError> {
    let Some(row) = row_of(connection, session)? else { return Ok(false) };
    let first = connection
        .prepare_cached("SELECT first FROM sessions WHERE num = ?")?
        .query_row([row], |row| row.get(0))?;
    erase_events(connection, row, first, &mut Budget::default())
}
