//! Encoder of Google's `generateContent`.

use serde_json::{Value, json};
use thoughtwire_proto::ToolStatus;

use super::Source;
use super::effort::Effort;
use super::history::{Message, Reply};
use super::object::Object;
use super::tools::Tool;
use crate::model::remote::Wire;

/// Signature that Google documents for calls without one, because another model made them.
const UNSIGNED: &str = "skip_thought_signature_validator";

pub(super) fn path(model: &str) -> String {
    let model = model.strip_prefix("models/").unwrap_or(model);
    format!("models/{model}:streamGenerateContent?alt=sse")
}

pub(super) fn body(source: &Source<'_>) -> Value {
    let mut body = Object::new();
    if !source.history.system.is_empty() {
        let text = source.history.system.join("\n\n");
        body.set("systemInstruction", json!({ "parts": [{ "text": text }] }));
    }
    if !source.tools.is_empty() {
        let functions: Vec<Value> = source.tools.iter().map(tool).collect();
        body.set("tools", json!([{ "functionDeclarations": functions }]));
    }
    body.set("contents", contents(source));
    let mut config = Object::new();
    let thinking = thinking(source);
    if !thinking.is_empty() {
        config.set("thinkingConfig", thinking);
    }
    if let Some(most) = source.prompt.max_output_tokens {
        config.set("maxOutputTokens", most);
    }
    if !config.is_empty() {
        body.set("generationConfig", config);
    }
    body.into()
}

fn thinking(source: &Source<'_>) -> Object {
    let mut thinking = Object::new();
    let has_levels = ["gemini-3", "gemma-4"].iter().any(|name| source.model.contains(name));
    let level = match source.effort {
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
        None if source.effort == Some(Effort::None) && !has_levels => {
            thinking.set("thinkingBudget", 0);
        }
        None => {}
    }
    if Wire::Gemini.asks_for_reasoning(source.model) {
        thinking.set("includeThoughts", true);
    }
    thinking
}

fn tool(tool: &Tool<'_>) -> Value {
    let mut function = Object::new().with("name", tool.name.as_str());
    if !tool.description.is_empty() {
        function.set("description", tool.description);
    }
    if let Some(schema) = &tool.schema {
        function.set("parameters", schema.clone());
    }
    function.into()
}

fn contents(source: &Source<'_>) -> Vec<Value> {
    let messages = &source.history.messages;
    let newest_input = messages.iter().rposition(|message| matches!(message, Message::User(_)));
    let mut contents: Vec<Value> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::User(texts) => {
                let texts = texts.iter().map(|text| json!({ "text": text }));
                push(&mut contents, "user", texts.collect());
            }
            Message::Reply(reply) => {
                // Only calls of the running turn are checked.
                let is_checked = source.model.contains("gemini-3")
                    && newest_input.is_none_or(|input| input < at);
                push(&mut contents, "model", parts(reply, is_checked));
                let results = reply.calls.iter().map(|call| {
                    let key = match call.status {
                        ToolStatus::Success => "output",
                        ToolStatus::Error => "error",
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

fn parts(reply: &Reply<'_>, is_checked: bool) -> Vec<Value> {
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
        let mut text = Object::new().with("text", reply.text.as_str());
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
            Object::new().with("functionCall", json!({ "name": call.name, "args": args }));
        match call.signature {
            Some(signature) => part.set("thoughtSignature", signature),
            None if at == 0 && is_checked => part.set("thoughtSignature", UNSIGNED),
            None => {}
        }
        parts.push(part.into());
    }
    parts
}
