//! JSON as Python's `json` module reads and writes it, and Python's `str` and `repr` of it.
//!
//! The older dialects were spoken by Python programs. Their frames have integers of any size, the
//! last of duplicate keys counts, and some texts are the `str()` of another value.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Refusal, RefusalCode};

/// Maximum number of digits of an integer in Python (`sys.int_info.default_max_str_digits`).
const MAX_DIGITS: usize = 4300;

/// A JSON value with numbers as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Digits of an integer of any size, or of another number that no float represents exactly.
    Int(String),
    /// Any other number. It is finite.
    Float(f64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in order. Each key occurs once.
    Dict(Vec<(String, Json)>),
}

impl Json {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// [`RefusalCode::BadFrame`] for invalid JSON, nesting deeper than 128, a lone surrogate, or a
    /// number that no float can hold.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        // The text is read twice: this finds depth and surrogates, the second reading keeps numbers
        // as written.
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            return Err(bad(format!("the frame is no JSON: {error}")));
        }
        let raw: &RawValue = serde_json::from_str(text)
            .map_err(|error| bad(format!("the frame is no JSON: {error}")))?;
        Self::of(raw, 0)
    }

    fn of(raw: &RawValue, depth: usize) -> Result<Self, Refusal> {
        if depth > 128 {
            return Err(bad("the frame nests deeper than 128".to_owned()));
        }
        let text = raw.get();
        let unread = |error: serde_json::Error| bad(format!("the frame is no JSON: {error}"));
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(serde_json::from_str(text).map_err(unread)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(unread)?;
                Self::List(
                    items
                        .into_iter()
                        .map(|item| Self::of(item, depth + 1))
                        .collect::<Result<_, _>>()?,
                )
            }
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(unread)?;
                // The last of equal keys counts, at the place of the first, as in Python. A map
                // finds the place, because a frame has room for a hundred thousand keys.
                let mut places: HashMap<String, usize> = HashMap::with_capacity(members.len());
                let mut dict: Vec<(String, Self)> = Vec::with_capacity(members.len());
                for (key, value) in members {
                    let value = Self::of(value, depth + 1)?;
                    match places.get(&key).and_then(|at| dict.get_mut(*at)) {
                        Some((_, known)) => *known = value,
                        None => {
                            places.insert(key.clone(), dict.len());
                            dict.push((key, value));
                        }
                    }
                }
                Self::Dict(dict)
            }
            Some(_) | None => Self::number(text)?,
        })
    }

    fn number(text: &str) -> Result<Self, Refusal> {
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            if text.len() > MAX_DIGITS {
                return Err(bad(format!("an integer has more than {MAX_DIGITS} digits")));
            }
            return Ok(Self::Int(if text == "-0" { "0".to_owned() } else { text.to_owned() }));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Self::Float(number)),
            Ok(_) | Err(_) => Err(bad(format!("{text} is no number that can be held"))),
        }
    }

    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The value of a key of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(members) => {
                members.iter().find(|(known, _)| known == key).map(|(_, value)| value)
            }
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::List(_) => None,
        }
    }

    /// Name of the value's type in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Dict(_) => "an object",
        }
    }

    /// The value as Python's `str()` prints it.
    #[must_use]
    pub fn to_str(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::List(_)
            | Self::Dict(_) => {
                let mut out = String::new();
                self.repr(&mut out);
                out
            }
        }
    }

    fn repr(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("None"),
            Self::Bool(true) => out.push_str("True"),
            Self::Bool(false) => out.push_str("False"),
            Self::Int(digits) => out.push_str(digits),
            Self::Float(number) => out.push_str(&float(*number)),
            Self::Text(text) => repr_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    item.repr(out);
                }
                out.push(']');
            }
            Self::Dict(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    repr_text(key, out);
                    out.push_str(": ");
                    value.repr(out);
                }
                out.push('}');
            }
        }
    }

    /// The value as `json.dumps` writes it: a space after each comma and colon, ASCII only.
    #[must_use]
    pub fn dumps(&self) -> String {
        let mut out = String::new();
        self.dump(&mut out);
        out
    }

    fn dump(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(digits) => out.push_str(digits),
            Self::Float(number) => out.push_str(&float(*number)),
            Self::Text(text) => dump_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    item.dump(out);
                }
                out.push(']');
            }
            Self::Dict(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    dump_text(key, out);
                    out.push_str(": ");
                    value.dump(out);
                }
                out.push('}');
            }
        }
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => match number.as_f64() {
                Some(float)
                    if number.is_f64()
                        && decimal(number.as_str()) == decimal(&self::float(float)) =>
                {
                    Self::Float(float)
                }
                Some(_) | None => Self::Int(number.to_string()),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(members) => Self::from(members),
        }
    }
}

