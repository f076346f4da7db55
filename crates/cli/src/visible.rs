//! Marks in place of invisible characters: those that control a terminal, change a text's
//! direction, hide words or have no width. `vectors/visible.jsonl` tests this and the page.

use std::borrow::Cow;
use std::ops::RangeInclusive;

type CharRanges = &'static [RangeInclusive<char>];

/// C0 and C1 without tab and newline; format characters, fillers, variation selectors, tags.
const INVISIBLE: CharRanges = &[
    '\0'..='\u{8}',
    '\u{b}'..='\u{1f}',
    '\u{7f}'..='\u{9f}',
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Pictographs, which a joiner or variation selector may follow; and the selector between them.
const EMOJI: CharRanges = &[
    '\u{a9}'..='\u{a9}',
    '\u{ae}'..='\u{ae}',
    '\u{203c}'..='\u{203c}',
    '\u{2049}'..='\u{2049}',
    '\u{2122}'..='\u{2122}',
    '\u{2139}'..='\u{2139}',
    '\u{2190}'..='\u{21ff}',
    '\u{2300}'..='\u{23ff}',
    '\u{24c2}'..='\u{24c2}',
    '\u{25a0}'..='\u{27bf}',
    '\u{2900}'..='\u{297f}',
    '\u{2b00}'..='\u{2bff}',
    '\u{3030}'..='\u{3030}',
    '\u{303d}'..='\u{303d}',
    '\u{3297}'..='\u{3297}',
    '\u{3299}'..='\u{3299}',
    '\u{fe0f}'..='\u{fe0f}',
    '\u{1f000}'..='\u{1faff}',
];

/// The base characters of keycap emoji.
const KEYS: CharRanges = &['#'..='#', '*'..='*', '0'..='9'];

/// Letters of scripts in which joiners decide how a word is written: Arabic to Sinhala, Tibetan,
/// Myanmar, Khmer, Mongolian and others.
const JOINING: CharRanges = &[
    '\u{600}'..='\u{603}',
    '\u{606}'..='\u{61b}',
    '\u{61d}'..='\u{dff}',
    '\u{f00}'..='\u{109f}',
    '\u{1780}'..='\u{17b3}',
    '\u{17b6}'..='\u{17ff}',
    '\u{1807}'..='\u{1807}',
    '\u{180a}'..='\u{180a}',
    '\u{1810}'..='\u{18af}',
    '\u{1900}'..='\u{1cff}',
    '\u{a840}'..='\u{a87f}',
    '\u{a8e0}'..='\u{a9df}',
    '\u{aa60}'..='\u{aa7f}',
    '\u{abc0}'..='\u{abff}',
    '\u{fb50}'..='\u{fdff}',
    '\u{fe70}'..='\u{fefc}',
    '\u{10a00}'..='\u{10d3f}',
    '\u{11000}'..='\u{11fff}',
    '\u{1e900}'..='\u{1e95f}',
];

const MONGOLIAN: CharRanges = &['\u{1820}'..='\u{18af}'];

const HAN: CharRanges = &[
    '\u{2e80}'..='\u{2fdf}',
    '\u{3005}'..='\u{3007}',
    '\u{3400}'..='\u{4dbf}',
    '\u{4e00}'..='\u{9fff}',
    '\u{f900}'..='\u{faff}',
    '\u{20000}'..='\u{3ffff}',
];

/// A black flag and the tags that make it the flag of England, Scotland or Wales.
const FLAG: char = '\u{1f3f4}';
const FLAGS: [&str; 3] = [
    "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];

fn is_in(character: char, ranges: CharRanges) -> bool {
    ranges.iter().any(|range| range.contains(&character))
}

/// Whether an invisible character is legitimate after the one before it.
fn belongs(character: char, before: char) -> bool {
    match character {
        '\u{200d}' => is_in(before, EMOJI) || is_in(before, JOINING),
        '\u{200c}' => is_in(before, JOINING),
        '\u{fe0e}' | '\u{fe0f}' => {
            before != '\u{fe0f}' && (is_in(before, EMOJI) || is_in(before, KEYS))
        }
        '\u{fe00}'..='\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => is_in(before, HAN),
        '\u{180b}'..='\u{180d}' | '\u{180f}' => is_in(before, MONGOLIAN),
        _ => false,
    }
}

/// Replaces each invisible character with a mark such as `‹U+202E›`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    visible_after(None, text)
}

/// Does the same for a further piece of a text, whose last character so far is `before`.
pub(crate) fn visible_after(before: Option<char>, text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| is_in(character, INVISIBLE)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 32);
    let mut before = before;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let flag = FLAGS.iter().find(|flag| before == Some(FLAG) && rest.starts_with(**flag));
        let taken = match flag {
            Some(flag) => {
                shown.push_str(flag);
                flag.len()
            }
            None if rest.starts_with("\r\n") => {
                shown.push('\n');
                2
            }
            None => {
                let is_seen = !is_in(character, INVISIBLE)
                    || before.is_some_and(|before| belongs(character, before));
                if is_seen {
                    shown.push(character);
                } else {
                    shown.push_str(&format!("‹U+{:04X}›", u32::from(character)));
                }
                character.len_utf8()
            }
        };
        before = Some(character);
        rest = rest.get(taken..).unwrap_or_default();
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_vectors() {
        let rows = include_str!("../../../vectors/visible.jsonl");
        for row in rows.lines() {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let (text, shown) = (row["text"].as_str().unwrap(), row["shown"].as_str().unwrap());
            assert_eq!(visible(text), shown, "{}", text.escape_unicode());
        }
        assert!(rows.lines().count() > 30);
        assert!(matches!(visible("plain ü 漢"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_piece_depends_on_the_character_before_it() {
        assert_eq!(visible_after(Some('👩'), "\u{200d}🚒"), "\u{200d}🚒");
        assert_eq!(visible_after(Some('a'), "\u{200d}b"), "‹U+200D›b");
        assert_eq!(visible_after(None, "\u{202e}"), "‹U+202E›");
    }
}
