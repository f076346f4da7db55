//! Sessions and their logs.

use rusqlite::{Connection, OptionalExtension, Row, params};
use thoughtwire_proto::{
    CallId, Event, Id, InputEvent, Record, Seq, SessionEvent, SessionId, SessionListing, State,
    StreamKind, Timestamp, TurnEvent, UserId,
};

use crate::erasing::{Sessions, hide_sessions};
use crate::known::Touched;
use crate::recovery::{Closing, close_turn};
use crate::{
    Append, Commit, LogPage, NewSession, OpenItem, Receipt, SessionFilter, SessionNum, Store,
    StoreError, StoredSession, memory, receipts,
};

const COLUMNS: &str = "seq, at, turn, body";

impl Store {
    /// Appends records with everything that belongs to them, in one transaction.
    pub fn append(&self, append: Append) -> Commit<()> {
        let touched = append
            .block
            .as_ref()
            .map_or(Touched::Nothing, |edit| Touched::Agent(edit.agent.clone()));
        self.writer.write_known(touched, move |connection| write_append(connection, &append))
    }

    /// Saves an open item's text so far, for the case that the process dies before its event. Nobody
    /// waits for that, so it takes a tenth of a second if nothing else is to be written.
    pub fn checkpoint(&self, session: SessionNum, item: OpenItem) -> Commit<()> {
        self.writer.write_soon(move |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO open_items (session, item, turn, kind, text) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![session.0, item.item.as_str(), item.turn.as_str(), kind_name(item.kind), item.text])?;
            Ok(())
        })
    }

    /// Opens a session: its row and its `session_opened`.
    pub fn create_session(&self, new: NewSession) -> Commit<StoredSession> {
        self.writer.write(move |connection| write_session(connection, &new, false))
    }

    /// Deletes a session. What is left of it in the file goes with [`Store::erase_some`].
    pub fn delete_session(&self, id: &SessionId, receipt: Option<Receipt>) -> Commit<()> {
        let id = id.clone();
        self.writer.write_known(Touched::Anybody, move |connection| {
            if hide_sessions(connection, Sessions::One, id.as_str())? == 0 {
                return Err(StoreError::Missing(format!("session {id}")));
            }
            receipts::write(connection, receipt.as_ref())
        })
    }

    /// The whole output of a call that came back, also where its event has only a part. Nothing
    /// where no such call has come back.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tool_output(
        &self,
        session: SessionNum,
        call: &CallId,
    ) -> Result<Option<String>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT text FROM outputs WHERE session = ? AND call = ?")?;
            let whole =
                select.query_row(params![session.0, call.as_str()], |row| row.get(0)).optional()?;
            if whole.is_some() {
                return Ok(whole);
            }
            let mut select = connection.prepare_cached(
                "SELECT body ->> '$.text' FROM events WHERE session = ? AND call = ?
                 ORDER BY seq LIMIT 1",
            )?;
            Ok(select.query_row(params![session.0, call.as_str()], |row| row.get(0)).optional()?)
        })
    }

    /// What providers want back of the replies whose calls stand behind `after`, up to `through`:
    /// JSON by the position of each reply's first call.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kept_replies(
        &self,
        session: SessionNum,
        after: Seq,
        through: Seq,
    ) -> Result<Vec<(Seq, String)>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT seq, body FROM kept_replies WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq",
            )?;
            let bounds = params![session.0, to_i64(after.0), to_i64(through.0)];
            let rows = select.query_map(bounds, |row| Ok((Seq(get_u64(row, 0)?), row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A session by its id, whoever's it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn session(&self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        self.readers.read(|connection| read_session(connection, id.as_str()))
    }

    /// A user's sessions, newest activity first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sessions(
        &self,
        user: &UserId,
        filter: &SessionFilter,
    ) -> Result<Vec<SessionListing>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT sessions.id, sessions.agent, agents.name, title, head, running, queued, sessions.id = agents.main_session,
                        sessions.created_at, updated_at, state ->> '$.usage',
                        running AND EXISTS (SELECT 1 FROM json_each(state, '$.turn.calls') WHERE value ->> '$.approval' IS NOT NULL)
                 FROM sessions JOIN agents ON agents.id = sessions.agent
                 WHERE sessions.user = ?1 AND (?2 IS NULL OR sessions.id = ?2) AND (?3 IS NULL OR sessions.agent = ?3)
                 ORDER BY updated_at DESC, sessions.num DESC LIMIT ?4",
            )?;
            let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
            let id = filter.id.as_ref().map(thoughtwire_proto::Id::as_str);
            let agent = filter.agent.as_ref().map(thoughtwire_proto::Id::as_str);
            let rows = select.query_map(params![user.as_str(), id, agent, limit], |row| {
                Ok(SessionListing {
                    id: get_id(row, 0)?,
                    agent: get_id(row, 1)?,
                    agent_name: row.get(2)?,
                    title: row.get(3)?,
                    head: Seq(get_u64(row, 4)?),
                    running: row.get(5)?,
                    queued: get_u64(row, 6)?,
                    main: row.get(7)?,
                    created_at: Timestamp::from_millis(row.get(8)?),
                    updated_at: Timestamp::from_millis(row.get(9)?),
                    usage: row.get::<_, Option<String>>(10)?.and_then(|usage| serde_json::from_str(&usage).ok()).unwrap_or_default(),
                    needs_you: row.get(11)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Sessions that have queued inputs and no turn: what a start has to go on with.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sessions_with_work(&self) -> Result<Vec<SessionId>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection
                .prepare("SELECT id FROM sessions WHERE running OR queued ORDER BY num")?;
            let rows = select.query_map([], |row| get_id(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// At most `limit` records behind a position, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(
        &self,
        session: SessionNum,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.page(
            &format!(
                "SELECT {COLUMNS} FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?"
            ),
            session,
            after,
            limit,
        )
    }

    /// The page of a log that has the record behind a position, for those who read it from its
    /// beginning on. Where pages end depends on the log alone, so that all who read it share them: after
    /// every `limit` positions, and before that where a page would have more than about so many bytes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log_page(
        &self,
        session: SessionNum,
        after: Seq,
        limit: u64,
        bytes: usize,
    ) -> Result<LogPage, StoreError> {
        let window = Seq(after.0 / limit * limit);
        let end = Seq(window.0 + limit);
        self.readers.read(|connection| {
            let begin = if after == window { window } else { begin_of_page(connection, session, (window, end), after, bytes)? };
            let mut select = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq"))?;
            let mut rows = select.query(params![session.0, to_i64(begin.0), to_i64(end.0)])?;
            let (mut records, mut size) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let length = body(row)?.len();
                if size > 0 && size + length > bytes {
                    return Ok(LogPage { is_whole: true, records });
                }
                size += length;
                records.push(record(row)?);
            }
            Ok(LogPage { is_whole: records.last().is_some_and(|last| last.seq == end), records })
        })
    }

    /// The newest `limit` records before a position, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events_before(
        &self,
        session: SessionNum,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut records = self.page(
            &format!("SELECT {COLUMNS} FROM events WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?"),
            session,
            before,
            limit,
        )?;
        records.reverse();
        Ok(records)
    }

    fn page(
        &self,
        select: &str,
        session: SessionNum,
        bound: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(select)?;
            let rows = select.query_and_then(
                params![session.0, to_i64(bound.0), i64::try_from(limit).unwrap_or(i64::MAX)],
                record,
            )?;
            rows.collect()
        })
    }
}

