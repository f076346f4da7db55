//! The terminal: the typed text stays at the bottom, output is printed above it.
//!
//! The screen keeps two facts: the cursor's row below the prompt's first row, and the width of an
//! unfinished line above the prompt. Everything else is drawn again each time.

use std::io::{self, Write};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, EventStream};
use crossterm::terminal::{Clear, ClearType, disable_raw_mode, enable_raw_mode, size};
use crossterm::{QueueableCommand as _, cursor};
use futures::StreamExt as _;
use unicode_width::UnicodeWidthStr as _;

use super::editor::{EditorAction, LineEditor};
use crate::out::{ColourMode, TextStyle};
use crate::visible::visible;

/// An action of the person at the keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyboardInput {
    /// A message or command of one or more lines.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    Left,
}

/// A terminal in raw mode; restored when dropped.
pub(super) struct ChatTerminal {
    events: EventStream,
    editor: LineEditor,
    screen: PromptScreen<io::Stdout>,
}

impl ChatTerminal {
    /// Puts the terminal into raw mode and draws the prompt.
    ///
    /// # Errors
    /// If the terminal cannot be set up.
    pub(super) fn open(paint: ColourMode) -> io::Result<Self> {
        enable_raw_mode()?;
        let screen = PromptScreen::new(io::stdout(), paint);
        let mut terminal =
            Self { events: EventStream::new(), editor: LineEditor::default(), screen };
        // A terminal without this feature ignores it; each pasted line is then one message.
        terminal.screen.out.queue(EnableBracketedPaste)?;
        terminal.screen.draw(&terminal.editor)?;
        Ok(terminal)
    }

    /// Returns the next keyboard action. Cancel-safe.
    ///
    /// # Errors
    /// If the terminal is closed.
    pub(super) async fn typed(&mut self) -> io::Result<KeyboardInput> {
        loop {
            let Some(event) = self.events.next().await else { return Ok(KeyboardInput::Left) };
            match self.editor.take(event?) {
                EditorAction::Nothing => {}
                EditorAction::Changed => self.screen.redraw(&self.editor)?,
                EditorAction::Cleared => {
                    self.screen.out.queue(Clear(ClearType::All))?.queue(cursor::MoveTo(0, 0))?;
                    self.screen.row = 0;
                    self.screen.unfinished = 0;
                    self.screen.draw(&self.editor)?;
                }
                EditorAction::Sent(text) => {
                    self.screen.keep(&text, &self.editor)?;
                    return Ok(KeyboardInput::Text(text));
                }
                EditorAction::Interrupted => {
                    self.screen.redraw(&self.editor)?;
                    return Ok(KeyboardInput::Interrupted);
                }
                EditorAction::Left => return Ok(KeyboardInput::Left),
            }
        }
    }

    /// Changes the prompt.
    ///
    /// # Errors
    /// If the terminal cannot be written to.
    pub(super) fn prompt(&mut self, state: &str, look: TextStyle) -> io::Result<()> {
        if self.screen.prompt != (look, state.to_owned()) {
            self.screen.clear()?;
            self.screen.prompt = (look, state.to_owned());
            self.screen.draw(&self.editor)?;
        }
        Ok(())
    }

    /// Prints above the prompt, after the previous output. `text` is already wrapped.
    ///
    /// # Errors
    /// If the terminal cannot be written to.
    pub(super) fn print(&mut self, look: TextStyle, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.screen.clear()?;
        self.screen.print(look, text)?;
        self.screen.draw(&self.editor)
    }
}

impl Drop for ChatTerminal {
    fn drop(&mut self) {
        drop(self.screen.clear());
        drop(self.screen.out.queue(DisableBracketedPaste).map(|_| ()));
        drop(self.screen.out.flush());
        drop(disable_raw_mode());
    }
}

/// The prompt and the output on the terminal.
struct PromptScreen<W> {
    out: W,
    paint: ColourMode,
    prompt: (TextStyle, String),
    /// The cursor's row, counted from the prompt's first one.
    row: usize,
    /// The width of the line above the prompt in columns; 0 if the line is finished.
    unfinished: usize,
}

impl<W: Write> PromptScreen<W> {
    fn new(out: W, paint: ColourMode) -> Self {
        Self { out, paint, prompt: (TextStyle::Dim, String::new()), row: 0, unfinished: 0 }
    }

    /// Erases the prompt and the typed text; moves the cursor to their start.
    fn clear(&mut self) -> io::Result<()> {
        if let Ok(row @ 1..) = u16::try_from(self.row) {
            self.out.queue(cursor::MoveUp(row))?;
        }
        self.row = 0;
        self.out.queue(cursor::MoveToColumn(0))?.queue(Clear(ClearType::FromCursorDown))?;
        Ok(())
    }

    fn redraw(&mut self, editor: &LineEditor) -> io::Result<()> {
        self.clear()?;
        self.draw(editor)
    }

    /// Draws the prompt and as many rows of the typed text around the cursor as fit.
    fn draw(&mut self, editor: &LineEditor) -> io::Result<()> {
        let (columns, lines) = size().map_or((80, 24), |(columns, lines)| {
            (usize::from(columns).max(10), usize::from(lines).max(2))
        });
        let (look, state) = &self.prompt;
        let prompt = self.paint.apply(*look, state) + "› ";
        let width = (state.width() + 2).min(columns - 2);
        let layout = editor.lay_out(width, columns);
        let most = lines - 1;
        let first = (layout.row + 1).saturating_sub(most);
        let rows = layout.rows.iter().enumerate().skip(first).take(most);
        let drawn = rows.len();
        for (n, row) in rows {
            if n > first {
                self.out.write_all(b"\r\n")?;
            }
            if n == 0 {
                self.out.write_all(prompt.as_bytes())?;
            }
            self.out.write_all(row.as_bytes())?;
        }
        self.row = layout.row - first;
        if let Ok(up @ 1..) = u16::try_from((drawn - 1).saturating_sub(self.row)) {
            self.out.queue(cursor::MoveUp(up))?;
        }
        self.out.queue(cursor::MoveToColumn(u16::try_from(layout.column).unwrap_or(u16::MAX)))?;
        self.out.flush()
    }

    /// Leaves the sent text on the terminal, and draws a new prompt below it.
    fn keep(&mut self, text: &str, editor: &LineEditor) -> io::Result<()> {
        self.clear()?;
        let (look, state) = self.prompt.clone();
        let prompt = self.paint.apply(look, &state) + "› ";
        self.out.write_all(prompt.as_bytes())?;
        let text = visible(text).replace('\t', "    ").replace('\n', "\r\n  ");
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\r\n")?;
        self.unfinished = 0;
        self.draw(editor)
    }

    fn print(&mut self, look: TextStyle, text: &str) -> io::Result<()> {
        if self.unfinished > 0 {
            let column = u16::try_from(self.unfinished).unwrap_or(u16::MAX);
            self.out.queue(cursor::MoveUp(1))?.queue(cursor::MoveToColumn(column))?;
        }
        let mut lines = text.split('\n').peekable();
        while let Some(line) = lines.next() {
            if !line.is_empty() {
                self.out.write_all(self.paint.apply(look, line).as_bytes())?;
                self.unfinished += line.width();
            }
            if lines.peek().is_some() {
                self.out.write_all(b"\r\n")?;
                self.unfinished = 0;
            }
        }
        // The prompt is always on a line of its own.
        if self.unfinished > 0 {
            self.out.write_all(b"\r\n")?;
        }
        Ok(())
    }
}
