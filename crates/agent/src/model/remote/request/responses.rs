//! Encoder of OpenAI's Responses API.

use serde_json::{Value, json};

use super::EncoderInput;
use super::history::{WireMessage, WireReply};
use super::object::JsonObject;
use super::tools::WireTool;
use crate::model::remote::ProviderWire;

pub(super) fn body(input: &EncoderInput<'_>) -> Value {
    let mut body =
        JsonObject::new().with("model", input.model).with("stream", true).with("store", false);
    if !input.history.system.is_empty() {
        body.set("instructions", input.history.system.join("\n\n"));
    }
    let mut reasoning = JsonObject::new();
    if ProviderWire::Responses.asks_for_reasoning(input.model) {
        body.set("include", json!(["reasoning.encrypted_content"]));
        reasoning.set("summary", "detailed");
    }
    if let Some(effort) = input.effort {
        reasoning.set("effort", effort.word());
    }
    if !reasoning.is_empty() {
        body.set("reasoning", reasoning);
    }
    if !input.tools.is_empty() {
        body.set("tools", input.tools.iter().map(tool).collect::<Value>());
    }
    body.set("input", input_items(input));
    if let Some(max) = input.prompt.max_output_tokens {
        // The API accepts no smaller limit.
        body.set("max_output_tokens", max.max(16));
    }
    body.into()
}

fn tool(tool: &WireTool<'_>) -> Value {
    let mut value = JsonObject::new()
        .with("type", "function")
        .with("name", tool.name.as_str())
        .with("strict", false);
    if !tool.description.is_empty() {
        value.set("description", tool.description);
    }
    value.with("parameters", tool.schema.clone().unwrap_or(Value::Null)).into()
}

fn input_items(input: &EncoderInput<'_>) -> Vec<Value> {
    let mut items = Vec::new();
    for message in &input.history.messages {
        match message {
            WireMessage::User(texts) => {
                items.push(json!({ "role": "user", "content": texts.join("\n\n") }));
            }
            WireMessage::Reply(reply) => reply_items(reply, &mut items),
        }
    }
    items
}

fn reply_items(reply: &WireReply<'_>, items: &mut Vec<Value>) {
    let thoughts = |calls_before: Option<usize>, after_text: bool| {
        let kept = reply.kept.into_iter().flat_map(|kept| &kept.thoughts);
        kept.filter(move |thought| {
            thought.after_text == after_text
                && calls_before.is_none_or(|calls| thought.calls_before == calls)
        })
        .filter_map(|thought| reasoning(&thought.block))
    };
    // Reasoning precedes its result. Without a call behind it, the API does not need it.
    let is_wanted = !reply.calls.is_empty();
    if is_wanted {
        items.extend(thoughts(Some(0), false));
    }
    if !reply.text.is_empty() {
        let text = json!({ "type": "output_text", "text": reply.text });
        items.push(json!({ "type": "message", "role": "assistant", "content": [text] }));
    }
    for (at, call) in reply.calls.iter().enumerate() {
        if at > 0 {
            items.extend(thoughts(Some(at), false));
        }
        items.extend(thoughts(Some(at), true));
        items.push(json!({
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": Value::Object(call.args.clone()).to_string(),
        }));
    }
    for call in &reply.calls {
        items.push(json!({
            "type": "function_call_output", "call_id": call.id, "output": call.result,
        }));
    }
}

/// A reasoning item to send back. Only an encrypted one can be, because nothing is stored.
fn reasoning(block: &Value) -> Option<Value> {
    let encrypted = block.get("encrypted_content")?.as_str().filter(|text| !text.is_empty())?;
    let mut item = JsonObject::new().with("type", "reasoning");
    if let Some(id) = block.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        item.set("id", id);
    }
    item.set("summary", block.get("summary").cloned().unwrap_or_else(|| json!([])));
    item.set("encrypted_content", encrypted);
    Some(item.into())
}
