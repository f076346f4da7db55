//! The line editor: applies keys to the typed text, and lays it out in terminal rows.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::visible::visible;

/// Number of messages that the arrow keys can recall.
const HISTORY: usize = 1_000;
/// Indent of the second and later rows of a text.
const INDENT: &str = "  ";

/// The effect of a terminal event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EditorAction {
    /// No visible change.
    Nothing,
    /// The text, the cursor or the terminal's size changed.
    Changed,
    /// The text was sent.
    Sent(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    Left,
    /// Ctrl-L.
    Cleared,
}

/// A text of one or more lines, with a cursor and a history.
#[derive(Debug, Default)]
pub(super) struct LineEditor {
    text: String,
    /// Byte position between two graphemes.
    cursor: usize,
    history: Vec<String>,
    /// Index of the history entry that is shown, and the draft that it replaced.
    recalled: Option<(usize, String)>,
}

impl LineEditor {
    /// Applies a terminal event.
    pub(super) fn take(&mut self, event: Event) -> EditorAction {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            // A paste of several lines is part of one message.
            Event::Paste(pasted) => {
                let pasted = pasted.replace("\r\n", "\n").replace('\r', "\n");
                let is_kept =
                    |character: &char| matches!(character, '\n' | '\t') || !character.is_control();
                self.insert(&pasted.chars().filter(is_kept).collect::<String>());
                EditorAction::Changed
            }
            Event::Resize(..) => EditorAction::Changed,
            Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => {
                EditorAction::Nothing
            }
        }
    }

    fn key(&mut self, KeyEvent { code, modifiers, .. }: KeyEvent) -> EditorAction {
        let control = modifiers.contains(KeyModifiers::CONTROL);
        let alt = modifiers.contains(KeyModifiers::ALT);
        match code {
            // All terminals report Alt-Enter, some also Shift-Enter.
            KeyCode::Enter if alt || modifiers.contains(KeyModifiers::SHIFT) => self.insert("\n"),
            KeyCode::Enter => return self.send(),
            KeyCode::Char(letter) if control && !alt => return self.controlled(letter),
            KeyCode::Char('b') if alt && !control => self.cursor = self.word_before(),
            KeyCode::Char('f') if alt && !control => self.cursor = self.word_behind(),
            // Control and Alt together type symbols on many keyboards.
            KeyCode::Char(letter) => self.insert(letter.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace if alt || control => self.remove(self.word_before(), self.cursor),
            KeyCode::Backspace => self.remove(self.before(), self.cursor),
            KeyCode::Delete => self.remove(self.cursor, self.behind()),
            KeyCode::Left if control || alt => self.cursor = self.word_before(),
            KeyCode::Right if control || alt => self.cursor = self.word_behind(),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.behind(),
            KeyCode::Home => self.cursor = self.line_start(),
            KeyCode::End => self.cursor = self.line_end(),
            KeyCode::Up => self.up(),
            KeyCode::Down => self.down(),
            KeyCode::PageUp
            | KeyCode::PageDown
            | KeyCode::Tab
            | KeyCode::BackTab
            | KeyCode::Insert
            | KeyCode::F(_)
            | KeyCode::Null
            | KeyCode::Esc
            | KeyCode::CapsLock
            | KeyCode::ScrollLock
            | KeyCode::NumLock
            | KeyCode::PrintScreen
            | KeyCode::Pause
            | KeyCode::Menu
            | KeyCode::KeypadBegin
            | KeyCode::Media(_)
            | KeyCode::Modifier(_) => return EditorAction::Nothing,
        }
        EditorAction::Changed
    }

    fn controlled(&mut self, letter: char) -> EditorAction {
        match letter {
            'c' => {
                self.set(String::new());
                self.recalled = None;
                return EditorAction::Interrupted;
            }
            'd' if self.text.is_empty() => return EditorAction::Left,
            'd' => self.remove(self.cursor, self.behind()),
            'j' => self.insert("\n"),
            'l' => return EditorAction::Cleared,
            'a' => self.cursor = self.line_start(),
            'e' => self.cursor = self.line_end(),
            'b' => self.cursor = self.before(),
            'f' => self.cursor = self.behind(),
            'h' => self.remove(self.before(), self.cursor),
            'u' => self.remove(self.line_start(), self.cursor),
            'k' => self.remove(self.cursor, self.line_end()),
            'w' => self.remove(self.word_before(), self.cursor),
            'p' => self.up(),
            'n' => self.down(),
            _ => return EditorAction::Nothing,
        }
        EditorAction::Changed
    }

    fn send(&mut self) -> EditorAction {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if !text.trim().is_empty() && self.history.last() != Some(&text) {
            self.history.push(text.clone());
            if self.history.len() > HISTORY {
                self.history.remove(0);
            }
        }
        EditorAction::Sent(text)
    }

    fn set(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    /// The text on each side of the cursor.
    fn sides(&self) -> (&str, &str) {
        self.text.split_at_checked(self.cursor).unwrap_or((&self.text, ""))
    }

    fn before(&self) -> usize {
        let last = self.sides().0.graphemes(true).next_back();
        self.cursor - last.map_or(0, str::len)
    }

    fn behind(&self) -> usize {
        self.cursor + self.sides().1.graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let before = self.sides().0.trim_end();
        before
            .char_indices()
            .rfind(|(_, letter)| letter.is_whitespace())
            .map_or(0, |(at, letter)| at + letter.len_utf8())
    }

    fn word_behind(&self) -> usize {
        let behind = self.sides().1;
        let word = behind.trim_start();
        let skipped = behind.len() - word.len();
        self.cursor + skipped + word.find(char::is_whitespace).unwrap_or(word.len())
    }

    fn line_start(&self) -> usize {
        self.sides().0.rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.sides().1.find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    /// Moves to the line above; from the first line, recalls the previous message.
    fn up(&mut self) {
        let start = self.line_start();
        if start > 0 {
            let column = self.column();
            self.cursor = start - 1;
            self.go_to_column(column);
            return;
        }
        let at = self.recalled.as_ref().map_or(self.history.len(), |(at, _)| *at);
        let Some(before) = at.checked_sub(1) else { return };
        let Some(entry) = self.history.get(before).cloned() else { return };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => std::mem::take(&mut self.text),
        };
        self.recalled = Some((before, typed));
        self.set(entry);
    }

    /// Moves to the line below; from the last line, recalls the next message or the draft.
    fn down(&mut self) {
        let end = self.line_end();
        if end < self.text.len() {
            let column = self.column();
            self.cursor = end + 1;
            self.go_to_column(column);
            return;
        }
        let Some((at, typed)) = self.recalled.take() else { return };
        match self.history.get(at + 1).cloned() {
            Some(entry) => {
                self.recalled = Some((at + 1, typed));
                self.set(entry);
            }
            None => self.set(typed),
        }
    }

    /// The cursor's column, in graphemes.
    fn column(&self) -> usize {
        self.text.get(self.line_start()..self.cursor).unwrap_or_default().graphemes(true).count()
    }

    fn go_to_column(&mut self, column: usize) {
        let (start, end) = (self.line_start(), self.line_end());
        let line = self.text.get(start..end).unwrap_or_default();
        self.cursor = start + line.graphemes(true).take(column).map(str::len).sum::<usize>();
    }

    /// Lays the text out in rows of `columns` columns, after a prompt of `prompt` columns.
    pub(super) fn lay_out(&self, prompt: usize, columns: usize) -> EditorLayout {
        let mut layout = EditorLayout { rows: vec![String::new()], row: 0, column: prompt };
        let mut width = prompt;
        let mut at = 0;
        for grapheme in self.text.graphemes(true) {
            let shown = match grapheme {
                "\n" | "\r\n" => "".into(),
                "\t" => "    ".into(),
                _ => visible(grapheme),
            };
            let breaks = shown.is_empty() || width + shown.width() > columns;
            if at == self.cursor {
                layout.place(width);
            }
            if breaks {
                layout.rows.push(INDENT.to_owned());
                width = INDENT.len();
                if at == self.cursor && !shown.is_empty() {
                    layout.place(width);
                }
            }
            if let Some(row) = layout.rows.last_mut() {
                row.push_str(&shown);
            }
            width += shown.width();
            at += grapheme.len();
        }
        if self.cursor >= at {
            if width >= columns {
                layout.rows.push(INDENT.to_owned());
                width = INDENT.len();
            }
            layout.place(width);
        }
        layout
    }
}

/// A text in terminal rows, and the position of its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EditorLayout {
    pub(super) rows: Vec<String>,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl EditorLayout {
    fn place(&mut self, column: usize) {
        self.row = self.rows.len().saturating_sub(1);
        self.column = column;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    fn control(letter: char) -> Event {
        press(KeyCode::Char(letter), KeyModifiers::CONTROL)
    }

    fn typed(editor: &mut LineEditor, text: &str) {
        for letter in text.chars() {
            editor.take(press(KeyCode::Char(letter), KeyModifiers::NONE));
        }
    }

    fn enter(editor: &mut LineEditor) -> EditorAction {
        editor.take(press(KeyCode::Enter, KeyModifiers::NONE))
    }

    fn sent(text: &str) -> EditorAction {
        EditorAction::Sent(text.to_owned())
    }

    #[test]
    fn a_paste_of_several_lines_is_one_message() {
        for (pasted, message) in [
            ("one\ntwo\nthree", "one\ntwo\nthree"),
            ("one\r\ntwo\r\n", "one\ntwo\n"),
            ("one\rtwo", "one\ntwo"),
            ("\x1b[31mred\u{7}\ttab", "[31mred\ttab"),
        ] {
            let mut editor = LineEditor::default();
            typed(&mut editor, "> ");
            assert_eq!(editor.take(Event::Paste(pasted.to_owned())), EditorAction::Changed);
            assert_eq!(enter(&mut editor), sent(&format!("> {message}")), "{pasted:?}");
        }
    }

    #[test]
    fn several_keys_insert_a_newline() {
        for key in [
            press(KeyCode::Enter, KeyModifiers::ALT),
            press(KeyCode::Enter, KeyModifiers::SHIFT),
            control('j'),
        ] {
            let mut editor = LineEditor::default();
            typed(&mut editor, "one");
            assert_eq!(editor.take(key), EditorAction::Changed);
            typed(&mut editor, "two");
            assert_eq!(enter(&mut editor), sent("one\ntwo"));
        }
    }

    #[test]
    fn editing_keys_change_the_text() {
        let none = KeyModifiers::NONE;
        for (keys, message) in [
            (vec![press(KeyCode::Backspace, none)], "one two\nthree fou"),
            (vec![control('w')], "one two\nthree "),
            (vec![control('u')], "one two\n"),
            (vec![control('a'), control('k')], "one two\n"),
            (vec![press(KeyCode::Up, none), control('u')], "\nthree four"),
            (vec![press(KeyCode::Home, none), press(KeyCode::Delete, none)], "one two\nhree four"),
            (vec![press(KeyCode::Left, KeyModifiers::CONTROL), control('d')], "one two\nthree our"),
            (vec![control('a'), press(KeyCode::Backspace, none)], "one twothree four"),
        ] {
            let mut editor = LineEditor::default();
            editor.take(Event::Paste("one two\nthree four".to_owned()));
            for key in keys.clone() {
                editor.take(key);
            }
            assert_eq!(enter(&mut editor), sent(message), "{keys:?}");
        }
        let mut editor = LineEditor::default();
        typed(&mut editor, "a👩\u{200d}🚒");
        editor.take(press(KeyCode::Backspace, none));
        assert_eq!(enter(&mut editor), sent("a"), "backspace removes a whole grapheme");
    }

    #[test]
    fn arrow_keys_recall_messages_and_ctrl_d_leaves() {
        let (up, down) =
            (press(KeyCode::Up, KeyModifiers::NONE), press(KeyCode::Down, KeyModifiers::NONE));
        let mut editor = LineEditor::default();
        for message in ["one", "two\nlines"] {
            editor.take(Event::Paste(message.to_owned()));
            enter(&mut editor);
        }
        typed(&mut editor, "draft");
        editor.take(up.clone());
        assert_eq!(editor.text, "two\nlines");
        editor.take(up.clone());
        editor.take(up);
        assert_eq!(editor.text, "one");
        for _ in 0..4 {
            editor.take(down.clone());
        }
        assert_eq!(editor.text, "draft");
        assert_eq!(editor.take(control('c')), EditorAction::Interrupted);
        assert_eq!(editor.take(control('d')), EditorAction::Left);
    }

    #[test]
    fn text_is_laid_out_in_rows() {
        for (text, back, rows, at) in [
            ("", 0, vec![""], (0, 2)),
            ("abc", 0, vec!["abc"], (0, 5)),
            ("abc", 1, vec!["abc"], (0, 4)),
            ("ab\ncd", 0, vec!["ab", "  cd"], (1, 4)),
            ("ab\ncd", 3, vec!["ab", "  cd"], (0, 4)),
            ("ab\n", 0, vec!["ab", "  "], (1, 2)),
            ("12345678", 0, vec!["12345678", "  "], (1, 2)),
            ("1234567890", 0, vec!["12345678", "  90"], (1, 4)),
            ("1234567890", 2, vec!["12345678", "  90"], (1, 2)),
            ("123456漢字", 0, vec!["123456漢", "  字"], (1, 4)),
            ("1234567漢", 0, vec!["1234567", "  漢"], (1, 4)),
            ("a\tb", 0, vec!["a    b"], (0, 8)),
        ] {
            let mut editor = LineEditor::default();
            editor.take(Event::Paste(text.to_owned()));
            for _ in 0..back {
                editor.take(press(KeyCode::Left, KeyModifiers::NONE));
            }
            let layout = editor.lay_out(2, 10);
            let seen: Vec<&str> = layout.rows.iter().map(String::as_str).collect();
            assert_eq!((seen, (layout.row, layout.column)), (rows, at), "{text:?}, {back} back");
        }
    }
}
