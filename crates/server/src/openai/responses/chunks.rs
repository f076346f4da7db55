//! Texts in pieces whose boundaries depend on the text alone, so that a stream that is resumed has
//! the same pieces.

/// A piece ends behind the first white space after so many characters.
const LEAST_CHARS: usize = 16;
/// A piece ends after so many characters in any case.
const MOST_CHARS: usize = 64;

/// Length in bytes of the first piece of a text; `None` if the piece may still grow.
pub(super) fn first_piece(text: &str) -> Option<usize> {
    for (count, (at, character)) in (1..).zip(text.char_indices()) {
        let is_end = (count >= LEAST_CHARS && character.is_whitespace()) || count == MOST_CHARS;
        if is_end {
            return Some(at + character.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        let (mut rest, mut pieces) = (text, Vec::new());
        while let Some(end) = first_piece(rest) {
            pieces.push(&rest[..end]);
            rest = &rest[end..];
        }
        pieces
    }

    #[test]
    fn a_longer_text_has_the_pieces_of_its_beginning() {
        let text = format!("The quick brown fox\njumps over {} lazy 狗 dogs.", "x".repeat(200));
        let all = pieces(&text);
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let some = pieces(&text[..end]);
            assert_eq!(some, all[..some.len()]);
        }
        assert!(all.iter().all(|piece| piece.chars().count() <= MOST_CHARS), "{all:?}");
    }
}
