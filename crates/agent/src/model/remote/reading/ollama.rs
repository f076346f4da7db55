//! Decoder of Ollama's own chat API.

use serde_json::Value;

use super::assembly::ReplyAssembly;
use super::decoder::{DecodeOutcome, DecoderInput, StreamDecoder};
use super::json::{PathStep, count, key, list, text};
use super::openai::arguments;

#[derive(Default)]
pub(super) struct OllamaDecoder;

impl StreamDecoder for OllamaDecoder {
    fn take(&mut self, input: &DecoderInput<'_>, reply: &mut ReplyAssembly) -> DecodeOutcome {
        let value = input.value;
        let message = value.get("message").filter(|message| message.is_object());
        if let Some(message) = message {
            message_of(message, input.text, reply);
        }
        // The reason alone means the same.
        let has_reason = text(value, "done_reason").is_some();
        let is_done =
            value.get("done").and_then(Value::as_bool).or_else(|| has_reason.then_some(true));
        if is_done == Some(true) {
            usage(value, reply);
            reply.stopped(text(value, "done_reason").unwrap_or("stop"), None);
            DecodeOutcome::Last
        } else if message.is_some() || is_done.is_some() {
            DecodeOutcome::Known
        } else {
            DecodeOutcome::Unknown
        }
    }
}

fn message_of(message: &Value, raw: &str, reply: &mut ReplyAssembly) {
    let thought = ["thinking", "reasoning_content", "reasoning"]
        .into_iter()
        .find_map(|key| Some((key, text(message, key)?)));
    if let Some((key, words)) = thought {
        reply.push_thought(words);
        reply.keep_reasoning(key, words);
    }
    if let Some(words) = text(message, "content") {
        reply.push_content(words);
    }
    // Some versions send all calls so far with each line.
    let before = reply.calls().len();
    for (at, call) in list(message.get("tool_calls")).iter().enumerate() {
        if reply.excess().is_some() {
            return;
        }
        let mut path = vec![PathStep::Key("message"), PathStep::Key("tool_calls")];
        if message.get("tool_calls").is_some_and(Value::is_array) {
            path.push(PathStep::At(at));
        }
        let function = call.get("function").filter(|function| function.is_object());
        if function.is_some() {
            path.push(PathStep::Key("function"));
        }
        let function = function.unwrap_or(call);
        let (id, name) = (text(call, "id"), text(function, "name").unwrap_or_default());
        let args = arguments(function, &path, raw);
        if name.is_empty() && args.is_empty() {
            continue;
        }
        let args = if args.is_empty() { "{}" } else { &args };
        let is_repeated = id.is_some() || key(function.get("index")).is_some();
        if !is_repeated || !reply.calls().has_same(before, id, name, args) {
            reply.whole_call(id, name, args, None);
        }
    }
}

fn usage(value: &Value, reply: &mut ReplyAssembly) {
    let usage = reply.usage();
    usage.input_tokens = count(value.get("prompt_eval_count")).unwrap_or(0);
    usage.output_tokens = count(value.get("eval_count")).unwrap_or(0);
    usage.cached_tokens = count(value.get("prompt_eval_cached_count")).filter(|tokens| *tokens > 0);
}
