//! Output: the only module that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::visible::visible;

/// Whether text for people is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColourMode {
    Plain,
    Colour,
}

/// The style of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextStyle {
    Plain,
    /// Thoughts, tools, remarks.
    Dim,
    /// Errors.
    Bad,
    /// A person's inputs, and headings.
    Bold,
}

impl ColourMode {
    /// Colour if standard output is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
    pub(crate) fn for_stdout() -> Self {
        Self::for_output(io::stdout().is_terminal())
    }

    /// The same for standard error.
    pub(crate) fn for_stderr() -> Self {
        Self::for_output(io::stderr().is_terminal())
    }

    fn for_output(is_terminal: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !unwanted { Self::Colour } else { Self::Plain }
    }

    /// The text with the escape codes of its style.
    pub(crate) fn apply(self, style: TextStyle, text: &str) -> String {
        let code = match (self, style) {
            (Self::Plain, _) | (Self::Colour, TextStyle::Plain) => return text.to_owned(),
            (Self::Colour, TextStyle::Dim) => "2",
            (Self::Colour, TextStyle::Bad) => "31",
            (Self::Colour, TextStyle::Bold) => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes a line to standard output.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes text to standard output without a line end, and flushes it.
pub(crate) fn piece(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes a value as one line of JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Writes a remark to standard error. A failure to write is ignored.
pub(crate) fn remark(look: TextStyle, text: &str) {
    remark_piece(look, &format!("{text}\n"));
}

/// Writes a piece of a remark to standard error without a line end.
pub(crate) fn remark_piece(look: TextStyle, text: &str) {
    let mut err = io::stderr().lock();
    drop(err.write_all(ColourMode::for_stderr().apply(look, &visible(text)).as_bytes()));
    drop(err.flush());
}

/// Writes a table to standard output. A column is as wide as its widest cell.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    use unicode_width::UnicodeWidthStr as _;
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let write_row = |look, cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', (width + 2).saturating_sub(cell.width())));
        }
        line(&ColourMode::for_stdout().apply(look, text.trim_end()))
    };
    write_row(TextStyle::Bold, heading)?;
    for row in rows {
        write_row(TextStyle::Plain, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}
