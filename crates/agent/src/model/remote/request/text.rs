//! Blank text, which providers refuse.

/// Stands for an input without words.
pub(super) const NO_TEXT: &str = "(no text)";
/// Stands for a tool's output without words.
pub(super) const NO_OUTPUT: &str = "(no output)";

/// Whether a text has nothing to read: only white space, control characters and characters
/// without width.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|char| {
        char.is_whitespace()
            || char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
    })
}

/// The text, or what stands for it if it is blank.
pub(super) fn or_else<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    if is_blank(text) { placeholder } else { text }
}

/// An answer without the reasoning that a model wrote at its beginning, in `<think>` tags.
pub(super) fn without_think(text: &str) -> &str {
    let mut rest = text;
    loop {
        let begun = rest.trim_start();
        let Some((open, close)) = TAGS.iter().find(|(open, _)| begun.starts_with(open)) else {
            return rest;
        };
        let inner = begun.get(open.len()..).unwrap_or_default();
        rest = inner.split_once(close).map_or("", |(_, behind)| behind);
    }
}

const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];
