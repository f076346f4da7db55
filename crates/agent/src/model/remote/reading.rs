//! A reply that is being read.

use std::collections::VecDeque;

use futures::{StreamExt, stream};
use genai::chat::{ChatStream, ChatStreamEvent, ContentPart, StreamEnd, ToolCall};
use serde_json::{Value, json};
use thoughtwire_proto::{Style, Usage};

use super::explain::{Progress, broken_off, explain};
use super::kept::{KeptCall, KeptReasoning, KeptThought};
use super::{Address, Kept, Wire};
use crate::model::{Awaited, Done, ModelError, Piece, Timeouts};

/// Turns the library's events into pieces. Dropping it ends the request.
pub(super) struct Reading {
    stream: ChatStream,
    address: Address,
    style: Style,
    timeouts: Timeouts,
    progress: Progress,
    calls: Vec<Sent>,
    ready: VecDeque<Result<Piece, ModelError>>,
    over: bool,
}

/// How much of a call's arguments went out: the library's chunks hold all of them so far.
struct Sent {
    id: String,
    bytes: usize,
}

impl Reading {
    pub(super) fn new(
        stream: ChatStream,
        address: Address,
        style: Style,
        timeouts: Timeouts,
    ) -> Self {
        let (calls, ready) = (Vec::new(), VecDeque::new());
        Self {
            stream,
            address,
            style,
            timeouts,
            progress: Progress::Nothing,
            calls,
            ready,
            over: false,
        }
    }

    pub(super) fn pieces(self) -> impl futures::Stream<Item = Result<Piece, ModelError>> + Send {
        stream::unfold(self, |mut reading| async move {
            reading.next().await.map(|piece| (piece, reading))
        })
    }

    async fn next(&mut self) -> Option<Result<Piece, ModelError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                self.progress = Progress::Begun;
                return Some(piece);
            }
            if self.over {
                return None;
            }
            let patience = match self.progress {
                Progress::Nothing => self.timeouts.first,
                Progress::Begun => self.timeouts.silence,
            };
            match tokio::time::timeout(patience, self.stream.next()).await {
                Ok(Some(Ok(event))) => self.take(event),
                // The first error is the end, whatever the library sends behind it.
                Ok(Some(Err(error))) => self.fail(explain(&error, &self.address, self.progress)),
                Ok(None) => self.fail(broken_off(&self.address, self.progress)),
                Err(_) => self.fail(self.too_late()),
            }
        }
    }

    fn fail(&mut self, error: ModelError) {
        self.over = true;
        self.ready.push_back(Err(error));
    }

    fn too_late(&self) -> ModelError {
        let at = self.address.shown();
        match self.progress {
            Progress::Nothing => ModelError::TimedOut {
                reason: format!(
                    "The model at {at} sent nothing for {} s. Ask again later.",
                    self.timeouts.first.as_secs_f64()
                ),
                awaited: Awaited::First,
            },
            Progress::Begun => ModelError::TimedOut {
                reason: format!(
                    "The model at {at} fell silent in the middle of its reply, for {} s. What came of it is kept; ask again.",
                    self.timeouts.silence.as_secs_f64()
                ),
                awaited: Awaited::Next,
            },
        }
    }

    fn take(&mut self, event: ChatStreamEvent) {
        match event {
            ChatStreamEvent::Chunk(chunk) => self.put(match self.style {
                Style::Native => Piece::Message(chunk.content),
                Style::Memgpt => Piece::Monologue(chunk.content),
            }),
            ChatStreamEvent::ReasoningChunk(chunk) => self.put(Piece::Thought(chunk.content)),
            ChatStreamEvent::ToolCallChunk(chunk) => self.take_call(chunk.tool_call),
            ChatStreamEvent::End(end) if is_complete(self.address.wire, &end) => self.end(end),
            ChatStreamEvent::End(_) => self.fail(broken_off(&self.address, self.progress)),
            ChatStreamEvent::Start
            | ChatStreamEvent::ThoughtSignatureChunk(_)
            | ChatStreamEvent::Heartbeat => {}
        }
    }

    fn put(&mut self, piece: Piece) {
        self.ready.push_back(Ok(piece));
    }

    fn take_call(&mut self, chunk: ToolCall) {
        let known = match self.address.wire {
            Wire::OpenAi | Wire::Responses | Wire::Anthropic => {
                self.calls.iter().position(|sent| sent.id == chunk.call_id)
            }
            // Their calls come whole, and the ids that the library makes up may repeat themselves.
            Wire::Gemini | Wire::Ollama => None,
        };
        let index = known.unwrap_or_else(|| {
            self.calls.push(Sent { id: chunk.call_id.clone(), bytes: 0 });
            let index = self.calls.len() - 1;
            self.put(Piece::Call { index, name: chunk.fn_name, provider_id: Some(chunk.call_id) });
            index
        });
        let so_far = match chunk.fn_arguments {
            Value::String(json) => json,
            Value::Null => String::new(),
            whole @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                whole.to_string()
            }
        };
        if let Some(sent) = self.calls.get_mut(index)
            && let Some(json) = so_far.get(sent.bytes..).filter(|json| !json.is_empty())
        {
            sent.bytes = so_far.len();
            self.put(Piece::Args { index, json: json.to_owned() });
        }
    }

    fn end(&mut self, end: StreamEnd) {
        self.over = true;
        let usage = usage(&end);
        let parts =
            end.captured_content.map(genai::chat::MessageContent::into_parts).unwrap_or_default();
        let reasoning = match self.address.wire {
            // Some compatible endpoints refuse a call that comes back without the reasoning before it.
            Wire::OpenAi => end.captured_reasoning_content,
            // A call may have come without a piece of its arguments: then no chunk told of it.
            Wire::Responses => {
                let calls = parts.iter().filter_map(|part| part.as_tool_call());
                let untold = calls.filter(|call| {
                    !self.calls.iter().any(|sent| sent.id == call.call_id && sent.bytes > 0)
                });
                for call in untold.cloned().collect::<Vec<_>>() {
                    self.take_call(call);
                }
                None
            }
            Wire::Anthropic | Wire::Gemini | Wire::Ollama => None,
        };
        let ids = self.calls.iter().map(|sent| sent.id.clone()).collect();
        let kept = keep(parts, reasoning, ids);
        if !kept.is_empty() && !kept.calls.is_empty() {
            self.put(Piece::Kept(kept));
        }
        self.put(Piece::Done(Done { usage, last: None }));
    }
}

