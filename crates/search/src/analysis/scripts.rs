//! Characters: the script family of each, which decides how its words are found.

use unicode_normalization::char::is_combining_mark;

/// A character's role in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CharKind {
    /// A letter or digit of a script with spaces between words.
    Letter,
    /// Han characters and katakana: two together are about a word.
    Ideograph,
    /// Hiragana: mostly endings and particles.
    Hiragana,
    /// Hangul: words have spaces between them, but end in particles.
    Hangul,
    /// Thai, Lao, Burmese, Khmer: no spaces, words by a dictionary.
    Dictionary,
    /// A symbol or emoji, which has a meaning by itself.
    Symbol,
    /// Changes only how the character before it looks.
    Nothing,
    /// Punctuation, and what else is no part of a word.
    Gap,
    /// White space.
    Space,
}

pub(super) fn kind(char: char) -> CharKind {
    if char.is_ascii_alphanumeric() {
        return CharKind::Letter;
    }
    if char.is_whitespace() {
        return CharKind::Space;
    }
    if char.is_ascii() {
        return CharKind::Gap;
    }
    match u32::from(char) {
        // Variation selectors, joiners, skin tones, and tags of flags.
        0x200B..=0x200D | 0xFE00..=0xFE0F | 0x1F3FB..=0x1F3FF | 0xE0000..=0xE0FFF => {
            CharKind::Nothing
        }
        // Marks of their own in these blocks are punctuation.
        0x0E3F | 0x0E4F | 0x0E5A..=0x0E5B | 0x104A..=0x104F | 0x17D4..=0x17DB | 0x30A0 | 0x30FB => {
            CharKind::Gap
        }
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x1950..=0x19DF | 0x1A20..=0x1AAF => {
            CharKind::Dictionary
        }
        0x3041..=0x309F => CharKind::Hiragana,
        0x1100..=0x11FF | 0x3131..=0x318F | 0xA960..=0xA97F | 0xAC00..=0xD7FF => CharKind::Hangul,
        // Radicals, kana, Bopomofo, Han, Yi.
        0x2E80..=0x2FDF
        | 0x3005..=0x3007
        | 0x3021..=0x3029
        | 0x30A1..=0x3130
        | 0x3190..=0x31BF
        | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF
        | 0xA000..=0xA4CF
        | 0xF900..=0xFAFF
        | 0x1AFF0..=0x1B16F
        | 0x20000..=0x3FFFF => CharKind::Ideograph,
        0xA9
        | 0xAE
        | 0x203C
        | 0x2049
        | 0x20E3
        | 0x2190..=0x2BFF
        | 0x3030
        | 0x303D
        | 0x1F000..=0x1FBFF => CharKind::Symbol,
        _ if char.is_alphanumeric() || is_combining_mark(char) => CharKind::Letter,
        _ => CharKind::Gap,
    }
}

/// Whether a mark only points or accents its letter, so that people leave it out.
pub(super) fn is_accent(char: char) -> bool {
    // Accents of Latin, Greek and Cyrillic; points of Hebrew; vowel signs of Arabic. The vowel
    // signs of Indic scripts are not among them: without them it is another word.
    matches!(u32::from(char), 0x0300..=0x036F | 0x0591..=0x05C7 | 0x064B..=0x065F | 0x0670)
}

/// The letters for one that has no accent in Unicode, though people write it without.
pub(super) fn unaccented(char: char) -> Option<&'static str> {
    match char {
        'ß' => Some("ss"),
        'æ' => Some("ae"),
        'œ' => Some("oe"),
        'ø' => Some("o"),
        'ł' => Some("l"),
        'đ' | 'ð' => Some("d"),
        'þ' => Some("th"),
        'ı' => Some("i"),
        _ => None,
    }
}
