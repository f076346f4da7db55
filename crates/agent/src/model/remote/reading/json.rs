//! Tolerant JSON: surrogate halves in strings, and numbers that stay as written.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// First of the 2,048 code points that stand for a lone surrogate while a reply is read. They are
/// the last ones of a private-use plane.
const FIRST_SURROGATE: u32 = 0x0010_F800;

/// A parsed JSON text.
pub(super) struct ParsedJson<'a> {
    pub(super) value: Value,
    /// The text that `value` was parsed from.
    pub(super) text: Cow<'a, str>,
    /// Whether some of its strings contain surrogate halves, which [`SurrogateJoiner`] joins.
    pub(super) has_surrogates: bool,
}

/// Parses a JSON text. Unlike in `serde_json`, a lone surrogate in a string is not an error.
pub(super) fn parse(text: &str) -> Result<ParsedJson<'_>, serde_json::Error> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(ParsedJson { value, text: Cow::Borrowed(text), has_surrogates: false }),
        Err(error) => {
            let Some(marked) = mark_surrogates(text) else { return Err(error) };
            let value = serde_json::from_str(&marked)?;
            Ok(ParsedJson { value, text: Cow::Owned(marked), has_surrogates: true })
        }
    }
}

/// Replaces lone surrogates in a JSON text by U+FFFD. Absent if there are none.
pub(crate) fn without_surrogates(text: &str) -> Option<String> {
    mark_surrogates(text).map(|marked| {
        marked
            .chars()
            .map(|c| if surrogate_of(c).is_some() { char::REPLACEMENT_CHARACTER } else { c })
            .collect()
    })
}

/// Replaces escapes of lone surrogates by the code points that stand for them. Absent if there are
/// none.
fn mark_surrogates(text: &str) -> Option<String> {
    let mut marked = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        marked.push_str(before);
        let length = match unit(escape) {
            Some(high @ 0xD800..=0xDBFF) => {
                if matches!(escape.get(6..).and_then(unit), Some(0xDC00..=0xDFFF)) {
                    12
                } else {
                    found = true;
                    marked.extend(mark(high));
                    rest = escape.get(6..).unwrap_or_default();
                    continue;
                }
            }
            Some(low @ 0xDC00..=0xDFFF) => {
                found = true;
                marked.extend(mark(low));
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            Some(_) => 6,
            // The character behind the backslash may have several bytes if the text is not JSON.
            None => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, behind) = escape.split_at_checked(length).unwrap_or((escape, ""));
        marked.push_str(escape);
        rest = behind;
    }
    marked.push_str(rest);
    found.then_some(marked)
}

/// The UTF-16 unit of an escape `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u16::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

fn mark(unit: u16) -> Option<char> {
    char::from_u32(FIRST_SURROGATE + u32::from(unit) - 0xD800)
}

/// The surrogate that a code point stands for.
fn surrogate_of(c: char) -> Option<u16> {
    let offset = u32::from(c).checked_sub(FIRST_SURROGATE)?;
    u16::try_from(offset + 0xD800).ok()
}

/// Writes surrogate halves in a JSON text as escapes again. Absent if there are none.
pub(super) fn escape_surrogates(text: &str) -> Option<String> {
    text.chars().any(|c| surrogate_of(c).is_some()).then(|| {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            match surrogate_of(c) {
                Some(unit) => escaped.push_str(&format!("\\u{unit:04x}")),
                None => escaped.push(c),
            }
        }
        escaped
    })
}

/// Joins surrogate halves that arrived in different pieces of one text.
#[derive(Default)]
pub(super) struct SurrogateJoiner {
    high: Option<u16>,
}

impl SurrogateJoiner {
    /// Adds a piece and returns the text that is complete.
    pub(super) fn push(&mut self, piece: &str) -> String {
        let mut joined = String::with_capacity(piece.len());
        for c in piece.chars() {
            match (self.high.take(), surrogate_of(c)) {
                (None, None) => joined.push(c),
                (None, Some(high @ 0xD800..=0xDBFF)) => self.high = Some(high),
                (None, Some(_)) => joined.push(char::REPLACEMENT_CHARACTER),
                (Some(_), None) => joined.extend([char::REPLACEMENT_CHARACTER, c]),
                (Some(high), Some(low)) => {
                    let mut units = char::decode_utf16([high, low]);
                    match units.next() {
                        Some(Ok(c)) => joined.push(c),
                        Some(Err(_)) | None => {
                            joined.push(char::REPLACEMENT_CHARACTER);
                            match low {
                                0xD800..=0xDBFF => self.high = Some(low),
                                _ => joined.push(char::REPLACEMENT_CHARACTER),
                            }
                        }
                    }
                }
            }
        }
        joined
    }

