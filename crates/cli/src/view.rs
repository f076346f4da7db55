//! A session as it is told while it happens: what to print next, and nothing twice.

use std::collections::HashSet;

use thoughtwire_proto::transcript::{EntryBody, Transcript, TranscriptChange};
use thoughtwire_proto::{Attached, Emission, ItemId, Outcome, StreamKind};

use crate::out::Look;
use crate::story::{self, Told};
use crate::visible::visible_after;

/// What to print next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More of the item that is being told, in its look.
    Text(Look, String),
    /// That item is at its end.
    End(Look),
    /// Something whole.
    Whole(Told),
    /// A turn ended.
    TurnEnded(Outcome),
}

/// Tells one item at a time: what comes while it streams waits until it is done.
#[derive(Debug, Default)]
pub(crate) struct View {
    transcript: Transcript,
    telling: Option<Telling>,
    /// Entries that came while another item was being told.
    waiting: Vec<usize>,
    /// Inputs that were told, or need no telling because they were typed here.
    told: HashSet<ItemId>,
}

/// The item that is being told.
#[derive(Debug)]
struct Telling {
    item: ItemId,
    look: Look,
    /// What of it is printed.
    told: String,
}

impl View {
    /// The session as far as it was seen.
    pub(crate) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// An input of this item was typed here.
    pub(crate) fn typed_here(&mut self, item: ItemId) {
        self.told.insert(item);
    }

    /// Begins or resumes the session.
    pub(crate) fn attach(&mut self, attached: &Attached) -> Vec<Piece> {
        let known = self.transcript.cursor();
        self.transcript.attach(attached);
        let goes_on = known.epoch.is_none()
            || (known.epoch == self.transcript.cursor().epoch && known.seq == attached.after);
        if goes_on {
            return Vec::new();
        }
        self.waiting.clear();
        let mut pieces: Vec<_> =
            self.telling.take().map(|telling| Piece::End(telling.look)).into_iter().collect();
        pieces.push(Piece::Whole((
            Look::Dim,
            "the session could not be resumed where it was left; it is told again".to_owned(),
        )));
        pieces
    }

    /// Takes what came next and tells what to print.
    pub(crate) fn apply(&mut self, emission: &Emission) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match self.transcript.apply(emission) {
            // A gap cannot come about: the client below lets none through.
            TranscriptChange::Nothing | TranscriptChange::Gap { .. } => {}
            TranscriptChange::Open(item) => self.stream(&item, &mut pieces),
            TranscriptChange::Entry(at) => self.entry(at, &mut pieces),
        }
        pieces
    }

    fn stream(&mut self, item: &ItemId, pieces: &mut Vec<Piece>) {
        let Some(open) = self.transcript.open().iter().find(|open| open.item == *item) else {
            return;
        };
        let look = match open.kind {
            StreamKind::Thought => Look::Dim,
            StreamKind::Message => Look::Plain,
            // The call is told when it is whole.
            StreamKind::ToolArgs => return,
        };
        match &mut self.telling {
            None => {
                pieces.push(Piece::Text(look, story::clean(&open.text).into_owned()));
                self.telling = Some(Telling { item: item.clone(), look, told: open.text.clone() });
            }
            Some(telling) if telling.item == *item => telling.go_on(&open.text, pieces),
            Some(_) => {}
        }
    }

    fn entry(&mut self, at: usize, pieces: &mut Vec<Piece>) {
        let Some(entry) = self.transcript.entries().get(at) else { return };
        let ends_turn = matches!(entry.body, EntryBody::Ended { .. });
        match (&mut self.telling, &entry.body) {
            (
                Some(telling),
                EntryBody::Thought { item, text, complete }
                | EntryBody::Message { item, text, complete },
            ) if telling.item == *item => {
                telling.go_on(text, pieces);
                if !complete {
                    pieces.push(Piece::Text(telling.look, "…".to_owned()));
                }
            }
            (Some(_), _) if !ends_turn => {
                // A call may change more than once; it is told as it then is.
                if !self.waiting.contains(&at) {
                    self.waiting.push(at);
                }
                return;
            }
            (Some(_), _) => {}
            (None, _) => return self.tell(at, pieces),
        }
        // Done with the item, or the turn ended and it comes to nothing more.
        if let Some(telling) = self.telling.take() {
            pieces.push(Piece::End(telling.look));
        }
        for at in std::mem::take(&mut self.waiting) {
            self.tell(at, pieces);
        }
        if ends_turn {
            self.tell(at, pieces);
        } else if let Some(next) =
            self.transcript.open().iter().find(|open| open.kind != StreamKind::ToolArgs)
        {
            let next = next.item.clone();
            self.stream(&next, pieces);
        }
    }

    /// Tells an entry that stands by itself.
    fn tell(&mut self, at: usize, pieces: &mut Vec<Piece>) {
        let Some(entry) = self.transcript.entries().get(at) else { return };
        let told = match &entry.body {
            // Told when it is first seen, not again when its turn comes.
            EntryBody::Input { item, text, from, .. } => {
                self.told.insert(item.clone()).then(|| story::input(text, from.as_deref()))
            }
            EntryBody::Call(call) if call.returned.is_none() => story::question(call),
            EntryBody::Call(_)
            | EntryBody::Thought { .. }
            | EntryBody::Message { .. }
            | EntryBody::Ended { .. }
            | EntryBody::Fact(_) => story::entry(entry),
        };
        pieces.extend(told.map(Piece::Whole));
        if let EntryBody::Ended { outcome, .. } = entry.body {
            pieces.push(Piece::TurnEnded(outcome));
        }
    }
}

