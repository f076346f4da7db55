//! Finds the `id` of a frame that cannot be parsed: a tolerant scan for the top-level key.

use crate::CommandId;

/// Finds the last valid top-level `id` of a frame, in one pass and without recursion. Only the
/// structure up to the id must be JSON. Depth, numbers, surrogates, encoding and everything after
/// the object may be invalid.
pub(super) fn find_id(frame: &[u8]) -> Option<CommandId> {
    let mut scan = Scan { frame, at: 0 };
    let start = frame.iter().position(|byte| *byte == b'{')?;
    if !frame.get(..start)?.iter().all(|byte| byte.is_ascii_whitespace() || !byte.is_ascii()) {
        return None;
    }
    scan.at = start + 1;
    let (mut found, mut depth) = (None, 1_usize);
    let mut expected = Expected::Key;
    while let Some(byte) = scan.next() {
        match byte {
            b'"' => {
                let Some(string) = scan.string() else { return found };
                if depth > 1 {
                    continue;
                }
                expected = match expected {
                    Expected::Key if is_id(string) => Expected::Colon { is_id: true },
                    Expected::Key => Expected::Colon { is_id: false },
                    Expected::Value { is_id: true } => {
                        found = id(string).or(found);
                        Expected::Comma
                    }
                    Expected::Value { is_id: false } | Expected::Comma => Expected::Comma,
                    Expected::Colon { .. } => return found,
                };
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return found;
                }
            }
            b':' if depth == 1 => {
                if let Expected::Colon { is_id } = expected {
                    expected = Expected::Value { is_id };
                }
            }
            b',' if depth == 1 => expected = Expected::Key,
            _ => {}
        }
    }
    found
}

/// Role of the object's next string.
#[derive(Clone, Copy)]
enum Expected {
    Key,
    Colon { is_id: bool },
    Value { is_id: bool },
    Comma,
}

struct Scan<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.frame.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// Reads to the end of a string after its first quote. Returns it with both quotes, or `None`
    /// if it does not end.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at - 1;
        loop {
            match self.next()? {
                b'\\' => self.at += 1,
                b'"' => return self.frame.get(start..self.at),
                _ => {}
            }
        }
    }
}

fn is_id(string: &[u8]) -> bool {
    text(string).is_some_and(|key| key == "id")
}

fn id(string: &[u8]) -> Option<CommandId> {
    CommandId::new(text(string)?).ok()
}

fn text(string: &[u8]) -> Option<String> {
    serde_json::from_slice(string).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_damaged_frames() {
        let deep = format!(r#"{{"content":{}1{},"id":"m1"}}"#, "[".repeat(500), "]".repeat(500));
        let objects = format!(r#"{{"content":{},"id":"m1"}}"#, r#"{"id":"no","a":"#.repeat(300));
        let cases: [(&[u8], Option<&str>); 30] = [
            (br#"{"type":"send","id":"m1","text":"cut \ud83d"}"#, Some("m1")),
            (br#"{"text":"cut \ud83d","id":"m1"}"#, Some("m1")),
            (br#"{"n":1e400,"id":"m1"}"#, Some("m1")),
            (br#"{"n":-99999999999999999999999999,"id":"m1"}"#, Some("m1")),
            (br#"{"n":NaN,"id":"m1"}"#, Some("m1")),
            (deep.as_bytes(), Some("m1")),
            (objects.as_bytes(), None),
            (br#" {"id" : "m1" } trailing {"id":"m2"}"#, Some("m1")),
            (b"\xef\xbb\xbf{\"id\":\"m1\"}", Some("m1")),
            (b"{\"id\":\"m1\",\"text\":\"\xff\xfe\"}", Some("m1")),
            (b"{\"text\":\"\xff\xfe\",\"id\":\"m1\"}", Some("m1")),
            (b"{\"text\":\"a\nb\",\"id\":\"m1\"}", Some("m1")),
            (br#"{"id":"m1","text":"not ended"#, Some("m1")),
            (br#"{"id":"m1","text":"#, Some("m1")),
            (br#"{"id":"m1""#, Some("m1")),
            (br#"{"id":"m1","id":"m2"}"#, Some("m2")),
            (br#"{"id":"m1","id":7}"#, Some("m1")),
            (br#"{"\u0069d":"m\u0031"}"#, Some("m1")),
            (br#"{"text":"say \"id\":\"no\"","id":"m1"}"#, Some("m1")),
            (br#"{"text":"\\","id":"m1"}"#, Some("m1")),
            (br#"{"a":{"id":"no"},"b":["id","no"],"id":"m1",}"#, Some("m1")),
            (br#"{"a":"id","id":"m1"}"#, Some("m1")),
            (br#"{"a":{"id":"no"}}"#, None),
            (br#"[{"id":"no"}]"#, None),
            (br#"{"id":7}"#, None),
            (br#"{"id":""}"#, None),
            (br#"{"id":"\ud83d"}"#, None),
            (br#"{"id":"no"#, None),
            (b"}", None),
            (b"", None),
        ];
        for (frame, expected) in cases {
            let found = find_id(frame);
            let shown = String::from_utf8_lossy(frame);
            assert_eq!(found.as_ref().map(CommandId::as_str), expected, "{shown:.80}");
        }
    }
}
