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
pub(super) enum ContentPart {
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
    stage: ThinkStage,
    /// Content that cannot be classified yet.
    held: String,
    /// Last character of the text so far, which helps to judge a closing tag.
    before: Option<char>,
    /// Whether a closing tag without an opening one would still count.
    text: TagState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThinkStage {
    /// Only white space so far; `after_thought` says whether a thought came before it.
    Start {
        after_thought: bool,
    },
    /// Inside of a thought that ends with this tag; `begun` says whether any of its text arrived.
    Thought {
        closing: &'static str,
        begun: bool,
    },
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagState {
    /// No tag so far.
    Plain,
    /// Tags in it are quotations.
    Quotes,
}

impl Default for ThinkTags {
    fn default() -> Self {
        let stage = ThinkStage::Start { after_thought: false };
        Self { stage, held: String::new(), before: None, text: TagState::Plain }
    }
}

impl ThinkTags {
    /// Adds a piece of content and returns the parts that are known.
    pub(super) fn push(&mut self, piece: &str) -> Vec<ContentPart> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        while self.step(&mut parts, ContentEnd::Open) {}
        parts
    }

    /// Ends the content and returns the last parts.
    pub(super) fn finish(&mut self) -> Vec<ContentPart> {
        let mut parts = Vec::new();
        while self.step(&mut parts, ContentEnd::Closed) {}
        let held = std::mem::take(&mut self.held);
        match self.stage {
            ThinkStage::Start { after_thought: true }
            | ThinkStage::Thought { begun: false, .. } => {}
            ThinkStage::Thought { .. } => {
                put(&mut parts, ContentPart::Thought(held.trim_end().to_owned()));
            }
            ThinkStage::Start { after_thought: false } | ThinkStage::Text => {
                put(&mut parts, ContentPart::Text(held));
            }
        }
        parts
    }

    /// Processes the held content. Returns false if it needs more content.
    fn step(&mut self, parts: &mut Vec<ContentPart>, end: ContentEnd) -> bool {
        match self.stage {
            ThinkStage::Start { after_thought } => self.start(after_thought, end),
            ThinkStage::Thought { closing, begun } => self.thought(closing, begun, parts, end),
            ThinkStage::Text => self.text(parts, end),
        }
    }

    fn start(&mut self, after_thought: bool, end: ContentEnd) -> bool {
        let blanks = self.held.len() - self.held.trim_start().len();
        let rest = self.held.get(blanks..).unwrap_or_default();
        if rest.is_empty() {
            if blanks > MAX_BLANKS {
                self.stage = ThinkStage::Text;
            }
            return blanks > MAX_BLANKS;
        }
        for (opening, closing) in TAGS {
            match begins(rest, opening) {
                TagMatch::Yes => {
                    self.held.drain(..blanks + opening.len());
                    self.stage = ThinkStage::Thought { closing, begun: false };
                    return true;
                }
                TagMatch::Perhaps if end == ContentEnd::Open => return false,
                TagMatch::Perhaps | TagMatch::No => {}
            }
        }
        if after_thought {
            // Blank lines between a thought and the answer belong to neither.
            self.held.drain(..blanks);
        }
        self.stage = ThinkStage::Text;
        if after_thought {
            self.text = TagState::Quotes;
        }
        true
    }

    fn thought(
        &mut self,
        closing: &'static str,
        begun: bool,
        parts: &mut Vec<ContentPart>,
        end: ContentEnd,
    ) -> bool {
        if !begun {
            let blanks = self.held.len() - self.held.trim_start().len();
            self.held.drain(..blanks);
        }
        if let Some(at) = find(&self.held, closing) {
            let thought: String = self.held.drain(..at).collect();
            self.held.drain(..closing.len());
            put(parts, ContentPart::Thought(thought.trim_end().to_owned()));
            self.stage = ThinkStage::Start { after_thought: true };
            return true;
        }
        // White space at its end may be the last before the tag.
        let max = match end {
            ContentEnd::Open => self.held.len() - pending(&self.held, closing),
            ContentEnd::Closed => self.held.len(),
        };
        let known = match self.held.get(..max).unwrap_or_default().trim_end().len() {
            known if max - known > MAX_BLANKS => max,
            known => known,
        };
        if known > 0 {
            put(parts, ContentPart::Thought(self.held.drain(..known).collect()));
            self.stage = ThinkStage::Thought { closing, begun: true };
        }
        false
    }

    fn text(&mut self, parts: &mut Vec<ContentPart>, end: ContentEnd) -> bool {
        if self.text == TagState::Plain
            && let Some((at, tag)) = first_tag(&self.held)
        {
            let is_closing = TAGS.iter().any(|(_, closing)| *closing == tag);
            let before = self.held.get(..at).and_then(|text| text.chars().last()).or(self.before);
            let behind = self.held.get(at + tag.len()..).and_then(|text| text.chars().next());
            if is_closing && behind.is_none() && end == ContentEnd::Open {
                // The next character decides.
                let text: String = self.held.drain(..at).collect();
                self.push_text(text, parts);
                return false;
            }
            if is_closing && !is_quoted(before, behind) {
                let text: String = self.held.drain(..at).collect();
                self.held.drain(..tag.len());
                self.push_text(text, parts);
                parts.push(ContentPart::WasThought);
                self.stage = ThinkStage::Start { after_thought: true };
                return true;
            }
            self.text = TagState::Quotes;
        }
        let known = match (self.text, end) {
            (TagState::Quotes, _) | (TagState::Plain, ContentEnd::Closed) => self.held.len(),
            (TagState::Plain, ContentEnd::Open) => {
                let tags = TAGS.iter().flat_map(|(opening, closing)| [opening, closing]);
                let held = tags.map(|tag| pending(&self.held, tag)).max().unwrap_or(0);
                self.held.len() - held
            }
        };
        let text: String = self.held.drain(..known).collect();
        self.push_text(text, parts);
        false
    }

    fn push_text(&mut self, text: String, parts: &mut Vec<ContentPart>) {
        self.before = text.chars().last().or(self.before);
        put(parts, ContentPart::Text(text));
    }
}

/// Whether more content may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentEnd {
    Open,
    Closed,
}

