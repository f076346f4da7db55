//! Reads an object's fields as pydantic's lax mode does, which Sparky's models use.
//!
//! The conversions are those of pydantic's table, as in the recorded conversations (version 2.14).
#![allow(clippy::wildcard_enum_match_arm, reason = "JSON has these kinds and no others")]

use crate::dialect::python::Json;
use crate::{Refusal, RefusalCode};

/// The fields of one payload.
pub(super) struct SparkyFields<'a> {
    pub(super) kind: &'a str,
    pub(super) data: &'a Json,
}

impl SparkyFields<'_> {
    pub(super) fn text(&self, name: &str) -> Result<String, Refusal> {
        match self.need(name)? {
            Json::Text(text) => Ok(text.clone()),
            other => Err(self.wrong(name, "a string", other)),
        }
    }

    /// A text of at least one character.
    pub(super) fn some_text(&self, name: &str) -> Result<String, Refusal> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Err(Refusal::new(
                RefusalCode::EmptyText,
                format!("{}: {name:?} must not be empty", self.kind),
            ));
        }
        Ok(text)
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.data.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(name, "a string or null", other)),
        }
    }

    pub(super) fn int(&self, name: &str) -> Result<i128, Refusal> {
        let value = self.need(name)?;
        int(value).ok_or_else(|| self.wrong(name, "a whole number", value))
    }

    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i128>, Refusal> {
        match self.data.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(_) => self.int(name).map(Some),
        }
    }

    pub(super) fn truth(&self, name: &str) -> Result<bool, Refusal> {
        let value = self.need(name)?;
        truth(value).ok_or_else(|| self.wrong(name, "true or false", value))
    }

    pub(super) fn truth_or(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        if self.data.get(name).is_some() { self.truth(name) } else { Ok(default) }
    }

    pub(super) fn dict(&self, name: &str) -> Result<Json, Refusal> {
        match self.need(name)? {
            dict @ Json::Dict(_) => Ok(dict.clone()),
            other => Err(self.wrong(name, "an object", other)),
        }
    }

    /// A list of objects; null counts as absent.
    pub(super) fn optional_dicts(&self, name: &str) -> Result<Option<Vec<Json>>, Refusal> {
        match self.data.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::List(items)) => {
                match items.iter().find(|item| !matches!(item, Json::Dict(_))) {
                    Some(other) => Err(self.wrong(name, "an array of objects", other)),
                    None => Ok(Some(items.clone())),
                }
            }
            Some(other) => Err(self.wrong(name, "an array of objects or null", other)),
        }
    }

    /// Any value; null counts as absent.
    pub(super) fn any(&self, name: &str) -> Option<Json> {
        self.data.get(name).filter(|value| !matches!(value, Json::Null)).cloned()
    }

    fn need(&self, name: &str) -> Result<&Json, Refusal> {
        self.data.get(name).ok_or_else(|| {
            Refusal::new(RefusalCode::BadRequest, format!("{} needs {name:?}", self.kind))
        })
    }

    fn wrong(&self, name: &str, wanted: &str, found: &Json) -> Refusal {
        Refusal::new(
            RefusalCode::BadRequest,
            format!("{}: {name:?} is {wanted}; this is {}", self.kind, found.kind()),
        )
    }
}

fn int(value: &Json) -> Option<i128> {
    match value {
        Json::Bool(truth) => Some(i128::from(*truth)),
        Json::Int(digits) => digits.parse().ok(),
        // Neighbouring floats beyond 2^63 are far apart, and pydantic refuses them.
        Json::Float(number) if number.fract() == 0.0 && number.abs() < 9.223_372_036_854_775e18 => {
            format!("{number:.0}").parse().ok()
        }
        Json::Text(text) => int_of_text(text),
        Json::Float(_) | Json::Null | Json::List(_) | Json::Dict(_) => None,
    }
}

/// Reads `" +1_000.00 "` as 1000: allows surrounding space, a sign, single underscores between
/// digits, and zeros after a point.
fn int_of_text(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = match digits.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        Some(_) => return None,
        None => digits,
    };
    let underscored = whole.starts_with('_') || whole.ends_with('_') || whole.contains("__");
    if whole.is_empty()
        || underscored
        || !whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    {
        return None;
    }
    let number: i128 = whole.replace('_', "").parse().ok()?;
    Some(if negative { -number } else { number })
}

fn truth(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(truth) => Some(*truth),
        Json::Int(digits) => match digits.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        },
        Json::Float(number) => match number {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Json::Text(text) => match text.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        Json::Null | Json::List(_) | Json::Dict(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_as_pydantic_takes_them() {
        for (json, expected) in [
            ("3", Some(3)),
            ("-1", Some(-1)),
            ("3.0", Some(3)),
            ("3.5", None),
            ("true", Some(1)),
            ("\"3\"", Some(3)),
            ("\" +1_000.00 \"", Some(1000)),
            ("\"1__0\"", None),
            ("\"_1\"", None),
            ("\"3.5\"", None),
            ("\"\"", None),
            ("\"x\"", None),
            ("null", None),
            ("[]", None),
            ("1e300", None),
            ("100000000000000000000", Some(100_000_000_000_000_000_000)),
        ] {
            assert_eq!(int(&Json::parse(json).unwrap()), expected, "{json}");
        }
    }

    #[test]
    fn truths_as_pydantic_takes_them() {
        for (json, expected) in [
            ("true", Some(true)),
            ("1", Some(true)),
            ("0.0", Some(false)),
            ("\"YES\"", Some(true)),
            ("\"off\"", Some(false)),
            ("2", None),
            ("\"maybe\"", None),
            ("\" on\"", None),
        ] {
            assert_eq!(truth(&Json::parse(json).unwrap()), expected, "{json}");
        }
    }
}
