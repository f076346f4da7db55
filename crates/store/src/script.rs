//! Text for the search index in any script.
//!
//! The index splits text at spaces and punctuation. Chinese, Japanese and Thai have no spaces
//! between words, a Korean noun is written together with its particle, and an emoji is no letter.
//! Such characters become one indexed word each, and a query finds them where they stand together.

use unicode_normalization::UnicodeNormalization as _;

/// The text to index instead of a text; `None` where they are the same.
pub(crate) fn indexed(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut out = String::with_capacity(text.len() * 2);
    for part in parts_of(text) {
        match part {
            TextPart::Word(word) => out.push_str(&word),
            TextPart::Units(run) => {
                for unit in run.units {
                    out.push(' ');
                    out.push_str(&token(unit));
                }
                out.push(' ');
            }
            TextPart::Gap(gap) => out.push(gap),
        }
    }
    (out != text).then_some(out)
}

/// A search by words. Any phrase may match; a phrase is words with a space between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WordQuery {
    /// Words, and runs of other characters as they stand.
    pub(crate) exact: Vec<String>,
    /// Words, and parts of those runs: used when `exact` finds nothing.
    pub(crate) parts: Option<Vec<String>>,
}

/// Maximum number of phrases in a search.
const MOST_PARTS: usize = 256;

impl WordQuery {
    /// The first form that finds something, in FTS5's language, and the number of its results.
    pub(crate) fn matching<E>(
        &self,
        mut count: impl FnMut(&str) -> Result<usize, E>,
    ) -> Result<(String, usize), E> {
        let exact = fts5(&self.exact);
        let found = count(&exact)?;
        match &self.parts {
            Some(parts) if found == 0 => {
                let parts = fts5(parts);
                let found = count(&parts)?;
                Ok((parts, found))
            }
            Some(_) | None => Ok((exact, found)),
        }
    }
}

/// A search in FTS5's language: each phrase quoted, so that none is syntax.
fn fts5(phrases: &[String]) -> String {
    let quoted: Vec<_> = phrases.iter().map(|phrase| format!("\"{phrase}\"")).collect();
    quoted.join(" OR ")
}

/// Makes a search from a person's words. `None` where there is no word.
pub(crate) fn query(text: &str) -> Option<WordQuery> {
    let (mut exact, mut parts) = (Vec::new(), Vec::new());
    for part in parts_of(text) {
        match part {
            TextPart::Word(word) => {
                exact.push(word.clone());
                parts.push(word);
            }
            TextPart::Units(CharRun { units, part }) => {
                exact.push(phrase(&units));
                if units.len() > part {
                    parts.extend(units.windows(part).map(phrase));
                } else {
                    parts.push(phrase(&units));
                }
            }
            TextPart::Gap(_) => {}
        }
    }
    exact.truncate(MOST_PARTS);
    parts.truncate(MOST_PARTS);
    let parts = (parts != exact).then_some(parts);
    (!exact.is_empty()).then_some(WordQuery { exact, parts })
}

fn phrase(units: &[char]) -> String {
    let words: Vec<String> = units.iter().map(|unit| token(*unit)).collect();
    words.join(" ")
}

/// The indexed word of one character: letters and digits that the tokenizer neither splits nor
/// stems.
fn token(unit: char) -> String {
    format!("u{}x", u32::from(unit))
}

enum TextPart {
    /// Letters and digits of a script with spaces.
    Word(String),
    /// Characters of a script without spaces, or symbols.
    Units(CharRun),
    /// A space, or punctuation.
    Gap(char),
}

struct CharRun {
    units: Vec<char>,
    /// Number of characters that have a meaning together.
    part: usize,
}

/// A character's role in a search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharKind {
    Letter,
    /// A character of a script without spaces, with the number that have a meaning together.
    Unit(usize),
    /// Changes only how the character before it looks.
    Nothing,
    Gap,
}

