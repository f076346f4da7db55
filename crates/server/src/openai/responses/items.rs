//! Output items other than texts.

use serde_json::{Map, Value, json};
use thoughtwire_proto::{CallId, Usage};

use super::events::EventLog;
use crate::endpoint::OpenToolCall;

/// Label of the tools of an agent. The API has one for each MCP server.
const SERVER_LABEL: &str = "agent";

/// A call that the agent makes, and the server runs.
pub(super) struct AgentCall {
    pub(super) call: CallId,
    pub(super) arguments: String,
    pub(super) index: usize,
    name: String,
}

impl AgentCall {
    pub(super) fn new(call: CallId, name: String, args: Map<String, Value>, index: usize) -> Self {
        Self { call, arguments: Value::Object(args).to_string(), index, name }
    }

    fn id(&self) -> String {
        format!("mcp_{}", self.call)
    }

    /// Tells that the call is made.
    pub(super) fn begin(&self, log: &mut EventLog) {
        let (id, index) = (self.id(), self.index);
        let item = self.item("in_progress", "", &Value::Null, &Value::Null);
        log.push("response.output_item.added", json!({"output_index": index, "item": item}));
        let place = json!({"item_id": id, "output_index": index});
        log.push("response.mcp_call.in_progress", place);
        let arguments = &self.arguments;
        log.push(
            "response.mcp_call_arguments.delta",
            json!({"item_id": id, "output_index": index, "delta": arguments}),
        );
        log.push(
            "response.mcp_call_arguments.done",
            json!({"item_id": id, "output_index": index, "arguments": arguments}),
        );
    }

    /// Tells how it returned. Returns the whole item.
    pub(super) fn end(&self, is_success: bool, text: &str, log: &mut EventLog) -> Value {
        let place = json!({"item_id": self.id(), "output_index": self.index});
        let text = Value::from(text);
        if is_success {
            log.push("response.mcp_call.completed", place);
            self.item("completed", &self.arguments, &text, &Value::Null)
        } else {
            log.push("response.mcp_call.failed", place);
            self.item("failed", &self.arguments, &Value::Null, &text)
        }
    }

    fn item(&self, status: &str, arguments: &str, output: &Value, error: &Value) -> Value {
        json!({
            "id": self.id(),
            "type": "mcp_call",
            "server_label": SERVER_LABEL,
            "name": self.name,
            "arguments": arguments,
            "output": output,
            "error": error,
            "status": status,
        })
    }
}

/// A call that waits for its owner's approval.
pub(super) fn approval(id: &str, name: &str, arguments: &str) -> Value {
    json!({
        "id": id,
        "type": "mcp_approval_request",
        "server_label": SERVER_LABEL,
        "name": name,
        "arguments": arguments,
    })
}

/// A call that the client runs. Tells of all of it but its end.
pub(super) fn function_call(
    open: &OpenToolCall,
    call_id: &str,
    index: usize,
    log: &mut EventLog,
) -> Value {
    let id = format!("fc_{}", open.call);
    let arguments = Value::Object(open.args.clone()).to_string();
    let item = |arguments: &str, status: &str| {
        json!({
            "id": id,
            "type": "function_call",
            "call_id": call_id,
            "name": open.name,
            "arguments": arguments,
            "status": status,
        })
    };
    let added = json!({"output_index": index, "item": item("", "in_progress")});
    log.push("response.output_item.added", added);
    log.push(
        "response.function_call_arguments.delta",
        json!({"item_id": id, "output_index": index, "delta": arguments}),
    );
    log.push(
        "response.function_call_arguments.done",
        json!({
            "item_id": id, "output_index": index, "name": open.name, "arguments": arguments
        }),
    );
    item(&arguments, "completed")
}

/// The cost of a turn.
pub(super) fn usage(usage: Usage) -> Value {
    let Usage { input_tokens, output_tokens, cached_tokens } = usage;
    json!({
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached_tokens.unwrap_or(0)},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens.saturating_add(output_tokens),
    })
}
