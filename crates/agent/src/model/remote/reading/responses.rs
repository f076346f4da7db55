//! Decoder of `OpenAI`'s Responses API.

use serde_json::{Value, json};

use super::assembly::ReplyAssembly;
use super::decoder::{DecodeOutcome, DecoderInput, StreamDecoder};
use super::json::{PathStep, count, key, list, text};
use super::openai::arguments;
use super::output_item::{ITEM_BYTES, OutputItem, OutputItemKind};
use super::stop::StopReason;
use crate::model::remote::provider_error::ProviderError;

/// Reads deltas. Complete items and the last event only add text that no delta contained.
#[derive(Default)]
pub(super) struct ResponsesDecoder {
    items: Vec<OutputItem>,
    /// Output index and summary index of the last thought.
    last_summary: Option<(Option<String>, Option<String>)>,
}

impl StreamDecoder for ResponsesDecoder {
    fn take(&mut self, input: &DecoderInput<'_>, reply: &mut ReplyAssembly) -> DecodeOutcome {
        let value = input.value;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or(input.event);
        let delta = || text(value, "delta").unwrap_or_default();
        match kind {
            "response.output_item.added" => {
                if let Some(item) = value.get("item") {
                    let source = ItemSource { path: &[PathStep::Key("item")], raw: input.text };
                    self.item(value, item, ItemProgress::Begun, source, reply);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = value.get("item") {
                    let source = ItemSource { path: &[PathStep::Key("item")], raw: input.text };
                    self.item(value, item, ItemProgress::Over, source, reply);
                }
            }
            "response.output_text.delta" => self.text_delta(value, delta(), reply),
            "response.output_text.done" => {
                self.text_done(value, text(value, "text").unwrap_or_default(), reply);
            }
            "response.refusal.delta" => self.refusal_delta(value, delta(), reply),
            "response.refusal.done" => {
                self.refusal_done(value, text(value, "refusal").unwrap_or_default(), reply);
            }
            "response.reasoning_summary_text.delta"
            | "response.reasoning_summary.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning.delta" => self.thought_delta(value, delta(), reply),
            "response.function_call_arguments.delta" => self.args_delta(value, delta(), reply),
            "response.function_call_arguments.done" => {
                self.args_done(value, &arguments(value, &[], input.text), reply);
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.done"
            | "response.cancelled" => {
                let way = [PathStep::Key("response")];
                let (response, path) = match value.get("response") {
                    Some(response) => (response, &way[..]),
                    None => (value, &[][..]),
                };
                self.end(kind, response, ItemSource { path, raw: input.text }, reply);
                return DecodeOutcome::Last;
            }
            "" if value.get("object").and_then(Value::as_str) == Some("response")
                || value.get("output").is_some_and(Value::is_array) =>
            {
                self.end("response", value, ItemSource { path: &[], raw: input.text }, reply);
                return DecodeOutcome::Whole;
            }
            "" => return DecodeOutcome::Unknown,
            // Keep-alives, and events of tools that run at the provider.
            _ => {}
        }
        DecodeOutcome::Known
    }

    fn finish(&mut self, reply: &mut ReplyAssembly) {
        // Arguments that arrived only with the beginning of a call.
        for item in &mut self.items {
            if let (Some(call), Some(args)) = (item.call, item.first_args.take()) {
                rest_of_args(call, &args, reply);
            }
        }
    }

    fn has_ended(&self) -> bool {
        let sent_text =
            |item: &OutputItem| matches!(item.kind, OutputItemKind::Message | OutputItemKind::Call);
        self.items.iter().any(sent_text) && self.items.iter().all(|item| item.is_over)
    }
}

/// Position of a value in a JSON text.
#[derive(Clone, Copy)]
struct ItemSource<'a> {
    path: &'a [PathStep<'a>],
    raw: &'a str,
}

/// Progress of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemProgress {
    Begun,
    Over,
}

