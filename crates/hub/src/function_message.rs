//! Lines that `MemGPT` agents give to `function_message`, parsed into calls and results.

use serde_json::{Map, Value};
use thoughtwire_proto::{ToolStatus, check_name};

/// One parsed line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MessageLine {
    /// `Running NAME(ARGS)`.
    Running { name: String, args: Map<String, Value> },
    /// `Success: …` or `Error: …`.
    Returned { status: ToolStatus, text: String },
    /// Any other text.
    Other,
}

/// Name of a call whose line does not name its function.
const UNNAMED: &str = "function";
/// Beginnings of the errors about a function that could not be called. No `Running` line comes
/// before them.
const NO_FUNCTION: &str = "No function named ";
const BAD_ARGUMENTS: &str = "Error parsing JSON for function '";

/// The call to which a result belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResultOwner<T> {
    /// An open call.
    Call(T),
    /// A call of this name that was never made.
    Uncalled(String),
}

/// Finds the call to which a result belongs. `open` has the turn's open calls, the newest last.
pub(crate) fn owner_of<T>(
    text: &str,
    open: impl DoubleEndedIterator<Item = (T, String)>,
) -> ResultOwner<T> {
    let named = uncallable(text);
    let mut newest = open.rev();
    let call = match named {
        // The error names a function that could not be called, so no other call is meant.
        Some(named) => newest.find(|(_, name)| name == named),
        None => newest.next(),
    };
    match call {
        Some((call, _)) => ResultOwner::Call(call),
        None => ResultOwner::Uncalled(named.unwrap_or(UNNAMED).to_owned()),
    }
}

/// The function that an error says could not be called.
fn uncallable(text: &str) -> Option<&str> {
    let name = match text.strip_prefix(NO_FUNCTION) {
        Some(name) => name.lines().next()?.trim(),
        None => text.strip_prefix(BAD_ARGUMENTS)?.split_once('\'')?.0,
    };
    Some(name).filter(|name| check_name(name).is_ok())
}

/// Parses one line, in the forms of the agents of `MemGPT` 0.2 and 0.3.
pub(crate) fn parse(line: &str) -> MessageLine {
    for (prefix, status) in [("Success:", ToolStatus::Success), ("Error:", ToolStatus::Error)] {
        if let Some(rest) = line.strip_prefix(prefix) {
            let text = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
            return MessageLine::Returned { status, text };
        }
    }
    let call = line.strip_prefix("Running ").and_then(|rest| rest.split_once('('));
    match call {
        Some((name, rest)) if !name.is_empty() && rest.ends_with(')') => {
            let inner = rest.strip_suffix(')').unwrap_or(rest).trim();
            let args = match serde_json::from_str(inner) {
                Ok(Value::Object(args)) => args,
                // Python's repr is not JSON. Text that cannot be parsed is kept as it is.
                Ok(_) | Err(_) if !inner.is_empty() => {
                    Map::from_iter([("text".to_owned(), Value::String(inner.to_owned()))])
                }
                Ok(_) | Err(_) => Map::new(),
            };
            MessageLine::Running { name: name.to_owned(), args }
        }
        Some(_) | None => MessageLine::Other,
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
            let expected = MessageLine::Running { name: name.to_owned(), args };
            assert_eq!(parse(line), expected, "{line}");
        }
        for (line, status, text) in [
            ("Success: 3", ToolStatus::Success, "3"),
            ("Error: no", ToolStatus::Error, "no"),
            ("Success:", ToolStatus::Success, ""),
        ] {
            assert_eq!(parse(line), MessageLine::Returned { status, text: text.into() }, "{line}");
        }
        assert_eq!(parse("Running late"), MessageLine::Other);
    }

    #[test]
    fn a_result_finds_its_call_or_is_one_that_was_never_said() {
        let uncalled = |name: &str| ResultOwner::Uncalled(name.to_owned());
        let long = format!("No function named {}", "x".repeat(65));
        for (text, open, expected) in [
            ("3", &["add"][..], ResultOwner::Call(0)),
            ("3", &["add", "sub"], ResultOwner::Call(1)),
            ("3", &[], uncalled("function")),
            ("No function named fly", &[], uncalled("fly")),
            ("No function named fly", &["add"], uncalled("fly")),
            ("No function named fly", &["fly", "add"], ResultOwner::Call(0)),
            ("Error parsing JSON for function 'fly' arguments: {", &[], uncalled("fly")),
            ("Error parsing JSON for function '' arguments: {", &[], uncalled("function")),
            ("No function named ", &["add"], ResultOwner::Call(0)),
            (long.as_str(), &[], uncalled("function")),
            ("Error calling function fly: no wings", &["fly"], ResultOwner::Call(0)),
        ] {
            let calls = open.iter().map(|name| (*name).to_owned()).enumerate();
            assert_eq!(owner_of(text, calls), expected, "{text} {open:?}");
        }
    }
}
