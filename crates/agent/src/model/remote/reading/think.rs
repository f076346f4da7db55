//! Reasoning inside of content, between tags such as `<think>` and `</think>`.

/// Opening and closing tags, in lower case.
const TAGS: [(&str, &str); 7] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("[think]", "[/think]"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
];

/// Largest amount of white space that is held back, in bytes.
const MAX_BLANKS: usize = 16 << 10;

/// A part of the content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Thought(String),
    Text(String),
    /// The text so far was a thought: its closing tag arrived without an opening one.
    WasThought,
}

/// Separates thoughts from text in content that arrives in pieces.
///
/// Tags count only at the beginning. Later ones are quotations, except for a closing tag without an
/// opening one, because some chat templates write the opening tag themselves.
pub(super) struct ThinkTags {
    stage: Stage,
    /// Content that cannot be classified yet.
    held: String,
    /// Last character of the text so far, which helps to judge a closing tag.
    before: Option<char>,
    /// Whether a closing tag without an opening one would still count.
    text: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Only white space so far; `told` says whether a thought came before it.
    Start {
        told: bool,
    },
    /// Inside of a thought that ends with this tag; `begun` says whether any of its text arrived.
    Thought {
        closing: &'static str,
        begun: bool,
    },
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// No tag so far.
    Plain,
    /// Tags in it are quotations.
    Quotes,
}

impl Default for ThinkTags {
    fn default() -> Self {
        let stage = Stage::Start { told: false };
        Self { stage, held: String::new(), before: None, text: Text::Plain }
    }
}

impl ThinkTags {
    /// Adds a piece of content and returns the parts that are known.
    pub(super) fn push(&mut self, piece: &str) -> Vec<Part> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        while self.step(&mut parts, End::Open) {}
        parts
    }

    /// Ends the content and returns the last parts.
    pub(super) fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while self.step(&mut parts, End::Closed) {}
        let held = std::mem::take(&mut self.held);
        match self.stage {
            Stage::Start { told: true } | Stage::Thought { begun: false, .. } => {}
            Stage::Thought { .. } => put(&mut parts, Part::Thought(held.trim_end().to_owned())),
            Stage::Start { told: false } | Stage::Text => put(&mut parts, Part::Text(held)),
        }
        parts
    }

    /// Processes the held content. Returns false if it needs more content.
    fn step(&mut self, parts: &mut Vec<Part>, end: End) -> bool {
        match self.stage {
            Stage::Start { told } => self.start(told, end),
            Stage::Thought { closing, begun } => self.thought(closing, begun, parts, end),
            Stage::Text => self.text(parts, end),
        }
    }

    fn start(&mut self, told: bool, end: End) -> bool {
        let blanks = self.held.len() - self.held.trim_start().len();
        let rest = self.held.get(blanks..).unwrap_or_default();
        if rest.is_empty() {
            if blanks > MAX_BLANKS {
                self.stage = Stage::Text;
            }
            return blanks > MAX_BLANKS;
        }
        for (opening, closing) in TAGS {
            match begins(rest, opening) {
                Begins::Yes => {
                    self.held.drain(..blanks + opening.len());
                    self.stage = Stage::Thought { closing, begun: false };
                    return true;
                }
                Begins::Perhaps if end == End::Open => return false,
                Begins::Perhaps | Begins::No => {}
            }
        }
        if told {
            // Blank lines between a thought and the answer belong to neither.
            self.held.drain(..blanks);
        }
        self.stage = Stage::Text;
        if told {
            self.text = Text::Quotes;
        }
        true
    }

    fn thought(
        &mut self,
        closing: &'static str,
        begun: bool,
        parts: &mut Vec<Part>,
        end: End,
    ) -> bool {
        if !begun {
            let blanks = self.held.len() - self.held.trim_start().len();
            self.held.drain(..blanks);
        }
        if let Some(at) = find(&self.held, closing) {
            let thought: String = self.held.drain(..at).collect();
            self.held.drain(..closing.len());
            put(parts, Part::Thought(thought.trim_end().to_owned()));
            self.stage = Stage::Start { told: true };
            return true;
        }
        // White space at its end may be the last before the tag.
        let most = match end {
            End::Open => self.held.len() - pending(&self.held, closing),
            End::Closed => self.held.len(),
        };
        let known = match self.held.get(..most).unwrap_or_default().trim_end().len() {
            known if most - known > MAX_BLANKS => most,
            known => known,
        };
        if known > 0 {
            put(parts, Part::Thought(self.held.drain(..known).collect()));
            self.stage = Stage::Thought { closing, begun: true };
        }
        false
    }

    fn text(&mut self, parts: &mut Vec<Part>, end: End) -> bool {
        if self.text == Text::Plain
            && let Some((at, tag)) = first_tag(&self.held)
        {
            let is_closing = TAGS.iter().any(|(_, closing)| *closing == tag);
            let before = self.held.get(..at).and_then(|text| text.chars().last()).or(self.before);
            let behind = self.held.get(at + tag.len()..).and_then(|text| text.chars().next());
            if is_closing && behind.is_none() && end == End::Open {
                // The next character decides.
                let text: String = self.held.drain(..at).collect();
                self.tell(text, parts);
                return false;
            }
            if is_closing && !is_quoted(before, behind) {
                let text: String = self.held.drain(..at).collect();
                self.held.drain(..tag.len());
                self.tell(text, parts);
                parts.push(Part::WasThought);
                self.stage = Stage::Start { told: true };
                return true;
            }
            self.text = Text::Quotes;
        }
        let known = match (self.text, end) {
            (Text::Quotes, _) | (Text::Plain, End::Closed) => self.held.len(),
            (Text::Plain, End::Open) => {
                let tags = TAGS.iter().flat_map(|(opening, closing)| [opening, closing]);
                let held = tags.map(|tag| pending(&self.held, tag)).max().unwrap_or(0);
                self.held.len() - held
            }
        };
        let text: String = self.held.drain(..known).collect();
        self.tell(text, parts);
        false
    }

    fn tell(&mut self, text: String, parts: &mut Vec<Part>) {
        self.before = text.chars().last().or(self.before);
        put(parts, Part::Text(text));
    }
}

