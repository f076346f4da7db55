//! A response as an object.

use serde_json::{Value, json};
use thoughtwire_proto::{Outcome, Usage};

use super::id::ResponseId;
use super::items;

/// Settings of a response that its object repeats.
pub(super) struct ResponseFrame {
    pub(super) id: ResponseId,
    pub(super) model: String,
    pub(super) background: bool,
    pub(super) store: bool,
    pub(super) instructions: Option<String>,
    pub(super) previous: Option<String>,
}

/// How a response ended.
pub(super) struct ResponseEnd {
    pub(super) status: &'static str,
    error: Value,
    incomplete: Value,
}

/// The response as it is now; `status` if it has no `end`.
pub(super) fn response_object(
    frame: &ResponseFrame,
    created: i64,
    status: &str,
    end: Option<&ResponseEnd>,
    output: &[&Value],
    usage: Option<Usage>,
) -> Value {
    let null = Value::Null;
    let status = end.map_or(status, |end| end.status);
    let ResponseFrame { id, model, background, store, instructions, previous } = frame;
    json!({
        "id": id.text(),
        "object": "response",
        "created_at": created,
        "status": status,
        "background": background,
        "conversation": {"id": id.session},
        "error": end.map_or(&null, |end| &end.error),
        "incomplete_details": end.map_or(&null, |end| &end.incomplete),
        "instructions": instructions,
        "max_output_tokens": null,
        "metadata": {"session": id.session},
        "model": model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": previous,
        "reasoning": {"effort": null, "summary": null},
        "store": store,
        "temperature": null,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "truncation": "disabled",
        "usage": usage.map(items::usage),
    })
}

impl ResponseEnd {
    /// A response that is complete.
    pub(super) fn completed() -> Self {
        Self { status: "completed", error: Value::Null, incomplete: Value::Null }
    }

    /// The end of a response whose turn ended.
    pub(super) fn of_turn(outcome: Outcome, code: Option<&str>, reason: Option<&str>) -> Self {
        let incomplete = |reason: &str| Self {
            status: "incomplete",
            error: Value::Null,
            incomplete: json!({"reason": reason}),
        };
        match (outcome, code) {
            // A refusal's words are the message.
            (Outcome::Completed, _) | (Outcome::Failed, Some("model_refused")) => Self::completed(),
            (Outcome::Failed, Some("model_length")) => incomplete("max_output_tokens"),
            (Outcome::Failed, Some("model_filtered")) => incomplete("content_filter"),
            (Outcome::Cancelled, _) => {
                Self { status: "cancelled", error: Value::Null, incomplete: Value::Null }
            }
            (Outcome::Failed | Outcome::Interrupted, code) => Self {
                status: "failed",
                error: json!({
                    "code": code.unwrap_or("server_error"),
                    "message": reason.unwrap_or("the turn did not complete"),
                }),
                incomplete: Value::Null,
            },
        }
    }
}
