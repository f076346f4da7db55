//! Decoder of Google's `streamGenerateContent`.

use serde_json::{Value, json};

use super::assembly::ReplyAssembly;
use super::decoder::{DecodeOutcome, DecoderInput, StreamDecoder};
use super::json::{PathStep, count, either, list, raw_at, text};
use super::stop::StopReason;
use crate::model::remote::provider_error::ProviderError;

#[derive(Default)]
pub(super) struct GeminiDecoder;

impl StreamDecoder for GeminiDecoder {
    fn take(&mut self, input: &DecoderInput<'_>, reply: &mut ReplyAssembly) -> DecodeOutcome {
        // Without `alt=sse`, all chunks arrive in one list.
        if let Value::Array(chunks) = input.value {
            let mut taken = DecodeOutcome::Unknown;
            for (at, chunk) in chunks.iter().enumerate() {
                if let Some(cause) = ProviderError::in_frame("", chunk) {
                    reply.stopped_for(StopReason::Failed, "error", Some(cause));
                    return DecodeOutcome::Whole;
                }
                if chunk_of(chunk, &[PathStep::At(at)], input.text, reply) != DecodeOutcome::Unknown
                {
                    taken = DecodeOutcome::Whole;
                }
            }
            return taken;
        }
        // Some gateways wrap each chunk.
        match input.value.get("response").filter(|response| response.is_object()) {
            Some(chunk) if ProviderError::in_frame("", chunk).is_some() => {
                reply.stopped_for(StopReason::Failed, "error", ProviderError::in_frame("", chunk));
                DecodeOutcome::Last
            }
            Some(chunk) => chunk_of(chunk, &[PathStep::Key("response")], input.text, reply),
            None => chunk_of(input.value, &[], input.text, reply),
        }
    }
}

fn chunk_of(
    chunk: &Value,
    path: &[PathStep<'_>],
    raw: &str,
    reply: &mut ReplyAssembly,
) -> DecodeOutcome {
    let mut known = false;
    if let Some(counts) = either(chunk, "usageMetadata", "usage_metadata") {
        known = true;
        usage(counts, reply);
    }
    if let Some(feedback) = either(chunk, "promptFeedback", "prompt_feedback") {
        known = true;
        if let Some(why) = either(feedback, "blockReason", "block_reason").and_then(Value::as_str) {
            let words = either(feedback, "blockReasonMessage", "block_reason_message");
            let cause = words.and_then(Value::as_str).map(ProviderError::in_words);
            reply.stopped_for(StopReason::Filtered, why, cause);
        }
    }
    if let Some(candidates) = chunk.get("candidates") {
        known = true;
        if let Some(candidate) = list(Some(candidates)).first() {
            candidate_of(candidate, path, raw, reply);
        }
    }
    if known || chunk.get("modelVersion").is_some() {
        DecodeOutcome::Known
    } else {
        DecodeOutcome::Unknown
    }
}

fn candidate_of(candidate: &Value, path: &[PathStep<'_>], raw: &str, reply: &mut ReplyAssembly) {
    let parts = list(candidate.get("content").and_then(|content| content.get("parts")));
    let before = reply.calls().len();
    for (at, part) in parts.iter().enumerate() {
        if reply.excess().is_some() {
            return;
        }
        let way = [
            PathStep::Key("candidates"),
            PathStep::At(0),
            PathStep::Key("content"),
            PathStep::Key("parts"),
            PathStep::At(at),
        ];
        let path: Vec<PathStep<'_>> = path.iter().copied().chain(way).collect();
        part_of(part, &path, raw, before, reply);
    }
    if let Some(word) = either(candidate, "finishReason", "finish_reason").and_then(Value::as_str)
        && word != "FINISH_REASON_UNSPECIFIED"
    {
        let words = either(candidate, "finishMessage", "finish_message").and_then(Value::as_str);
        reply.stopped(word, words.map(ProviderError::in_words));
    }
}

/// Reads a part. `before` is the number of calls in earlier chunks, because some providers repeat
/// calls.
fn part_of(
    part: &Value,
    path: &[PathStep<'_>],
    raw: &str,
    before: usize,
    reply: &mut ReplyAssembly,
) {
    let signature = either(part, "thoughtSignature", "thought_signature").and_then(Value::as_str);
    let is_thought = part.get("thought").and_then(Value::as_bool) == Some(true);
    if let Some(words) = part.get("text").and_then(Value::as_str) {
        if is_thought {
            reply.push_thought(words);
        } else {
            reply.push_content(words);
        }
        match signature {
            Some(signature) if is_thought => {
                reply.keep_thought(
                    json!({"text": words, "thought": true, "thoughtSignature": signature}),
                );
            }
            Some(signature) => reply.sign_text(signature),
            None => {}
        }
    }
    let camel = part.get("functionCall").is_some();
    let Some(call) = either(part, "functionCall", "function_call") else { return };
    let (id, name) = (text(call, "id"), text(call, "name").unwrap_or_default());
    let (Value::Object(_), false) = (call, name.is_empty() && call.get("args").is_none()) else {
        return;
    };
    let way = [
        PathStep::Key(if camel { "functionCall" } else { "function_call" }),
        PathStep::Key("args"),
    ];
    let path: Vec<PathStep<'_>> = path.iter().copied().chain(way).collect();
    let args = match call.get("args") {
        None | Some(Value::Null) => "{}",
        Some(Value::String(json)) => json,
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            raw_at(raw, &path).unwrap_or("{}")
        }
    };
    if !reply.calls().has_same(before, id, name, args) {
        reply.whole_call(id, name, args, signature);
    }
}

fn usage(counts: &Value, reply: &mut ReplyAssembly) {
    let of = |camel: &str, snake: &str| count(either(counts, camel, snake));
    let usage = reply.usage();
    usage.input_tokens = of("promptTokenCount", "prompt_token_count").unwrap_or(usage.input_tokens);
    let written = of("candidatesTokenCount", "candidates_token_count");
    let thought = of("thoughtsTokenCount", "thoughts_token_count");
    if written.is_some() || thought.is_some() {
        usage.output_tokens = written.unwrap_or(0) + thought.unwrap_or(0);
    }
    let cached = of("cachedContentTokenCount", "cached_content_token_count");
    usage.cached_tokens = cached.or(usage.cached_tokens);
}