impl ResponsesDecoder {
    /// Reads an item of an event, which is complete or just begun.
    fn item(
        &mut self,
        event: &Value,
        item: &Value,
        progress: ItemProgress,
        source: ItemSource<'_>,
        reply: &mut ReplyAssembly,
    ) {
        let kind = OutputItemKind::of(item);
        let index = key(event.get("output_index"));
        let id = text(item, "id").map(str::to_owned);
        let open_item = match progress {
            ItemProgress::Begun => None,
            ItemProgress::Over => self.open_item(kind, index.as_ref(), id.as_ref()),
        };
        let at = open_item.unwrap_or_else(|| self.add(kind, index, id, reply));
        self.fill(at, item, progress, source, reply);
        if let (ItemProgress::Over, Some(item)) = (progress, self.items.get_mut(at)) {
            item.is_over = true;
        }
    }

    /// Adds the parts of an item that no delta contained.
    fn fill(
        &mut self,
        at: usize,
        value: &Value,
        progress: ItemProgress,
        source: ItemSource<'_>,
        reply: &mut ReplyAssembly,
    ) {
        let Some(item) = self.items.get_mut(at) else { return };
        match item.kind {
            OutputItemKind::Message => {
                let parts = list(value.get("content"));
                let of = |kind: &str, key: &str| -> String {
                    let parts = parts
                        .iter()
                        .filter(|part| part.get("type").and_then(Value::as_str) == Some(kind));
                    parts.filter_map(|part| text(part, key)).collect()
                };
                let (words, refusal) =
                    (of("output_text", "text") + &of("text", "text"), of("refusal", "refusal"));
                let words = if words.is_empty() {
                    text(value, "content").unwrap_or_default().to_owned()
                } else {
                    words
                };
                reply.push_content(&item.rest_of_text(&words));
                reply.push_refusal(&item.rest_of_refusal(&refusal));
            }
            OutputItemKind::Reasoning => {
                let of = |key: &str| {
                    let parts = list(value.get(key)).iter();
                    parts.filter_map(|part| text(part, "text")).collect::<Vec<_>>().join("\n\n")
                };
                let summary = of("summary");
                let words = if summary.is_empty() { of("content") } else { summary };
                reply.push_thought(&item.rest_of_text(&words));
                keep_reasoning_item(value, reply);
            }
            OutputItemKind::Call => {
                let name = text(value, "name").unwrap_or_default();
                let call_id = text(value, "call_id").map(str::to_owned);
                item.call_id = item.call_id.take().or(call_id);
                let is_over = progress == ItemProgress::Over;
                if item.call.is_none() && (is_over || !name.is_empty()) {
                    item.call = reply.open_call(item.call_id.as_deref(), name);
                }
                let args = arguments(value, source.path, source.raw);
                if !is_over {
                    // Some providers begin with `{}`, and deltas follow.
                    reply.count_bytes(args.len());
                    item.first_args = Some(args).filter(|args| !args.is_empty());
                } else if let Some(call) = item.call {
                    if !args.is_empty() {
                        item.first_args = None;
                    }
                    rest_of_args(call, &args, reply);
                }
            }
            OutputItemKind::Other => {}
        }
    }

    /// Ends the response; `event` is the last event's type.
    fn end(
        &mut self,
        event: &str,
        response: &Value,
        source: ItemSource<'_>,
        reply: &mut ReplyAssembly,
    ) {
        for (place, item) in list(response.get("output")).iter().enumerate() {
            if reply.excess().is_some() {
                return;
            }
            let way = [PathStep::Key("output"), PathStep::At(place)];
            let path: Vec<PathStep<'_>> = source.path.iter().copied().chain(way).collect();
            let kind = OutputItemKind::of(item);
            let at = self.matching_item(kind, item).unwrap_or_else(|| {
                let id = text(item, "id").map(str::to_owned);
                self.add(kind, None, id, reply)
            });
            let source = ItemSource { path: &path, raw: source.raw };
            self.fill(at, item, ItemProgress::Over, source, reply);
            if let Some(item) = self.items.get_mut(at) {
                (item.is_matched, item.is_over) = (true, true);
            }
        }
        // Some providers send the text only here.
        if let Some(words) = text(response, "output_text")
            && !self
                .items
                .iter()
                .any(|item| !item.sent_text.is_empty() && item.kind == OutputItemKind::Message)
        {
            reply.push_content(words);
        }
        usage(response, reply);
        let status = text(response, "status").unwrap_or(match event {
            "response.incomplete" => "incomplete",
            "response.failed" => "failed",
            "response.cancelled" => "cancelled",
            _ => "completed",
        });
        match status {
            "incomplete" => {
                let details = response.get("incomplete_details");
                let why = details.and_then(|details| text(details, "reason")).unwrap_or_default();
                let reason = match StopReason::of(why) {
                    StopReason::Finished => StopReason::Cut,
                    reason @ (StopReason::Length
                    | StopReason::Filtered
                    | StopReason::Refused
                    | StopReason::MalformedCall
                    | StopReason::Cut
                    | StopReason::Failed) => reason,
                };
                reply.stopped_for(reason, why, None);
            }
            "failed" => reply.stopped_for(
                StopReason::Failed,
                "failed",
                Some(ProviderError::in_value(response)),
            ),
            "cancelled" => reply.stopped_for(StopReason::Cut, status, None),
            "queued" | "in_progress" if event == "response" => {
                reply.stopped_for(StopReason::Cut, status, None);
            }
            _ => reply.stopped(status, None),
        }
    }