/// Where the page begins that has the record behind a position, in a window of a log.
fn begin_of_page(
    connection: &Connection,
    session: SessionNum,
    (window, end): (Seq, Seq),
    after: Seq,
    bytes: usize,
) -> Result<Seq, StoreError> {
    // The length alone is in the row's head: no text is read for it.
    let mut select =
        connection.prepare_cached("SELECT seq, octet_length(body) FROM events WHERE session = ? AND seq > ? AND seq <= ? ORDER BY seq")?;
    let mut rows = select.query(params![session.0, to_i64(window.0), to_i64(end.0)])?;
    let (mut begin, mut last, mut size) = (window, window, 0);
    while let Some(row) = rows.next()? {
        let length: usize = row.get(1)?;
        if size > 0 && size + length > bytes {
            (begin, size) = (last, 0);
        }
        (last, size) = (Seq(get_u64(row, 0)?), size + length);
        if last > after {
            break;
        }
    }
    Ok(begin)
}

fn body<'a>(row: &'a Row<'_>) -> Result<&'a str, StoreError> {
    row.get_ref(3)?.as_str().map_err(|_| StoreError::Corrupt("an event is no text".into()))
}

/// A record from its [`COLUMNS`].
fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let turn = row
        .get_ref(2)?
        .as_str_or_null()
        .map_err(|_| StoreError::Corrupt("a turn's id is no text".into()))?;
    Ok(Record {
        seq: Seq(get_u64(row, 0)?),
        at: Timestamp::from_millis(row.get(1)?),
        turn: turn.map(parse_id).transpose()?,
        event: serde_json::from_str(body(row)?)?,
    })
}

