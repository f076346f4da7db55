//! Placeholders for blank text, which providers refuse.

/// Placeholder for an input without text.
pub(super) const NO_TEXT: &str = "(no text)";
/// Placeholder for a tool's output without text.
pub(super) const NO_OUTPUT: &str = "(no output)";

/// Invisible characters that do not count as white space.
const INVISIBLE: [std::ops::RangeInclusive<char>; 12] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
];

/// Whether a text consists only of white space, control characters and invisible characters.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|char| {
        char.is_whitespace()
            || char.is_control()
            || INVISIBLE.iter().any(|range| range.contains(&char))
    })
}

/// The text, or a placeholder if it is blank.
pub(super) fn or_else<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    if is_blank(text) { placeholder } else { text }
}

/// An answer without the reasoning in `<think>` tags at its beginning.
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

#[cfg(test)]
mod tests {
    use super::is_blank;

    #[test]
    fn invisible_characters_are_blank() {
        for text in
            ["", " ", "\n\n", "\u{3000}", "\u{200b}", "\u{180e}", "\u{2800}", "\u{3164}", "\0"]
        {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["a", " .", "0", "\u{1f600}", "\u{2764}\u{fe0f}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
