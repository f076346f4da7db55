//! Decoder of Anthropic's Messages API.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::assembly::ReplyAssembly;
use super::decoder::{DecodeOutcome, DecoderInput, StreamDecoder};
use super::json::{PathStep, count, key, list, raw_at, text};
use crate::model::remote::provider_error::ProviderError;

/// Content blocks arrive one after the other, but some gateways interleave them. Only the first
/// open block is written; deltas of the others wait.
#[derive(Default)]
pub(super) struct AnthropicDecoder {
    blocks: VecDeque<ContentBlock>,
    usage: CacheCounts,
}

struct ContentBlock {
    index: Option<String>,
    kind: BlockKind,
    /// Deltas that wait until the blocks before this one have ended.
    waiting: Vec<BlockDelta>,
    is_over: bool,
}

enum BlockKind {
    Text,
    Thinking {
        words: String,
        signature: String,
    },
    Redacted {
        data: String,
    },
    Call {
        at: Option<usize>,
        id: Option<String>,
        name: String,
        input: Option<String>,
        has_args: bool,
    },
    /// A kind that is unknown, or that clients do not act on.
    Other,
}

impl BlockKind {
    /// Number of bytes in the start of a block.
    fn bytes(&self) -> usize {
        match self {
            Self::Text | Self::Other => 0,
            Self::Thinking { words, signature } => words.len() + signature.len(),
            Self::Redacted { data } => data.len(),
            Self::Call { id, name, input, .. } => {
                let optional = [id.as_deref(), input.as_deref()];
                name.len() + optional.into_iter().flatten().map(str::len).sum::<usize>()
            }
        }
    }
}

enum BlockDelta {
    Text(String),
    Thinking(String),
    Signature(String),
    Json(String),
}

impl BlockDelta {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Thinking(text) | Self::Signature(text) | Self::Json(text) => {
                text.len()
            }
        }
    }
}

/// Approximate overhead of a block, in bytes.
const BLOCK_BYTES: usize = 1 << 10;

#[derive(Default)]
struct CacheCounts {
    input: u64,
    written: u64,
    read: u64,
}

impl StreamDecoder for AnthropicDecoder {
    fn take(&mut self, input: &DecoderInput<'_>, reply: &mut ReplyAssembly) -> DecodeOutcome {
        let value = input.value;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or(input.event);
        match kind {
            "message_start" => {
                let message = value.get("message");
                self.count(message.and_then(|message| message.get("usage")), reply);
            }
            "content_block_start" => {
                let raw =
                    raw_at(input.text, &[PathStep::Key("content_block"), PathStep::Key("input")]);
                self.begin(key(value.get("index")), value.get("content_block"), raw, reply);
            }
            "content_block_delta" => self.delta(value, reply),
            "content_block_stop" => self.stop(key(value.get("index")).as_deref(), reply),
            "message_delta" => {
                let delta = value.get("delta").unwrap_or(value);
                self.count(value.get("usage"), reply);
                stopped(delta, reply);
            }
            "message_stop" => return DecodeOutcome::Last,
            "message" => {
                self.whole(value, input.text, reply);
                return DecodeOutcome::Whole;
            }
            "ping" => {}
            "" if value.get("content").is_some_and(Value::is_array) => {
                self.whole(value, input.text, reply);
                return DecodeOutcome::Whole;
            }
            "" => return DecodeOutcome::Unknown,
            // Kinds to come; the API's documentation asks clients to ignore them.
            _ => {}
        }
        DecodeOutcome::Known
    }

    fn finish(&mut self, reply: &mut ReplyAssembly) {
        while let Some(mut block) = self.blocks.pop_front() {
            block.write(reply);
            block.end(reply);
        }
    }
}

