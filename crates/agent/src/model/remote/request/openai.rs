//! Encoder of chat completions, for OpenAI and compatible providers.

use serde_json::{Value, json};

use super::EncoderInput;
use super::history::{WireCall, WireMessage, WireReply};
use super::object::JsonObject;
use super::tools::WireTool;
use crate::model::ProviderState;
use crate::model::remote::provider_state::REASONING_CONTENT;

pub(super) fn body(input: &EncoderInput<'_>) -> Value {
    let mut body = JsonObject::new().with("model", input.model).with("stream", true);
    if let Some(effort) = input.effort {
        body.set("reasoning_effort", effort.word());
    }
    if !input.tools.is_empty() {
        body.set("tools", input.tools.iter().map(tool).collect::<Value>());
    }
    body.set("messages", messages(input));
    body.set("stream_options", json!({ "include_usage": true }));
    if let Some(max) = input.prompt.max_output_tokens {
        let key =
            if counts_reasoning(input.model) { "max_completion_tokens" } else { "max_tokens" };
        body.set(key, max);
    }
    body.into()
}

fn tool(tool: &WireTool<'_>) -> Value {
    let mut function = JsonObject::new().with("name", tool.name.as_str());
    if !tool.description.is_empty() {
        function.set("description", tool.description);
    }
    if let Some(schema) = &tool.schema {
        function.set("parameters", schema.clone());
    }
    JsonObject::new().with("type", "function").with("function", function).into()
}

/// Whether OpenAI's model refuses `max_tokens`, as all its reasoning models do.
fn counts_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let number = |rest: &str| {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits).and_then(|digits| digits.parse::<u32>().ok())
    };
    name.strip_prefix("gpt-").and_then(number).is_some_and(|version| version >= 5)
        || name.strip_prefix('o').and_then(number).is_some()
}

fn messages(input: &EncoderInput<'_>) -> Vec<Value> {
    let mut messages = Vec::new();
    if !input.history.system.is_empty() {
        messages.push(json!({ "role": "system", "content": input.history.system.join("\n\n") }));
    }
    let replies = || input.history.messages.iter().filter_map(WireMessage::reply);
    let wants_reasoning = input.has_reasoned
        || replies().filter_map(|reply| reply.kept).any(ProviderState::has_reasoning_content);
    for message in &input.history.messages {
        match message {
            WireMessage::User(texts) => {
                messages.push(json!({ "role": "user", "content": texts.join("\n\n") }));
            }
            WireMessage::Reply(reply) => {
                messages.push(assistant(reply, wants_reasoning));
                messages.extend(reply.calls.iter().map(|call| {
                    json!({ "role": "tool", "tool_call_id": call.id, "content": call.result })
                }));
            }
        }
    }
    messages
}

fn assistant(reply: &WireReply<'_>, wants_reasoning: bool) -> Value {
    let mut message = JsonObject::new().with("role", "assistant");
    let content = if reply.text.is_empty() { Value::Null } else { reply.text.as_str().into() };
    message.set("content", content);
    if reply.calls.is_empty() {
        return message.into();
    }
    if wants_reasoning {
        message.set(REASONING_CONTENT, "");
    }
    if let Some(kept) = reply.kept {
        if let Some(reasoning) = &kept.reasoning {
            message.set(&reasoning.key, reasoning.text.as_str());
        }
        let details: Vec<Value> =
            kept.thoughts.iter().map(|thought| thought.block.clone()).collect();
        if !details.is_empty() {
            message.set("reasoning_details", details);
        }
    }
    message.set("tool_calls", reply.calls.iter().map(call).collect::<Value>());
    message.into()
}

fn call(call: &WireCall<'_>) -> Value {
    let arguments = Value::Object(call.args.clone()).to_string();
    let function = json!({ "name": call.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}
