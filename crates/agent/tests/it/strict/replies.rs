//! Replies in the format of each wire.

use serde_json::{Value, json};

use super::server::StrictWire;

/// A scripted reply of a model.
#[derive(Debug, Clone)]
pub(super) enum ScriptedReply {
    /// The provider is down.
    Fails,
    /// The provider refuses the prompt with these words.
    Refuses(&'static str),
    /// Reasoning, and the beginning of a text. If the text is empty, the reasoning is cut. The
    /// connection stays open and silent.
    Stalls { thinks: bool, text: String },
    /// Reasoning, a text and calls, each of which may be absent.
    Reply { thinks: bool, text: String, calls: Vec<ScriptedCall> },
}

/// A call: the provider's id, the tool and the arguments.
#[derive(Debug, Clone)]
pub(super) struct ScriptedCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) args: Value,
}

impl ScriptedReply {
    pub(super) fn text(text: &str) -> Self {
        Self::Reply { thinks: false, text: text.to_owned(), calls: Vec::new() }
    }

    pub(super) fn calls(thinks: bool, text: &str, calls: Vec<ScriptedCall>) -> Self {
        Self::Reply { thinks, text: text.to_owned(), calls }
    }
}

pub(super) fn call(name: &str) -> ScriptedCall {
    ScriptedCall { id: format!("c-{name}"), name: name.to_owned(), args: json!({}) }
}

pub(super) fn sum(id: &str, expression: &str) -> ScriptedCall {
    let args = json!({ "expression": expression });
    ScriptedCall { id: id.to_owned(), name: "calculator".to_owned(), args }
}

/// Formats a reply. Its signatures, numbered by request, are recorded.
pub(super) fn render(
    wire: StrictWire,
    said: &ScriptedReply,
    number: usize,
    signed: &mut Vec<String>,
) -> String {
    let ScriptedReply::Reply { thinks, text, calls } = said else { return String::new() };
    let signature = signature(wire, number);
    if *thinks {
        signed.push(signature.clone());
    }
    let thought = thinks.then_some(signature.as_str());
    match wire {
        StrictWire::OpenAi => openai(thought, text, calls),
        StrictWire::Responses => responses(thought, text, calls),
        StrictWire::Anthropic => anthropic(thought, text, calls),
        StrictWire::Gemini => gemini(thought, text, calls),
        StrictWire::Ollama => ollama(thought, text, calls),
    }
}

/// The signature of a reply, numbered by request.
pub(super) fn signature(wire: StrictWire, number: usize) -> String {
    // Plain reasoning is not signed; in MemGPT style it is part of the text.
    let word = match wire {
        StrictWire::OpenAi | StrictWire::Ollama => "reasoned",
        StrictWire::Responses | StrictWire::Anthropic | StrictWire::Gemini => "signed",
    };
    format!("{word}-{wire:?}-{number}")
}

pub(super) fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn openai(thought: Option<&str>, text: &str, calls: &[ScriptedCall]) -> String {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let mut events = Vec::new();
    events.extend(thought.map(|thought| delta(json!({"reasoning_content": thought}))));
    if !text.is_empty() {
        events.push(delta(json!({"content": text})));
    }
    for (index, ScriptedCall { id, name, args }) in calls.iter().enumerate() {
        let function = json!({"name": name, "arguments": args.to_string()});
        events.push(delta(json!({"tool_calls": [
            {"index": index, "id": id, "type": "function", "function": function}
        ]})));
    }
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}));
    sse(&events) + "data: [DONE]\n\n"
}

fn responses(thought: Option<&str>, text: &str, calls: &[ScriptedCall]) -> String {
    let mut output = Vec::new();
    output.extend(thought.map(|thought| {
        let summary = json!([{"type": "summary_text", "text": "Hm."}]);
        json!({
            "type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": thought
        })
    }));
    if !text.is_empty() {
        output.push(json!({
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }));
    }
    output.extend(calls.iter().map(|ScriptedCall { id, name, args }| {
        json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": name,
            "arguments": args.to_string(), "status": "completed",
        })
    }));
    let mut events: Vec<Value> = output
        .iter()
        .enumerate()
        .map(|(at, item)| {
            json!({"type": "response.output_item.done", "output_index": at, "item": item})
        })
        .collect();
    let usage = json!({"input_tokens": 1, "output_tokens": 1, "total_tokens": 2});
    let response = json!({"id": "r", "status": "completed", "output": output, "usage": usage});
    events.push(json!({"type": "response.completed", "response": response}));
    sse(&events)
}

fn anthropic(thought: Option<&str>, text: &str, calls: &[ScriptedCall]) -> String {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let mut events = vec![json!({"type": "message_start", "message": {
        "id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage
    }})];
    let mut blocks = Vec::new();
    if let Some(thought) = thought {
        blocks.push((
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            vec![
                json!({"type": "thinking_delta", "thinking": "Hm."}),
                json!({"type": "signature_delta", "signature": thought}),
            ],
        ));
    }
    if !text.is_empty() {
        let delta = json!({"type": "text_delta", "text": text});
        blocks.push((json!({"type": "text", "text": ""}), vec![delta]));
    }
    for ScriptedCall { id, name, args } in calls {
        let delta = json!({"type": "input_json_delta", "partial_json": args.to_string()});
        blocks
            .push((json!({"type": "tool_use", "id": id, "name": name, "input": {}}), vec![delta]));
    }
    for (index, (block, deltas)) in blocks.into_iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.extend(
            deltas.into_iter().map(
                |delta| json!({"type": "content_block_delta", "index": index, "delta": delta}),
            ),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let reason = if calls.is_empty() { "end_turn" } else { "tool_use" };
    let delta = json!({"stop_reason": reason});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}));
    events.push(json!({"type": "message_stop"}));
    sse(&events)
}

fn gemini(thought: Option<&str>, text: &str, calls: &[ScriptedCall]) -> String {
    let mut parts = Vec::new();
    parts.extend(thought.map(|_| json!({"text": "Hm.", "thought": true})));
    if !text.is_empty() {
        parts.push(json!({"text": text}));
    }
    for (at, ScriptedCall { name, args, .. }) in calls.iter().enumerate() {
        let mut part = json!({"functionCall": {"name": name, "args": args}});
        if let (0, Some(thought)) = (at, thought) {
            part["thoughtSignature"] = thought.into();
        }
        parts.push(part);
    }
    let content = json!({"role": "model", "parts": parts});
    sse(&[json!({"candidates": [{"content": content, "finishReason": "STOP"}]})])
}

fn ollama(thought: Option<&str>, text: &str, calls: &[ScriptedCall]) -> String {
    let mut message = json!({"role": "assistant", "content": text});
    if let Some(thought) = thought {
        message["thinking"] = thought.into();
    }
    if !calls.is_empty() {
        let calls = calls
            .iter()
            .map(|call| json!({"function": {"name": call.name, "arguments": call.args}}));
        message["tool_calls"] = calls.collect();
    }
    let said = json!({"model": "m", "message": message, "done": false});
    let end = json!({"role": "assistant", "content": ""});
    let end = json!({"model": "m", "message": end, "done": true, "done_reason": "stop"});
    format!("{said}\n{end}\n")
}