impl From<&Map<String, Value>> for Json {
    fn from(members: &Map<String, Value>) -> Self {
        Self::Dict(members.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
    }
}

impl From<&Json> for Value {
    /// Integers keep their digits.
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Int(digits) => serde_json::from_str(digits).unwrap_or(Self::Null),
            Json::Float(number) => Self::from(*number),
            Json::Text(text) => Self::String(text.clone()),
            Json::List(items) => Self::Array(items.iter().map(Self::from).collect()),
            Json::Dict(members) => Self::Object(
                members.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect(),
            ),
        }
    }
}

/// Members of an object in order, with values that are not parsed yet.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Python's `repr` of a float. It differs from Rust's in the form of the exponent.
fn float(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// Sign, significant digits and power of ten of a number. They are equal for `1.50` and `15e-1`.
fn decimal(number: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let is_negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return (is_negative, String::new(), 0);
    }
    let place = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let zeros = place(digits.len() - significant.len());
    // A longer exponent has no float.
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX);
    let power = exponent.saturating_add(place(whole.len())).saturating_sub(zeros);
    (is_negative, significant.trim_end_matches('0').to_owned(), power)
}

/// Python's `repr` of a text: in single quotes, unless only double quotes avoid an escape.
fn repr_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_graphic() || c == ' ' || (!c.is_ascii() && is_printable(c)) => {
                out.push(c);
            }
            c => {
                let code = u32::from(c);
                // Writing to a `String` cannot fail.
                let _infallible = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` for one character. Rust's debug form escapes the same categories if
/// another character precedes it.
fn is_printable(c: char) -> bool {
    let after_another: String = ['a', c].iter().collect();
    after_another.escape_debug().nth(1) == Some(c)
}

fn dump_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a `String` cannot fail.
                    let _infallible = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn bad(reason: String) -> Refusal {
    Refusal::new(RefusalCode::BadFrame, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_python_does() {
        for (json, python) in [
            ("null", "None"),
            ("true", "True"),
            ("[1, \"a\"]", "[1, 'a']"),
            ("{\"a\": \"it's\", \"b\": 1.0}", "{'a': \"it's\", 'b': 1.0}"),
            ("1e16", "1e+16"),
            ("0.0000001", "1e-07"),
            ("-0.0", "-0.0"),
            ("-0", "0"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("[\"\\u00e9\\u0301\\u200b\\n\\u0000\"]", "['é\u{301}\\u200b\\n\\x00']"),
            ("[\"\\ud83e\\udd80 '\\\"\"]", "['🦀 \\'\"']"),
            ("\"plain\"", "plain"),
        ] {
            assert_eq!(Json::parse(json).unwrap().to_str(), python, "{json}");
        }
    }

    #[test]
    fn numbers_without_an_exact_float_keep_their_digits() {
        for (json, python) in [
            ("0.10000000000000000555", "0.10000000000000000555"),
            ("1000000000000000000001", "1000000000000000000001"),
            ("9007199254740993.5", "9007199254740993.5"),
            ("1e+400", "1e+400"),
            ("0.1", "0.1"),
            ("1.50", "1.5"),
            ("15e-1", "1.5"),
            ("0.0", "0.0"),
            ("-0.0", "-0.0"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(Json::from(&value).to_str(), python, "{json}");
        }
    }

    #[test]
    fn invalid_json_is_refused() {
        let deep = "[".repeat(100_000);
        for json in [
            "",
            "NaN",
            "Infinity",
            "\"\\ud800\"",
            "1e999",
            "{",
            "\u{feff}1",
            "[1] 2",
            &deep,
            "\"a\nb\"",
            "{'a': 1}",
            "01",
        ] {
            assert_eq!(Json::parse(json).unwrap_err().code, RefusalCode::BadFrame, "{json:.20}");
        }
    }

    #[test]
    fn objects_are_read_in_linear_time() {
        // These keys fit into a frame of the default size. Comparing them pairwise takes a minute.
        let members: Vec<String> = (0..100_000).map(|at| format!("\"{at:x}\":0")).collect();
        let Json::Dict(read) = Json::parse(&format!("{{{}}}", members.join(","))).unwrap() else {
            panic!("an object")
        };
        assert_eq!(read.len(), members.len());
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(
            Json::parse(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap().dumps(),
            r#"{"a": 3, "b": 2}"#
        );
    }
}
