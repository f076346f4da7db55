//! Requests that the offline model recognises in an input.

use serde_json::{Map, Value};

use super::phrases::{FACTS, KEEP, KNOWN, SAID, SAID_ON, SIGNS, SUM, TIME, WHO};
use super::words;

/// One request of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OfflineRequest {
    /// Repeat this text.
    Repeat(String),
    /// Count to this number.
    Count(u64),
    /// Introduce yourself.
    Introduce,
    /// Remember this fact.
    Remember(String),
    /// Tell what you know about these keywords, or everything if there are none.
    Recall { question: String, about: Vec<String> },
    /// Find what the person said about this.
    FindSaid { about: Vec<String> },
    /// Find what was said on this day.
    FindSaidOn { day: String },
    /// Calculate this.
    Calculate(String),
    /// Tell the time, optionally in a time zone.
    Time { zone: Option<String> },
    /// Call this tool.
    CallTool { tool: String, args: Map<String, Value> },
    /// Anything else.
    Other(String),
}

impl OfflineRequest {
    /// Parses all requests of an input, in order. Never empty.
    pub(super) fn all(input: &str) -> Vec<Self> {
        let text = input.trim();
        if let Some(words) = strip(text, &["say: ", "say:"]) {
            return vec![Self::Repeat(words.trim().to_owned())];
        }
        if let Some(request) = Self::tool(text) {
            return vec![request];
        }
        let mut requests: Vec<Self> = sentences(text)
            .iter()
            .flat_map(|sentence| facts(sentence))
            .filter_map(|part| Self::one(&part))
            .collect();
        if requests.is_empty() {
            requests.push(Self::Other(text.to_owned()));
        }
        requests
    }

    /// Whether the answer must stand alone, without the introduction.
    pub(super) fn wants_nothing_added(&self) -> bool {
        matches!(self, Self::Repeat(_) | Self::Count(_) | Self::Introduce | Self::CallTool { .. })
    }

    /// Parses `use TOOL {JSON}`.
    fn tool(text: &str) -> Option<Self> {
        let words = strip(text, &["use "])?;
        let at = words.find('{')?;
        let args = serde_json::from_str(words.get(at..)?).ok()?;
        let tool = words.get(..at)?.trim();
        (!tool.is_empty() && !tool.contains(char::is_whitespace))
            .then(|| Self::CallTool { tool: tool.to_owned(), args })
    }

    fn one(sentence: &str) -> Option<Self> {
        let plain = sentence.trim_end_matches(['.', '!', '?', ' ']);
        let lower = plain.to_lowercase().replace('’', "'");
        let begins = |phrases: &[&str]| phrases.iter().any(|phrase| lower.starts_with(phrase));
        if let Some(number) = strip(&lower, &["count to "])
            .and_then(|number| number.replace([',', '_'], "").trim().parse().ok())
        {
            return Some(Self::Count(number));
        }
        if begins(WHO) {
            return Some(Self::Introduce);
        }
        if TIME.iter().any(|phrase| lower.contains(phrase)) {
            let zone = plain.split_whitespace().find(|word| word.contains('/') || *word == "UTC");
            return Some(Self::Time { zone: zone.map(str::to_owned) });
        }
        if let Some(about) = strip(plain, SAID) {
            return Some(match about.split_whitespace().find(|word| is_day(word)) {
                Some(day) => Self::FindSaidOn { day: day.to_owned() },
                None => Self::FindSaid { about: words::keywords(about) },
            });
        }
        if strip(plain, SAID_ON).is_some() {
            let day = plain.split_whitespace().find(|word| is_day(word))?;
            return Some(Self::FindSaidOn { day: day.to_owned() });
        }
        if let Some(request) = Self::parse_sum(plain) {
            return Some(request);
        }
        if begins(KNOWN) {
            return Some(Self::Recall {
                question: plain.to_owned(),
                about: words::keywords(plain),
            });
        }
        if let Some(fact) = strip(plain, KEEP) {
            return (!fact.trim().is_empty()).then(|| Self::Remember(fact.trim().to_owned()));
        }
        if sentence.ends_with('?') && begins(&["what ", "where ", "who ", "when ", "which "]) {
            return Some(Self::Recall {
                question: plain.to_owned(),
                about: words::keywords(plain),
            });
        }
        (begins(FACTS) && !sentence.ends_with('?')).then(|| Self::Remember(plain.to_owned()))
    }

    /// Parses a sum: the longest run of digits, signs and brackets, alone or in a question.
    fn parse_sum(text: &str) -> Option<Self> {
        let mut lower = text.to_lowercase();
        for (word, sign) in SIGNS {
            lower = lower.replace(word, sign);
        }
        let runs = lower.split(|character: char| !is_of_sum(character));
        let sum = runs
            .map(|run| run.trim().trim_end_matches(['=', '.', ' ']))
            .max_by_key(|run| run.len())?;
        let is_alone = sum == lower.trim_end_matches(['?', '=', '.', '!', ' ']).trim();
        let is_asked = SUM.iter().any(|word| lower.contains(word));
        // A leading sign alone makes only a number, and `2026-01-31` is a day.
        let has_sign = sum.chars().skip(1).any(is_sign)
            && sum.chars().filter(char::is_ascii_digit).count() > 1;
        (has_sign && (is_alone || is_asked) && !is_day(sum))
            .then(|| Self::Calculate(sum.to_owned()))
    }
}

fn is_sign(character: char) -> bool {
    "+-*/^%×÷−".contains(character)
}

fn is_of_sum(character: char) -> bool {
    character.is_ascii_digit() || is_sign(character) || " .()=".contains(character)
}

/// The text after one of some phrases, compared without case.
fn strip<'a>(text: &'a str, phrases: &[&str]) -> Option<&'a str> {
    phrases.iter().find_map(|phrase| {
        let (start, rest) = (text.get(..phrase.len())?, text.get(phrase.len()..)?);
        start.eq_ignore_ascii_case(phrase).then_some(rest)
    })
}

fn is_day(word: &str) -> bool {
    word.len() >= 10 && crate::time::day(word).is_some()
}

/// Splits several facts in one sentence: "my name is Ada and I like tea".
fn facts(sentence: &str) -> Vec<String> {
    let lower = sentence.to_ascii_lowercase();
    let begins = |text: &str| FACTS.iter().any(|phrase| text.starts_with(phrase));
    if !begins(&lower) {
        return vec![sentence.to_owned()];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, and) in lower.match_indices(" and ") {
        if lower.get(at + and.len()..).is_some_and(begins) {
            parts.extend(sentence.get(from..at).map(str::to_owned));
            from = at + and.len();
        }
    }
    parts.extend(sentence.get(from..).map(str::to_owned));
    parts
}

/// Splits a text into sentences, at `.`, `!`, `?` and line breaks.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    let mut ended = false;
    for character in text.chars() {
        if character == '\n' || (ended && character.is_whitespace()) {
            sentences.push(String::new());
        } else if let Some(sentence) = sentences.last_mut() {
            sentence.push(character);
        }
        ended = matches!(character, '.' | '!' | '?');
    }
    sentences
        .iter()
        .map(|sentence| sentence.trim().to_owned())
        .filter(|sentence| !sentence.is_empty())
        .collect()
}
