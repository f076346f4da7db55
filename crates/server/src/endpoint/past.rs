//! The past of a session up to a position, as the beginning of another one.

use thoughtwire_hub::ThreadSeed;
use thoughtwire_proto::{
    CallId, Event, HistoryEntry, InputEvent, ItemId, Record, Refusal, Role, Seq, SessionEvent,
    TurnEvent, UserId,
};
use thoughtwire_store::StoredSession;

use super::shown_calls::{is_shown, name_of, shorten, show_args};
use crate::rest::RestState;

/// Records of one read of the log.
const RECORDS: usize = 256;

/// Reads the past of a session up to a position: its instructions and what was said, with calls in
/// words. Inputs whose turn has not begun there are left out.
///
/// # Errors
/// When the log cannot be read.
pub(crate) async fn past_through(
    rest: &RestState,
    user: &UserId,
    stored: &StoredSession,
    through: Seq,
) -> Result<ThreadSeed, Refusal> {
    let mut past = SessionPast::default();
    if stored.first > Seq(1) {
        // Retention has deleted the first instructions.
        past.instructions = stored.state.instructions().map(str::to_owned);
    }
    let store = rest.hub.store().for_user(user.as_str());
    let mut read = stored.first.previous();
    while read < through {
        let records = store.logs().records_after(&stored.id, read, RECORDS).await?;
        let Some(last) = records.last() else { break };
        read = last.seq;
        records.into_iter().filter(|record| record.seq <= through).for_each(|one| past.take(one));
    }
    Ok(past.into_seed())
}

/// The past as it is read.
#[derive(Default)]
struct SessionPast {
    instructions: Option<String>,
    entries: Vec<PastEntry>,
    /// Inputs whose turn has not begun.
    waiting: Vec<(ItemId, String)>,
    /// Names of calls that have not returned.
    calls: Vec<(CallId, String)>,
}

struct PastEntry {
    seq: Seq,
    /// The message that it ends with, if it is one.
    item: Option<ItemId>,
    entry: HistoryEntry,
}

impl SessionPast {
    fn take(&mut self, record: Record) {
        let Record { seq, turn, event, .. } = record;
        match event {
            Event::Session(event) => self.take_change(seq, event),
            Event::Input(InputEvent::UserMessage { item, text, .. }) => {
                if turn.is_some() {
                    self.push(seq, Role::User, text);
                } else {
                    self.waiting.push((item, text));
                }
            }
            Event::Input(InputEvent::Withdrawn { input }) => {
                self.waiting.retain(|(item, _)| *item != input);
            }
            Event::Turn(event) => self.take_step(seq, event),
            Event::Other(_) => {}
        }
    }

    fn take_change(&mut self, seq: Seq, event: SessionEvent) {
        match event {
            SessionEvent::Opened { instructions, history, .. } => {
                self.instructions = instructions;
                let past = |entry| PastEntry { seq, item: None, entry };
                self.entries.extend(history.into_iter().map(past));
            }
            SessionEvent::InstructionsChanged { instructions } => {
                self.instructions = Some(instructions).filter(|text| !text.is_empty());
            }
            SessionEvent::Compacted { summary, through } => {
                self.entries.retain(|entry| entry.seq > through);
                let text = format!("Summary of the conversation before: {summary}");
                let entry = HistoryEntry { role: Role::Assistant, text };
                self.entries.insert(0, PastEntry { seq: through, item: None, entry });
            }
            SessionEvent::Renamed { .. } | SessionEvent::MemoryEdited { .. } => {}
        }
    }