impl Telling {
    /// Prints what is new in the item's text.
    fn go_on(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        match text.strip_prefix(self.told.as_str()) {
            Some("") => {}
            Some(more) => {
                let before = self.told.chars().next_back();
                pieces.push(Piece::Text(self.look, visible_after(before, more).into_owned()));
            }
            // What is printed cannot be taken back: a shorter text was told already, another one is told anew.
            None if self.told.starts_with(text) => {}
            None => {
                pieces.push(Piece::End(self.look));
                pieces.push(Piece::Text(self.look, story::clean(text).into_owned()));
            }
        }
        self.told = text.to_owned();
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
mod tests {
    use serde_json::json;
    use thoughtwire_proto::dialect::native::ServerFrame;
    use thoughtwire_proto::{Attached, Emission, Seq};

    use super::{Piece, View};
    use crate::out::Look;

    /// Writes what a view tells as one text: dim in parentheses, each whole thing on a line.
    fn told(frames: &[serde_json::Value]) -> String {
        let mut view = View::default();
        let attached = Attached {
            session: "s".parse().unwrap(),
            agent: "a".parse().unwrap(),
            epoch: "e".parse().unwrap(),
            first: Seq(1),
            head: Seq(0),
            recovered: true,
            after: Seq(0),
            turn: None,
        };
        assert!(view.attach(&attached).is_empty());
        view.typed_here("in-1".parse().unwrap());
        let mut out = String::new();
        for frame in frames {
            for piece in view.apply(&emission(frame)) {
                match piece {
                    Piece::Text(Look::Dim, text) => out.push_str(&format!("({text})")),
                    Piece::Text(_, text) => out.push_str(&text),
                    Piece::End(_) => out.push('\n'),
                    Piece::Whole((_, text)) => out.push_str(&format!("{text}\n")),
                    Piece::TurnEnded(outcome) => out.push_str(&format!("[{outcome:?}]\n")),
                }
            }
        }
        out
    }

    fn emission(frame: &serde_json::Value) -> Emission {
        let ServerFrame::SessionEmission(emitted) =
            ServerFrame::decode(&frame.to_string()).unwrap()
        else {
            panic!("{frame}")
        };
        emitted.emission
    }

    fn event(seq: u64, turn: Option<&str>, event: serde_json::Value) -> serde_json::Value {
        let mut frame = json!({"type": "event", "session": "s", "seq": seq, "at": "2026-01-01T00:00:00.000Z", "event": event});
        if let Some(turn) = turn {
            frame["turn"] = turn.into();
        }
        frame
    }

    fn delta(item: &str, n: u64, kind: &str, text: &str) -> serde_json::Value {
        json!({"type": "delta", "session": "s", "turn": "t", "item": item, "n": n, "kind": kind, "text": text})
    }

    fn begun() -> Vec<serde_json::Value> {
        vec![
            event(1, None, json!({"kind": "session_opened", "agent": "a"})),
            event(2, None, json!({"kind": "user_message", "item": "in-1", "text": "hi"})),
            event(3, Some("t"), json!({"kind": "turn_started", "input": "in-1"})),
        ]
    }

    fn ended(seq: u64) -> serde_json::Value {
        event(
            seq,
            Some("t"),
            json!({"kind": "turn_ended", "input": "in-1", "outcome": "completed"}),
        )
    }

    #[test]
    fn streaming_is_told_once() {
        let mut frames = begun();
        frames.extend([
            delta("th", 0, "thought", "Hm"),
            delta("th", 1, "thought", ", yes"),
            event(4, Some("t"), json!({"kind": "thought", "item": "th", "text": "Hm, yes.", "complete": true})),
            delta("m", 0, "message", "Hel"),
            delta("m", 0, "message", "Hel"),
            json!({"type": "partial", "session": "s", "turn": "t", "item": "m", "n": 2, "kind": "message", "text": "Hello"}),
            event(5, Some("t"), json!({"kind": "message", "item": "m", "text": "Hello", "complete": true})),
            ended(6),
        ]);
        assert_eq!(told(&frames), "(Hm)(, yes)(.)\nHello\n[Completed]\n");
    }

    #[test]
    fn what_comes_between_waits() {
        let mut frames = begun();
        frames.extend([
            delta("m", 0, "message", "One "),
            event(4, Some("t"), json!({"kind": "tool_called", "call": "c", "name": "f", "args": {"x": 1}})),
            delta("n", 0, "message", "Two"),
            event(5, Some("t"), json!({"kind": "tool_returned", "call": "c", "name": "f", "status": "success", "text": "2"})),
            event(6, None, json!({"kind": "user_message", "item": "in-2", "text": "and?", "from": "phone"})),
            event(7, Some("t"), json!({"kind": "message", "item": "m", "text": "One moment", "complete": true})),
            event(8, Some("t"), json!({"kind": "message", "item": "n", "text": "Two", "complete": true})),
            ended(9),
        ]);
        assert_eq!(told(&frames), "One moment\n⚙ f(1) → 2\n› phone: and?\nTwo\n[Completed]\n");
    }

    #[test]
    fn an_item_that_comes_to_nothing_ends_with_its_turn() {
        let mut frames = begun();
        frames.extend([
            delta("m", 0, "message", "Once"),
            event(4, Some("t"), json!({"kind": "usage", "input_tokens": 1, "output_tokens": 1})),
            event(5, Some("t"), json!({"kind": "turn_ended", "input": "in-1", "outcome": "failed", "reason": "no model"})),
        ]);
        assert_eq!(told(&frames), "Once\n✗ failed: no model\n[Failed]\n");
    }

    #[test]
    fn the_event_has_the_last_word() {
        let mut frames = begun();
        frames.extend([
            delta("m", 0, "message", "Once upon"),
            event(
                4,
                Some("t"),
                json!({"kind": "message", "item": "m", "text": "Once", "complete": false}),
            ),
            delta("n", 0, "message", "Yes"),
            event(
                5,
                Some("t"),
                json!({"kind": "message", "item": "n", "text": "No", "complete": true}),
            ),
            ended(6),
        ]);
        assert_eq!(told(&frames), "Once upon…\nYes\nNo\n[Completed]\n");
    }
}
