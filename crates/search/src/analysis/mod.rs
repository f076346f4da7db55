//! Texts as terms: what is indexed of a text, and what a query looks for.

mod korean;
mod latin;
mod scripts;
mod stop_words;

use std::ops::Range;

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;

use scripts::{CharKind, kind};

/// Maximum number of terms of one text. Texts behind them are not found by words.
pub(crate) const MOST_TERMS: usize = 20_000;
/// Maximum number of characters of words that come again and again.
const COMMON_CHARS: usize = 24;
/// Number of characters of Thai and its neighbours that are compared together.
const DICTIONARY_PART: usize = 3;

/// Part that a term has in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TermRole {
    /// A word, which counts.
    Word,
    /// A word that says nothing about the subject: it counts if a query has nothing else.
    Stop,
    /// A part of a word, which counts less.
    Part,
    /// A single character: it is indexed, and only looked for by itself.
    Single,
}

/// A term of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) text: String,
    pub(crate) role: TermRole,
}

/// Splits texts into terms.
pub(crate) struct Analyzer {
    stemmer: Stemmer,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English) }
    }
}

impl Analyzer {
    /// The terms of a text, in order. A word is followed by its parts.
    pub(crate) fn terms(&self, text: &str) -> Vec<Term> {
        let (text, mut out) = (AnalyzedText::new(text), TermList::default());
        let mut from = 0;
        while let Some(run) = text.run_from(from).filter(|_| out.0.len() < MOST_TERMS) {
            from = run.end;
            self.add_terms(&text, run, &mut out);
        }
        out.0
    }

    /// The terms of a run of a text.
    pub(crate) fn run_terms(&self, text: &AnalyzedText, run: Range<usize>) -> Vec<Term> {
        let mut out = TermList::default();
        self.add_terms(text, run, &mut out);
        out.0
    }

    fn add_terms(&self, text: &AnalyzedText, run: Range<usize>, out: &mut TermList) {
        let kinds = text.kinds.get(run.clone()).unwrap_or_default();
        let chars = text.chars.get(run).unwrap_or_default();
        match kinds.first().copied().unwrap_or(CharKind::Gap) {
            CharKind::Letter => latin::terms(chars, &self.stemmer, out),
            CharKind::Ideograph | CharKind::Hiragana => ideographs(chars, kinds, out),
            CharKind::Hangul => hangul(chars, out),
            CharKind::Dictionary => dictionary(chars, out),
            CharKind::Symbol => out.push(chars.iter().collect(), TermRole::Word),
            CharKind::Nothing | CharKind::Gap | CharKind::Space => {}
        }
    }
}

/// A text as characters, which are analysed run by run.
pub(crate) struct AnalyzedText {
    chars: Vec<char>,
    kinds: Vec<CharKind>,
}

impl AnalyzedText {
    pub(crate) fn new(text: &str) -> Self {
        // ASCII has one form only.
        let chars: Vec<char> =
            if text.is_ascii() { text.chars().collect() } else { text.nfkc().collect() };
        let kinds = chars.iter().map(|char| kind(*char)).collect();
        Self { chars, kinds }
    }

    /// The characters from an index on that are analysed together; `None` behind the last.
    pub(crate) fn run_from(&self, from: usize) -> Option<Range<usize>> {
        (from < self.chars.len()).then(|| run_at(&self.kinds, from))
    }

    /// A word of a script with spaces, with the punctuation inside it. Others are no words or are
    /// too long to come often.
    pub(crate) fn word(&self, run: Range<usize>) -> Option<&[char]> {
        let is_word = self.kinds.get(run.start) == Some(&CharKind::Letter);
        self.chars.get(run).filter(|word| is_word && word.len() <= COMMON_CHARS)
    }
}

/// Collects terms.
#[derive(Default)]
struct TermList(Vec<Term>);

impl TermList {
    fn push(&mut self, text: String, role: TermRole) {
        self.0.push(Term { text, role });
    }
}

/// The characters from an index on that are analysed together.
fn run_at(kinds: &[CharKind], from: usize) -> Range<usize> {
    let rest = kinds.get(from..).unwrap_or_default();
    let Some(first) = rest.first() else { return from..from };
    let length = match first {
        CharKind::Symbol | CharKind::Nothing | CharKind::Gap | CharKind::Space => 1,
        // Punctuation inside an identifier, an address or a number belongs to it.
        CharKind::Letter => {
            let mut length = 0;
            while rest.get(length) == Some(&CharKind::Letter)
                || rest.get(length) == Some(&CharKind::Nothing)
                || (rest.get(length) == Some(&CharKind::Gap)
                    && rest.get(length + 1) == Some(&CharKind::Letter))
            {
                length += 1;
            }
            length
        }
        CharKind::Ideograph | CharKind::Hiragana => rest
            .iter()
            .take_while(|kind| matches!(kind, CharKind::Ideograph | CharKind::Hiragana))
            .count(),
        CharKind::Hangul | CharKind::Dictionary => {
            rest.iter().take_while(|kind| *kind == first).count()
        }
    };
    from..from + length
}

