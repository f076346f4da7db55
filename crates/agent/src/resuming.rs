//! A turn that goes on after an interruption: what its records say about the work that is done.

use thoughtwire_proto::{CallId, Event, ItemId, Record, Style, ToolStatus, TurnEvent, Usage};

use crate::tool::{self, HEARTBEAT};

/// Note behind a text that an interruption has cut. It asks the model for the rest. A prompt that
/// ends with the model's own text would do as well, but not every provider allows that.
pub(crate) const CONTINUE: &str = "[Your last text was cut off by an interruption of the server, and the person has read it as \
     far as it is above. Go on exactly where it stops: write only what is missing, do not repeat \
     anything, and do not mention the interruption. If nothing is missing, write nothing.]";

/// A text that an interruption has cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CutText {
    /// The newest item with a part of it.
    pub(crate) item: ItemId,
    pub(crate) kind: CutKind,
    /// All of it, also if it was cut and continued before.
    pub(crate) text: String,
}

/// Kind of a text that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutKind {
    /// An inner monologue in MemGPT style.
    Monologue,
    /// A message.
    Message,
}

/// What a turn's records say about the work that is done.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct DoneWork {
    /// The text that was cut last, if nothing was said or done since.
    pub(crate) cut: Option<CutText>,
    /// Number of replies of the model that made calls.
    pub(crate) steps: usize,
    /// Whether the person received a message since the newest input.
    pub(crate) has_messaged: bool,
    /// Usage that the log has.
    pub(crate) logged: Usage,
    /// Whether the newest calls want their results shown to the model, and nothing is open.
    pub(crate) wants_heartbeat: bool,
}

impl DoneWork {
    /// Reads the records of a turn, oldest first.
    pub(crate) fn read(records: &[Record], style: Style) -> Self {
        let mut work = Self::default();
        let mut group: Vec<&CallId> = Vec::new();
        let mut is_calling = false;
        for record in records {
            let Event::Turn(event) = &record.event else {
                if let Event::Input(_) = &record.event {
                    work.has_messaged = false;
                }
                continue;
            };
            let was_calling = std::mem::replace(&mut is_calling, false);
            match event {
                TurnEvent::Thought { item, text, complete, continues } => {
                    // Reasoning cannot be continued: a provider signs it or hides it. The model
                    // thinks anew.
                    let is_monologue = style == Style::Memgpt;
                    let cut = (!complete && is_monologue).then_some(CutKind::Monologue);
                    work.say(cut, item, text, continues.as_ref());
                }
                TurnEvent::Message { item, text, complete, continues } => {
                    work.has_messaged = true;
                    let cut = (!complete).then_some(CutKind::Message);
                    work.say(cut, item, text, continues.as_ref());
                }
                TurnEvent::ToolCalled { call, args, .. } => {
                    work.cut = None;
                    is_calling = true;
                    if !was_calling {
                        work.steps += 1;
                        group.clear();
                        work.wants_heartbeat = style == Style::Native;
                    }
                    group.push(call);
                    work.wants_heartbeat |= args.get(HEARTBEAT).is_some_and(tool::is_truthy);
                }
                TurnEvent::ToolReturned { call, status, .. } => {
                    work.wants_heartbeat |= group.contains(&call) && *status != ToolStatus::Success;
                }
                TurnEvent::Usage(usage) => work.logged.add(*usage),
                TurnEvent::Started { .. }
                | TurnEvent::Resumed { .. }
                | TurnEvent::ToolRetried { .. }
                | TurnEvent::ApprovalAsked { .. }
                | TurnEvent::ApprovalSettled { .. }
                | TurnEvent::ToolAwaited { .. }
                | TurnEvent::Ended { .. } => is_calling = was_calling,
            }
        }
        work
    }

    fn say(&mut self, cut: Option<CutKind>, item: &ItemId, text: &str, continues: Option<&ItemId>) {
        let before = self.cut.take().filter(|before| Some(&before.item) == continues);
        let before = before.map(|before| before.text).unwrap_or_default();
        self.cut =
            cut.map(|kind| CutText { item: item.clone(), kind, text: format!("{before}{text}") });
    }
}

/// Shortest repetition at the beginning of a continuation that is taken for one, in bytes. A
/// shorter one may be meant.
const SHORTEST_OVERLAP: usize = 20;
/// Longest end of the cut text that a repetition is looked for in, in bytes, beside the whole.
const LONGEST_OVERLAP: usize = 4_000;

/// Drops what a continuation repeats of the text before it, while it arrives.
pub(crate) struct OverlapFilter {
    /// The text before.
    before: String,
    /// What has arrived and may be a repetition; `None` once that is decided.
    held: Option<String>,
}

impl OverlapFilter {
    pub(crate) fn new(text: &str) -> Self {
        Self { before: text.to_owned(), held: Some(String::new()) }
    }

    /// Takes a piece. Returns the text that is certainly no repetition.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        let Some(mut held) = self.held.take() else { return piece.to_owned() };
        held.push_str(piece);
        let may_repeat = |end: &str| end.len() > held.len() && end.starts_with(&held);
        if self.ends().any(may_repeat) {
            self.held = Some(held);
            return String::new();
        }
        self.without_repetition(held)
    }

    /// The end of the continuation. Returns what is left of it.
    pub(crate) fn end(&mut self) -> String {
        match self.held.take() {
            // A repetition that stops in the middle has nothing new.
            Some(held) if held.len() >= SHORTEST_OVERLAP => String::new(),
            Some(held) => self.without_repetition(held),
            None => String::new(),
        }
    }

    fn without_repetition(&self, held: String) -> String {
        let repeated = self.ends().find(|end| held.starts_with(end)).map_or(0, str::len);
        held.get(repeated..).unwrap_or_default().to_owned()
    }

    /// The text before, and its ends that are long enough to be repeated, the longest first.
    fn ends(&self) -> impl Iterator<Item = &str> {
        let from = self.before.len().saturating_sub(LONGEST_OVERLAP);
        let last = self.before.len().saturating_sub(SHORTEST_OVERLAP);
        let starts = (from.max(1)..=last).filter(move |_| last > 0);
        let whole = Some(self.before.as_str()).filter(|before| !before.is_empty());
        whole.into_iter().chain(starts.filter_map(|at| self.before.get(at..)))
    }
}

#[cfg(test)]
mod tests {
    use super::OverlapFilter;

    fn continued(before: &str, pieces: &[&str]) -> String {
        let mut filter = OverlapFilter::new(before);
        let mut text: String = pieces.iter().map(|piece| filter.push(piece)).collect();
        text.push_str(&filter.end());
        text
    }

    #[test]
    fn a_repetition_is_dropped_and_everything_else_stays() {
        let before = "Once upon a time there was a tea pot in the";
        for (pieces, rest) in [
            (&[" middle", " of nowhere."][..], " middle of nowhere."),
            (&["Once upon a time ", "there was a tea pot in the middle."], " middle."),
            (&["was a tea pot ", "in the", " middle."], " middle."),
            (&["the middle"], "the middle"),
            (&["in the middle"], "in the middle"),
            (
                &["Once upon a time the", "se things happened."],
                "Once upon a time these things happened.",
            ),
            (&["Once upon a time there was"], ""),
            (&["was a tea pot in the"], ""),
            (&[], ""),
        ] {
            assert_eq!(continued(before, pieces), rest, "{pieces:?}");
        }
        assert_eq!(continued("Hé", &["H", "é", "llo"]), "llo");
        assert_eq!(continued("", &["Hello"]), "Hello");
    }
}