/// Keeps what the library captured of a reply.
fn keep(parts: Vec<ContentPart>, reasoning: Option<String>, ids: Vec<String>) -> Kept {
    let mut kept = Kept::default();
    let (mut captured, mut signature) = (Vec::new(), None);
    let mut think = |block| {
        kept.thoughts.push(KeptThought { block, calls_before: 0, after_text: false });
    };
    for part in parts {
        match part {
            ContentPart::ThoughtSignature(made) => signature = Some(made),
            ContentPart::ReasoningContent(words) => think(json!({
                "type": "thinking", "thinking": words, "signature": signature.take()
            })),
            ContentPart::Custom(custom) => think(custom.data),
            ContentPart::ToolCall(call) => captured.push(call),
            ContentPart::Text(_) | ContentPart::Binary(_) | ContentPart::ToolResponse(_) => {}
        }
    }
    kept.reasoning =
        reasoning.map(|text| KeptReasoning { key: "reasoning_content".to_owned(), text });
    let mut captured = captured.into_iter();
    for id in ids {
        let same = captured.next().filter(|call| call.call_id == id);
        let signature = same.and_then(|call| call.thought_signatures?.into_iter().next());
        kept.calls.push(KeptCall { id, signature });
    }
    kept
}

/// Whether an end is the provider's own: on these wires the library makes one up when a connection
/// closes early, and only what it lacks tells.
fn is_complete(wire: Wire, end: &StreamEnd) -> bool {
    match wire {
        Wire::OpenAi | Wire::Anthropic => true,
        Wire::Responses | Wire::Gemini => end.captured_stop_reason.is_some(),
        Wire::Ollama => end.captured_usage.is_some(),
    }
}

fn usage(end: &StreamEnd) -> Usage {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    end.captured_usage.as_ref().map_or_else(Usage::default, |usage| Usage {
        input_tokens: count(usage.prompt_tokens).unwrap_or(0),
        output_tokens: count(usage.completion_tokens).unwrap_or(0),
        cached_tokens: usage
            .prompt_tokens_details
            .as_ref()
            .and_then(|details| count(details.cached_tokens)),
    })
}
