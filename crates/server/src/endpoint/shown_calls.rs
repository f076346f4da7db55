//! Calls that clients of other protocols are shown.

use serde_json::{Map, Value};
use thoughtwire_proto::CallId;

/// Name of the tool that sends messages. Its messages are shown, so the call itself is not.
const SEND_MESSAGE: &str = "send_message";

/// Most characters of a call's arguments or result within a text.
const MAX_CHARS: usize = 2_000;

/// Whether calls of a tool are shown.
pub(crate) fn is_shown(name: &str) -> bool {
    name != SEND_MESSAGE
}

/// Arguments of a call within a text.
pub(crate) fn show_args(args: &Map<String, Value>) -> String {
    shorten(&Value::Object(args.clone()).to_string())
}

/// A text, cut if it is too long to be shown within another.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Name of an open call's tool.
pub(crate) fn name_of<'a>(calls: &'a [(CallId, String)], call: &CallId) -> &'a str {
    calls.iter().find(|(open, _)| open == call).map_or("a tool", |(_, name)| name)
}
