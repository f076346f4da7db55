//! Word wrap for streamed text.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Breaks streamed text between words. A word is held back until it is complete, because
/// printed text cannot be moved to the next line.
#[derive(Debug)]
pub(crate) struct WordWrapper {
    width: usize,
    column: usize,
    spaces: usize,
    word: String,
}

impl WordWrapper {
    /// Wraps at `width` columns, at least 10.
    pub(crate) fn new(width: usize) -> Self {
        Self { width: width.max(10), column: 0, spaces: 0, word: String::new() }
    }

    /// Changes the width of the following lines.
    pub(crate) fn resize(&mut self, width: usize) {
        self.width = width.max(10);
    }

    /// Takes text; returns the part that can be printed.
    pub(crate) fn feed(&mut self, text: &str) -> String {
        let mut out = String::new();
        for character in text.chars() {
            match character {
                '\n' => {
                    self.end_word(&mut out);
                    out.push('\n');
                    (self.column, self.spaces) = (0, 0);
                }
                ' ' => {
                    self.end_word(&mut out);
                    self.spaces += 1;
                }
                '\t' => {
                    self.end_word(&mut out);
                    self.spaces += 4;
                }
                _ => {
                    self.word.push(character);
                    // Scripts with wide characters have no spaces: a line may break after each
                    // character.
                    if character.width() == Some(2) {
                        self.end_word(&mut out);
                    }
                }
            }
        }
        out
    }

    /// Returns the text that was held back; the line continues.
    pub(crate) fn rest(&mut self) -> String {
        let mut out = String::new();
        self.end_word(&mut out);
        out
    }

    /// Returns the text that was held back, and ends the line if it has text.
    pub(crate) fn end(&mut self) -> String {
        let mut out = self.rest();
        if self.column > 0 {
            out.push('\n');
        }
        (self.column, self.spaces) = (0, 0);
        out
    }

    fn end_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        if self.column + self.spaces + word.width() <= self.width {
            out.extend(std::iter::repeat_n(' ', self.spaces));
            self.column += self.spaces;
        } else if self.column > 0 {
            out.push('\n');
            self.column = 0;
        }
        self.spaces = 0;
        // A word longer than a line is cut at the line's end.
        for character in word.chars() {
            let width = character.width().unwrap_or(0);
            if self.column + width > self.width {
                out.push('\n');
                self.column = 0;
            }
            out.push(character);
            self.column += width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WordWrapper;

    fn wrapped(width: usize, pieces: &[&str]) -> String {
        let mut wrap = WordWrapper::new(width);
        let mut out: String = pieces.iter().map(|piece| wrap.feed(piece)).collect();
        out.push_str(&wrap.end());
        out
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped(10, &["one two three four"]), "one two\nthree four\n");
        assert_eq!(
            wrapped(10, &["a\n  indented text here\n\nb"]),
            "a\n  indented\ntext here\n\nb\n"
        );
        assert_eq!(wrapped(10, &["0123456789abcdef x"]), "0123456789\nabcdef x\n");
        assert_eq!(wrapped(10, &["漢字漢字漢字漢"]), "漢字漢字漢\n字漢\n");
        assert_eq!(wrapped(10, &[""]), "");
        assert_eq!(wrapped(10, &["done\n"]), "done\n");
    }

    #[test]
    fn wrapping_does_not_depend_on_the_pieces() {
        let text = "It was a dark and stormy night; the rain fell in torrents — 雨が降る — except at \
        occasional intervals.\n\n  * a  b";
        for width in [10, 11, 17, 40] {
            let whole = wrapped(width, &[text]);
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(wrapped(width, &pieces), whole);
            use unicode_width::UnicodeWidthStr as _;
            assert!(whole.lines().all(|line| line.width() <= width));
        }
    }
}