/// Splits a text. Characters of full and half width, composed and decomposed, become the same.
fn parts_of(text: &str) -> Vec<TextPart> {
    let mut parts = Vec::new();
    for char in text.nfkc() {
        match (kind(char), parts.last_mut()) {
            (CharKind::Letter, Some(TextPart::Word(word))) => word.push(char),
            (CharKind::Letter, _) => parts.push(TextPart::Word(char.to_string())),
            (CharKind::Unit(part), Some(TextPart::Units(run))) if run.part == part => {
                run.units.push(char);
            }
            (CharKind::Unit(part), _) => {
                parts.push(TextPart::Units(CharRun { units: vec![char], part }));
            }
            (CharKind::Nothing, _) => {}
            (CharKind::Gap, _) => parts.push(TextPart::Gap(char)),
        }
    }
    parts
}

fn kind(char: char) -> CharKind {
    match u32::from(char) {
        // Variation selectors, joiners, skin tones, and tags of flags.
        0x200B..=0x200D | 0xFE00..=0xFE0F | 0x1F3FB..=0x1F3FF | 0xE0000..=0xE0FFF => {
            CharKind::Nothing
        }
        // Marks of their own in these blocks are punctuation.
        0x0E3F | 0x0E4F | 0x0E5A..=0x0E5B | 0x104A..=0x104F | 0x17D4..=0x17DB | 0x30A0 | 0x30FB => {
            CharKind::Gap
        }
        // Thai, Lao, Myanmar, Khmer, Tai: letters and vowel signs.
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x1950..=0x19DF | 0x1A20..=0x1AAF => {
            CharKind::Unit(3)
        }
        // Kana, Bopomofo, Han, Yi, Hangul.
        0x1100..=0x11FF
        | 0x2E80..=0x2FDF
        | 0x3005..=0x3007
        | 0x3021..=0x3029
        | 0x3041..=0x31BF
        | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF
        | 0xA000..=0xA4CF
        | 0xA960..=0xA97F
        | 0xAC00..=0xD7FF
        | 0xF900..=0xFAFF
        | 0x1AFF0..=0x1B16F
        | 0x20000..=0x3FFFF => CharKind::Unit(2),
        // Symbols and emoji, each of which has a meaning by itself.
        0xA9
        | 0xAE
        | 0x203C
        | 0x2049
        | 0x20E3
        | 0x2190..=0x2BFF
        | 0x3030
        | 0x303D
        | 0x1F000..=0x1FBFF => CharKind::Unit(1),
        // Combining marks belong to their letters; the tokenizer folds them.
        _ if char.is_alphanumeric() || is_mark(char) => CharKind::Letter,
        _ => CharKind::Gap,
    }
}

fn is_mark(char: char) -> bool {
    unicode_normalization::char::is_combining_mark(char)
}

#[cfg(test)]
mod tests {
    use super::{fts5, indexed, query};

    #[test]
    fn plain_words_are_indexed_as_they_are() {
        for text in
            ["", "I bought an umbrella, didn't I?", "Привет, мир", "Ελληνικά — «ναι»", "naïve café"]
        {
            assert_eq!(indexed(text), None, "{text}");
        }
        assert_eq!(query(" … ?!"), None);
        assert_eq!(
            query("tea \"OR\" a-b").map(|query| fts5(&query.exact)).as_deref(),
            Some(r#""tea" OR "OR" OR "a" OR "b""#)
        );
    }

    #[test]
    fn the_same_text_in_another_form_is_the_same() {
        for (one, other) in [
            ("ＡＢＣ１２", "ABC12"),
            ("ｱﾒﾘｶ", "アメリカ"),
            ("cafe\u{301}", "café"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("が", "か\u{3099}"),
            ("👍🏽", "👍"),
            ("❤\u{fe0f}", "❤"),
        ] {
            assert_eq!(query(one), query(other), "{one}");
            assert_eq!(
                indexed(one).unwrap_or(one.to_owned()),
                indexed(other).unwrap_or(other.to_owned()),
                "{one}"
            );
        }
    }

    #[test]
    fn a_run_is_looked_for_whole_and_then_in_parts() {
        let found = query("iPhone15を買う").unwrap();
        assert_eq!(found.exact, ["iPhone15", "u12434x u36023x u12358x"]);
        let parts = ["iPhone15", "u12434x u36023x", "u36023x u12358x"].map(str::to_owned);
        assert_eq!(found.parts.as_deref(), Some(parts.as_slice()));
        assert_eq!(query("傘").unwrap().parts, None);
    }
}