pub(crate) fn write_append(connection: &Connection, append: &Append) -> Result<(), StoreError> {
    // The receipt first: a repetition that slipped through must change nothing.
    receipts::write(connection, append.receipt.as_ref())?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (session, seq, at, turn, body, call) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for record in &append.records {
        let turn = record.turn.as_ref().map(thoughtwire_proto::Id::as_str);
        let body = serde_json::to_string(&record.event)?;
        insert.execute(params![
            append.session.0,
            to_i64(record.seq.0),
            record.at.as_millis(),
            turn,
            body,
            returned_call(&record.event)
        ])?;
    }
    let at = append.records.last().map_or(0, |record| record.at.as_millis());
    let state = serde_json::to_string(&append.state)?;
    let changed = connection
        .prepare_cached(
            "UPDATE sessions SET head = ?, state = ?, running = ?, queued = ?, title = ?, updated_at = max(updated_at, ?)
             WHERE num = ? AND head = ?",
        )?
        .execute(params![
            to_i64(append.state.head().0),
            state,
            append.state.turn().is_some(),
            append.state.queue().len(),
            append.state.title(),
            at,
            append.session.0,
            to_i64(append.after.0)
        ])?;
    if changed == 0 {
        let found: Option<i64> = connection
            .query_row("SELECT head FROM sessions WHERE num = ?", [append.session.0], |row| {
                row.get(0)
            })
            .optional()?;
        return Err(match found {
            Some(found) => {
                StoreError::HeadMoved { found: found.unsigned_abs(), expected: append.after.0 }
            }
            None => StoreError::Missing("session any more".to_owned()),
        });
    }
    for item in &append.closed_items {
        connection
            .prepare_cached("DELETE FROM open_items WHERE session = ? AND item = ?")?
            .execute(params![append.session.0, item.as_str()])?;
    }
    if let Some((call, text)) = &append.output {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO outputs (session, call, text) VALUES (?, ?, ?)",
            )?
            .execute(params![append.session.0, call.as_str(), text])?;
    }
    if let (Some(kept), Some(first)) = (&append.kept, append.records.first()) {
        connection
            .prepare_cached("INSERT INTO kept_replies (session, seq, body) VALUES (?, ?, ?)")?
            .execute(params![append.session.0, to_i64(first.seq.0), kept])?;
    }
    match &append.block {
        Some(edit) => memory::write_block(connection, edit),
        None => Ok(()),
    }
}

