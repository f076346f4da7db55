//! Decoder of Anthropic's Messages API.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::assembly::Assembly;
use super::decoder::{Decoder, Input, Taken};
use super::json::{Step, count, key, list, raw_at, text};
use crate::model::remote::said::Said;

/// Content blocks arrive one after the other, but some gateways interleave them. Only the first
/// open block is written; deltas of the others wait.
#[derive(Default)]
pub(super) struct Anthropic {
    blocks: VecDeque<Block>,
    usage: Counts,
}

struct Block {
    index: Option<String>,
    kind: Kind,
    /// Deltas that wait until the blocks before this one have ended.
    waiting: Vec<Delta>,
    is_over: bool,
}

enum Kind {
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
        told: bool,
    },
    /// A kind that is unknown, or that clients do not act on.
    Other,
}

impl Kind {
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

enum Delta {
    Text(String),
    Thinking(String),
    Signature(String),
    Json(String),
}

impl Delta {
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
struct Counts {
    input: u64,
    written: u64,
    read: u64,
}

impl Decoder for Anthropic {
    fn take(&mut self, input: &Input<'_>, reply: &mut Assembly) -> Taken {
        let value = input.value;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or(input.event);
        match kind {
            "message_start" => {
                let message = value.get("message");
                self.count(message.and_then(|message| message.get("usage")), reply);
            }
            "content_block_start" => {
                let raw = raw_at(input.text, &[Step::Key("content_block"), Step::Key("input")]);
                self.begin(key(value.get("index")), value.get("content_block"), raw, reply);
            }
            "content_block_delta" => self.delta(value, reply),
            "content_block_stop" => self.stop(key(value.get("index")).as_deref(), reply),
            "message_delta" => {
                let delta = value.get("delta").unwrap_or(value);
                self.count(value.get("usage"), reply);
                stopped(delta, reply);
            }
            "message_stop" => return Taken::Last,
            "message" => {
                self.whole(value, input.text, reply);
                return Taken::Whole;
            }
            "ping" => {}
            "" if value.get("content").is_some_and(Value::is_array) => {
                self.whole(value, input.text, reply);
                return Taken::Whole;
            }
            "" => return Taken::Unknown,
            // Kinds to come; the API's documentation asks clients to ignore them.
            _ => {}
        }
        Taken::Known
    }

    fn finish(&mut self, reply: &mut Assembly) {
        while let Some(mut block) = self.blocks.pop_front() {
            block.write(reply);
            block.end(reply);
        }
    }
}

impl Anthropic {
    fn begin(
        &mut self,
        index: Option<String>,
        block: Option<&Value>,
        raw_input: Option<&str>,
        reply: &mut Assembly,
    ) {
        let Some(block) = block else { return };
        let (kind, first) = match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text" => (Kind::Text, text(block, "text").map(|text| Delta::Text(text.to_owned()))),
            "thinking" => {
                let signature = text(block, "signature").unwrap_or_default().to_owned();
                let words = text(block, "thinking").map(|text| Delta::Thinking(text.to_owned()));
                (Kind::Thinking { words: String::new(), signature }, words)
            }
            "redacted_thinking" => {
                let data = text(block, "data").unwrap_or_default().to_owned();
                (Kind::Redacted { data }, None)
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
                (Kind::Call { at: None, id, name, input, told: false }, None)
            }
            _ => (Kind::Other, None),
        };
        reply.grow(BLOCK_BYTES + index.as_ref().map_or(0, String::len) + kind.bytes());
        let waiting = first.into_iter().collect();
        self.blocks.push_back(Block { index, kind, waiting, is_over: false });
        self.write(reply);
    }

    fn delta(&mut self, value: &Value, reply: &mut Assembly) {
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
            "text_delta" => (string("text").map(Delta::Text), Some(Kind::Text)),
            "thinking_delta" => {
                let (words, signature) = (String::new(), String::new());
                (string("thinking").map(Delta::Thinking), Some(Kind::Thinking { words, signature }))
            }
            "signature_delta" => (string("signature").map(Delta::Signature), None),
            "input_json_delta" => (string("partial_json").map(Delta::Json), None),
            _ => return,
        };
        let Some(delta) = delta else { return };
        let index = key(value.get("index"));
        let at = match &index {
            Some(index) => self.place(index, &delta),
            None => self.blocks.len().checked_sub(1),
        };
        match (at.and_then(|at| self.blocks.get_mut(at)), kind) {
            (Some(block), _) => {
                // The text is counted again when it is written; until then it may wait for long.
                reply.grow(delta.bytes());
                block.waiting.push(delta);
            }
            // The block's start is missing.
            (None, Some(kind)) => {
                reply.grow(BLOCK_BYTES + delta.bytes());
                let waiting = vec![delta];
                self.blocks.push_back(Block { index, kind, waiting, is_over: false });
            }
            (None, None) => return,
        }
        self.write(reply);
    }

