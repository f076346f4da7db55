//! Recovery of one session: closes a turn that a crash cut, through the same fold as live events.

use thoughtwire_proto::{Event, OpenCall, Outcome, Record, State, Timestamp, TurnEvent};

use crate::{OpenItem, StoreError};

/// How much of an open turn is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The turn with all of its calls.
    Turn,
    /// Only the calls that were running. The others wait for people or clients outside.
    RunningCalls,
}

/// Whether recovery ends a state's turn. A turn in which a call waits stays open.
pub(crate) fn ends_turn(state: &State) -> bool {
    state.turn().is_some_and(|turn| !turn.calls.iter().any(OpenCall::waits))
}

/// Recovers a session at its state, with the checkpoints of its turn's open items in the order of
/// their ids. Gives the records to append and the state behind them; no records where there is
/// nothing to recover.
pub(crate) fn recover(
    state: &State,
    open: Vec<OpenItem>,
    now: Timestamp,
) -> Result<(Vec<Record>, State), StoreError> {
    let closing = if ends_turn(state) { Closing::Turn } else { Closing::RunningCalls };
    let incomplete = |open: OpenItem| open.kind.incomplete_item(open.item, open.text);
    close(state, open.into_iter().filter_map(incomplete).collect(), closing, now)
}

/// Ends a state's turn, if it has one, whatever its calls wait for.
pub(crate) fn end_turn(state: &State, now: Timestamp) -> Result<(Vec<Record>, State), StoreError> {
    close(state, Vec::new(), Closing::Turn, now)
}

fn close(
    state: &State,
    mut events: Vec<Event>,
    closing: Closing,
    now: Timestamp,
) -> Result<(Vec<Record>, State), StoreError> {
    let Some(turn) = state.turn().cloned() else { return Ok((Vec::new(), state.clone())) };
    for open in turn.calls {
        if closing == Closing::RunningCalls && open.waits() {
            continue;
        }
        events.extend(open.closing_events("interrupted: the server stopped"));
    }
    if closing == Closing::Turn {
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
