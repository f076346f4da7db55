//! Encoder of Anthropic's Messages API.

use serde_json::{Map, Value, json};
use thoughtwire_proto::ToolStatus;

use super::EncoderInput;
use super::claude::ClaudeModel;
use super::effort::Effort;
use super::history::{WireMessage, WireReply};
use super::object::JsonObject;
use super::text::is_blank;
use super::tools::WireTool;

/// Smallest thinking budget, in tokens.
const LEAST_BUDGET: u32 = 1_024;
/// Longest reply without a configured limit, in tokens: the API has no default. High effort needs
/// more.
const LONGEST_REPLY: u32 = 8_192;
const LONGEST_THOUGHTFUL_REPLY: u32 = 32_000;

pub(super) fn body(input: &EncoderInput<'_>) -> Value {
    let is_high = input.effort.is_some_and(is_high);
    let default = if is_high { LONGEST_THOUGHTFUL_REPLY } else { LONGEST_REPLY };
    let max = input.prompt.max_output_tokens.unwrap_or(default);
    let thinking = ThinkingMode::of(input, max);
    let mut body =
        JsonObject::new().with("model", input.model).with("stream", true).with("max_tokens", max);
    match &thinking {
        ThinkingMode::Unsaid => {}
        ThinkingMode::Off => body.set("thinking", json!({ "type": "disabled" })),
        ThinkingMode::Budget(tokens) => {
            body.set("thinking", json!({ "type": "enabled", "budget_tokens": tokens }));
        }
        ThinkingMode::Adaptive => {
            body.set("thinking", json!({ "type": "adaptive", "display": "summarized" }));
        }
    }
    if let Some(word) =
        input.effort.and_then(|effort| word(effort, ClaudeModel::named(input.model)))
    {
        body.set("output_config", json!({ "effort": word }));
    }
    if !input.tools.is_empty() {
        let mut tools: Vec<Value> = input.tools.iter().map(tool).collect();
        tools.last_mut().map(mark);
        body.set("tools", tools);
    }
    if !input.history.system.is_empty() {
        let mut system: Vec<Value> = input.history.system.iter().map(|text| block(text)).collect();
        system.last_mut().map(mark);
        body.set("system", system);
    }
    let mut messages = messages(input, &thinking);
    mark_messages(&mut messages);
    body.set("messages", messages);
    body.into()
}

/// Thinking mode of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThinkingMode {
    /// The request does not mention it: older models do not think, newer ones do.
    Unsaid,
    Off,
    Budget(u32),
    Adaptive,
}

impl ThinkingMode {
    fn of(input: &EncoderInput<'_>, max: u32) -> Self {
        let claude = ClaudeModel::named(input.model);
        let off = if claude.thinks_by_default() { Self::Off } else { Self::Unsaid };
        let budget = match input.effort {
            None => return Self::Unsaid,
            Some(Effort::None) => return off,
            Some(Effort::Minimal | Effort::Low) => LEAST_BUDGET,
            Some(Effort::Medium) => 8_000,
            Some(Effort::High | Effort::XHigh | Effort::Max) => 24_000,
        };
        if claude.is_adaptive() {
            return Self::Adaptive;
        }
        if claude.has_effort() {
            return off;
        }
        // The reply needs room beside its thinking, and the API refuses a running turn's call
        // without the thinking before it.
        let budget = budget.min(max / 4 * 3);
        if budget < LEAST_BUDGET || !running(input).all(thinks_first) {
            off
        } else {
            Self::Budget(budget)
        }
    }

    /// Whether thinking of earlier requests may be sent.
    fn accepts_thoughts(self, input: &EncoderInput<'_>) -> bool {
        match self {
            Self::Budget(_) | Self::Adaptive => true,
            Self::Unsaid => {
                ClaudeModel::named(input.model).thinks_by_default()
                    || ClaudeModel::named(input.model).is_adaptive()
            }
            Self::Off => false,
        }
    }
}

fn is_high(effort: Effort) -> bool {
    match effort {
        Effort::High | Effort::XHigh | Effort::Max => true,
        Effort::None | Effort::Minimal | Effort::Low | Effort::Medium => false,
    }
}

/// The effort in the model's words. Absent if the model has no effort setting.
fn word(effort: Effort, claude: ClaudeModel) -> Option<&'static str> {
    if !claude.has_effort() {
        return None;
    }
    Some(match effort {
        Effort::None => return None,
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => {
            if claude.has_xhigh_effort() {
                "xhigh"
            } else {
                "high"
            }
        }
        Effort::Max => {
            if claude.has_max_effort() {
                "max"
            } else {
                "high"
            }
        }
    })
}