    /// Index of the block that a delta belongs to.
    fn place(&self, index: &str, delta: &Delta) -> Option<usize> {
        let with_index =
            self.blocks.iter().rposition(|block| block.index.as_deref() == Some(index));
        match delta {
            Delta::Text(_) | Delta::Thinking(_) | Delta::Signature(_) => with_index,
            // Arguments with an unknown index belong to the last call.
            Delta::Json(_) => with_index.or_else(|| {
                self.blocks.iter().rposition(|block| matches!(block.kind, Kind::Call { .. }))
            }),
        }
    }

    fn stop(&mut self, index: Option<&str>, reply: &mut Assembly) {
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
    fn write(&mut self, reply: &mut Assembly) {
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
    fn whole(&mut self, message: &Value, raw: &str, reply: &mut Assembly) {
        for (at, block) in list(message.get("content")).iter().enumerate() {
            if reply.excess().is_some() {
                return;
            }
            let way = [Step::Key("content"), Step::At(at), Step::Key("input")];
            let input = block.get("input").and_then(|_| raw_at(raw, &way));
            self.begin(None, Some(block), input, reply);
            self.stop(None, reply);
        }
        self.count(message.get("usage"), reply);
        stopped(message, reply);
    }

    /// Counts tokens. Unlike elsewhere, cached tokens are not included in the input tokens here.
    fn count(&mut self, counts: Option<&Value>, reply: &mut Assembly) {
        let Some(counts) = counts else { return };
        let Counts { input, written, read } = &mut self.usage;
        *input = count(counts.get("input_tokens")).unwrap_or(*input);
        *written = count(counts.get("cache_creation_input_tokens")).unwrap_or(*written);
        *read = count(counts.get("cache_read_input_tokens")).unwrap_or(*read);
        let usage = reply.usage();
        usage.input_tokens = *input + *written + *read;
        usage.output_tokens = count(counts.get("output_tokens")).unwrap_or(usage.output_tokens);
        usage.cached_tokens = (*written + *read > 0).then_some(*read);
    }
}

impl Block {
    /// Writes the waiting deltas of the first open block.
    fn write(&mut self, reply: &mut Assembly) {
        if let Kind::Call { at: at @ None, id, name, .. } = &mut self.kind {
            *at = reply.open_call(id.as_deref(), name);
        }
        for delta in self.waiting.drain(..) {
            match (&mut self.kind, delta) {
                (Kind::Text, Delta::Text(text)) => reply.say(&text),
                (Kind::Thinking { words, .. }, Delta::Thinking(text)) => {
                    reply.think(&text);
                    words.push_str(&text);
                }
                (Kind::Thinking { signature, .. }, Delta::Signature(more)) => {
                    signature.push_str(&more);
                }
                (Kind::Call { at: Some(at), told, .. }, Delta::Json(json)) => {
                    *told = true;
                    reply.args(*at, &json);
                }
                // A delta of another kind than its block: the delta's kind counts.
                (_, Delta::Text(text)) => reply.say(&text),
                (_, Delta::Thinking(text)) => reply.think(&text),
                (_, Delta::Signature(_) | Delta::Json(_)) => {}
            }
        }
    }

    fn end(&mut self, reply: &mut Assembly) {
        match &mut self.kind {
            Kind::Text | Kind::Other => {}
            Kind::Thinking { signature, .. } if signature.is_empty() => {}
            Kind::Thinking { words, signature } => reply
                .keep(json!({"type": "thinking", "thinking": &*words, "signature": &*signature})),
            Kind::Redacted { data } => {
                reply.keep(json!({"type": "redacted_thinking", "data": data.as_str()}));
            }
            Kind::Call { at: Some(at), input: Some(input), told: false, .. } => {
                reply.args(*at, input);
            }
            Kind::Call { .. } => {}
        }
    }
}

fn stopped(message: &Value, reply: &mut Assembly) {
    let Some(word) = text(message, "stop_reason") else { return };
    let details = message.get("stop_details").and_then(|details| text(details, "explanation"));
    let said = details.map(Said::in_words);
    reply.stopped(word, said);
}
