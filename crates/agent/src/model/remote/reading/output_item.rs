//! Output items of the Responses API, and the parts of them that were sent on.

use serde_json::Value;

/// An output item, and its text so far.
pub(super) struct OutputItem {
    pub(super) kind: OutputItemKind,
    pub(super) index: Option<String>,
    pub(super) id: Option<String>,
    /// Text so far: of a message or a thought.
    pub(super) sent_text: String,
    pub(super) sent_refusal: String,
    /// Index of its call.
    pub(super) call: Option<usize>,
    pub(super) call_id: Option<String>,
    /// Arguments in the item that began the call.
    pub(super) first_args: Option<String>,
    pub(super) is_over: bool,
    /// Whether the last event's list contains it.
    pub(super) is_matched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputItemKind {
    Message,
    Reasoning,
    Call,
    Other,
}

impl OutputItemKind {
    pub(super) fn of(item: &Value) -> Self {
        match item.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" => Self::Call,
            _ => Self::Other,
        }
    }
}

/// Approximate overhead of an item, in bytes.
pub(super) const ITEM_BYTES: usize = 1 << 10;

impl OutputItem {
    pub(super) fn rest_of_text(&mut self, whole: &str) -> String {
        rest(&mut self.sent_text, whole)
    }

    pub(super) fn rest_of_refusal(&mut self, whole: &str) -> String {
        rest(&mut self.sent_refusal, whole)
    }
}

/// The rest of a complete text after the part that was sent. Empty if the two differ.
fn rest(sent_text: &mut String, whole: &str) -> String {
    match whole.strip_prefix(sent_text.as_str()) {
        Some(rest) => {
            let rest = rest.to_owned();
            sent_text.push_str(&rest);
            rest
        }
        None => String::new(),
    }
}