/// Chinese and Japanese: each character, and each two together.
fn ideographs(chars: &[char], kinds: &[CharKind], out: &mut TermList) {
    let is_ideograph = |at: usize| kinds.get(at) == Some(&CharKind::Ideograph);
    for (at, (char, kind)) in chars.iter().zip(kinds).enumerate() {
        // Within a word, one character is another word: an umbrella is no raincoat.
        let is_alone = !is_ideograph(at + 1) && !at.checked_sub(1).is_some_and(is_ideograph);
        let is_word = chars.len() == 1 || (*kind == CharKind::Ideograph && is_alone);
        let role = if is_word { TermRole::Word } else { TermRole::Single };
        out.push(char.to_string(), role);
        if let (Some(next), Some(next_kind)) = (chars.get(at + 1), kinds.get(at + 1)) {
            let role = match (kind, next_kind) {
                (CharKind::Ideograph, CharKind::Ideograph) => TermRole::Word,
                (CharKind::Hiragana, CharKind::Hiragana) if chars.len() > 4 => TermRole::Stop,
                (CharKind::Hiragana, CharKind::Hiragana) => TermRole::Word,
                _mixed => TermRole::Part,
            };
            out.push([*char, *next].iter().collect(), role);
        }
    }
}

/// Korean: a word, the word without its particle, and each two syllables.
fn hangul(chars: &[char], out: &mut TermList) {
    let word: String = chars.iter().collect();
    if let Some(noun) = korean::without_particle(&word) {
        out.push(noun.to_owned(), TermRole::Word);
        out.push(word, TermRole::Part);
    } else {
        out.push(word, TermRole::Word);
    }
    if chars.len() > 2 {
        for pair in chars.windows(2) {
            out.push(pair.iter().collect(), TermRole::Part);
        }
    }
}

/// Thai and its neighbours: words by a dictionary, and each three characters together.
fn dictionary(chars: &[char], out: &mut TermList) {
    let text: String = chars.iter().collect();
    let segmenter = WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
    let mut from = 0;
    for to in segmenter.segment_str(&text) {
        match text.get(from..to) {
            Some(word) if !word.is_empty() => out.push(word.to_owned(), TermRole::Word),
            Some(_) | None => {}
        }
        from = to;
    }
    for part in chars.windows(DICTIONARY_PART) {
        out.push(part.iter().collect(), TermRole::Part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let terms = Analyzer::default().terms(text).into_iter();
        terms.filter(|term| term.role == TermRole::Word).map(|term| term.text).collect()
    }

    fn all(text: &str) -> Vec<String> {
        Analyzer::default().terms(text).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn words_have_no_case_accents_or_endings() {
        assert_eq!(words("Umbrellas, CAFÉ — bought!"), ["umbrella", "cafe", "bought"]);
        assert_eq!(words("Straße Øresund Ёлка"), ["strass", "oresund", "елка"]);
        assert_eq!(words("What did you do about it?"), Vec::<String>::new());
        assert_eq!(words("Caroline's cats' don’t"), ["carolin", "cat"]);
    }

    #[test]
    fn the_same_text_in_another_form_is_the_same() {
        for (one, other) in [
            ("ＡＢＣ１２", "ABC12"),
            ("ｱﾒﾘｶ", "アメリカ"),
            ("cafe\u{301}", "café"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("👍🏽", "👍"),
            ("❤\u{fe0f}", "❤"),
        ] {
            assert_eq!(all(one), all(other), "{one}");
        }
    }

    #[test]
    fn identifiers_are_found_whole_and_in_parts() {
        for (text, parts) in [
            ("max_retry_count", &["max_retry_count", "max", "retri", "count"][..]),
            ("parseHttpRequest", &["parsehttprequest", "pars", "http", "request"]),
            ("ada@example.org", &["ada@example.org", "ada", "exampl", "org"]),
            ("INV-2024-0815", &["inv-2024-0815", "inv", "2024", "0815"]),
            ("1,000,000", &["1000000"]),
            ("v2.10.3", &["v2.10.3", "v2", "10", "3"]),
            ("see INV-7, please", &["see", "inv-7", "inv", "7"]),
        ] {
            let found = all(text);
            for part in parts {
                assert!(found.iter().any(|term| term == part), "{text}: {part} not in {found:?}");
            }
        }
    }

    #[test]
    fn scripts_without_spaces_have_words() {
        assert!(words("東京都に行く").contains(&"東京".to_owned()));
        assert!(all("傘を買った").contains(&"傘".to_owned()));
        assert!(words("우산을 샀다").contains(&"우산".to_owned()));
        assert!(words("ฉันซื้อร่มสีแดง").contains(&"ร่ม".to_owned()));
    }
}
