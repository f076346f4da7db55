//! Decoder of chat completions, by `OpenAI` and compatible providers.

use serde_json::Value;

use super::assembly::ReplyAssembly;
use super::calls::CallPiece;
use super::decoder::{DecodeOutcome, DecoderInput, StreamDecoder};
use super::json::{self, PathStep, count, key, list, text};
use super::stop::StopReason;
use crate::model::remote::provider_error::ProviderError;
use crate::model::remote::provider_state::REASONING_CONTENT as SENT_BACK;

/// Keys under which reasoning arrives as text.
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

/// Key of deprecated calls. A message has at most one.
const FUNCTION_CALL: &str = "function_call";

#[derive(Default)]
pub(super) struct OpenAiDecoder {
    /// The content so far.
    content_so_far: String,
    /// Whether a delta contained some of it.
    has_deltas: bool,
}

impl StreamDecoder for OpenAiDecoder {
    fn take(&mut self, input: &DecoderInput<'_>, reply: &mut ReplyAssembly) -> DecodeOutcome {
        let value = input.value;
        usage(value, reply);
        let choices = list(value.get("choices"));
        for (at, choice) in choices.iter().enumerate() {
            let path = [PathStep::Key("choices"), PathStep::At(at)];
            self.choice(choice, &path, input.text, reply);
        }
        let object = value.get("object").and_then(Value::as_str);
        let has_message =
            choices.iter().any(|choice| choice.get("message").is_some_and(Value::is_object));
        let is_whole = object == Some("chat.completion");
        if is_whole || (has_message && object != Some("chat.completion.chunk")) {
            DecodeOutcome::Whole
        } else if value.get("choices").is_some() || value.get("usage").is_some() {
            DecodeOutcome::Known
        } else {
            DecodeOutcome::Unknown
        }
    }
}

impl OpenAiDecoder {
    fn choice(
        &mut self,
        choice: &Value,
        path: &[PathStep<'_>],
        raw: &str,
        reply: &mut ReplyAssembly,
    ) {
        // Some providers send calls in a message in the middle of a stream of deltas.
        for part in ["delta", "message"] {
            if let Some(delta) = choice.get(part).filter(|delta| delta.is_object()) {
                let path: Vec<PathStep<'_>> =
                    path.iter().copied().chain([PathStep::Key(part)]).collect();
                let has_ended = text(choice, "finish_reason").is_some();
                self.words(delta, part == "delta", has_ended, reply);
                calls_of(delta, &path, raw, reply);
            }
        }
        if let Some(text) = text(choice, "text") {
            // A legacy completion.
            reply.push_content(text);
        }
        let error = choice.get("error").filter(|_| ProviderError::in_frame("", choice).is_some());
        if let Some(word) = text(choice, "finish_reason") {
            let cause = error.is_some().then(|| ProviderError::in_value(choice));
            reply.stopped(word, cause);
        } else if error.is_some() {
            reply.stopped_for(StopReason::Failed, "error", Some(ProviderError::in_value(choice)));
        }
    }
}

impl OpenAiDecoder {
    /// Adds the text of a delta, or of a message, which may repeat the deltas before it.
    fn words(&mut self, part: &Value, is_delta: bool, has_ended: bool, reply: &mut ReplyAssembly) {
        let whole = plain(part.get("content"));
        if is_delta || self.content_so_far.is_empty() {
            if is_delta || !self.has_deltas {
                reasoning(part, reply);
                if let Some(words) = text(part, "refusal") {
                    reply.push_refusal(words);
                }
            }
            content(part.get("content"), reply);
            self.content_so_far.push_str(&whole);
            self.has_deltas |= is_delta && part.as_object().is_some_and(says_something);
            return;
        }
        let more = match whole.strip_prefix(self.content_so_far.as_str()) {
            // The same word may arrive twice in a row.
            Some("") if !self.has_deltas && !has_ended => whole.as_str(),
            Some(more) => more,
            None if self.has_deltas => "",
            None => whole.as_str(),
        };
        reply.push_content(more);
        self.content_so_far.push_str(more);
    }
}

/// Whether a delta contains more than its role.
fn says_something(delta: &serde_json::Map<String, Value>) -> bool {
    delta.iter().any(|(key, value)| {
        key != "role" && !value.is_null() && value.as_str().is_none_or(|text| !text.is_empty())
    })
}

/// The text of content, without thoughts.
fn plain(content: Option<&Value>) -> String {
    let of_part = |part: &Value| {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        let words = part.as_str().or_else(|| text(part, "text")).unwrap_or_default();
        matches!(kind, "" | "text" | "output_text").then(|| words.to_owned()).unwrap_or_default()
    };
    list(content).iter().map(of_part).collect()
}

fn calls_of(delta: &Value, path: &[PathStep<'_>], raw: &str, reply: &mut ReplyAssembly) {
    let calls = list(delta.get("tool_calls"));
    reply.calls().begin_list();
    for (at, call) in calls.iter().enumerate() {
        if reply.excess().is_some() {
            return;
        }
        let mut path: Vec<PathStep<'_>> = path.to_vec();
        path.push(PathStep::Key("tool_calls"));
        if delta.get("tool_calls").is_some_and(Value::is_array) {
            path.push(PathStep::At(at));
        }
        let function = call.get("function").filter(|function| function.is_object());
        if function.is_some() {
            path.push(PathStep::Key("function"));
        }
        let args = arguments(function.unwrap_or(call), &path, raw);
        reply.call_piece(CallPiece {
            index: key(call.get("index")),
            id: text(call, "id"),
            name: text(function.unwrap_or(call), "name"),
            args: &args,
            has_siblings: calls.len() > 1,
        });
    }
    if let Some(function) = delta.get(FUNCTION_CALL).filter(|function| function.is_object()) {
        let path: Vec<PathStep<'_>> =
            path.iter().copied().chain([PathStep::Key(FUNCTION_CALL)]).collect();
        let args = arguments(function, &path, raw);
        let index = Some(FUNCTION_CALL.to_owned());
        let name = text(function, "name");
        reply.call_piece(CallPiece { index, id: None, name, args: &args, has_siblings: false });
    }
}

/// The JSON text of a call's arguments, which may arrive as JSON instead of text.
pub(super) fn arguments(function: &Value, path: &[PathStep<'_>], raw: &str) -> String {
    let mut path = path.to_vec();
    let key = if function.get("arguments").is_some() { "arguments" } else { "input" };
    path.push(PathStep::Key(key));
    match function.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(json)) => json.clone(),
        // PHP encodes an empty object as an empty list.
        Some(Value::Array(entries)) if entries.is_empty() => "{}".to_owned(),
        Some(Value::Array(entries))
            if entries.len() == 1 && entries.iter().all(Value::is_object) =>
        {
            path.push(PathStep::At(0));
            as_written(&path, raw, function.get(key).and_then(|args| args.get(0)))
        }
        args @ Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            as_written(&path, raw, args)
        }
    }
}