    /// Ends the text: a remaining half becomes U+FFFD.
    pub(super) fn finish(&mut self) -> Option<char> {
        self.high.take().map(|_| char::REPLACEMENT_CHARACTER)
    }
}

/// A step on the path to a value inside another.
#[derive(Clone, Copy)]
pub(super) enum PathStep<'a> {
    Key(&'a str),
    At(usize),
}

/// The text of a value inside a JSON text, so that its numbers stay as written.
pub(super) fn raw_at<'a>(text: &'a str, path: &[PathStep<'_>]) -> Option<&'a str> {
    let mut raw: &'a RawValue = serde_json::from_str(text).ok()?;
    for step in path {
        raw = match step {
            PathStep::Key(key) => serde_json::from_str::<HashMap<String, &'a RawValue>>(raw.get())
                .ok()?
                .remove(*key)?,
            PathStep::At(at) => {
                serde_json::from_str::<Vec<&'a RawValue>>(raw.get()).ok()?.get(*at).copied()?
            }
        };
    }
    Some(raw.get())
}

/// A non-empty string under a key.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// A value under one of two spellings of a key.
pub(super) fn either<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake)).filter(|value| !value.is_null())
}

/// The entries of a list. Any other value counts as the only entry, and null as none.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Array(entries)) => entries,
        Some(single) => std::slice::from_ref(single),
    }
}

/// A number from the network as a string that is only compared.
pub(super) fn key(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Number(number) => Some(match number.as_f64() {
            Some(float) if float.fract() == 0.0 => format!("{float}"),
            Some(_) | None => number.to_string(),
        }),
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number of tokens. Absurd values are ignored.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    const MAX: u64 = 1 << 40;
    let value = value?;
    let number = value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|float| (0.0..1e12).contains(float))?;
        Some(float as u64)
    })?;
    (number <= MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogate_halves_are_joined_or_replaced() {
        for (pieces, joined) in [
            (&[r#""a\ud83e""#, r#""\udd80b""#][..], "a🦀b"),
            (&[r#""\ud83e\udd80""#], "🦀"),
            (&[r#""\ud83e""#], "\u{FFFD}"),
            (&[r#""\udd80""#, r#""x""#], "\u{FFFD}x"),
            (&[r#""\ud83e""#, r#""\ud83e\udd80""#], "\u{FFFD}🦀"),
            (&[r#""\ud83e""#, r#""\ud83e""#, r#""\udd80""#], "\u{FFFD}🦀"),
            (&[r#""\\ud83e \n""#], "\\ud83e \n"),
            (&["\"\u{10FFFF}\""], "\u{10FFFF}"),
        ] {
            let mut joiner = SurrogateJoiner::default();
            let mut text = String::new();
            for piece in pieces {
                let parsed = parse(piece).unwrap();
                let piece = parsed.value.as_str().unwrap();
                text += &if parsed.has_surrogates || joiner.high.is_some() {
                    joiner.push(piece)
                } else {
                    piece.to_owned()
                };
            }
            text.extend(joiner.finish());
            assert_eq!(text, joined, "{pieces:?}");
        }
    }

    #[test]
    fn raw_values_keep_their_numbers() {
        let text = r#"{"a": [0, {"b": {"n": 1000000000000000000001, "d": 1.10}}]}"#;
        let path = [PathStep::Key("a"), PathStep::At(1), PathStep::Key("b")];
        assert_eq!(raw_at(text, &path), Some(r#"{"n": 1000000000000000000001, "d": 1.10}"#));
        assert_eq!(raw_at(text, &[PathStep::Key("a"), PathStep::At(2)]), None);
    }

    #[test]
    fn numbers_from_the_network_are_compared_as_text() {
        let keys = [("0", Some("0")), ("0.0", Some("0")), ("-1", Some("-1")), ("\"0\"", Some("0"))];
        for (json, name) in keys {
            assert_eq!(key(Some(&serde_json::from_str(json).unwrap())).as_deref(), name, "{json}");
        }
        assert_eq!(key(Some(&serde_json::json!(1e300))).map(|key| key.len()), Some(301));
        for (json, number) in [("5", Some(5)), ("5.0", Some(5)), ("-1", None), ("1e300", None)] {
            assert_eq!(count(Some(&serde_json::from_str(json).unwrap())), number, "{json}");
        }
    }
}
