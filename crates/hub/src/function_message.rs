//! The lines that `MemGPT` agents give to `function_message`, read back into calls and results.

use serde_json::{Map, Value};
use thoughtwire_proto::ToolStatus;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// `Running NAME(ARGS)`.
    Running { name: String, args: Map<String, Value> },
    /// `Success: …` or `Error: …`.
    Returned { status: ToolStatus, text: String },
    /// Anything else.
    Other,
}

/// Reads one line. The forms are those that `MemGPT` 0.2's agent gives its interface.
pub(crate) fn parse(line: &str) -> Line {
    if let Some(text) = line.strip_prefix("Success: ") {
        return Line::Returned { status: ToolStatus::Success, text: text.to_owned() };
    }
    if let Some(text) = line.strip_prefix("Error: ") {
        return Line::Returned { status: ToolStatus::Error, text: text.to_owned() };
    }
    let call = line.strip_prefix("Running ").and_then(|rest| rest.split_once('('));
    match call {
        Some((name, rest)) if !name.is_empty() && rest.ends_with(')') => {
            let inner = rest.strip_suffix(')').unwrap_or(rest).trim();
            let args = match serde_json::from_str(inner) {
                Ok(Value::Object(args)) => args,
                // Python's repr is no JSON: what cannot be read is kept as it was written.
                Ok(_) | Err(_) if !inner.is_empty() => {
                    Map::from_iter([("text".to_owned(), Value::String(inner.to_owned()))])
                }
                Ok(_) | Err(_) => Map::new(),
            };
            Line::Running { name: name.to_owned(), args }
        }
        Some(_) | None => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_form() {
        for (line, name, args) in [
            ("Running send_message()", "send_message", "{}"),
            (r#"Running f({"a": 1})"#, "f", r#"{"a":1}"#),
            ("Running f({'a': 1})", "f", r#"{"text":"{'a': 1}"}"#),
        ] {
            let args = serde_json::from_str(args).unwrap();
            assert_eq!(parse(line), Line::Running { name: name.to_owned(), args }, "{line}");
        }
        assert_eq!(
            parse("Success: 3"),
            Line::Returned { status: ToolStatus::Success, text: "3".into() }
        );
        assert_eq!(
            parse("Error: no"),
            Line::Returned { status: ToolStatus::Error, text: "no".into() }
        );
        assert_eq!(parse("Running late"), Line::Other);
    }
}