pub(crate) fn write_session(
    connection: &Connection,
    new: &NewSession,
    is_main: bool,
) -> Result<StoredSession, StoreError> {
    receipts::write(connection, new.receipt.as_ref())?;
    let opened = Event::Session(SessionEvent::Opened {
        agent: new.agent.clone(),
        instructions: new.instructions.clone(),
        history: new.history.clone(),
    });
    let mut events = vec![opened];
    events.extend(new.title.clone().map(|title| Event::Session(SessionEvent::Renamed { title })));
    let mut state = State::default();
    let mut records = Vec::new();
    let carried = new.records.iter().cloned().map(|record| (record.at, record.turn, record.event));
    for (at, turn, event) in events.into_iter().map(|event| (new.at, None, event)).chain(carried) {
        state
            .apply(turn.as_ref(), &event)
            .map_err(|illegal| StoreError::Invalid(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at, turn, event });
    }
    // Another log may have been taken in the middle of a turn; nothing of it is to run here.
    let (closing, mut state) = close_turn(&state, Vec::new(), Closing::All, new.at)?;
    records.extend(closing);
    for queued in state.queue().clone() {
        let event = Event::Input(InputEvent::Withdrawn { input: queued.input });
        state.apply(None, &event).map_err(|illegal| StoreError::Invalid(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at: new.at, turn: None, event });
    }
    connection.execute(
        "INSERT INTO sessions (id, user, agent, epoch, first, head, state, running, queued, created_at, updated_at)
         VALUES (?, ?, ?, ?, 1, 0, '', 0, 0, ?, ?)",
        params![new.id.as_str(), new.user.as_str(), new.agent.as_str(), new.epoch.as_str(), new.at.as_millis(), new.at.as_millis()],
    )?;
    let num = SessionNum(connection.last_insert_rowid());
    let append = Append {
        session: num,
        after: Seq::ZERO,
        records,
        state: state.clone(),
        receipt: None,
        block: None,
        output: None,
        kept: None,
        closed_items: Vec::new(),
    };
    write_append(connection, &append)?;
    Ok(StoredSession {
        num,
        id: new.id.clone(),
        user: new.user.clone(),
        agent: new.agent.clone(),
        epoch: new.epoch.clone(),
        first: Seq(1),
        state,
        is_main,
        created_at: new.at,
    })
}

pub(crate) fn read_session(
    connection: &Connection,
    id: &str,
) -> Result<Option<StoredSession>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT num, id, user, agent, epoch, first, state, created_at,
                id = (SELECT main_session FROM agents WHERE agents.id = sessions.agent)
         FROM sessions WHERE id = ?",
    )?;
    let mut rows = select.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let state: String = row.get(6)?;
    Ok(Some(StoredSession {
        num: SessionNum(row.get(0)?),
        id: get_id(row, 1)?,
        user: get_id(row, 2)?,
        agent: get_id(row, 3)?,
        epoch: get_id(row, 4)?,
        first: Seq(get_u64(row, 5)?),
        state: serde_json::from_str(&state)?,
        created_at: Timestamp::from_millis(row.get(7)?),
        is_main: row.get::<_, Option<bool>>(8)?.unwrap_or(false),
    }))
}

/// The call that came back with an event.
fn returned_call(event: &Event) -> Option<&str> {
    match event {
        Event::Turn(TurnEvent::ToolReturned { call, .. }) => Some(call.as_str()),
        Event::Session(_)
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::Started { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. },
        )
        | Event::Other(_) => None,
    }
}

pub(crate) fn kind_name(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Thought => "thought",
        StreamKind::Message => "message",
        StreamKind::ToolArgs => "tool_args",
    }
}

pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn get_u64(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
}

pub(crate) fn get_id<K>(row: &Row<'_>, at: usize) -> rusqlite::Result<Id<K>> {
    let text: String = row.get(at)?;
    Id::new(text).map_err(|bad| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(bad))
    })
}

fn parse_id<K>(text: &str) -> Result<Id<K>, StoreError> {
    Id::new(text).map_err(|bad| StoreError::Corrupt(bad.to_string()))
}