/// The replies with calls after the newest input: those of the running turn.
fn running<'s>(input: &'s EncoderInput<'_>) -> impl Iterator<Item = &'s WireReply<'s>> {
    let replies = input.history.messages.iter().rev().map_while(WireMessage::reply);
    replies.filter(|reply| !reply.calls.is_empty())
}

fn thinks_first(reply: &WireReply<'_>) -> bool {
    thoughts(reply, 0, false).next().is_some()
}

/// The thinking blocks at one position in a reply, as far as the API accepts them.
fn thoughts<'r>(
    reply: &'r WireReply<'_>,
    calls: usize,
    after_text: bool,
) -> impl Iterator<Item = &'r Value> {
    let kept = reply.kept.into_iter().flat_map(|kept| &kept.thoughts);
    kept.filter(move |thought| {
        thought.calls_before == calls && (calls > 0 || thought.after_text == after_text)
    })
    .map(|thought| &thought.block)
    .filter(|block| {
        let has = |key| block.get(key).and_then(Value::as_str).is_some_and(|text| !is_blank(text));
        match block.get("type").and_then(Value::as_str) {
            Some("thinking") => has("signature"),
            Some("redacted_thinking") => has("data"),
            Some(_) | None => false,
        }
    })
}

fn block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn tool(tool: &WireTool<'_>) -> Value {
    let mut value = JsonObject::new().with("name", tool.name.as_str());
    if !tool.description.is_empty() {
        value.set("description", tool.description);
    }
    let empty = || json!({ "type": "object", "properties": {} });
    value.with("input_schema", tool.schema.clone().unwrap_or_else(empty)).into()
}

fn messages(input: &EncoderInput<'_>, thinking: &ThinkingMode) -> Vec<Value> {
    let accepts_thoughts = thinking.accepts_thoughts(input);
    let mut messages = Vec::new();
    for message in &input.history.messages {
        match message {
            WireMessage::User(texts) => {
                push(&mut messages, "user", texts.iter().map(|text| block(text)).collect());
            }
            WireMessage::Reply(reply) => {
                push(&mut messages, "assistant", content(reply, accepts_thoughts));
                let results = reply.calls.iter().map(|call| {
                    let mut result = JsonObject::new()
                        .with("type", "tool_result")
                        .with("tool_use_id", call.id.as_str())
                        .with("content", call.result.as_ref());
                    if call.status != ToolStatus::Success {
                        result.set("is_error", true);
                    }
                    result.into()
                });
                push(&mut messages, "user", results.collect());
            }
        }
    }
    messages
}

/// Appends blocks to the last message if it has the same role, so that roles alternate.
fn push(messages: &mut Vec<Value>, role: &str, mut blocks: Vec<Value>) {
    if blocks.is_empty() {
        return;
    }
    let last = messages.last_mut().filter(|last| last.get("role") == Some(&Value::from(role)));
    match last.and_then(|last| last.get_mut("content")).and_then(Value::as_array_mut) {
        Some(known) => known.append(&mut blocks),
        None => messages.push(json!({ "role": role, "content": blocks })),
    }
}

fn content(reply: &WireReply<'_>, accepts_thoughts: bool) -> Vec<Value> {
    let mut blocks = Vec::new();
    let think = |blocks: &mut Vec<Value>, calls, after_text| {
        if accepts_thoughts {
            blocks.extend(thoughts(reply, calls, after_text).cloned());
        }
    };
    think(&mut blocks, 0, false);
    if !reply.text.is_empty() {
        blocks.push(block(&reply.text));
    }
    // A reply may not end in thinking.
    if !reply.calls.is_empty() {
        think(&mut blocks, 0, true);
    }
    for (at, call) in reply.calls.iter().enumerate() {
        if at > 0 {
            think(&mut blocks, at, true);
        }
        let input: &Map<String, Value> = call.args;
        blocks
            .push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }));
    }
    blocks
}

/// Marks a block as the end of a cacheable prefix.
fn mark(block: &mut Value) {
    if let Some(block) = block.as_object_mut() {
        block.insert("cache_control".to_owned(), json!({ "type": "ephemeral" }));
    }
}

/// Marks the newest user message and the one before it, which the next request and a retry share.
/// With the tools and the system prompt these are the four marks that the API allows.
fn mark_messages(messages: &mut [Value]) {
    let users = messages
        .iter_mut()
        .rev()
        .filter(|message| message.get("role").is_some_and(|role| role == "user"));
    for message in users.take(2) {
        let blocks = message.get_mut("content").and_then(Value::as_array_mut);
        blocks.and_then(|blocks| blocks.last_mut()).map(mark);
    }
}
