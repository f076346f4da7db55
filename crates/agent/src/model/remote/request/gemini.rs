//! Encoder of Google's `generateContent`.

use serde_json::{Value, json};
use thoughtwire_proto::ToolStatus;

use super::EncoderInput;
use super::effort::Effort;
use super::history::{WireMessage, WireReply};
use super::object::JsonObject;
use super::tools::WireTool;
use crate::model::remote::ProviderWire;

/// Signature that Google documents for calls without one, because another model made them.
const UNSIGNED: &str = "skip_thought_signature_validator";

pub(super) fn path(model: &str) -> String {
    let model = model.strip_prefix("models/").unwrap_or(model);
    format!("models/{model}:streamGenerateContent?alt=sse")
}

pub(super) fn body(input: &EncoderInput<'_>) -> Value {
    let mut body = JsonObject::new();
    if !input.history.system.is_empty() {
        let text = input.history.system.join("\n\n");
        body.set("systemInstruction", json!({ "parts": [{ "text": text }] }));
    }
    if !input.tools.is_empty() {
        let functions: Vec<Value> = input.tools.iter().map(tool).collect();
        body.set("tools", json!([{ "functionDeclarations": functions }]));
    }
    body.set("contents", contents(input));
    let mut config = JsonObject::new();
    let thinking = thinking(input);
    if !thinking.is_empty() {
        config.set("thinkingConfig", thinking);
    }
    if let Some(max) = input.prompt.max_output_tokens {
        config.set("maxOutputTokens", max);
    }
    if !config.is_empty() {
        body.set("generationConfig", config);
    }
    body.into()
}

fn thinking(input: &EncoderInput<'_>) -> JsonObject {
    let mut thinking = JsonObject::new();
    let has_levels = ["gemini-3", "gemma-4"].iter().any(|name| input.model.contains(name));
    let level = match input.effort {
        None => None,
        Some(Effort::None) => None,
        Some(Effort::Minimal) => Some(("MINIMAL", 1_000)),
        Some(Effort::Low) => Some(("LOW", 1_000)),
        Some(Effort::Medium) => Some(("MEDIUM", 8_000)),
        Some(Effort::High | Effort::XHigh | Effort::Max) => Some(("HIGH", 24_000)),
    };
    match level {
        Some((level, _)) if has_levels => thinking.set("thinkingLevel", level),
        Some((_, budget)) => thinking.set("thinkingBudget", budget),
        None if input.effort == Some(Effort::None) && !has_levels => {
            thinking.set("thinkingBudget", 0);
        }
        None => {}
    }
    if ProviderWire::Gemini.asks_for_reasoning(input.model) {
        thinking.set("includeThoughts", true);
    }
    thinking
}

fn tool(tool: &WireTool<'_>) -> Value {
    let mut function = JsonObject::new().with("name", tool.name.as_str());
    if !tool.description.is_empty() {
        function.set("description", tool.description);
    }
    if let Some(schema) = &tool.schema {
        function.set("parameters", schema.clone());
    }
    function.into()
}

fn contents(input: &EncoderInput<'_>) -> Vec<Value> {
    let messages = &input.history.messages;
    let newest_input = messages.iter().rposition(|message| matches!(message, WireMessage::User(_)));
    let mut contents: Vec<Value> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        match message {
            WireMessage::User(texts) => {
                let texts = texts.iter().map(|text| json!({ "text": text }));
                push(&mut contents, "user", texts.collect());
            }
            WireMessage::Reply(reply) => {
                // Only calls of the running turn are checked.
                let is_checked =
                    input.model.contains("gemini-3") && newest_input.is_none_or(|input| input < at);
                push(&mut contents, "model", parts(reply, is_checked));
                let results = reply.calls.iter().map(|call| {
                    let key = match call.status {
                        ToolStatus::Success => "output",
                        ToolStatus::Error | ToolStatus::Unknown => "error",
                    };
                    let response = json!({ key: call.result });
                    json!({ "functionResponse": { "name": call.name, "response": response } })
                });
                push(&mut contents, "user", results.collect());
            }
        }
    }
    contents
}

/// Appends parts to the last content if it has the same role, so that roles alternate.
fn push(contents: &mut Vec<Value>, role: &str, mut parts: Vec<Value>) {
    if parts.is_empty() {
        return;
    }
    let last = contents.last_mut().filter(|last| last.get("role") == Some(&Value::from(role)));
    match last.and_then(|last| last.get_mut("parts")).and_then(Value::as_array_mut) {
        Some(known) => known.append(&mut parts),
        None => contents.push(json!({ "role": role, "parts": parts })),
    }
}

fn parts(reply: &WireReply<'_>, is_checked: bool) -> Vec<Value> {
    let mut parts = Vec::new();
    let thoughts = |calls: usize, after_text: bool| {
        let kept = reply.kept.into_iter().flat_map(|kept| &kept.thoughts);
        kept.filter(move |thought| {
            thought.calls_before == calls && (calls > 0 || thought.after_text == after_text)
        })
        .map(|thought| thought.block.clone())
    };
    parts.extend(thoughts(0, false));
    if !reply.text.is_empty() {
        let mut text = JsonObject::new().with("text", reply.text.as_str());
        if let Some(signature) = reply.kept.and_then(|kept| kept.text_signature.as_deref()) {
            text.set("thoughtSignature", signature);
        }
        parts.push(text.into());
    }
    parts.extend(thoughts(0, true));
    for (at, call) in reply.calls.iter().enumerate() {
        if at > 0 {
            parts.extend(thoughts(at, true));
        }
        let args = Value::Object(call.args.clone());
        let mut part =
            JsonObject::new().with("functionCall", json!({ "name": call.name, "args": args }));
        match call.signature {
            Some(signature) => part.set("thoughtSignature", signature),
            None if at == 0 && is_checked => part.set("thoughtSignature", UNSIGNED),
            None => {}
        }
        parts.push(part.into());
    }
    parts
}
