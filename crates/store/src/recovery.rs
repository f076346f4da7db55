//! Recovery of one session: keeps the text that a crash cut, and closes the turn of a log that is
//! copied, through the same fold as live events.

use thoughtwire_proto::{Event, Outcome, Record, State, Timestamp, TurnEvent};

use crate::{OpenItem, StoreError};

/// Recovers a session at its state, with the checkpoints of its turn's open items in the order of
/// their ids: each becomes an incomplete item. Gives the records to append and the state behind
/// them; no records where there is nothing to recover. The turn itself stays open.
pub(crate) fn recover(
    state: &State,
    open: Vec<OpenItem>,
    now: Timestamp,
) -> Result<(Vec<Record>, State), StoreError> {
    let incomplete =
        |open: OpenItem| open.kind.incomplete_item(open.item, open.text, open.continues);
    append(state, open.into_iter().filter_map(incomplete).collect(), now)
}

/// Ends a state's turn, if it has one, whatever its calls wait for.
pub(crate) fn end_turn(state: &State, now: Timestamp) -> Result<(Vec<Record>, State), StoreError> {
    let Some(turn) = state.turn().cloned() else { return Ok((Vec::new(), state.clone())) };
    let mut events = Vec::new();
    for open in turn.calls {
        events.extend(open.closing_events("interrupted"));
    }
    events.push(Event::Turn(TurnEvent::Ended {
        input: turn.input,
        outcome: Outcome::Interrupted,
        code: Some("server_stopped".to_owned()),
        reason: Some("The server stopped in the middle of this turn.".to_owned()),
    }));
    append(state, events, now)
}

/// Numbers events of a state's turn.
fn append(
    state: &State,
    events: Vec<Event>,
    now: Timestamp,
) -> Result<(Vec<Record>, State), StoreError> {
    let turn = state.turn().map(|turn| turn.id.clone());
    let mut state = state.clone();
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        state
            .apply(turn.as_ref(), &event)
            .map_err(|illegal| StoreError::Corrupt(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at: now, turn: turn.clone(), event });
    }
    Ok((records, state))
}
