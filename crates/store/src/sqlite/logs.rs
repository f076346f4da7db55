//! Logs in SQLite: appending batches, checkpoints, and what is stored beside records.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::{CallId, CommandId, Id, Record, Seq, SessionId, Timestamp, UserId};

use super::row::{RowCache, get_id, get_seq, row_of, to_i64};
use super::summary::Invalidates;
use super::{Handle, blocks, pages, receipts, sessions};
use crate::logs::{kind_name, returned_call};
use crate::{
    Batch, Commit, LogPage, LogStore, OpenItem, Receipt, StoreError, StoreRead, StoredSession,
};

/// [`LogStore`] in SQLite.
pub(super) struct SqliteLogs(pub(super) Handle);

impl LogStore for SqliteLogs {
    fn append(&self, batch: Batch) -> Commit<()> {
        let rows = Arc::clone(&self.0.database.rows);
        let invalidates = batch
            .extras()
            .block
            .as_ref()
            .map_or(Invalidates::Nothing, |edit| Invalidates::Agent(edit.agent.clone()));
        self.0
            .writer()
            .write_memory(invalidates, move |connection| append(connection, &rows, &batch))
    }

    fn checkpoint(&self, session: &SessionId, item: OpenItem) -> Commit<()> {
        let session = session.clone();
        self.0.writer().write_soon(move |connection| {
            let OpenItem { item, turn, kind, text, continues } = item;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO open_items (session, item, turn, kind, text, continues)
                     SELECT num, ?2, ?3, ?4, ?5, ?6 FROM sessions WHERE id = ?1",
                )?
                .execute(params![
                    session.as_str(),
                    item.as_str(),
                    turn.as_str(),
                    kind_name(kind),
                    text,
                    continues.as_ref().map(Id::as_str)
                ])?;
            Ok(())
        })
    }

    fn load(&self, session: &SessionId, now: Timestamp) -> StoreRead<Option<StoredSession>> {
        let (handle, id) = (self.0.clone(), session.clone());
        Box::pin(async move {
            let wanted = id.clone();
            let read = handle.read(move |connection| sessions::read(connection, &wanted));
            match read.await? {
                Some(stored) if stored.state.turn().is_some() => handle.recover(id, now).await,
                stored => Ok(stored),
            }
        })
    }

    fn sessions_with_work(&self) -> StoreRead<Vec<SessionId>> {
        self.0.read_unlimited(|connection| {
            let mut select = connection
                .prepare("SELECT id FROM sessions WHERE running OR queued ORDER BY num")?;
            let rows = select.query_map([], |row| get_id(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn orphans(&self, _: usize) -> StoreRead<Vec<SessionId>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn records_after(
        &self,
        session: &SessionId,
        after: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>> {
        let session = session.clone();
        self.0.read(move |connection| pages::after(connection, &session, after, limit))
    }

    fn records_before(
        &self,
        session: &SessionId,
        before: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>> {
        let session = session.clone();
        self.0.read(move |connection| pages::before(connection, &session, before, limit))
    }

    fn page(
        &self,
        session: &SessionId,
        after: Seq,
        limit: u64,
        bytes: usize,
    ) -> StoreRead<LogPage> {
        let session = session.clone();
        self.0.read(move |connection| pages::page(connection, &session, after, limit, bytes))
    }

    fn tool_output(&self, session: &SessionId, call: &CallId) -> StoreRead<Option<String>> {
        let (session, call) = (session.clone(), call.clone());
        self.0.read(move |connection| tool_output(connection, &session, &call))
    }

    fn provider_replies(
        &self,
        session: &SessionId,
        after: Seq,
        through: Seq,
    ) -> StoreRead<Vec<(Seq, String)>> {
        let session = session.clone();
        self.0.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT seq, body FROM kept_replies
                 WHERE session = (SELECT num FROM sessions WHERE id = ?) AND seq > ? AND seq <= ?
                 ORDER BY seq",
            )?;
            let bounds = params![session.as_str(), to_i64(after.0), to_i64(through.0)];
            let rows = select.query_map(bounds, |row| Ok((get_seq(row, 0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn receipt(
        &self,
        user: &UserId,
        session: &SessionId,
        id: &CommandId,
    ) -> StoreRead<Option<Receipt>> {
        let (user, session, id) = (user.clone(), session.clone(), id.clone());
        self.0.read(move |connection| match row_of(connection, &session)? {
            Some(row) => receipts::find(connection, &user, row, &id),
            None => Ok(None),
        })
    }

    fn receipt_ids(
        &self,
        user: &UserId,
        session: &SessionId,
        most: usize,
    ) -> StoreRead<Option<Vec<String>>> {
        let (user, session) = (user.clone(), session.clone());
        self.0.read(move |connection| receipts::ids(connection, &user, &session, most))
    }

    fn last_turn_end(&self, session: &SessionId, at_most: Seq) -> StoreRead<Option<Seq>> {
        let session = session.clone();
        self.0.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT seq FROM events WHERE session = (SELECT num FROM sessions WHERE id = ?)
                 AND seq <= ? AND body ->> '$.kind' = 'turn_ended' ORDER BY seq DESC LIMIT 1",
            )?;
            let bounds = params![session.as_str(), to_i64(at_most.0)];
            Ok(select.query_row(bounds, |row| get_seq(row, 0)).optional()?)
        })
    }
}

fn tool_output(
    connection: &Connection,
    session: &SessionId,
    call: &CallId,
) -> Result<Option<String>, StoreError> {
    let Some(row) = row_of(connection, session)? else { return Ok(None) };
    let mut select =
        connection.prepare_cached("SELECT text FROM outputs WHERE session = ? AND call = ?")?;
    let whole = select.query_row(params![row, call.as_str()], |row| row.get(0)).optional()?;
    if whole.is_some() {
        return Ok(whole);
    }
    let mut select = connection.prepare_cached(
        "SELECT body ->> '$.text' FROM events WHERE session = ? AND call = ? ORDER BY seq LIMIT 1",
    )?;
    Ok(select.query_row(params![row, call.as_str()], |row| row.get(0)).optional()?)
}

/// Writes a batch: moves the session's head first, so that a stale row number changes nothing.
pub(super) fn append(
    connection: &Connection,
    rows: &RowCache,
    batch: &Batch,
) -> Result<(), StoreError> {
    let session = batch.session();
    let cached = rows.cached(session);
    let row = match cached {
        Some(row) if move_head(connection, row, batch)? => row,
        Some(_) | None => match rows.read(connection, session)? {
            // Not with the number that was tried already.
            Some(row) if cached != Some(row) && move_head(connection, row, batch)? => row,
            Some(_) | None => return Err(head_moved(connection, batch)?),
        },
    };
    receipts::write(connection, batch.extras().receipt.as_ref(), row)?;
    write_records(connection, row, batch.records())?;
    write_extras(connection, row, batch)
}

/// Moves a session's head and state to those of a batch. False where the row is not the session's
/// or its log does not end where the batch begins.
fn move_head(connection: &Connection, row: i64, batch: &Batch) -> Result<bool, StoreError> {
    let state = batch.state();
    let at = batch.records().last().map_or(0, |record| record.at.as_millis());
    let changed = connection
        .prepare_cached(
            "UPDATE sessions SET head = ?, state = ?, running = ?, queued = ?, title = ?,
                    updated_at = max(updated_at, ?)
             WHERE num = ? AND head = ? AND id = ?",
        )?
        .execute(params![
            to_i64(state.head().0),
            serde_json::to_string(state)?,
            state.turn().is_some(),
            state.queue().len(),
            state.title(),
            at,
            row,
            to_i64(batch.after().0),
            batch.session().as_str(),
        ])?;
    Ok(changed > 0)
}

/// Why a batch does not fit its session's log.
fn head_moved(connection: &Connection, batch: &Batch) -> Result<StoreError, StoreError> {
    let mut select = connection.prepare_cached("SELECT head FROM sessions WHERE id = ?")?;
    let found = select.query_row([batch.session().as_str()], |row| get_seq(row, 0)).optional()?;
    Ok(match found {
        Some(found) => StoreError::HeadMoved { found: found.0, expected: batch.after().0 },
        None => StoreError::missing_session(batch.session()),
    })
}

fn write_records(connection: &Connection, row: i64, records: &[Record]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (session, seq, at, turn, body, call) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for record in records {
        insert.execute(params![
            row,
            to_i64(record.seq.0),
            record.at.as_millis(),
            record.turn.as_ref().map(Id::as_str),
            serde_json::to_string(&record.event)?,
            returned_call(&record.event).map(Id::as_str)
        ])?;
    }
    Ok(())
}

fn write_extras(connection: &Connection, row: i64, batch: &Batch) -> Result<(), StoreError> {
    let extras = batch.extras();
    for item in &extras.closed_items {
        connection
            .prepare_cached("DELETE FROM open_items WHERE session = ? AND item = ?")?
            .execute(params![row, item.as_str()])?;
    }
    if let Some((call, text)) = &extras.output {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO outputs (session, call, text) VALUES (?, ?, ?)",
            )?
            .execute(params![row, call.as_str(), text])?;
    }
    if let (Some(reply), Some(first)) = (&extras.provider_reply, batch.records().first()) {
        connection
            .prepare_cached("INSERT INTO kept_replies (session, seq, body) VALUES (?, ?, ?)")?
            .execute(params![row, to_i64(first.seq.0), reply])?;
    }
    match &extras.block {
        Some(edit) => blocks::write(connection, edit),
        None => Ok(()),
    }
}
