//! A session printed while it runs: decides what to print next, and prints nothing twice.

use std::collections::HashSet;

use thoughtwire_proto::transcript::{EntryBody, Transcript, TranscriptChange};
use thoughtwire_proto::{Attached, Emission, ItemId, Outcome as TurnOutcome, StreamKind};

use crate::out::TextStyle;
use crate::render::{self, StyledText};
use crate::visible::visible_after;

/// One step of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputPiece {
    /// More text of the item that is being streamed.
    Text(TextStyle, String),
    /// The end of that item.
    End(TextStyle),
    /// A complete text on lines of its own.
    Whole(StyledText),
    /// A turn ended.
    TurnEnded(TurnOutcome),
}

/// Streams one item at a time. Entries that arrive meanwhile are printed after it.
#[derive(Debug, Default)]
pub(crate) struct LiveView {
    transcript: Transcript,
    streaming: Option<ShownItem>,
    /// Positions of entries that arrived while another item was being streamed.
    waiting: Vec<usize>,
    /// Inputs that were printed, or were typed here and need no printing.
    told: HashSet<ItemId>,
}

/// The item that is being streamed.
#[derive(Debug)]
struct ShownItem {
    item: ItemId,
    look: TextStyle,
    /// The part of its text that is printed.
    told: String,
}

impl LiveView {
    /// The session's transcript so far.
    pub(crate) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Marks an input as typed here, so that it is not printed again.
    pub(crate) fn typed_here(&mut self, item: ItemId) {
        self.told.insert(item);
    }

    /// Begins or resumes the session; returns a notice if it could not be resumed.
    pub(crate) fn attach(&mut self, attached: &Attached) -> Vec<OutputPiece> {
        let known = self.transcript.cursor();
        self.transcript.attach(attached);
        let goes_on = known.epoch.is_none()
            || (known.epoch == self.transcript.cursor().epoch && known.seq == attached.after);
        if goes_on {
            return Vec::new();
        }
        self.waiting.clear();
        let mut pieces: Vec<_> = self
            .streaming
            .take()
            .map(|streaming| OutputPiece::End(streaming.look))
            .into_iter()
            .collect();
        pieces.push(OutputPiece::Whole((
            TextStyle::Dim,
            "the session could not be resumed at the last position; it is shown again".to_owned(),
        )));
        pieces
    }

    /// Applies an emission; returns what to print.
    pub(crate) fn apply(&mut self, emission: &Emission) -> Vec<OutputPiece> {
        let mut pieces = Vec::new();
        match self.transcript.apply(emission) {
            // The follower reconnects on a gap, so none reaches the view.
            TranscriptChange::Nothing | TranscriptChange::Gap { .. } => {}
            TranscriptChange::Open(item) => self.stream(&item, &mut pieces),
            TranscriptChange::Entry(at) => self.entry(at, &mut pieces),
        }
        pieces
    }

    fn stream(&mut self, item: &ItemId, pieces: &mut Vec<OutputPiece>) {
        let Some(open) = self.transcript.open().iter().find(|open| open.item == *item) else {
            return;
        };
        let look = match open.kind {
            StreamKind::Thought => TextStyle::Dim,
            StreamKind::Message => TextStyle::Plain,
            // A call is printed when its arguments are complete.
            StreamKind::ToolArgs => return,
        };
        match &mut self.streaming {
            None => {
                pieces.push(OutputPiece::Text(look, render::clean(&open.text).into_owned()));
                self.streaming =
                    Some(ShownItem { item: item.clone(), look, told: open.text.clone() });
            }
            Some(streaming) if streaming.item == *item => streaming.go_on(&open.text, pieces),
            Some(_) => {}
        }
    }

