//! The account of a session's calls, as a fold of its log.

use crate::rest::{CallListing, CallState, CallWait};
use crate::{ApprovalAbout, CallId, Event, Record, Timestamp, ToolStatus, TurnEvent};

/// Most characters of a result's text in a listing.
const TEXT_CHARS: usize = 200;

/// The calls of a part of a log, oldest first. The part may begin anywhere; results of calls that
/// were made before it are ignored.
///
/// ```
/// use thoughtwire_proto::CallLedger;
/// use thoughtwire_proto::rest::CallState;
/// let mut ledger = CallLedger::default();
/// for line in [
///     r#"{"seq":4,"at":"2026-01-01T00:00:00.000Z","turn":"t-1",
///         "event":{"kind":"tool_called","call":"c-1","name":"pay","args":{}}}"#,
///     r#"{"seq":5,"at":"2026-01-01T00:00:09.000Z","turn":"t-1",
///         "event":{"kind":"turn_resumed","attempt":1,"reason":"restart"}}"#,
/// ] {
///     ledger.apply(&serde_json::from_str(line)?);
/// }
/// assert_eq!(ledger.calls()[0].state, CallState::Unknown);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Default, Clone, PartialEq)]
pub struct CallLedger {
    calls: Vec<CallListing>,
}

impl CallLedger {
    /// Applies the next record.
    pub fn apply(&mut self, record: &Record) {
        let Event::Turn(event) = &record.event else { return };
        match event {
            TurnEvent::ToolCalled { call, name, args } => {
                let Some(turn) = record.turn.clone() else { return };
                self.calls.push(CallListing {
                    call: call.clone(),
                    name: name.clone(),
                    args: args.clone(),
                    turn,
                    seq: record.seq,
                    at: record.at,
                    state: CallState::Running,
                    retries: 0,
                    waits_for: None,
                    expires_at: None,
                    returned_seq: None,
                    returned_at: None,
                    text: None,
                });
            }
            TurnEvent::Resumed { .. } => self.interrupt(),
            TurnEvent::ToolRetried { call, attempt, .. } => {
                if let Some(open) = self.open(call) {
                    open.proceed(CallState::Running);
                    open.retries = *attempt;
                }
            }
            TurnEvent::ApprovalAsked { call, about, expires_at, .. } => {
                let wait = match about {
                    ApprovalAbout::Run => CallWait::Approval,
                    ApprovalAbout::Retry => CallWait::Retry,
                };
                self.wait(call, wait, *expires_at);
            }
            TurnEvent::ToolAwaited { call, expires_at } => {
                self.wait(call, CallWait::Client, *expires_at);
            }
            TurnEvent::ApprovalSettled { call, .. } => {
                if let Some(open) = self.open(call) {
                    // A decision about a repetition comes with the event that makes it or not.
                    open.proceed(match open.waits_for {
                        Some(CallWait::Retry) => CallState::Unknown,
                        Some(CallWait::Approval | CallWait::Client) | None => CallState::Running,
                    });
                }
            }
            TurnEvent::ToolReturned { call, status, text, .. } => {
                if let Some(open) = self.open(call) {
                    open.proceed(match status {
                        ToolStatus::Success => CallState::Done,
                        ToolStatus::Error => CallState::Failed,
                        ToolStatus::Unknown => CallState::Unknown,
                    });
                    open.returned_seq = Some(record.seq);
                    open.returned_at = Some(record.at);
                    open.text = Some(shortened(text));
                }
            }
            // A turn that ends has no open calls.
            TurnEvent::Started { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }

    /// The turn was interrupted: nobody knows the outcome of calls that were running.
    pub fn interrupt(&mut self) {
        for call in self.calls.iter_mut().filter(|call| call.state == CallState::Running) {
            call.state = CallState::Unknown;
        }
    }

    /// Forgets calls that have returned with a known outcome.
    pub fn drop_known(&mut self) {
        self.calls.retain(|call| !call.has_returned() || call.state == CallState::Unknown);
    }

    /// The calls, oldest first.
    #[must_use]
    pub fn calls(&self) -> &[CallListing] {
        &self.calls
    }

    /// The calls, oldest first.
    #[must_use]
    pub fn into_calls(self) -> Vec<CallListing> {
        self.calls
    }

    fn open(&mut self, call: &CallId) -> Option<&mut CallListing> {
        // An id may be used again by a later turn.
        self.calls.iter_mut().rev().find(|open| open.call == *call && !open.has_returned())
    }

    fn wait(&mut self, call: &CallId, wait: CallWait, expires_at: Timestamp) {
        if let Some(open) = self.open(call) {
            open.state = CallState::Waiting;
            (open.waits_for, open.expires_at) = (Some(wait), Some(expires_at));
        }
    }
}

impl CallListing {
    /// Whether the call has returned, so that its account will not change.
    #[must_use]
    pub fn has_returned(&self) -> bool {
        self.returned_seq.is_some()
    }

    /// The call waits no longer.
    fn proceed(&mut self, state: CallState) {
        self.state = state;
        (self.waits_for, self.expires_at) = (None, None);
    }
}

/// A text of at most [`TEXT_CHARS`] characters.
fn shortened(text: &str) -> String {
    if text.chars().nth(TEXT_CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(TEXT_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Seq;

    /// Folds events of one turn. A call's event may leave out what the fold does not read.
    fn folded(events: &[Value]) -> CallLedger {
        let mut ledger = CallLedger::default();
        for (seq, event) in (1..).zip(events) {
            let mut event = event.clone();
            if event["kind"] == "tool_called" {
                event["name"] = json!("pay");
                event["args"] = json!({"sum": 7});
            }
            let record = json!({
                "seq": seq,
                "at": format!("2026-01-01T00:00:{seq:02}.000Z"),
                "turn": "t-1",
                "event": event,
            });
            ledger.apply(&serde_json::from_value(record).expect("a record"));
        }
        ledger
    }

    fn called(call: &str) -> Value {
        json!({"kind": "tool_called", "call": call})
    }

    fn returned(call: &str, status: &str) -> Value {
        json!({"kind": "tool_returned", "call": call, "name": "pay", "status": status, "text": "x"})
    }

    fn asked(call: &str, about: &str) -> Value {
        let expires = "2026-01-01T01:00:00.000Z";
        json!({"kind": "approval_asked", "call": call, "about": about, "expires_at": expires})
    }

    fn awaited(call: &str) -> Value {
        json!({"kind": "tool_awaited", "call": call, "expires_at": "2026-01-01T01:00:00.000Z"})
    }

    fn settled(call: &str, decision: &str) -> Value {
        json!({"kind": "approval_settled", "call": call, "decision": decision})
    }

    fn resumed(attempt: u32) -> Value {
        json!({"kind": "turn_resumed", "attempt": attempt, "reason": "restart"})
    }

    fn retried(call: &str, attempt: u32) -> Value {
        json!({"kind": "tool_retried", "call": call, "attempt": attempt, "reason": "safe"})
    }

    #[test]
    fn the_state_follows_from_the_log() {
        use CallState::{Done, Failed, Running, Unknown, Waiting};
        use CallWait::{Approval, Client, Retry};
        let c = "c-1";
        for (events, state, waits_for, retries) in [
            (vec![], Running, None, 0),
            (vec![returned(c, "success")], Done, None, 0),
            (vec![returned(c, "error")], Failed, None, 0),
            (vec![returned(c, "unknown")], Unknown, None, 0),
            (vec![asked(c, "run")], Waiting, Some(Approval), 0),
            (vec![asked(c, "run"), settled(c, "approved")], Running, None, 0),
            (vec![awaited(c)], Waiting, Some(Client), 0),
            (vec![awaited(c), returned(c, "success")], Done, None, 0),
            (vec![resumed(1)], Unknown, None, 0),
            (vec![asked(c, "run"), resumed(1)], Waiting, Some(Approval), 0),
            (vec![awaited(c), resumed(1)], Waiting, Some(Client), 0),
            (vec![resumed(1), retried(c, 1)], Running, None, 1),
            (vec![resumed(1), retried(c, 1), resumed(2)], Unknown, None, 1),
            (vec![resumed(1), retried(c, 1), returned(c, "success")], Done, None, 1),
            (vec![resumed(1), asked(c, "retry")], Waiting, Some(Retry), 0),
            (vec![resumed(1), asked(c, "retry"), resumed(1)], Waiting, Some(Retry), 0),
            (
                vec![resumed(1), asked(c, "retry"), settled(c, "approved"), retried(c, 1)],
                Running,
                None,
                1,
            ),
            (
                vec![resumed(1), asked(c, "retry"), settled(c, "expired"), returned(c, "unknown")],
                Unknown,
                None,
                0,
            ),
        ] {
            let ledger = folded(&[&[called(c)], &events[..]].concat());
            let [call] = ledger.calls() else { panic!("one call: {ledger:?}") };
            assert_eq!(
                (call.state, call.waits_for, call.retries),
                (state, waits_for, retries),
                "{events:?}"
            );
            assert_eq!(call.expires_at.is_some(), state == Waiting, "{events:?}");
        }
    }

    #[test]
    fn a_listing_has_the_positions_and_the_arguments() {
        let ledger = folded(&[called("c-1"), returned("c-1", "success")]);
        let call = serde_json::to_value(&ledger.calls()[0]).expect("JSON");
        assert_eq!(
            call,
            json!({
                "call": "c-1", "name": "pay", "args": {"sum": 7}, "turn": "t-1", "seq": 1,
                "at": "2026-01-01T00:00:01.000Z", "state": "done", "retries": 0, "returned_seq": 2,
                "returned_at": "2026-01-01T00:00:02.000Z", "text": "x",
            })
        );
    }

    #[test]
    fn calls_side_by_side_have_their_own_states() {
        let ledger = folded(&[
            called("c-1"),
            called("c-2"),
            called("c-3"),
            asked("c-3", "run"),
            returned("c-2", "error"),
            resumed(1),
        ]);
        let states: Vec<_> = ledger.calls().iter().map(|call| call.state).collect();
        assert_eq!(states, [CallState::Unknown, CallState::Failed, CallState::Waiting]);
    }

    #[test]
    fn an_id_that_is_used_again_is_another_call() {
        let ledger = folded(&[
            called("c-1"),
            returned("c-1", "success"),
            called("c-1"),
            returned("c-1", "error"),
        ]);
        let calls: Vec<_> = ledger.calls().iter().map(|call| (call.seq, call.state)).collect();
        assert_eq!(calls, [(Seq(1), CallState::Done), (Seq(3), CallState::Failed)]);
    }

    #[test]
    fn the_part_may_begin_behind_a_call() {
        let ledger = folded(&[resumed(1), returned("c-0", "success"), called("c-1")]);
        assert_eq!(ledger.calls().len(), 1);
        assert_eq!(ledger.calls()[0].state, CallState::Running);
    }

    #[test]
    fn known_calls_are_forgotten_and_open_ones_kept() {
        let mut ledger = folded(&[
            called("c-1"),
            returned("c-1", "success"),
            called("c-2"),
            returned("c-2", "unknown"),
            called("c-3"),
        ]);
        ledger.drop_known();
        let left: Vec<_> = ledger.calls().iter().map(|call| call.call.as_str()).collect();
        assert_eq!(left, ["c-2", "c-3"]);
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(shortened(&"ü".repeat(200)), "ü".repeat(200));
        let cut = shortened(&"ü".repeat(201));
        assert_eq!(cut.chars().count(), 200);
        assert!(cut.ends_with("ü…"));
    }
}