impl AnthropicDecoder {
    fn begin(
        &mut self,
        index: Option<String>,
        block: Option<&Value>,
        raw_input: Option<&str>,
        reply: &mut ReplyAssembly,
    ) {
        let Some(block) = block else { return };
        let (kind, first) = match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text" => {
                (BlockKind::Text, text(block, "text").map(|text| BlockDelta::Text(text.to_owned())))
            }
            "thinking" => {
                let signature = text(block, "signature").unwrap_or_default().to_owned();
                let words =
                    text(block, "thinking").map(|text| BlockDelta::Thinking(text.to_owned()));
                (BlockKind::Thinking { words: String::new(), signature }, words)
            }
            "redacted_thinking" => {
                let data = text(block, "data").unwrap_or_default().to_owned();
                (BlockKind::Redacted { data }, None)
            }
            "tool_use" => {
                let input = match block.get("input") {
                    Some(Value::String(json)) => Some(json.clone()),
                    Some(Value::Object(_)) => raw_input.map(str::to_owned),
                    Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_))
                    | None => None,
                };
                let input = input.filter(|input| !input.trim().is_empty());
                let id = text(block, "id").map(str::to_owned);
                let name = text(block, "name").unwrap_or_default().to_owned();
                (BlockKind::Call { at: None, id, name, input, has_args: false }, None)
            }
            _ => (BlockKind::Other, None),
        };
        reply.count_bytes(BLOCK_BYTES + index.as_ref().map_or(0, String::len) + kind.bytes());
        let waiting = first.into_iter().collect();
        self.blocks.push_back(ContentBlock { index, kind, waiting, is_over: false });
        self.write(reply);
    }

    fn delta(&mut self, value: &Value, reply: &mut ReplyAssembly) {
        let Some(delta) = value.get("delta") else { return };
        let string = |key: &str| text(delta, key).map(str::to_owned);
        // If the type is missing, the key decides.
        let keys = [
            ("text", "text_delta"),
            ("thinking", "thinking_delta"),
            ("signature", "signature_delta"),
            ("partial_json", "input_json_delta"),
        ];
        let by_key = || keys.iter().find(|(key, _)| delta.get(key).is_some()).map(|(_, of)| *of);
        let of = delta.get("type").and_then(Value::as_str).or_else(by_key).unwrap_or_default();
        let (delta, kind) = match of {
            "text_delta" => (string("text").map(BlockDelta::Text), Some(BlockKind::Text)),
            "thinking_delta" => {
                let (words, signature) = (String::new(), String::new());
                (
                    string("thinking").map(BlockDelta::Thinking),
                    Some(BlockKind::Thinking { words, signature }),
                )
            }
            "signature_delta" => (string("signature").map(BlockDelta::Signature), None),
            "input_json_delta" => (string("partial_json").map(BlockDelta::Json), None),
            _ => return,
        };
        let Some(delta) = delta else { return };
        let index = key(value.get("index"));
        let at = match &index {
            Some(index) => self.block_of_delta(index, &delta),
            None => self.blocks.len().checked_sub(1),
        };
        match (at.and_then(|at| self.blocks.get_mut(at)), kind) {
            (Some(block), _) => {
                // The text is counted again when it is written; until then it may wait for long.
                reply.count_bytes(delta.bytes());
                block.waiting.push(delta);
            }
            // The block's start is missing.
            (None, Some(kind)) => {
                reply.count_bytes(BLOCK_BYTES + delta.bytes());
                let waiting = vec![delta];
                self.blocks.push_back(ContentBlock { index, kind, waiting, is_over: false });
            }
            (None, None) => return,
        }
        self.write(reply);
    }

    /// Index of the block that a delta belongs to.
    fn block_of_delta(&self, index: &str, delta: &BlockDelta) -> Option<usize> {
        let with_index =
            self.blocks.iter().rposition(|block| block.index.as_deref() == Some(index));
        match delta {
            BlockDelta::Text(_) | BlockDelta::Thinking(_) | BlockDelta::Signature(_) => with_index,
            // Arguments with an unknown index belong to the last call.
            BlockDelta::Json(_) => with_index.or_else(|| {
                self.blocks.iter().rposition(|block| matches!(block.kind, BlockKind::Call { .. }))
            }),
        }
    }

    fn stop(&mut self, index: Option<&str>, reply: &mut ReplyAssembly) {
        let block = match &index {
            Some(_) => self.blocks.iter_mut().rfind(|block| block.index.as_deref() == index),
            None => self.blocks.back_mut(),
        };
        if let Some(block) = block {
            block.is_over = true;
        }
        self.write(reply);
    }

    /// Writes the first open block. If it has ended, the blocks behind it follow.
    fn write(&mut self, reply: &mut ReplyAssembly) {
        while let Some(block) = self.blocks.front_mut() {
            block.write(reply);
            if !block.is_over {
                return;
            }
            block.end(reply);
            self.blocks.pop_front();
        }
    }

    /// Reads a reply that was not streamed.
    fn whole(&mut self, message: &Value, raw: &str, reply: &mut ReplyAssembly) {
        for (at, block) in list(message.get("content")).iter().enumerate() {
            if reply.excess().is_some() {
                return;
            }
            let way = [PathStep::Key("content"), PathStep::At(at), PathStep::Key("input")];
            let input = block.get("input").and_then(|_| raw_at(raw, &way));
            self.begin(None, Some(block), input, reply);
            self.stop(None, reply);
        }
        self.count(message.get("usage"), reply);
        stopped(message, reply);
    }

    /// Counts tokens. Unlike elsewhere, cached tokens are not included in the input tokens here.
    fn count(&mut self, counts: Option<&Value>, reply: &mut ReplyAssembly) {
        let Some(counts) = counts else { return };
        let CacheCounts { input, written, read } = &mut self.usage;
        *input = count(counts.get("input_tokens")).unwrap_or(*input);
        *written = count(counts.get("cache_creation_input_tokens")).unwrap_or(*written);
        *read = count(counts.get("cache_read_input_tokens")).unwrap_or(*read);
        let usage = reply.usage();
        usage.input_tokens = *input + *written + *read;
        usage.output_tokens = count(counts.get("output_tokens")).unwrap_or(usage.output_tokens);
        usage.cached_tokens = (*written + *read > 0).then_some(*read);
    }
}

