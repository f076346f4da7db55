//! Ollama's own chat.

use serde_json::{Value, json};

use super::Source;
use super::history::{Message, Reply};
use super::tools::Tool;

pub(super) fn body(source: &Source<'_>) -> Value {
    let mut body = json!({ "model": source.model, "stream": true });
    let mut options = json!({});
    if let Some(window) = source.prompt.context_window {
        options["num_ctx"] = window.into();
    }
    if let Some(most) = source.prompt.max_output_tokens {
        options["num_predict"] = most.into();
    }
    if options.as_object().is_some_and(|options| !options.is_empty()) {
        body["options"] = options;
    }
    if !source.tools.is_empty() {
        body["tools"] = source.tools.iter().map(tool).collect();
    }
    body["messages"] = messages(source).into();
    body
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
    let mut message = json!({ "role": "assistant" });
    if !reply.text.is_empty() {
        message["content"] = reply.text.as_str().into();
    }
    if !reply.calls.is_empty() {
        if let Some(reasoning) = reply.kept.and_then(|kept| kept.reasoning.as_ref()) {
            message[reasoning.key.as_str()] = reasoning.text.as_str().into();
        }
        let calls = reply.calls.iter().map(|call| {
            let arguments = Value::Object(call.args.clone());
            json!({ "function": { "name": call.name, "arguments": arguments } })
        });
        message["tool_calls"] = calls.collect();
    }
    message
}
