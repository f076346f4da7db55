//! Scripts with spaces between words: words, identifiers, addresses and numbers.

use rust_stemmers::Stemmer;
use unicode_normalization::UnicodeNormalization as _;

use super::scripts::{CharKind, is_accent, kind, unaccented};
use super::stop_words::is_stop_word;
use super::{TermList, TermRole};

/// Maximum number of characters of a word that are compared.
const MOST_CHARS: usize = 64;

/// Adds the terms of letters, with the punctuation between them.
pub(super) fn terms(chars: &[char], stemmer: &Stemmer, out: &mut TermList) {
    let mut words: Vec<Vec<char>> = Vec::new();
    let mut contraction = false;
    let mut word = Vec::new();
    let mut gaps = Vec::new();
    for char in chars {
        match kind(*char) {
            CharKind::Gap => {
                if !contraction && !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                word.clear();
                // An ending follows an apostrophe, as in "don't" and "Ada's".
                contraction = matches!(char, '\'' | '’' | 'ʼ');
                if contraction && word.is_empty() && words.last().is_some_and(|w| w.len() == 1) {
                    // In "l'école" and "O'Brien" the word follows.
                    contraction = false;
                }
                gaps.push(*char);
            }
            CharKind::Nothing | CharKind::Space => {}
            CharKind::Letter
            | CharKind::Ideograph
            | CharKind::Hiragana
            | CharKind::Hangul
            | CharKind::Dictionary
            | CharKind::Symbol => word.push(*char),
        }
    }
    if !contraction && !word.is_empty() {
        words.push(word);
    }
    if let Some(whole) = identifier(chars, &gaps) {
        out.push(whole, TermRole::Word);
    }
    for word in &words {
        one_word(word, stemmer, out);
    }
}

/// The term of an identifier, an address or a number as a whole.
fn identifier(chars: &[char], gaps: &[char]) -> Option<String> {
    let is_joint = |gap: &char| matches!(gap, '_' | '@' | '.' | '-' | '/' | ':' | ',' | '#' | '+');
    if gaps.is_empty() || !gaps.iter().all(is_joint) {
        return None;
    }
    let has_digit = chars.iter().any(|char| char.is_numeric());
    let has_mark = gaps.iter().any(|gap| matches!(gap, '_' | '@' | '.' | '/' | ':' | '#'));
    if !has_digit && !has_mark {
        return None;
    }
    if chars.iter().all(|char| char.is_numeric() || *char == ',') {
        return Some(chars.iter().filter(|char| **char != ',').collect());
    }
    Some(folded(chars))
}

/// Adds a word, and its parts if it is written `LikeThis`.
fn one_word(word: &[char], stemmer: &Stemmer, out: &mut TermList) {
    let whole = folded(word);
    if whole.is_empty() {
        return;
    }
    let role = if is_stop_word(&whole) { TermRole::Stop } else { TermRole::Word };
    out.push(stemmed(&whole, stemmer), role);
    let humps = humps(word);
    if humps.len() > 1 {
        for hump in humps {
            let part = folded(hump);
            if !is_stop_word(&part) {
                out.push(stemmed(&part, stemmer), TermRole::Part);
            }
        }
    }
}

fn stemmed(word: &str, stemmer: &Stemmer) -> String {
    if word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        stemmer.stem(word).into_owned()
    } else {
        word.to_owned()
    }
}

/// Lower case without accents.
fn folded(chars: &[char]) -> String {
    let mut out = String::with_capacity(chars.len());
    let lower = chars.iter().take(MOST_CHARS).flat_map(|char| char.to_lowercase());
    for char in lower {
        if char.is_ascii() {
            out.push(char);
        } else if let Some(letters) = unaccented(char) {
            out.push_str(letters);
        } else {
            out.extend(std::iter::once(char).nfkd().filter(|part| !is_accent(*part)));
        }
    }
    out
}

/// The parts of `LikeThis` and `HTTPServer`: each starts with a capital.
fn humps(word: &[char]) -> Vec<&[char]> {
    let mut parts = Vec::new();
    let mut from = 0;
    for at in 1..word.len() {
        let (Some(before), Some(here)) = (word.get(at - 1), word.get(at)) else { continue };
        let ends_capitals = before.is_uppercase()
            && here.is_uppercase()
            && word.get(at + 1).is_some_and(|next| next.is_lowercase());
        if (before.is_lowercase() && here.is_uppercase()) || ends_capitals {
            parts.extend(word.get(from..at));
            from = at;
        }
    }
    parts.extend(word.get(from..));
    parts
}
