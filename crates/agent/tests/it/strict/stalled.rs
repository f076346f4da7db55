//! Replies that stop in the middle, in the format of each wire.

use serde_json::{Value, json};

use super::replies::{signature, sse};
use super::server::StrictWire;

/// Formats the beginning of a reply. A signature is recorded if it is part of that.
pub(super) fn stalled(
    wire: StrictWire,
    thinks: bool,
    text: &str,
    number: usize,
    signed: &mut Vec<String>,
) -> String {
    let signature = signature(wire, number);
    let is_over = !text.is_empty();
    // Plain reasoning is what has to go back; a signature comes at the end of the reasoning.
    let is_sent = match wire {
        StrictWire::OpenAi | StrictWire::Ollama => true,
        StrictWire::Responses | StrictWire::Anthropic => is_over,
        StrictWire::Gemini => false,
    };
    if thinks && is_sent {
        signed.push(signature.clone());
    }
    match wire {
        StrictWire::OpenAi => openai(thinks, text, &signature),
        StrictWire::Responses => responses(thinks, text, &signature),
        StrictWire::Anthropic => anthropic(thinks, text, &signature),
        StrictWire::Gemini => gemini(thinks, text),
        StrictWire::Ollama => ollama(thinks, text, &signature),
    }
}

fn openai(thinks: bool, text: &str, reasoning: &str) -> String {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let mut events = Vec::new();
    events.extend(thinks.then(|| delta(json!({"reasoning_content": reasoning}))));
    events.extend((!text.is_empty()).then(|| delta(json!({"content": text}))));
    sse(&events)
}

fn responses(thinks: bool, text: &str, signature: &str) -> String {
    let mut events = Vec::new();
    if thinks {
        let item = json!({"type": "reasoning", "id": "rs_1", "summary": []});
        events.push(json!({
            "type": "response.output_item.added", "output_index": 0, "item": item
        }));
        events.push(json!({
            "type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0,
            "summary_index": 0, "delta": "Hm."
        }));
    }
    if !text.is_empty() {
        let summary = json!([{"type": "summary_text", "text": "Hm."}]);
        let item = json!({
            "type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": signature
        });
        events.extend(thinks.then(
            || json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        ));
        let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": []});
        events.push(json!({
            "type": "response.output_item.added", "output_index": 1, "item": item
        }));
        events.push(json!({
            "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1,
            "content_index": 0, "delta": text
        }));
    }
    sse(&events)
}

fn anthropic(thinks: bool, text: &str, signature: &str) -> String {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let mut events = vec![json!({"type": "message_start", "message": {
        "id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage
    }})];
    let start = |index: u32, block: Value| {
        let kind = "content_block_start";
        json!({"type": kind, "index": index, "content_block": block})
    };
    let delta = |index: u32, delta: Value| {
        let kind = "content_block_delta";
        json!({"type": kind, "index": index, "delta": delta})
    };
    if thinks {
        events.push(start(0, json!({"type": "thinking", "thinking": "", "signature": ""})));
        events.push(delta(0, json!({"type": "thinking_delta", "thinking": "Hm."})));
    }
    if thinks && !text.is_empty() {
        events.push(delta(0, json!({"type": "signature_delta", "signature": signature})));
        events.push(json!({"type": "content_block_stop", "index": 0}));
    }
    if !text.is_empty() {
        events.push(start(1, json!({"type": "text", "text": ""})));
        events.push(delta(1, json!({"type": "text_delta", "text": text})));
    }
    sse(&events)
}

fn gemini(thinks: bool, text: &str) -> String {
    let mut parts = Vec::new();
    parts.extend(thinks.then(|| json!({"text": "Hm.", "thought": true})));
    parts.extend((!text.is_empty()).then(|| json!({"text": text})));
    sse(&[json!({"candidates": [{"content": {"role": "model", "parts": parts}}]})])
}

fn ollama(thinks: bool, text: &str, reasoning: &str) -> String {
    let mut message = json!({"role": "assistant", "content": text});
    if thinks {
        message["thinking"] = reasoning.into();
    }
    format!("{}\n", json!({"model": "m", "message": message, "done": false}))
}
