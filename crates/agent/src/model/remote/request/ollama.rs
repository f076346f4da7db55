//! Encoder of Ollama's own chat API.

use serde_json::{Value, json};

use super::Source;
use super::history::{Message, Reply};
use super::object::Object;
use super::tools::Tool;

pub(super) fn body(source: &Source<'_>) -> Value {
    let mut body = Object::new().with("model", source.model).with("stream", true);
    let mut options = Object::new();
    if let Some(window) = source.prompt.context_window {
        options.set("num_ctx", window);
    }
    if let Some(most) = source.prompt.max_output_tokens {
        options.set("num_predict", most);
    }
    if !options.is_empty() {
        body.set("options", options);
    }
    if !source.tools.is_empty() {
        body.set("tools", source.tools.iter().map(tool).collect::<Value>());
    }
    body.set("messages", messages(source));
    body.into()
}

fn tool(tool: &Tool<'_>) -> Value {
    let parameters = tool.schema.clone().unwrap_or(Value::Null);
    let function =
        json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
    json!({ "type": "function", "function": function })
}

fn messages(source: &Source<'_>) -> Vec<Value> {
    let mut messages = Vec::new();
    if !source.history.system.is_empty() {
        messages.push(json!({ "role": "system", "content": source.history.system.join("\n\n") }));
    }
    for message in &source.history.messages {
        match message {
            Message::User(texts) => {
                messages.push(json!({ "role": "user", "content": texts.join("\n\n") }));
            }
            Message::Reply(reply) => {
                messages.push(assistant(reply));
                messages.extend(reply.calls.iter().map(|call| {
                    json!({ "role": "tool", "tool_name": call.name, "content": call.result })
                }));
            }
        }
    }
    messages
}

fn assistant(reply: &Reply<'_>) -> Value {
    let mut message = Object::new().with("role", "assistant");
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