impl ContentBlock {
    /// Writes the waiting deltas of the first open block.
    fn write(&mut self, reply: &mut ReplyAssembly) {
        if let BlockKind::Call { at: at @ None, id, name, .. } = &mut self.kind {
            *at = reply.open_call(id.as_deref(), name);
        }
        for delta in self.waiting.drain(..) {
            match (&mut self.kind, delta) {
                (BlockKind::Text, BlockDelta::Text(text)) => reply.push_content(&text),
                (BlockKind::Thinking { words, .. }, BlockDelta::Thinking(text)) => {
                    reply.push_thought(&text);
                    words.push_str(&text);
                }
                (BlockKind::Thinking { signature, .. }, BlockDelta::Signature(more)) => {
                    signature.push_str(&more);
                }
                (BlockKind::Call { at: Some(at), has_args, .. }, BlockDelta::Json(json)) => {
                    *has_args = true;
                    reply.push_args(*at, &json);
                }
                // A delta of another kind than its block: the delta's kind counts.
                (_, BlockDelta::Text(text)) => reply.push_content(&text),
                (_, BlockDelta::Thinking(text)) => reply.push_thought(&text),
                (_, BlockDelta::Signature(_) | BlockDelta::Json(_)) => {}
            }
        }
    }

    fn end(&mut self, reply: &mut ReplyAssembly) {
        match &mut self.kind {
            BlockKind::Text | BlockKind::Other => {}
            BlockKind::Thinking { signature, .. } if signature.is_empty() => {}
            BlockKind::Thinking { words, signature } => reply.keep_thought(
                json!({"type": "thinking", "thinking": &*words, "signature": &*signature}),
            ),
            BlockKind::Redacted { data } => {
                reply.keep_thought(json!({"type": "redacted_thinking", "data": data.as_str()}));
            }
            BlockKind::Call { at: Some(at), input: Some(input), has_args: false, .. } => {
                reply.push_args(*at, input);
            }
            BlockKind::Call { .. } => {}
        }
    }
}

fn stopped(message: &Value, reply: &mut ReplyAssembly) {
    let Some(word) = text(message, "stop_reason") else { return };
    let details = message.get("stop_details").and_then(|details| text(details, "explanation"));
    let cause = details.map(ProviderError::in_words);
    reply.stopped(word, cause);
}