    fn take_step(&mut self, seq: Seq, event: TurnEvent) {
        match event {
            TurnEvent::Started { input } => {
                let at = self.waiting.iter().position(|(item, _)| *item == input);
                if let Some((_, text)) = at.map(|at| self.waiting.remove(at)) {
                    self.push(seq, Role::User, text);
                }
            }
            TurnEvent::Message { item, text, continues, .. } => {
                let last = self.entries.last_mut().filter(|last| last.item.is_some());
                match last.filter(|last| last.item == continues) {
                    Some(last) => last.entry.text.push_str(&text),
                    None => self.push(seq, Role::Assistant, text),
                }
                if let Some(last) = self.entries.last_mut() {
                    last.item = Some(item);
                }
            }
            TurnEvent::ToolCalled { call, name, args } => {
                if is_shown(&name) {
                    let text = format!("Called {name}({}).", show_args(&args));
                    self.push(seq, Role::Assistant, text);
                }
                self.calls.push((call, name));
            }
            TurnEvent::ToolReturned { call, text, .. } => {
                let name = name_of(&self.calls, &call).to_owned();
                self.calls.retain(|(open, _)| *open != call);
                if is_shown(&name) {
                    self.push(seq, Role::Assistant, format!("{name} returned: {}", shorten(&text)));
                }
            }
            TurnEvent::Resumed { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }

    fn push(&mut self, seq: Seq, role: Role, text: String) {
        self.entries.push(PastEntry { seq, item: None, entry: HistoryEntry { role, text } });
    }

    fn into_seed(self) -> ThreadSeed {
        let Self { instructions, entries, .. } = self;
        let history = entries.into_iter().map(|past| past.entry).collect();
        ThreadSeed { title: None, instructions, history }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(seq: u64, turn: Option<&str>, event: &Value) -> Record {
        let record = json!({
            "seq": seq, "at": "2026-01-01T00:00:00Z", "turn": turn, "event": event
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_past_has_what_was_said_and_not_what_still_waits() {
        let history = json!([{"role": "user", "text": "hi"}]);
        let opened = json!({
            "kind": "session_opened", "agent": "a", "instructions": "Be brief.",
            "history": history
        });
        let say =
            |item: &str, text: &str| json!({"kind": "user_message", "item": item, "text": text});
        let message = |item: &str, text: &str, continues: Option<&str>| {
            let complete = continues.is_some();
            json!({
                "kind": "message", "item": item, "text": text, "complete": complete,
                "continues": continues
            })
        };
        let mut past = SessionPast::default();
        for (seq, (turn, event)) in [
            (None, opened),
            (None, say("i-1", "look")),
            (Some("t-1"), json!({"kind": "turn_started", "input": "i-1"})),
            (None, say("i-2", "wait")),
            (None, say("i-3", "and then")),
            (Some("t-1"), json!({"kind": "tool_called", "call": "c", "name": "see", "args": {}})),
            (Some("t-1"), say("i-4", "quick")),
            (
                Some("t-1"),
                json!({
                    "kind": "tool_returned", "call": "c", "name": "see", "status": "success",
                    "text": "a door"
                }),
            ),
            (Some("t-1"), message("m-1", "I see ", None)),
            (Some("t-1"), message("m-2", "a door.", Some("m-1"))),
            (None, json!({"kind": "input_withdrawn", "input": "i-2"})),
            (None, json!({"kind": "instructions_changed", "instructions": ""})),
        ]
        .into_iter()
        .enumerate()
        {
            past.take(record(seq as u64 + 1, turn, &event));
        }
        let seed = past.into_seed();
        let texts: Vec<&str> = seed.history.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(
            texts,
            ["hi", "look", "Called see({}).", "quick", "see returned: a door", "I see a door."]
        );
        assert_eq!(seed.instructions, None);
    }

    #[test]
    fn a_summary_stands_for_what_it_covers() {
        let mut past = SessionPast::default();
        past.take(record(1, Some("t"), &json!({"kind": "user_message", "item": "i", "text": "1"})));
        past.take(record(2, Some("t"), &json!({"kind": "user_message", "item": "j", "text": "2"})));
        past.take(record(3, None, &json!({"kind": "compacted", "summary": "one", "through": 1})));
        let history = past.into_seed().history;
        let texts: Vec<&str> = history.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(texts, ["Summary of the conversation before: one", "2"]);
    }
}
