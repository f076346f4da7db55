//! Tool calls of the agent as both APIs show them.

use serde_json::{Map, Value};
use thoughtwire_proto::CallId;

/// Most characters of a call's arguments or result within a text.
const MAX_CHARS: usize = 2_000;

/// Arguments of a call within a text.
pub(super) fn show_args(args: &Map<String, Value>) -> String {
    shorten(&Value::Object(args.clone()).to_string())
}

/// A text, cut if it is too long to be shown within another.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Name of an open call's tool.
pub(super) fn name_of<'a>(calls: &'a [(CallId, String)], call: &CallId) -> &'a str {
    calls.iter().find(|(open, _)| open == call).map_or("a tool", |(_, name)| name)
}
