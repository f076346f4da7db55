//! A turn that goes on after an interruption: what its records say about the work that is done.

use thoughtwire_proto::{CallId, Event, ItemId, Record, Style, ToolStatus, TurnEvent, Usage};

use crate::tool::{self, BuiltInTool, HEARTBEAT};

/// Note behind a text that an interruption has cut. It asks the model for the rest. A prompt that
/// ends with the model's own text would do as well, but not every provider allows that.
pub(crate) const CONTINUE: &str = "[Your last text was cut off by an interruption of the server. \
     What is above is kept. Go on exactly where it stops: write only what is missing, do not \
     repeat anything, and do not mention the interruption. If nothing is missing, write nothing.]";
/// [`CONTINUE`] for a message in MemGPT style.
pub(crate) const CONTINUE_SENDING: &str = "[Your last message was cut off by an interruption of \
     the server, and the person has read it as far as it is above. Call `send_message` with only \
     what is missing, exactly from where it stops. Do not repeat anything, and do not mention the \
     interruption. If nothing is missing, write nothing.]";
/// Marks in front of a text that is too long for the prompt. The number of bytes that the prompt
/// leaves out stands between the two.
const LEFT_OUT: (&str, &str) = ("[", " bytes are left out here] …");

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

impl CutText {
    /// The note that asks for the rest.
    pub(crate) fn note(&self, style: Style) -> &'static str {
        match (style, self.kind) {
            (Style::Memgpt, CutKind::Message) => CONTINUE_SENDING,
            (Style::Native, _) | (Style::Memgpt, CutKind::Monologue) => CONTINUE,
        }
    }

    /// The text as a prompt contains it: its end is what the model continues, so a text of more
    /// than `bytes` loses its beginning.
    pub(crate) fn shown(&self, bytes: usize) -> String {
        let from = self.text.ceil_char_boundary(self.text.len().saturating_sub(bytes));
        match self.text.get(from..) {
            Some(end) if from > 0 => format!("{}{from}{}{end}", LEFT_OUT.0, LEFT_OUT.1),
            Some(_) | None => self.text.clone(),
        }
    }
}

/// Whether a note asks the model to continue a cut text.
pub(crate) fn asks_for_rest(note: &str) -> bool {
    note == CONTINUE || note == CONTINUE_SENDING
}

/// The number of bytes that a prompt leaves out of a cut text, and the end that it contains.
pub(crate) fn shown_end(text: &str) -> (usize, &str) {
    let parse = || {
        let (number, end) = text.strip_prefix(LEFT_OUT.0)?.split_once(LEFT_OUT.1)?;
        Some((number.parse().ok()?, end))
    };
    parse().unwrap_or((0, text))
}

/// The part of a whole continuation that the text before it does not have.
pub(crate) fn added(before: &str, continuation: &str) -> String {
    let mut filter = OverlapFilter::new(before);
    let mut added = filter.push(continuation);
    added.push_str(&filter.end());
    added
}

/// The work of a turn that is done, by its records.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct DoneWork {
    /// The text that was cut last, if nothing was said or done since.
    pub(crate) cut: Option<CutText>,
    /// Number of replies of the model that made calls.
    pub(crate) steps: usize,
    /// Whether the person received a message since the newest input.
    pub(crate) has_messaged: bool,
    /// Whether an input joined the turn that no reply of the model has taken into account.
    pub(crate) has_unseen_input: bool,
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
        let mut joined = JoinedInputs::default();
        for record in records {
            let Event::Turn(event) = &record.event else {
                // An input without a turn waits for its own.
                if let (Event::Input(_), Some(_)) = (&record.event, &record.turn) {
                    work.has_messaged = false;
                    joined.is_new = true;
                }
                continue;
            };
            joined.follow(event);
            let was_calling = std::mem::replace(&mut is_calling, false);
            match event {
                TurnEvent::Thought { item, text, complete, continues } => {
                    // Reasoning cannot be continued: a provider signs it or hides it. The model
                    // thinks once more.
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
                TurnEvent::ToolReturned { call, name, status, .. } => {
                    if *status == ToolStatus::Success && name == BuiltInTool::SendMessage.name() {
                        work.cut = None;
                    }
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
        work.has_unseen_input = joined.is_new || joined.is_due;
        work.has_messaged &= !work.has_unseen_input;
        work
    }

    fn say(&mut self, cut: Option<CutKind>, item: &ItemId, text: &str, continues: Option<&ItemId>) {
        let before = self.cut.take().filter(|before| Some(&before.item) == continues);
        let before = before.map(|before| before.text).unwrap_or_default();
        self.cut =
            cut.map(|kind| CutText { item: item.clone(), kind, text: format!("{before}{text}") });
    }
}

/// Inputs that joined a turn, while its records are read. A reply takes those into account that
/// joined before the model was asked for it. The log does not say when that was; but it was behind
/// the results of all calls before.
#[derive(Default)]
struct JoinedInputs {
    /// Whether one joined, perhaps behind the beginning of the newest reply.
    is_new: bool,
    /// Whether one joined before a reply that has not begun yet.
    is_due: bool,
    /// Number of open calls.
    open_calls: usize,
}

impl JoinedInputs {
    fn follow(&mut self, event: &TurnEvent) {
        let is_behind_reply = match event {
            TurnEvent::ToolCalled { .. } => {
                self.open_calls += 1;
                self.is_due = false;
                false
            }
            TurnEvent::Thought { .. } | TurnEvent::Message { .. } => {
                self.is_due &= self.open_calls > 0;
                false
            }
            TurnEvent::ToolReturned { .. } => {
                self.open_calls = self.open_calls.saturating_sub(1);
                self.open_calls == 0
            }
            TurnEvent::Resumed { .. } | TurnEvent::Usage(_) => self.open_calls == 0,
            TurnEvent::Started { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Ended { .. } => false,
        };
        if is_behind_reply {
            self.is_due |= std::mem::take(&mut self.is_new);
        }
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
    /// The text that has arrived and may be a repetition; `None` once that is decided.
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
        self.without_repetition(&held)
    }

    /// The end of the continuation. Returns what is left of it.
    pub(crate) fn end(&mut self) -> String {
        match self.held.take() {
            // A repetition that stops in the middle has nothing new.
            Some(held) if held.len() >= SHORTEST_OVERLAP => String::new(),
            Some(held) => self.without_repetition(&held),
            None => String::new(),
        }
    }

    fn without_repetition(&self, held: &str) -> String {
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
