//! The lines that `MemGPT` agents give to `function_message`, read back into calls and results.

use serde_json::{Map, Value};
use thoughtwire_proto::{ToolStatus, check_name};

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

/// Name of a call whose line does not tell which function it was.
const UNNAMED: &str = "function";
/// How MemGPT's agents say that they could not even call a function: nothing was `Running` before.
const NO_FUNCTION: &str = "No function named ";
const BAD_ARGUMENTS: &str = "Error parsing JSON for function '";

/// A result that belongs to a call, or to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of<T> {
    /// The result of this open call.
    Call(T),
    /// The result of a call that was never said: one of this name, which is over at once.
    Unsaid(String),
}

/// Finds the call that a result belongs to. `open` are the turn's open calls, the newest last.
pub(crate) fn of<T>(text: &str, open: impl DoubleEndedIterator<Item = (T, String)>) -> Of<T> {
    let named = uncallable(text);
    let mut newest = open.rev();
    let call = match named {
        // It is said of a function that could not be called, so another open call is not meant.
        Some(named) => newest.find(|(_, name)| name == named),
        None => newest.next(),
    };
    match call {
        Some((call, _)) => Of::Call(call),
        None => Of::Unsaid(named.unwrap_or(UNNAMED).to_owned()),
    }
}

/// The function that could not be called, where an error says that.
fn uncallable(text: &str) -> Option<&str> {
    let name = match text.strip_prefix(NO_FUNCTION) {
        Some(name) => name.lines().next()?.trim(),
        None => text.strip_prefix(BAD_ARGUMENTS)?.split_once('\'')?.0,
    };
    Some(name).filter(|name| check_name(name).is_ok())
}

/// Reads one line. The forms are those that `MemGPT`'s agents of 0.2 and 0.3 give their interface.
pub(crate) fn parse(line: &str) -> Line {
    for (prefix, status) in [("Success:", ToolStatus::Success), ("Error:", ToolStatus::Error)] {
        if let Some(rest) = line.strip_prefix(prefix) {
            let text = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
            return Line::Returned { status, text };
        }
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
        assert_eq!(
            parse("Success:"),
            Line::Returned { status: ToolStatus::Success, text: String::new() }
        );
        assert_eq!(parse("Running late"), Line::Other);
    }

    #[test]
    fn a_result_finds_its_call_or_is_one_that_was_never_said() {
        let unsaid = |name: &str| Of::Unsaid(name.to_owned());
        let long = format!("No function named {}", "x".repeat(65));
        for (text, open, expected) in [
            ("3", &["add"][..], Of::Call(0)),
            ("3", &["add", "sub"], Of::Call(1)),
            ("3", &[], unsaid("function")),
            ("No function named fly", &[], unsaid("fly")),
            ("No function named fly", &["add"], unsaid("fly")),
            ("No function named fly", &["fly", "add"], Of::Call(0)),
            ("Error parsing JSON for function 'fly' arguments: {", &[], unsaid("fly")),
            ("Error parsing JSON for function '' arguments: {", &[], unsaid("function")),
            ("No function named ", &["add"], Of::Call(0)),
            (long.as_str(), &[], unsaid("function")),
            ("Error calling function fly: no wings", &["fly"], Of::Call(0)),
        ] {
            let calls = open.iter().map(|name| (*name).to_owned()).enumerate();
            assert_eq!(of(text, calls), expected, "{text} {open:?}");
        }
    }
}
