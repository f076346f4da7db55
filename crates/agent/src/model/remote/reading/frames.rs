//! Framing of a reply: server-sent events, lines of JSON, or one body that was not streamed.

use serde_json::Value;

use super::json;

/// Longest line, event or body that was not streamed, in bytes.
pub(super) const MAX_FRAME_BYTES: usize = 4 << 20;

/// Framing of a wire's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamFraming {
    /// Server-sent events.
    Events,
    /// One JSON value on each line.
    Lines,
}

/// A frame of a reply.
#[derive(Debug, PartialEq)]
pub(super) enum StreamFrame {
    /// A JSON value.
    Value {
        /// The event's type; empty if there is none.
        event: String,
        value: Value,
        /// The JSON text of the value.
        text: String,
        /// Whether its strings contain surrogate halves.
        has_surrogates: bool,
    },
    /// Text that is not JSON.
    Words { event: String, text: String },
    /// JSON that was cut off or is not well-formed.
    Broken { text: String },
    /// The marker of a stream's end, `[DONE]`.
    End,
}

/// A line, an event or a body is longer than [`MAX_FRAME_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameTooLong;

/// Splits bytes into frames.
pub(super) struct StreamFramer {
    framing: StreamFraming,
    lines: LineSplitter,
    event: String,
    data: Option<String>,
    /// Lines outside of frames: a body that was not streamed, or not a reply at all.
    stray: String,
    framed: bool,
}

impl StreamFramer {
    pub(super) fn new(framing: StreamFraming) -> Self {
        let (event, data, stray) = (String::new(), None, String::new());
        Self { framing, lines: LineSplitter::default(), event, data, stray, framed: false }
    }

    /// Adds bytes and returns the frames that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<StreamFrame>, FrameTooLong> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        loop {
            let line = self.lines.next(&mut rest)?;
            let Some(line) = line else { return Ok(frames) };
            self.line(&line, &mut frames)?;
        }
    }

    /// Ends the reply and returns the last frames.
    pub(super) fn finish(&mut self) -> Result<Vec<StreamFrame>, FrameTooLong> {
        let mut frames = Vec::new();
        if let Some(line) = self.lines.finish() {
            self.line(&line, &mut frames)?;
        }
        self.dispatch(&mut frames);
        let stray = std::mem::take(&mut self.stray);
        if !self.framed && !stray.trim().is_empty() {
            read(&self.event, stray.trim(), &mut frames);
        }
        Ok(frames)
    }

    fn line(&mut self, line: &str, frames: &mut Vec<StreamFrame>) -> Result<(), FrameTooLong> {
        match self.framing {
            StreamFraming::Events => self.event_line(line, frames),
            StreamFraming::Lines => self.json_line(line, frames),
        }
    }

    fn event_line(
        &mut self,
        line: &str,
        frames: &mut Vec<StreamFrame>,
    ) -> Result<(), FrameTooLong> {
        if line.is_empty() {
            self.dispatch(frames);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                let data = self.data.get_or_insert_default();
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
                if data.len() > MAX_FRAME_BYTES {
                    return Err(FrameTooLong);
                }
            }
            "event" => value.clone_into(&mut self.event),
            "" | "id" | "retry" => {}
            // Some gateways write an error between the events, without a field name.
            _ if self.framed => frames.extend(self::value("", line.trim())),
            // Unknown fields are ignored, unless this may not be a stream at all.
            _ => return self.keep_stray(line),
        }
        Ok(())
    }

    fn json_line(&mut self, line: &str, frames: &mut Vec<StreamFrame>) -> Result<(), FrameTooLong> {
        // Some gateways send server-sent events on this wire, too.
        let json = line.strip_prefix("data:").unwrap_or(line).trim();
        if json.is_empty() || json.starts_with(':') || json.starts_with("event:") {
            return Ok(());
        }
        if json == "[DONE]" {
            frames.push(StreamFrame::End);
        } else if self.stray.is_empty()
            && let Some(frame) = value("", json)
        {
            self.framed = true;
            frames.push(frame);
        } else if self.framed {
            read("", json, frames);
        } else {
            return self.keep_stray(line);
        }
        Ok(())
    }

    fn keep_stray(&mut self, line: &str) -> Result<(), FrameTooLong> {
        self.stray.push_str(line);
        self.stray.push('\n');
        if self.stray.len() > MAX_FRAME_BYTES { Err(FrameTooLong) } else { Ok(()) }
    }

    /// Ends the current event.
    fn dispatch(&mut self, frames: &mut Vec<StreamFrame>) {
        let event = std::mem::take(&mut self.event);
        let Some(data) = self.data.take() else { return };
        if !data.trim().is_empty() {
            self.framed = true;
            read(&event, data.trim(), frames);
        }
    }
}

