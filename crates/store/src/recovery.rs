//! Recovery: at the start, every turn that a crash cut is ended, through the same fold as live.
//!
//! A turn in which a call waits for people or clients outside is left open: it goes on when they
//! answer. What ran beside that call is over, and comes back as an error.

use rusqlite::Connection;
use thoughtwire_proto::{
    Decision, Event, OpenCall, Outcome, Record, SessionId, State, Timestamp, ToolStatus, TurnEvent,
};

use crate::log::{get_id, kind_name, read_session, write_append};
use crate::{Append, StoreError, StoredSession};

/// Ends what a crash interrupted, one transaction per session. Tells how many turns were ended.
pub(crate) fn recover(connection: &mut Connection, now: Timestamp) -> Result<usize, StoreError> {
    let cut: Vec<SessionId> = {
        let mut select =
            connection.prepare("SELECT id FROM sessions WHERE running ORDER BY num")?;
        let rows = select.query_map([], |row| get_id(row, 0))?;
        rows.collect::<Result<_, _>>()?
    };
    let mut ended = 0;
    for id in &cut {
        let transaction = connection.transaction()?;
        if let Some(session) = read_session(&transaction, id.as_str())? {
            ended += usize::from(settle_turn(&transaction, &session, now)? == Settled::Ended);
        }
        transaction.commit()?;
    }
    Ok(ended)
}

/// What became of a cut turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    Ended,
    Parked,
}

fn settle_turn(
    connection: &Connection,
    session: &StoredSession,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let open = open_items(connection, session)?;
    let parks = session.state.turn().is_some_and(|turn| turn.calls.iter().any(OpenCall::waits));
    let (settled, closing) = match parks {
        true => (Settled::Parked, Closing::OnlyWhatRan),
        false => (Settled::Ended, Closing::All),
    };
    let (records, state) = close_turn(&session.state, open, closing, now)?;
    connection.execute("DELETE FROM open_items WHERE session = ?", [session.num.0])?;
    if !records.is_empty() {
        let after = session.state.head();
        let append = Append {
            session: session.num,
            after,
            records,
            state,
            receipt: None,
            block: None,
            output: None,
            kept: None,
            closed_items: Vec::new(),
        };
        write_append(connection, &append)?;
    }
    Ok(settled)
}

/// How much of an open turn is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    All,
    OnlyWhatRan,
}

/// The records that close a state's open turn, and the state behind them.
pub(crate) fn close_turn(
    state: &State,
    mut events: Vec<Event>,
    closing: Closing,
    now: Timestamp,
) -> Result<(Vec<Record>, State), StoreError> {
    let Some(turn) = state.turn().cloned() else { return Ok((Vec::new(), state.clone())) };
    for open in turn.calls {
        if closing == Closing::OnlyWhatRan && open.waits() {
            continue;
        }
        if open.approval.is_some() {
            events.push(Event::Turn(TurnEvent::ApprovalSettled {
                call: open.call.clone(),
                decision: Decision::Void,
                by: None,
            }));
        }
        events.push(Event::Turn(TurnEvent::ToolReturned {
            call: open.call,
            name: open.name,
            status: ToolStatus::Error,
            text: "interrupted: the server stopped".to_owned(),
            content: None,
        }));
    }
    if closing == Closing::All {
        events.push(Event::Turn(TurnEvent::Ended {
            input: turn.input,
            outcome: Outcome::Interrupted,
            code: Some("server_stopped".to_owned()),
            reason: Some("The server stopped in the middle of this turn.".to_owned()),
        }));
    }
    let mut state = state.clone();
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        let in_turn = Some(turn.id.clone());
        state
            .apply(in_turn.as_ref(), &event)
            .map_err(|illegal| StoreError::Corrupt(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at: now, turn: in_turn, event });
    }
    Ok((records, state))
}

/// What was checkpointed of the turn's open thoughts and messages, as incomplete items.
fn open_items(connection: &Connection, session: &StoredSession) -> Result<Vec<Event>, StoreError> {
    let Some(turn) = session.state.turn().map(|turn| turn.id.as_str()) else {
        return Ok(Vec::new());
    };
    let mut select = connection.prepare(
        "SELECT item, kind, text FROM open_items WHERE session = ? AND turn = ? ORDER BY item",
    )?;
    let mut rows = select.query(rusqlite::params![session.num.0, turn])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let (item, kind, text): (_, String, String) = (get_id(row, 0)?, row.get(1)?, row.get(2)?);
        if text.is_empty() {
            continue;
        }
        if kind == kind_name(thoughtwire_proto::StreamKind::Thought) {
            events.push(Event::Turn(TurnEvent::Thought { item, text, complete: false }));
        } else if kind == kind_name(thoughtwire_proto::StreamKind::Message) {
            events.push(Event::Turn(TurnEvent::Message { item, text, complete: false }));
        }
    }
    Ok(events)
}
