//! A provider's reply, piece by piece.

use std::collections::VecDeque;

use futures::{StreamExt, stream};
use genai::chat::{ChatStream, ChatStreamEvent, ContentPart, StreamEnd, ToolCall};
use serde_json::Value;
use thoughtwire_proto::{Style, Usage};

use super::{Wire, explain};
use crate::model::{Done, ModelError, Piece};

/// A reply that is being read.
pub(super) struct Reading {
    stream: ChatStream,
    wire: Wire,
    style: Style,
    calls: Vec<Sent>,
    ready: VecDeque<Piece>,
    over: bool,
}

/// How much of a call's arguments went out: the library's chunks hold all of them so far.
struct Sent {
    id: String,
    bytes: usize,
}

impl Reading {
    pub(super) fn new(stream: ChatStream, wire: Wire, style: Style) -> Self {
        Self { stream, wire, style, calls: Vec::new(), ready: VecDeque::new(), over: false }
    }

    pub(super) fn pieces(self) -> impl futures::Stream<Item = Result<Piece, ModelError>> + Send {
        stream::unfold(self, |mut reading| async move { reading.next().await.map(|piece| (piece, reading)) })
    }

    async fn next(&mut self) -> Option<Result<Piece, ModelError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if self.over {
                return None;
            }
            match self.stream.next().await {
                Some(Ok(event)) => self.take(event),
                // The first error is the end, whatever the library sends behind it.
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(explain(&error, &self.wire)));
                }
                // A cut connection ends without an `End`; the listener misses the `Done` then.
                None => self.over = true,
            }
        }
    }

    fn take(&mut self, event: ChatStreamEvent) {
        match event {
            ChatStreamEvent::Chunk(chunk) => self.ready.push_back(match self.style {
                Style::Native => Piece::Message(chunk.content),
                Style::Memgpt => Piece::Thought(chunk.content),
            }),
            ChatStreamEvent::ReasoningChunk(chunk) => self.ready.push_back(Piece::Thought(chunk.content)),
            ChatStreamEvent::ToolCallChunk(chunk) => self.take_call(chunk.tool_call),
            ChatStreamEvent::End(end) => {
                self.over = true;
                self.ready.push_back(Piece::Done(Done { usage: usage(&end), last: None, carried: carried(&end) }));
            }
            ChatStreamEvent::Start | ChatStreamEvent::ThoughtSignatureChunk(_) | ChatStreamEvent::Heartbeat => {}
        }
    }

    fn take_call(&mut self, chunk: ToolCall) {
        let index = self.calls.iter().position(|sent| sent.id == chunk.call_id).unwrap_or_else(|| {
            self.calls.push(Sent { id: chunk.call_id.clone(), bytes: 0 });
            let index = self.calls.len() - 1;
            self.ready.push_back(Piece::Call { index, name: chunk.fn_name, provider_id: Some(chunk.call_id) });
            index
        });
        let so_far = match chunk.fn_arguments {
            Value::String(json) => json,
            Value::Null => String::new(),
            whole @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => whole.to_string(),
        };
        if let Some(sent) = self.calls.get_mut(index)
            && let Some(json) = so_far.get(sent.bytes..).filter(|json| !json.is_empty())
        {
            sent.bytes = so_far.len();
            self.ready.push_back(Piece::Args { index, json: json.to_owned() });
        }
    }
}

fn usage(end: &StreamEnd) -> Usage {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    end.captured_usage.as_ref().map_or_else(Usage::default, |usage| Usage {
        input_tokens: count(usage.prompt_tokens).unwrap_or(0),
        output_tokens: count(usage.completion_tokens).unwrap_or(0),
        cached_tokens: usage.prompt_tokens_details.as_ref().and_then(|details| count(details.cached_tokens)),
    })
}

/// What the provider wants to see again with the calls of this reply, beside the calls themselves:
/// reasoning with its signatures.
fn carried(end: &StreamEnd) -> Option<Value> {
    let content = end.captured_content.as_ref()?;
    let signed = content.parts().iter().any(|part| match part {
        ContentPart::ThoughtSignature(_) | ContentPart::Custom(_) => true,
        ContentPart::ToolCall(call) => call.thought_signatures.is_some(),
        ContentPart::Text(_) | ContentPart::Binary(_) | ContentPart::ToolResponse(_) | ContentPart::ReasoningContent(_) => false,
    });
    if !signed {
        return None;
    }
    let kept: Vec<&ContentPart> = content.parts().iter().filter(|part| !matches!(part, ContentPart::Text(_))).collect();
    serde_json::to_value(kept).ok()
}