    /// The item that an entry of the last event's list means, among those not matched yet.
    fn matching_item(&self, kind: OutputItemKind, value: &Value) -> Option<usize> {
        let free = |item: &&OutputItem| item.kind == kind && !item.is_matched;
        let place = |found: &dyn Fn(&OutputItem) -> bool| {
            self.items.iter().position(|item| free(&item) && found(item))
        };
        let same = |key: &str, of: &dyn Fn(&OutputItem) -> Option<String>| {
            let wanted = text(value, key)?;
            place(&|item| of(item).as_deref() == Some(wanted))
        };
        same("call_id", &|item| item.call_id.clone())
            .or_else(|| same("id", &|item| item.id.clone()))
            // Some providers write a different id into each event. Then the order decides. Calls
            // have a separate id, unless it is missing.
            .or_else(|| {
                let has_id = text(value, "call_id").is_some();
                place(&|item| kind != OutputItemKind::Call || !has_id || item.call_id.is_none())
            })
    }

    /// The open item that an event means.
    fn open_item(
        &self,
        kind: OutputItemKind,
        index: Option<&String>,
        id: Option<&String>,
    ) -> Option<usize> {
        let last = |found: &dyn Fn(&OutputItem) -> bool| {
            self.items.iter().rposition(|item| item.kind == kind && !item.is_over && found(item))
        };
        match (index, id) {
            (Some(_), _) => last(&|item| item.index.as_ref() == index)
                .or_else(|| last(&|item| item.index.is_none() && item.id.as_ref() == id)),
            (None, Some(_)) => {
                last(&|item| item.id.as_ref() == id).or_else(|| last(&|item| item.id.is_none()))
            }
            (None, None) => last(&|_| true),
        }
    }

    /// The item that a delta belongs to. Messages and thoughts may begin with their first delta.
    fn item_of_delta(
        &mut self,
        kind: OutputItemKind,
        event: &Value,
        reply: &mut ReplyAssembly,
    ) -> Option<usize> {
        let index = key(event.get("output_index"));
        let id = text(event, "item_id").map(str::to_owned);
        let open_item = self.open_item(kind, index.as_ref(), id.as_ref());
        match kind {
            OutputItemKind::Call => open_item.or_else(|| self.open_item(kind, None, None)),
            OutputItemKind::Message | OutputItemKind::Reasoning | OutputItemKind::Other => {
                Some(open_item.unwrap_or_else(|| self.add(kind, index, id, reply)))
            }
        }
    }

    fn add(
        &mut self,
        kind: OutputItemKind,
        index: Option<String>,
        id: Option<String>,
        reply: &mut ReplyAssembly,
    ) -> usize {
        let names = [index.as_ref(), id.as_ref()];
        reply.count_bytes(ITEM_BYTES + names.into_iter().flatten().map(String::len).sum::<usize>());
        self.items.push(OutputItem {
            kind,
            index,
            id,
            sent_text: String::new(),
            sent_refusal: String::new(),
            call: None,
            call_id: None,
            first_args: None,
            is_over: false,
            is_matched: false,
        });
        self.items.len() - 1
    }

