//! A session printed while it runs: decides what to print next, and prints nothing twice.

mod shown_item;

use std::collections::{HashMap, HashSet};

use shown_item::{ShownItem, Words, words};
use thoughtwire_proto::transcript::{EntryBody, Transcript, TranscriptChange};
use thoughtwire_proto::{Attached, Emission, ItemId, Outcome as TurnOutcome, StreamKind};

use crate::out::TextStyle;
use crate::render::{self, StyledText};

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
    /// Printed parts of texts that were cut, for the case that they are continued later.
    cut: HashMap<ItemId, String>,
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
        self.cut.clear();
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
        let continued = self.transcript.continued(open);
        let (first, before) =
            match continued.and_then(|at| self.transcript.entries().get(at)).and_then(words) {
                Some(cut) => (cut.item.clone(), cut.text.to_owned()),
                None => (item.clone(), String::new()),
            };
        let text = format!("{before}{}", open.text);
        match &mut self.streaming {
            Some(streaming) if streaming.item == first => {
                (streaming.newest, streaming.before) = (item.clone(), before);
                streaming.is_cut = false;
                streaming.go_on(&text, pieces);
            }
            // A thought may come before the continuation of a message.
            Some(ShownItem { is_cut: true, look: other, .. })
                if look == *other || *other == TextStyle::Dim =>
            {
                self.finish(pieces);
                self.stream(item, pieces);
            }
            Some(_) => {}
            None => {
                let told = self.cut.remove(&first).unwrap_or_default();
                let newest = item.clone();
                let mut streaming =
                    ShownItem { item: first, newest, before, look, told, is_cut: false };
                streaming.go_on(&text, pieces);
                self.streaming = Some(streaming);
            }
        }
    }

    fn entry(&mut self, at: usize, pieces: &mut Vec<OutputPiece>) {
        let Some(entry) = self.transcript.entries().get(at) else { return };
        if let (Some(streaming), Some(words)) = (&mut self.streaming, words(entry))
            && streaming.has(words.item)
        {
            streaming.go_on(words.text, pieces);
            streaming.is_cut = !words.complete;
            if words.complete {
                self.finish(pieces);
            }
            return;
        }
        match &self.streaming {
            None => self.tell(at, pieces),
            Some(streaming) if streaming.ends_before(&entry.body) => {
                self.finish(pieces);
                self.entry(at, pieces);
            }
            // A call may change several times; its last state is printed.
            Some(_) if self.waiting.contains(&at) => {}
            Some(_) => self.waiting.push(at),
        }
    }

    /// Ends the streamed text, prints what waited for that, and streams the next text.
    fn finish(&mut self, pieces: &mut Vec<OutputPiece>) {
        if let Some(ShownItem { item, look, told, is_cut, .. }) = self.streaming.take() {
            if is_cut {
                pieces.push(OutputPiece::Text(look, "…".to_owned()));
                self.cut.insert(item, told);
            }
            pieces.push(OutputPiece::End(look));
        }
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        while let Some(at) = waiting.next() {
            self.tell(at, pieces);
            if self.streaming.is_some() {
                // A text that was cut: the others wait for its end as well.
                self.waiting = waiting.collect();
                return;
            }
        }
        let next = self.transcript.open().iter().find(|open| open.kind != StreamKind::ToolArgs);
        if let Some(next) = next.map(|open| open.item.clone()) {
            self.stream(&next, pieces);
        }
    }

    /// Prints a complete entry.
    fn tell(&mut self, at: usize, pieces: &mut Vec<OutputPiece>) {
        let Some(entry) = self.transcript.entries().get(at) else { return };
        if let Some(Words { look, item, text, complete }) = words(entry)
            && (!complete || self.cut.contains_key(item))
        {
            let told = self.cut.remove(item).unwrap_or_default();
            let (item, newest, before) = (item.clone(), item.clone(), String::new());
            let mut cut = ShownItem { item, newest, before, look, told, is_cut: !complete };
            cut.go_on(text, pieces);
            if complete {
                pieces.push(OutputPiece::End(look));
            } else {
                self.streaming = Some(cut);
            }
            return;
        }
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

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
mod tests;
