//! How what is deleted goes from the file: out of everybody's sight at once, and then step by step, so
//! that what others write meanwhile hardly waits.

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::AgentId;

use crate::{Commit, SessionNum, Store, StoreError};

/// Rows, and bytes of their texts, that go with one write: the words of a text are taken out of the
/// index one by one.
const ROWS: i64 = 200;
const BYTES: usize = 16 << 10;

/// Which sessions go.
#[derive(Clone, Copy)]
pub(crate) enum Sessions {
    /// One, by its id.
    One,
    /// All of an agent's.
    Agents,
}

impl Store {
    /// Takes some of what was deleted out of the file, also out of what searches look through; true when
    /// there may be more.
    pub fn erase_some(&self) -> Commit<bool> {
        self.writer.write(erase_some)
    }
}

/// Takes some of what was deleted out of a file; true when there may be more.
pub(crate) fn erase_some(connection: &Connection) -> Result<bool, StoreError> {
    let mut room = Room::default();
    while let Some(session) =
        first(connection, "SELECT session FROM erased_sessions LIMIT 1", |row| {
            row.get(0).map(SessionNum)
        })?
    {
        if erase_events(connection, session, i64::MAX, &mut room)? {
            return Ok(true);
        }
        connection.prepare_cached("DELETE FROM outputs WHERE session = ?")?.execute([session.0])?;
        connection
            .prepare_cached("DELETE FROM kept_replies WHERE session = ?")?
            .execute([session.0])?;
        connection
            .prepare_cached("DELETE FROM erased_sessions WHERE session = ?")?
            .execute([session.0])?;
    }
    while let Some(agent) =
        first(connection, "SELECT agent FROM erased_agents LIMIT 1", |row| row.get::<_, String>(0))?
    {
        if erase_notes(connection, &agent, &mut room)? {
            return Ok(true);
        }
        connection.execute("DELETE FROM erased_agents WHERE agent = ?", [agent])?;
    }
    Ok(false)
}

/// What still goes with this write.
pub(crate) struct Room {
    rows: i64,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { rows: ROWS, bytes: BYTES }
    }
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    /// The last of the rows that there is room for; they are their numbers and lengths in order.
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

/// Puts sessions out of everybody's sight, and tells how many; their logs are left for [`Store::erase_some`].
pub(crate) fn hide_sessions(
    connection: &Connection,
    which: Sessions,
    key: &str,
) -> Result<usize, StoreError> {
    let which = match which {
        Sessions::One => "sessions.id = ?1",
        Sessions::Agents => "sessions.agent = ?1",
    };
    let mut gone = 0;
    for statement in [
        "UPDATE agents SET said = agents.said - (SELECT count(*) FROM said JOIN sessions ON num = session WHERE WHICH)
         WHERE id IN (SELECT agent FROM sessions WHERE WHICH)",
        "INSERT INTO erased_sessions SELECT num FROM sessions WHERE WHICH",
        "DELETE FROM open_items WHERE session IN (SELECT num FROM sessions WHERE WHICH)",
        "DELETE FROM receipts WHERE (user, session) IN (SELECT user, num FROM sessions WHERE WHICH)",
        "DELETE FROM chats WHERE session IN (SELECT id FROM sessions WHERE WHICH)",
        "DELETE FROM proven WHERE session IN (SELECT id FROM sessions WHERE WHICH)",
        "DELETE FROM sessions WHERE WHICH",
    ] {
        gone = connection.execute(&statement.replace("WHICH", which), [key])?;
    }
    Ok(gone)
}

/// Leaves an agent's notes for [`Store::erase_some`]; of two who delete it at once the second finds it done.
pub(crate) fn hide_notes(connection: &Connection, agent: &AgentId) -> Result<(), StoreError> {
    connection.execute("INSERT OR IGNORE INTO erased_agents VALUES (?)", [agent.as_str()])?;
    Ok(())
}

/// Deletes a log's oldest events before a position, also from what searches find; true when there may be more.
pub(crate) fn erase_events(
    connection: &Connection,
    session: SessionNum,
    before: i64,
    room: &mut Room,
) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT seq, octet_length(body) FROM events WHERE session = ? AND seq < ? ORDER BY seq LIMIT ?";
    let Some(last) = room.take(connection, SELECT, &session.0, before)? else {
        return Ok(room.is_used_up());
    };
    for statement in [
        "DELETE FROM outputs WHERE session = ?1 AND call IN
            (SELECT body ->> '$.call' FROM events WHERE session = ?1 AND seq <= ?2 AND body ->> '$.kind' = 'tool_returned')",
        "UPDATE agents SET said = agents.said - (SELECT count(*) FROM said WHERE session = ?1 AND seq <= ?2)
         WHERE id = (SELECT agent FROM sessions WHERE num = ?1)",
        "DELETE FROM said_words WHERE rowid IN (SELECT id FROM said WHERE session = ?1 AND seq <= ?2)",
        "DELETE FROM said WHERE session = ?1 AND seq <= ?2",
        "DELETE FROM kept_replies WHERE session = ?1 AND seq <= ?2",
        "DELETE FROM events WHERE session = ?1 AND seq <= ?2",
    ] {
        connection.prepare_cached(statement)?.execute([session.0, last])?;
    }
    mind_reuse(connection)?;
    Ok(room.is_used_up())
}

fn erase_notes(connection: &Connection, agent: &str, room: &mut Room) -> Result<bool, StoreError> {
    const SELECT: &str =
        "SELECT id, octet_length(text) FROM notes WHERE agent = ? AND id < ? ORDER BY id LIMIT ?";
    let Some(last) = room.take(connection, SELECT, &agent, i64::MAX)? else {
        return Ok(room.is_used_up());
    };
    for statement in [
        "DELETE FROM notes_words WHERE rowid IN (SELECT id FROM notes WHERE agent = ?1 AND id <= ?2)",
        "DELETE FROM note_vectors WHERE note IN (SELECT id FROM notes WHERE agent = ?1 AND id <= ?2)",
        "DELETE FROM notes WHERE agent = ?1 AND id <= ?2",
    ] {
        connection.prepare_cached(statement)?.execute(params![agent, last])?;
    }
    Ok(room.is_used_up())
}

/// The numbers of deleted events may be given out again; they are not indexed yet then.
fn mind_reuse(connection: &Connection) -> Result<(), StoreError> {
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

/// Deletes some of what lies before a log's beginning; true when there may be more.
pub(crate) fn erase_before(
    connection: &Connection,
    session: SessionNum,
) -> Result<bool, StoreError> {
    let begin = connection
        .prepare_cached("SELECT first FROM sessions WHERE num = ?")?
        .query_row([session.0], |row| row.get(0))
        .optional()?;
    begin.map_or(Ok(false), |begin| erase_events(connection, session, begin, &mut Room::default()))
}
