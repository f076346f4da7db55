//! What a person may want of the offline model, read from their words.

use super::words;

/// One thing that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Repeat this.
    Say(String),
    /// Count up to this.
    Count(u64),
    /// Who are you?
    Who,
    /// Keep this.
    Keep(String),
    /// What do you know about this? No words for "everything".
    Recall { question: String, about: Vec<String> },
    /// What did I say about this?
    Said { about: Vec<String> },
    /// What was said on this day?
    SaidOn { day: String },
    /// Work this out.
    Reckon(String),
    /// What time is it, and where?
    Time { zone: Option<String> },
    /// Anything else.
    Other(String),
}

const KEEP: [&str; 7] =
    ["please remember that ", "please remember ", "remember that ", "remember: ", "remember ", "don't forget that ", "note that "];
const FACTS: [&str; 24] = [
    "my name is ",
    "my name's ",
    "call me ",
    "i am called ",
    "my favourite ",
    "my favorite ",
    "i like ",
    "i love ",
    "i enjoy ",
    "i prefer ",
    "i hate ",
    "i dislike ",
    "i don't like ",
    "i live in ",
    "i work ",
    "i am from ",
    "i come from ",
    "i was born ",
    "i have a ",
    "i have an ",
    "i have two ",
    "i play ",
    "i speak ",
    "my birthday is ",
];
const WHO: [&str; 12] = [
    "who are you",
    "what are you",
    "are you an llm",
    "are you a llm",
    "are you an ai",
    "are you a real",
    "are you real",
    "are you human",
    "are you a bot",
    "what model are you",
    "which model are you",
    "what can you do",
];
const KNOWN: [&str; 20] = [
    "what do you remember",
    "what do you know",
    "what can you remember",
    "do you remember",
    "do you know",
    "do you recall",
    "what is my ",
    "what's my ",
    "what are my ",
    "who am i",
    "what do i ",
    "what am i ",
    "where do i ",
    "where am i ",
    "when is my ",
    "who is my ",
    "do i ",
    "how old am i",
    "tell me what you know",
    "tell me what you remember",
];
const SAID: [&str; 10] = [
    "what did i say about ",
    "what did i tell you about ",
    "what have i said about ",
    "what did we say about ",
    "what did we talk about",
    "did i say anything about ",
    "did i mention ",
    "did i ever mention ",
    "when did i mention ",
    "what did you say about ",
];
const TIME: [&str; 12] = [
    "what time is it",
    "what's the time",
    "what is the time",
    "what is the date",
    "what's the date",
    "what day is it",
    "what is today",
    "what's today",
    "which day is it",
    "current time",
    "current date",
    "tell me the time",
];

impl Ask {
    /// Everything that an input wants, in order; at least one thing.
    pub(super) fn all(input: &str) -> Vec<Self> {
        let text = input.trim();
        if let Some(words) = strip(text, &["say: ", "say:"]) {
            return vec![Self::Say(words.trim().to_owned())];
        }
        // A sum is read before sentences are told apart: it may have points in it.
        if let Some(ask) = Self::reckon(text) {
            return vec![ask];
        }
        let mut asks: Vec<Self> = sentences(text).iter().filter_map(|sentence| Self::one(sentence)).collect();
        if asks.is_empty() {
            asks.push(Self::Other(text.to_owned()));
        }
        asks
    }

    /// Whether an answer must be nothing but itself.
    pub(super) fn wants_nothing_added(&self) -> bool {
        matches!(self, Self::Say(_) | Self::Count(_) | Self::Who)
    }

    fn one(sentence: &str) -> Option<Self> {
        let plain = sentence.trim_end_matches(['.', '!', '?', ' ']);
        let lower = plain.to_lowercase().replace('’', "'");
        let begins = |phrases: &[&str]| phrases.iter().any(|phrase| lower.starts_with(phrase));
        if let Some(number) = strip(&lower, &["count to "]).and_then(|number| number.replace([',', '_'], "").trim().parse().ok()) {
            return Some(Self::Count(number));
        }
        if begins(&WHO) {
            return Some(Self::Who);
        }
        if begins(&TIME) {
            let zone = plain.split_whitespace().find(|word| word.contains('/') || *word == "UTC");
            return Some(Self::Time { zone: zone.map(str::to_owned) });
        }
        if let Some(about) = strip(plain, &SAID) {
            return Some(match about.split_whitespace().find(|word| is_day(word)) {
                Some(day) => Self::SaidOn { day: day.to_owned() },
                None => Self::Said { about: words::keywords(about) },
            });
        }
        if strip(plain, &["what did i say on ", "what did we say on ", "what was said on "]).is_some() {
            let day = plain.split_whitespace().find(|word| is_day(word))?;
            return Some(Self::SaidOn { day: day.to_owned() });
        }
        if let Some(ask) = Self::reckon(plain) {
            return Some(ask);
        }
        if begins(&KNOWN) {
            return Some(Self::Recall { question: plain.to_owned(), about: words::keywords(plain) });
        }
        if let Some(fact) = strip(plain, &KEEP) {
            return (!fact.trim().is_empty()).then(|| Self::Keep(fact.trim().to_owned()));
        }
        if sentence.ends_with('?') && begins(&["what ", "where ", "who ", "when ", "which "]) {
            return Some(Self::Recall { question: plain.to_owned(), about: words::keywords(plain) });
        }
        (begins(&FACTS) && !sentence.ends_with('?')).then(|| Self::Keep(plain.to_owned()))
    }

    /// A sum: digits, signs and brackets, perhaps with words around.
    fn reckon(text: &str) -> Option<Self> {
        let lower = text.to_lowercase().replace('’', "'");
        let inner = strip(&lower, &["what is ", "what's ", "how much is ", "calculate ", "compute ", "work out "]).unwrap_or(&lower);
        let mut sum = inner.trim_end_matches(['?', '=', ' ', '!']).trim_end_matches('.').trim().to_owned();
        for (word, sign) in [
            (" times ", " * "),
            (" plus ", " + "),
            (" minus ", " - "),
            (" divided by ", " / "),
            (" to the power of ", " ^ "),
            (" x ", " * "),
        ] {
            sum = sum.replace(word, sign);
        }
        let signs = "+-*/^%×÷−";
        let is_sum = sum.chars().all(|character| character.is_ascii_digit() || " .()".contains(character) || signs.contains(character));
        // A sign in front alone is only a number, and `2026-01-31` is a day.
        let has_sign = sum.chars().skip(1).any(|character| signs.contains(character));
        (is_sum && has_sign && sum.chars().any(|character| character.is_ascii_digit()) && !is_day(&sum)).then_some(Self::Reckon(sum))
    }
}

/// What follows one of some phrases, which may be written large or small.
fn strip<'a>(text: &'a str, phrases: &[&str]) -> Option<&'a str> {
    phrases.iter().find_map(|phrase| {
        let (start, rest) = (text.get(..phrase.len())?, text.get(phrase.len()..)?);
        start.eq_ignore_ascii_case(phrase).then_some(rest)
    })
}

fn is_day(word: &str) -> bool {
    word.len() >= 10 && crate::tools::time::day(word).is_some()
}

/// Cuts a text behind `.`, `!` and `?` that end a sentence, and at line breaks.
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
    sentences.iter().map(|sentence| sentence.trim().to_owned()).filter(|sentence| !sentence.is_empty()).collect()
}