/// Whether more content may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

fn put(parts: &mut Vec<Part>, part: Part) {
    match &part {
        Part::Thought(text) | Part::Text(text) if text.is_empty() => {}
        Part::Thought(_) | Part::Text(_) | Part::WasThought => parts.push(part),
    }
}

/// Whether a closing tag is a quotation inside of a sentence.
fn is_quoted(before: Option<char>, behind: Option<char>) -> bool {
    let quotes = |c: char| "`\"'“”‘’«»".contains(c);
    before.is_some_and(quotes)
        || behind.is_some_and(quotes)
        || (before == Some(' ') && behind.is_some_and(|c| c == ' ' || c.is_alphanumeric()))
}

enum Begins {
    Yes,
    Perhaps,
    No,
}

/// Whether a text begins with a tag, or may when it continues.
fn begins(text: &str, tag: &str) -> Begins {
    let length = text.len().min(tag.len());
    match text.as_bytes().get(..length) {
        Some(head)
            if tag.as_bytes().get(..length).is_some_and(|tag| tag.eq_ignore_ascii_case(head)) =>
        {
            if length == tag.len() {
                Begins::Yes
            } else {
                Begins::Perhaps
            }
        }
        Some(_) | None => Begins::No,
    }
}

/// Position of a tag in a text.
fn find(text: &str, tag: &str) -> Option<usize> {
    let windows = text.as_bytes().windows(tag.len());
    windows.into_iter().position(|window| window.eq_ignore_ascii_case(tag.as_bytes()))
}

/// The first tag in a text.
fn first_tag(text: &str) -> Option<(usize, &'static str)> {
    let tags = TAGS.iter().flat_map(|(opening, closing)| [*opening, *closing]);
    tags.filter_map(|tag| Some((find(text, tag)?, tag))).min()
}

/// Number of bytes at the end of a text that may be the beginning of a tag.
fn pending(text: &str, tag: &str) -> usize {
    let most = text.len().min(tag.len() - 1);
    let at_end = |length: &usize| {
        let tail = text.as_bytes().get(text.len() - length..);
        tail.is_some_and(|tail| {
            tag.as_bytes().get(..*length).is_some_and(|tag| tag.eq_ignore_ascii_case(tail))
        })
    };
    (1..=most).rev().find(at_end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thought and the text of some content.
    fn told(pieces: &[&str]) -> (String, String) {
        let mut tags = ThinkTags::default();
        let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| tags.push(piece)).collect();
        parts.extend(tags.finish());
        let (mut thought, mut text) = (String::new(), String::new());
        for part in parts {
            match part {
                Part::Thought(words) => thought.push_str(&words),
                Part::Text(words) => text.push_str(&words),
                Part::WasThought => thought.push_str(&std::mem::take(&mut text)),
            }
        }
        (thought, text)
    }

    #[test]
    fn thoughts_and_text_are_separated_in_any_chunks() {
        for (content, thought, text) in [
            ("<think>\nSecret.\n</think>\n\nIt is 42.", "Secret.", "It is 42."),
            ("\n <THINK>Secret.</Think>It is 42.", "Secret.", "It is 42."),
            ("<thinking>a </think> b</thinking>\nYes.", "a </think> b", "Yes."),
            ("[THINK]Secret.[/THINK]It is 42.", "Secret.", "It is 42."),
            ("<think>\n\n</think>\n\nIt is 42.", "", "It is 42."),
            ("<think>a</think>\n<think>b</think>c", "ab", "c"),
            // Without a closing tag.
            ("<think>Secret.\nAnd more. ", "Secret.\nAnd more.", ""),
            ("<think>a < b", "a < b", ""),
            // Without an opening tag.
            ("Secret.\n</think>\n\nIt is 42.", "Secret.\n", "It is 42."),
            ("Secret.</think>It is 42.", "Secret.", "It is 42."),
            ("</think>\n\nIt is 42.", "", "It is 42."),
            // Quoted tags.
            ("Write <think>x</think> first.", "", "Write <think>x</think> first."),
            ("End it with `</think>`.", "", "End it with `</think>`."),
            ("The tag </think> ends it.", "", "The tag </think> ends it."),
            ("<think>a</think>Use </think>\n.", "a", "Use </think>\n."),
            // Not tags.
            ("<thin air", "", "<thin air"),
            ("  a < b, <i>c</i> ü🦀", "", "  a < b, <i>c</i> ü🦀"),
            ("<", "", "<"),
            ("  ", "", "  "),
        ] {
            for cut in (0..=content.len()).filter(|cut| content.is_char_boundary(*cut)) {
                let (first, second) = content.split_at(cut);
                assert_eq!(
                    told(&[first, second]),
                    (thought.to_owned(), text.to_owned()),
                    "{content:?} {cut}"
                );
            }
            let chars: Vec<String> = content.chars().map(String::from).collect();
            let chars: Vec<&str> = chars.iter().map(String::as_str).collect();
            assert_eq!(told(&chars), (thought.to_owned(), text.to_owned()), "{content:?}");
        }
    }
}