    fn text_delta(&mut self, event: &Value, words: &str, reply: &mut ReplyAssembly) {
        if let Some(item) = self
            .item_of_delta(OutputItemKind::Message, event, reply)
            .and_then(|at| self.items.get_mut(at))
        {
            item.sent_text.push_str(words);
            reply.push_content(words);
        }
    }

    /// Adds a text that ended, if no delta of its item arrived. Only the complete item has all
    /// texts.
    fn text_done(&mut self, event: &Value, words: &str, reply: &mut ReplyAssembly) {
        if let Some(item) = self
            .item_of_delta(OutputItemKind::Message, event, reply)
            .and_then(|at| self.items.get_mut(at))
            && item.sent_text.is_empty()
        {
            reply.push_content(&item.rest_of_text(words));
        }
    }

    fn refusal_delta(&mut self, event: &Value, words: &str, reply: &mut ReplyAssembly) {
        if let Some(item) = self
            .item_of_delta(OutputItemKind::Message, event, reply)
            .and_then(|at| self.items.get_mut(at))
        {
            item.sent_refusal.push_str(words);
            reply.push_refusal(words);
        }
    }

    fn refusal_done(&mut self, event: &Value, words: &str, reply: &mut ReplyAssembly) {
        if let Some(item) = self
            .item_of_delta(OutputItemKind::Message, event, reply)
            .and_then(|at| self.items.get_mut(at))
        {
            reply.push_refusal(&item.rest_of_refusal(words));
        }
    }

    fn thought_delta(&mut self, event: &Value, words: &str, reply: &mut ReplyAssembly) {
        let part = key(event.get("summary_index"));
        let place = (key(event.get("output_index")), part);
        let is_next_part =
            self.last_summary.as_ref().is_some_and(|last| *last != place && last.1.is_some());
        let Some(at) = self.item_of_delta(OutputItemKind::Reasoning, event, reply) else { return };
        if let Some(item) = self.items.get_mut(at).filter(|_| !words.is_empty()) {
            if is_next_part && !item.sent_text.is_empty() {
                item.sent_text.push_str("\n\n");
                reply.push_thought("\n\n");
            }
            item.sent_text.push_str(words);
            reply.push_thought(words);
            self.last_summary = Some(place);
        }
    }

    fn args_delta(&mut self, event: &Value, json: &str, reply: &mut ReplyAssembly) {
        let at = self.item_of_delta(OutputItemKind::Call, event, reply);
        if let Some(call) = at.and_then(|at| self.items.get(at)?.call) {
            reply.push_args(call, json);
        }
    }

    fn args_done(&mut self, event: &Value, json: &str, reply: &mut ReplyAssembly) {
        let at = self.item_of_delta(OutputItemKind::Call, event, reply);
        if let Some(call) = at.and_then(|at| self.items.get(at)?.call) {
            rest_of_args(call, json, reply);
        }
    }
}

fn rest_of_args(call: usize, whole: &str, reply: &mut ReplyAssembly) {
    let sent_text = reply.calls().args(call).to_owned();
    if let Some(rest) = whole.strip_prefix(sent_text.as_str()).filter(|rest| !rest.is_empty()) {
        reply.push_args(call, rest);
    }
}

/// Keeps a reasoning item once, if it can be sent back.
fn keep_reasoning_item(item: &Value, reply: &mut ReplyAssembly) {
    let Some(sealed) = text(item, "encrypted_content") else { return };
    let is_known = reply
        .kept_thoughts()
        .iter()
        .any(|thought| text(&thought.block, "encrypted_content") == Some(sealed));
    let (Value::Object(fields), false) = (item, is_known) else { return };
    let mut block = fields.clone();
    // The status is not part of a request.
    block.remove("status");
    block.entry("summary").or_insert_with(|| json!([]));
    reply.keep_thought(Value::Object(block));
}

fn usage(response: &Value, reply: &mut ReplyAssembly) {
    let Some(counts) = response.get("usage").filter(|usage| usage.is_object()) else { return };
    let usage = reply.usage();
    usage.input_tokens = count(counts.get("input_tokens")).unwrap_or(0);
    usage.output_tokens = count(counts.get("output_tokens")).unwrap_or(0);
    let details = counts.get("input_tokens_details");
    usage.cached_tokens = details.and_then(|details| count(details.get("cached_tokens")));
}