fn as_written(path: &[PathStep<'_>], raw: &str, value: Option<&Value>) -> String {
    json::raw_at(raw, path)
        .map(str::to_owned)
        .or_else(|| value.map(Value::to_string))
        .unwrap_or_default()
}

/// Reads reasoning under any of its keys. Gateways send it under two at once.
fn reasoning(delta: &Value, reply: &mut ReplyAssembly) {
    let mut has_text = false;
    if let Some((key, text)) = REASONING.iter().find_map(|key| Some((key, text(delta, key)?))) {
        has_text = true;
        reply.push_thought(text);
        reply.keep_reasoning(key, text);
    }
    // An empty string also shows that the endpoint has the key and may want it back.
    if !has_text && delta.get(SENT_BACK).is_some_and(Value::is_string) {
        reply.keep_reasoning(SENT_BACK, "");
    }
    for detail in list(delta.get("reasoning_details")).iter().filter(|detail| detail.is_object()) {
        if !has_text && let Some(text) = text(detail, "text").or_else(|| text(detail, "summary")) {
            reply.push_thought(text);
        }
        keep_detail(detail, reply);
    }
}

/// Keeps an entry of `OpenRouter`'s `reasoning_details`, whose texts arrive in parts.
fn keep_detail(detail: &Value, reply: &mut ReplyAssembly) {
    let is_same = |before: &Value| {
        ["type", "index"].iter().all(|key| before.get(*key) == detail.get(*key))
            && detail.get("index").is_some()
    };
    reply.count_bytes(detail.to_string().len());
    let last = reply.kept_thoughts().last_mut().map(|thought| &mut thought.block);
    let (Some(Value::Object(before)), Value::Object(more)) =
        (last.filter(|before| is_same(before)), detail)
    else {
        reply.keep_thought(detail.clone());
        return;
    };
    for (key, value) in more {
        match (before.get_mut(key), value) {
            (Some(Value::String(before)), Value::String(more))
                if matches!(key.as_str(), "text" | "summary" | "data") =>
            {
                before.push_str(more);
            }
            (_, Value::Null) => {}
            _ => {
                before.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Reads content: a string, or parts of several kinds.
fn content(content: Option<&Value>, reply: &mut ReplyAssembly) {
    match content {
        Some(Value::String(text)) => reply.push_content(text),
        Some(Value::Array(parts)) => parts.iter().for_each(|part| content_part(part, reply)),
        Some(part @ Value::Object(_)) => content_part(part, reply),
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {}
    }
}

fn content_part(part: &Value, reply: &mut ReplyAssembly) {
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "thinking" | "reasoning" | "reasoning_text" => {
            for thought in list(part.get("thinking").or_else(|| part.get("text"))) {
                if let Some(words) = thought.as_str().or_else(|| text(thought, "text")) {
                    reply.push_thought(words);
                }
            }
        }
        "refusal" => {
            if let Some(words) = text(part, "refusal") {
                reply.push_refusal(words);
            }
        }
        "text" | "output_text" | "" => {
            if let Some(words) = part.as_str().or_else(|| text(part, "text")) {
                reply.push_content(words);
            }
        }
        _ => {}
    }
}

fn usage(value: &Value, reply: &mut ReplyAssembly) {
    // Groq reports usage under a key of its own.
    let own = value.get("x_groq").and_then(|groq| groq.get("usage"));
    let Some(counts) = value.get("usage").or(own).filter(|usage| usage.is_object()) else { return };
    let usage = reply.usage();
    usage.input_tokens = count(counts.get("prompt_tokens")).unwrap_or(usage.input_tokens);
    usage.output_tokens = count(counts.get("completion_tokens")).unwrap_or(usage.output_tokens);
    let details = counts.get("prompt_tokens_details");
    let cached = details
        .and_then(|details| count(details.get("cached_tokens")))
        .or_else(|| count(counts.get("prompt_cache_hit_tokens")));
    usage.cached_tokens = cached.or(usage.cached_tokens);
}