fn put(parts: &mut Vec<ContentPart>, part: ContentPart) {
    match &part {
        ContentPart::Thought(text) | ContentPart::Text(text) if text.is_empty() => {}
        ContentPart::Thought(_) | ContentPart::Text(_) | ContentPart::WasThought => {
            parts.push(part);
        }
    }
}

/// Whether a closing tag is a quotation inside of a sentence.
fn is_quoted(before: Option<char>, behind: Option<char>) -> bool {
    let quotes = |c: char| "`\"'“”‘’«»".contains(c);
    before.is_some_and(quotes)
        || behind.is_some_and(quotes)
        || (before == Some(' ') && behind.is_some_and(|c| c == ' ' || c.is_alphanumeric()))
}

enum TagMatch {
    Yes,
    Perhaps,
    No,
}

/// Whether a text begins with a tag, or may when it continues.
fn begins(text: &str, tag: &str) -> TagMatch {
    let length = text.len().min(tag.len());
    match text.as_bytes().get(..length) {
        Some(head)
            if tag.as_bytes().get(..length).is_some_and(|tag| tag.eq_ignore_ascii_case(head)) =>
        {
            if length == tag.len() {
                TagMatch::Yes
            } else {
                TagMatch::Perhaps
            }
        }
        Some(_) | None => TagMatch::No,
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
    let max = text.len().min(tag.len() - 1);
    let at_end = |length: &usize| {
        let tail = text.as_bytes().get(text.len() - length..);
        tail.is_some_and(|tail| {
            tag.as_bytes().get(..*length).is_some_and(|tag| tag.eq_ignore_ascii_case(tail))
        })
    };
    (1..=max).rev().find(at_end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thought and the text of some content.
    fn split(pieces: &[&str]) -> (String, String) {
        let mut tags = ThinkTags::default();
        let mut parts: Vec<ContentPart> =
            pieces.iter().flat_map(|piece| tags.push(piece)).collect();
        parts.extend(tags.finish());
        let (mut thought, mut text) = (String::new(), String::new());
        for part in parts {
            match part {
                ContentPart::Thought(words) => thought.push_str(&words),
                ContentPart::Text(words) => text.push_str(&words),
                ContentPart::WasThought => thought.push_str(&std::mem::take(&mut text)),
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
                    split(&[first, second]),
                    (thought.to_owned(), text.to_owned()),
                    "{content:?} {cut}"
                );
            }
            let chars: Vec<String> = content.chars().map(String::from).collect();
            let chars: Vec<&str> = chars.iter().map(String::as_str).collect();
            assert_eq!(split(&chars), (thought.to_owned(), text.to_owned()), "{content:?}");
        }
    }
}
