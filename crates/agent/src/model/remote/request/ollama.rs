//! Encoder of Ollama's own chat API.

use serde_json::{Value, json};

use super::EncoderInput;
use super::history::{WireMessage, WireReply};
use super::object::JsonObject;
use super::tools::WireTool;

pub(super) fn body(input: &EncoderInput<'_>) -> Value {
    let mut body = JsonObject::new().with("model", input.model).with("stream", true);
    let mut options = JsonObject::new();
    if let Some(window) = input.prompt.context_window {
        options.set("num_ctx", window);
    }
    if let Some(max) = input.prompt.max_output_tokens {
        options.set("num_predict", max);
    }
    if !options.is_empty() {
        body.set("options", options);
    }
    if !input.tools.is_empty() {
        body.set("tools", input.tools.iter().map(tool).collect::<Value>());
    }
    body.set("messages", messages(input));
    body.into()
}

fn tool(tool: &WireTool<'_>) -> Value {
    let parameters = tool.schema.clone().unwrap_or(Value::Null);
    let function =
        json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
    json!({ "type": "function", "function": function })
}

fn messages(input: &EncoderInput<'_>) -> Vec<Value> {
    let mut messages = Vec::new();
    if !input.history.system.is_empty() {
        messages.push(json!({ "role": "system", "content": input.history.system.join("\n\n") }));
    }
    for message in &input.history.messages {
        match message {
            WireMessage::User(texts) => {
                messages.push(json!({ "role": "user", "content": texts.join("\n\n") }));
            }
            WireMessage::Reply(reply) => {
                messages.push(assistant(reply));
                messages.extend(reply.calls.iter().map(|call| {
                    json!({ "role": "tool", "tool_name": call.name, "content": call.result })
                }));
            }
        }
    }
    messages
}

fn assistant(reply: &WireReply<'_>) -> Value {
    let mut message = JsonObject::new().with("role", "assistant");
    if !reply.text.is_empty() {
        message.set("content", reply.text.as_str());
    }
    if !reply.calls.is_empty() {
        if let Some(reasoning) = reply.kept.and_then(|kept| kept.reasoning.as_ref()) {
            message.set(&reasoning.key, reasoning.text.as_str());
        }
        let calls = reply.calls.iter().map(|call| {
            let arguments = Value::Object(call.args.clone());
            json!({ "function": { "name": call.name, "arguments": arguments } })
        });
        message.set("tool_calls", calls.collect::<Value>());
    }
    message.into()
}
