//! Recovery: at the start, every turn that a crash cut is ended, through the same fold as live.

use rusqlite::Connection;
use thoughtwire_proto::{Decision, Event, Outcome, Record, SessionId, Timestamp, ToolStatus};

use crate::log::{get_id, kind_name, read_session, write_append};
use crate::{Append, StoreError, StoredSession};

/// Ends what a crash interrupted, one transaction per session. Tells how many turns there were.
pub(crate) fn recover(connection: &mut Connection, now: Timestamp) -> Result<usize, StoreError> {
    let cut: Vec<SessionId> = {
        let mut select = connection.prepare("SELECT id FROM sessions WHERE running ORDER BY num")?;
        let rows = select.query_map([], |row| get_id(row, 0))?;
        rows.collect::<Result<_, _>>()?
    };
    for id in &cut {
        let transaction = connection.transaction()?;
        if let Some(session) = read_session(&transaction, id.as_str())? {
            end_turn(&transaction, session, now)?;
        }
        transaction.commit()?;
    }
    Ok(cut.len())
}

fn end_turn(connection: &Connection, session: StoredSession, now: Timestamp) -> Result<(), StoreError> {
    let after = session.state.head();
    let Some(turn) = session.state.turn().cloned() else { return Ok(()) };
    let mut events = open_items(connection, &session, turn.id.as_str())?;
    for open in turn.calls {
        if open.approval.is_some() {
            events.push(Event::ApprovalSettled { call: open.call.clone(), decision: Decision::Void, by: None });
        }
        events.push(Event::ToolReturned {
            call: open.call,
            name: open.name,
            status: ToolStatus::Error,
            text: "interrupted: the server stopped".to_owned(),
            content: None,
        });
    }
    events.push(Event::TurnEnded {
        input: turn.input,
        outcome: Outcome::Interrupted,
        code: Some("server_stopped".to_owned()),
        reason: Some("The server stopped in the middle of this turn.".to_owned()),
    });
    let mut state = session.state;
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        let in_turn = Some(turn.id.clone());
        state.apply(in_turn.as_ref(), &event).map_err(|illegal| StoreError::Corrupt(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at: now, turn: in_turn, event });
    }
    connection.execute("DELETE FROM open_items WHERE session = ?", [session.num.0])?;
    let append = Append { session: session.num, after, records, state, receipt: None, block: None, closed_items: Vec::new() };
    write_append(connection, &append)
}

/// What was checkpointed of the turn's open thoughts and messages, as incomplete items.
fn open_items(connection: &Connection, session: &StoredSession, turn: &str) -> Result<Vec<Event>, StoreError> {
    let mut select = connection.prepare("SELECT item, kind, text FROM open_items WHERE session = ? AND turn = ? ORDER BY item")?;
    let mut rows = select.query(rusqlite::params![session.num.0, turn])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let (item, kind, text): (_, String, String) = (get_id(row, 0)?, row.get(1)?, row.get(2)?);
        if text.is_empty() {
            continue;
        }
        if kind == kind_name(thoughtwire_proto::StreamKind::Thought) {
            events.push(Event::Thought { item, text, complete: false });
        } else if kind == kind_name(thoughtwire_proto::StreamKind::Message) {
            events.push(Event::Message { item, text, complete: false });
        }
    }
    Ok(events)
}