/// Parses the data of an event or a body: one JSON value, several lines of values, or text.
fn read(event: &str, data: &str, frames: &mut Vec<StreamFrame>) {
    if data == "[DONE]" {
        frames.push(StreamFrame::End);
    } else if let Some(frame) = value(event, data) {
        frames.push(frame);
    } else if data.lines().count() > 1 && data.lines().all(|line| is_frame(line.trim())) {
        // Events without blank lines between them, or a stream of lines.
        for line in data.lines().map(str::trim).filter(|line| !line.is_empty()) {
            read(event, line, frames);
        }
    } else if data.starts_with(['{', '[']) {
        frames.push(StreamFrame::Broken { text: data.to_owned() });
    } else {
        frames.push(StreamFrame::Words { event: event.to_owned(), text: data.to_owned() });
    }
}

fn is_frame(line: &str) -> bool {
    line.is_empty() || line == "[DONE]" || json::parse(line).is_ok()
}

/// Parses a JSON object or list.
fn value(event: &str, text: &str) -> Option<StreamFrame> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let parsed = json::parse(text).ok()?;
    Some(StreamFrame::Value {
        event: event.to_owned(),
        has_surrogates: parsed.has_surrogates,
        text: parsed.text.into_owned(),
        value: parsed.value,
    })
}

/// Splits bytes into lines that end with LF, CR or CRLF, independent of chunk boundaries.
#[derive(Default)]
struct LineSplitter {
    line: Vec<u8>,
    /// Whether the last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Whether the first line has begun.
    begun: bool,
}