    fn entry(&mut self, at: usize, pieces: &mut Vec<OutputPiece>) {
        let Some(entry) = self.transcript.entries().get(at) else { return };
        let ends_turn = matches!(entry.body, EntryBody::Ended { .. });
        match (&mut self.streaming, &entry.body) {
            (
                Some(streaming),
                EntryBody::Thought { item, text, complete, .. }
                | EntryBody::Message { item, text, complete, .. },
            ) if streaming.item == *item => {
                streaming.go_on(text, pieces);
                if !complete {
                    pieces.push(OutputPiece::Text(streaming.look, "…".to_owned()));
                }
            }
            (Some(_), _) if !ends_turn => {
                // A call may change several times; its last state is printed.
                if !self.waiting.contains(&at) {
                    self.waiting.push(at);
                }
                return;
            }
            (Some(_), _) => {}
            (None, _) => return self.tell(at, pieces),
        }
        // The item is complete, or its turn ended before it was.
        if let Some(streaming) = self.streaming.take() {
            pieces.push(OutputPiece::End(streaming.look));
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

    /// Prints a complete entry.
    fn tell(&mut self, at: usize, pieces: &mut Vec<OutputPiece>) {
        let Some(entry) = self.transcript.entries().get(at) else { return };
        let told = match &entry.body {
            // Printed when it is first seen, not again when its turn comes.
            EntryBody::Input { item, text, from, .. } => {
                self.told.insert(item.clone()).then(|| render::input(text, from.as_deref()))
            }
            EntryBody::Call(call) if call.returned.is_none() => render::approval(call),
            EntryBody::Call(_)
            | EntryBody::Thought { .. }
            | EntryBody::Message { .. }
            | EntryBody::Ended { .. }
            | EntryBody::Fact(_) => render::entry(entry),
        };
        pieces.extend(told.map(OutputPiece::Whole));
        if let EntryBody::Ended { outcome, .. } = entry.body {
            pieces.push(OutputPiece::TurnEnded(outcome));
        }
    }
}

impl ShownItem {
    /// Prints the new part of the item's text.
    fn go_on(&mut self, text: &str, pieces: &mut Vec<OutputPiece>) {
        match text.strip_prefix(self.told.as_str()) {
            Some("") => {}
            Some(more) => {
                let before = self.told.chars().next_back();
                pieces.push(OutputPiece::Text(self.look, visible_after(before, more).into_owned()));
            }
            // Printed text cannot be removed: a shorter text is printed already, a different one is
            // printed in full.
            None if self.told.starts_with(text) => {}
            None => {
                pieces.push(OutputPiece::End(self.look));
                pieces.push(OutputPiece::Text(self.look, render::clean(text).into_owned()));
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

    use super::{LiveView, OutputPiece};
    use crate::out::TextStyle;

    /// Writes a view's output as one text: dim text in parentheses, each complete text on a line.
    fn told(frames: &[serde_json::Value]) -> String {
        let mut view = LiveView::default();
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
                    OutputPiece::Text(TextStyle::Dim, text) => out.push_str(&format!("({text})")),
                    OutputPiece::Text(_, text) => out.push_str(&text),
                    OutputPiece::End(_) => out.push('\n'),
                    OutputPiece::Whole((_, text)) => out.push_str(&format!("{text}\n")),
                    OutputPiece::TurnEnded(outcome) => out.push_str(&format!("[{outcome:?}]\n")),
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
        let mut frame = json!({"type": "event", "session": "s", "seq": seq,
            "at": "2026-01-01T00:00:00.000Z", "event": event});
        if let Some(turn) = turn {
            frame["turn"] = turn.into();
        }
        frame
    }

    fn delta(item: &str, n: u64, kind: &str, text: &str) -> serde_json::Value {
        json!({"type": "delta", "session": "s", "turn": "t", "item": item, "n": n, "kind": kind,
            "text": text})
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
    fn streamed_text_is_printed_once() {
        let mut frames = begun();
        frames.extend([
            delta("th", 0, "thought", "Hm"),
            delta("th", 1, "thought", ", yes"),
            event(
                4,
                Some("t"),
                json!({"kind": "thought", "item": "th", "text": "Hm, yes.",
                "complete": true}),
            ),
            delta("m", 0, "message", "Hel"),
            delta("m", 0, "message", "Hel"),
            json!({"type": "partial", "session": "s", "turn": "t", "item": "m", "n": 2,
                "kind": "message", "text": "Hello"}),
            event(
                5,
                Some("t"),
                json!({"kind": "message", "item": "m", "text": "Hello",
                "complete": true}),
            ),
            ended(6),
        ]);
        assert_eq!(told(&frames), "(Hm)(, yes)(.)\nHello\n[Completed]\n");
    }

    #[test]
    fn entries_wait_for_the_streamed_item() {
        let mut frames = begun();
        frames.extend([
            delta("m", 0, "message", "One "),
            event(
                4,
                Some("t"),
                json!({"kind": "tool_called", "call": "c", "name": "f",
                "args": {"x": 1}}),
            ),
            delta("n", 0, "message", "Two"),
            event(
                5,
                Some("t"),
                json!({"kind": "tool_returned", "call": "c", "name": "f",
                "status": "success", "text": "2"}),
            ),
            event(
                6,
                None,
                json!({"kind": "user_message", "item": "in-2", "text": "and?",
                "from": "phone"}),
            ),
            event(
                7,
                Some("t"),
                json!({"kind": "message", "item": "m", "text": "One moment",
                "complete": true}),
            ),
            event(
                8,
                Some("t"),
                json!({"kind": "message", "item": "n", "text": "Two",
                "complete": true}),
            ),
            ended(9),
        ]);
        assert_eq!(told(&frames), "One moment\n⚙ f(1) → 2\n› phone: and?\nTwo\n[Completed]\n");
    }

    #[test]
    fn an_incomplete_item_ends_with_its_turn() {
        let mut frames = begun();
        frames.extend([
            delta("m", 0, "message", "Once"),
            event(4, Some("t"), json!({"kind": "usage", "input_tokens": 1, "output_tokens": 1})),
            event(
                5,
                Some("t"),
                json!({"kind": "turn_ended", "input": "in-1", "outcome": "failed",
                "reason": "no model"}),
            ),
        ]);
        assert_eq!(told(&frames), "Once\n✗ failed: no model\n[Failed]\n");
    }

    #[test]
    fn the_event_overrides_its_deltas() {
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
