//! The arguments of a call, from the JSON text that a model wrote.

use serde_json::{Map, Value};

use crate::model::remote::reading::json as json_text;

/// Parses arguments. The error is a sentence for the model. Numbers keep the digits they are
/// written with.
///
/// Some models write the object inside a JSON string, `null` for no arguments, or half of a
/// surrogate pair.
///
/// Refuses a number that would be written differently on its way to the tool: an exponent gets a
/// sign and a small `e` (`1E22` would arrive as `1e+22`).
pub(crate) fn parse(tool: &str, json: &str) -> Result<Map<String, Value>, String> {
    let whole = json_text::without_surrogates(json);
    let json = whole.as_deref().unwrap_or(json);
    let inner = serde_json::from_str::<String>(json).ok();
    let json = match inner.as_deref().unwrap_or(json).trim() {
        "" | "null" => "{}",
        json => json,
    };
    let args = serde_json::from_str(json).map_err(|error| {
        format!("The arguments of {tool} are not a JSON object: {error}. Call it again with one.")
    })?;
    match rewritten(json) {
        None => Ok(args),
        Some(number) => Err(format!(
            "The number {} in the arguments of {tool} would not arrive as it is written. Call it \
             again with the number written without an exponent, or as a text.",
            number.chars().take(60).collect::<String>()
        )),
    }
}

/// Finds the first number whose exponent has no sign or a capital letter; `json` must be valid
/// JSON.
fn rewritten(json: &str) -> Option<&str> {
    let mut rest = json;
    loop {
        let at = rest.find(|char: char| char == '"' || char == '-' || char.is_ascii_digit())?;
        rest = rest.get(at..)?;
        if let Some(text) = rest.strip_prefix('"') {
            rest = behind_string(text)?;
            continue;
        }
        let of_number = |char: char| char.is_ascii_digit() || "+-.eE".contains(char);
        let end = rest.find(|char: char| !of_number(char)).unwrap_or(rest.len());
        let (number, behind) = rest.split_at_checked(end)?;
        let exponent = number.split_once('e').map(|(_, exponent)| exponent);
        let is_signed = exponent.is_none_or(|exponent| exponent.starts_with(['+', '-']));
        if number.contains('E') || !is_signed {
            return Some(number);
        }
        rest = behind;
    }
}

/// The rest of the text after the closing quotation mark of a string.
fn behind_string(text: &str) -> Option<&str> {
    let mut escaped = false;
    let end = text.find(|char: char| {
        let ends = char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    })?;
    text.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_keep_their_digits() {
        for number in [
            "1000000000000000000001",
            "-1000000000000000000001",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "0.10000000000000000555",
            "123456789012345678901234567890.123456789",
            "1.0",
            "1.50",
            "100",
            "0",
            "-0",
            "-0.0",
            "1e-7",
            "2.5e+300",
            "1e+400",
        ] {
            let json = format!(r#"{{"n":{number},"deep":[{{"n":{number}}}]}}"#);
            let args = parse("act", &json).unwrap();
            assert_eq!(serde_json::to_string(&args).unwrap(), json);
            // The log reads the same text once more.
            let again = serde_json::from_str::<serde_json::Value>(&json).unwrap();
            assert_eq!(again.to_string(), json);
        }
    }

    #[test]
    fn a_number_that_would_change_in_transit_is_refused() {
        for number in ["1e400", "1E22", "1E-7", "-2.5e10", "0e0"] {
            let refused =
                parse("act", &format!(r#"{{"a":"\" 1e5 \\","b":[{number}]}}"#)).unwrap_err();
            assert!(refused.contains(number) && refused.contains("act"), "{refused}");
        }
        assert!(parse("act", r#"{"a":"1e5","b":"\\\"1e5","1e5":true,"c":false}"#).is_ok());
    }

    #[test]
    fn arguments_other_than_objects_are_refused() {
        for json in ["[1]", "1", "\"a\"", "{", "{\"a\":01}", "{\"a\":NaN}", "\"[1]\""] {
            let refused = parse("act", json).unwrap_err();
            assert!(refused.contains("act") && refused.contains("JSON object"), "{refused}");
        }
        for json in ["", " ", "null", "\"\"", "\" \"", "{}", "\"{}\""] {
            assert!(parse("act", json).unwrap().is_empty(), "{json}");
        }
        let inner = parse("act", r#""{\"a\": 1.50}""#).unwrap();
        assert_eq!(serde_json::to_string(&inner).unwrap(), r#"{"a":1.50}"#);
    }
}