impl LineSplitter {
    /// Takes the next line from `bytes`. Absent if the line is not complete.
    fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<String>, FrameTooLong> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if std::mem::take(&mut self.after_cr)
            && let Some(rest) = bytes.strip_prefix(b"\n")
        {
            *bytes = rest;
        }
        let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.append(bytes)?;
            *bytes = &[];
            return Ok(None);
        };
        let (line, rest) = bytes.split_at(end);
        self.append(line)?;
        self.after_cr = rest.first() == Some(&b'\r');
        *bytes = rest.get(1..).unwrap_or_default();
        Ok(Some(self.take()))
    }

    /// The rest behind the last line end.
    fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FrameTooLong> {
        if self.line.len() + bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        let line = if std::mem::replace(&mut self.begun, true) {
            &line[..]
        } else {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line)
        };
        String::from_utf8_lossy(line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats frames as text: `event|json`, `event: text`, `broken text` or `end`.
    fn shown(frames: Vec<StreamFrame>) -> Vec<String> {
        let show = |frame| match frame {
            StreamFrame::Value { event, value, .. } => format!("{event}|{value}"),
            StreamFrame::Words { event, text } => format!("{event}: {text}"),
            StreamFrame::Broken { text } => format!("broken {text}"),
            StreamFrame::End => "end".to_owned(),
        };
        frames.into_iter().map(show).collect()
    }

    fn frames(framing: StreamFraming, pieces: &[&[u8]]) -> Vec<String> {
        let mut framer = StreamFramer::new(framing);
        let mut frames = Vec::new();
        for piece in pieces {
            frames.extend(framer.push(piece).unwrap());
        }
        frames.extend(framer.finish().unwrap());
        shown(frames)
    }

    #[test]
    fn events_do_not_depend_on_chunk_boundaries() {
        let stream = "\u{FEFF}: comment\nevent: a\ndata: {\"t\":\"über 🦀\"}\n\n\
                      event: b\ndata:{\ndata: \"n\": 1}\nid: 7\n\ndata\n\ndata: [DONE]\n\n";
        let wanted = [r#"a|{"t":"über 🦀"}"#, r#"b|{"n":1}"#, "end"];
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', line_end).into_bytes();
            for cut in 0..=stream.len() {
                let (first, second) = stream.split_at(cut);
                assert_eq!(
                    frames(StreamFraming::Events, &[first, second]),
                    wanted,
                    "{line_end:?} {cut}"
                );
            }
            let single: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(frames(StreamFraming::Events, &single), wanted, "{line_end:?}");
        }
    }

    #[test]
    fn unusual_streams_are_framed() {
        use StreamFraming::{Events, Lines};
        for (framing, stream, wanted) in [
            // The last blank line is missing.
            (Events, "data: {\"a\":1}", &[r#"|{"a":1}"#][..]),
            // All blank lines are missing.
            (
                Events,
                "data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n",
                &[r#"|{"a":1}"#, r#"|{"b":2}"#, "end"],
            ),
            (Events, "data: {\"a\":", &[r#"broken {"a":"#]),
            (Events, "event: error\ndata: Overloaded.\n\n", &["error: Overloaded."]),
            // Not a stream.
            (Events, "{\n  \"a\": 1\n}\n", &[r#"|{"a":1}"#]),
            (Events, "{\"a\":1}\n{\"b\":2}\n", &[r#"|{"a":1}"#, r#"|{"b":2}"#]),
            (Events, "<html>No</html>", &[": <html>No</html>"]),
            (Events, "", &[]),
            (Events, ": alive\n\n: alive\n\n", &[]),
            // Unknown fields within a stream.
            (Events, "data: {}\n\nfoo: bar\nx\n\n", &["|{}"]),
            (Lines, "{\"a\":1}\r\n\r\n{\"b\":2}", &[r#"|{"a":1}"#, r#"|{"b":2}"#]),
            (Lines, "{\n\"a\": 1\n}", &[r#"|{"a":1}"#]),
            (Lines, "data: {\"a\":1}\n\ndata: [DONE]\n\n", &[r#"|{"a":1}"#, "end"]),
            (Lines, "{\"a\":1}\n{\"b\":", &[r#"|{"a":1}"#, r#"broken {"b":"#]),
            (Lines, "Bad Gateway", &[": Bad Gateway"]),
        ] {
            assert_eq!(frames(framing, &[stream.as_bytes()]), wanted, "{stream:?}");
        }
        assert_eq!(
            frames(Events, &[b"data: {\"a\":\"\xFF\xF0\x9F\"}\n\n"]),
            ["|{\"a\":\"\u{FFFD}\u{FFFD}\"}"]
        );
    }

    #[test]
    fn frames_of_every_kind_are_bounded() {
        for (framing, piece) in [
            (StreamFraming::Events, "data: no line end"),
            (StreamFraming::Events, "data: lines of one event\n"),
            (StreamFraming::Events, "not a stream\n"),
            (StreamFraming::Lines, "not a stream\n"),
            (StreamFraming::Lines, "no line end"),
        ] {
            let mut framer = StreamFramer::new(framing);
            let piece = piece.repeat(1000);
            let max = 2 * MAX_FRAME_BYTES / piece.len();
            let taken = (0..max).take_while(|_| framer.push(piece.as_bytes()).is_ok()).count();
            assert!(taken < max, "{piece:.30}");
        }
    }
}
