//! A turn as a chat completion: whole, or as chunks.

use serde_json::Value;
use thoughtwire_proto::{CallId, Event, ItemId, Outcome, Record, StreamKind, TurnEvent, Usage};

use super::wire::{CalledFunction, ChatToolCall, ChunkDelta, FinishReason};
use crate::endpoint::{
    ClientTools, GrowingText, OpenToolCall, TurnStep, is_shown, name_of, shorten, show_args,
};
use crate::openai::error::OpenAiError;

use crate::openai::tools::ClientCall;

/// A completion as it grows.
pub(super) struct ChatEncoder {
    content: GrowingText,
    reasoning: GrowingText,
    /// Cost of the turn so far.
    usage: Option<Usage>,
    /// Names of calls that have not returned.
    calls: Vec<(CallId, String)>,
    /// Makes the id of a call that the client runs.
    client_call: Box<dyn Fn(CallId) -> ClientCall + Send>,
    /// Tools that the client runs. Their calls are no part of the reasoning.
    client_tools: ClientTools,
}

/// How a completion ends.
pub(super) enum ChatEnd {
    Finished(FinishReason),
    Failed(OpenAiError),
}

impl ChatEncoder {
    pub(super) fn new(
        client_call: impl Fn(CallId) -> ClientCall + Send + 'static,
        client_tools: ClientTools,
    ) -> Self {
        Self {
            content: GrowingText::default(),
            reasoning: GrowingText::default(),
            usage: None,
            calls: Vec::new(),
            client_call: Box::new(client_call),
            client_tools,
        }
    }

    /// Cost of the turn, once it is known.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes one step. Returns the piece to send, and the end.
    pub(super) fn take(&mut self, step: TurnStep) -> (Option<ChunkDelta>, Option<ChatEnd>) {
        match step {
            TurnStep::Input(_) | TurnStep::Quiet => (None, None),
            TurnStep::Record(record) => (self.record(&record), None),
            TurnStep::Delta(delta) => {
                let continues = delta.continues.as_ref();
                let piece = self
                    .text(delta.kind)
                    .map(|(text, of)| (text.add(&delta.item, &delta.text, continues), of));
                (piece.and_then(sent), None)
            }
            TurnStep::Partial(partial) => {
                let continues = partial.continues.as_ref();
                let piece = self
                    .text(partial.kind)
                    .map(|(text, of)| (text.reach(&partial.item, &partial.text, continues), of));
                (piece.and_then(sent), None)
            }
            TurnStep::Waits(calls) => {
                let calls = calls.into_iter().enumerate();
                let tool_calls = calls.map(|(at, open)| self.tool_call(at, open)).collect();
                let delta = ChunkDelta { tool_calls, ..ChunkDelta::default() };
                (Some(delta), Some(ChatEnd::Finished(FinishReason::ToolCalls)))
            }
            TurnStep::Ended { outcome, code, reason } => (None, Some(end(outcome, code, reason))),
        }
    }

    fn text(&mut self, kind: StreamKind) -> Option<(&mut GrowingText, TextOf)> {
        match kind {
            StreamKind::Thought => Some((&mut self.reasoning, TextOf::Reasoning)),
            StreamKind::Message => Some((&mut self.content, TextOf::Content)),
            StreamKind::ToolArgs => None,
        }
    }

    fn record(&mut self, record: &Record) -> Option<ChunkDelta> {
        let Event::Turn(event) = &record.event else { return None };
        match event {
            TurnEvent::Thought { item, text, continues, .. } => {
                self.item(StreamKind::Thought, item, text, continues.as_ref())
            }
            TurnEvent::Message { item, text, continues, .. } => {
                self.item(StreamKind::Message, item, text, continues.as_ref())
            }
            TurnEvent::Resumed { .. } => {
                self.content.cut();
                self.reasoning.cut();
                None
            }
            TurnEvent::ToolCalled { call, name, args } => {
                self.calls.push((call.clone(), name.clone()));
                let shown = is_shown(name) && !self.client_tools.has(name);
                shown.then(|| self.note(&format!("Calls {name}({}).", show_args(args))))
            }
            TurnEvent::ApprovalAsked { call, .. } => {
                let name = name_of(&self.calls, call);
                Some(self.note(&format!("Waits for approval of {name} (call {call}).")))
            }
            TurnEvent::ToolReturned { call, name, text, .. } => {
                self.calls.retain(|(open, _)| open != call);
                let shown = is_shown(name) && !self.client_tools.has(name);
                shown.then(|| self.note(&format!("{name} returned: {}", shorten(text))))
            }
            TurnEvent::Usage(usage) => {
                self.usage.get_or_insert_default().add(*usage);
                None
            }
            TurnEvent::Started { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Ended { .. } => None,
        }
    }

    fn item(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        text: &str,
        continues: Option<&ItemId>,
    ) -> Option<ChunkDelta> {
        let (growing, of) = self.text(kind)?;
        sent((growing.end(item, text, continues), of))
    }

    fn note(&mut self, text: &str) -> ChunkDelta {
        let reasoning_content = Some(self.reasoning.paragraph(text));
        ChunkDelta { reasoning_content, ..ChunkDelta::default() }
    }

    fn tool_call(&self, at: usize, open: OpenToolCall) -> ChatToolCall {
        let OpenToolCall { call, name, args, .. } = open;
        ChatToolCall {
            index: Some(at),
            id: (self.client_call)(call).id(),
            kind: "function".to_owned(),
            function: CalledFunction { name, arguments: Value::Object(args).to_string() },
        }
    }
}

/// The part of a reply that a text belongs to.
#[derive(Debug, Clone, Copy)]
enum TextOf {
    Content,
    Reasoning,
}

fn sent((text, of): (Option<String>, TextOf)) -> Option<ChunkDelta> {
    text.map(|text| match of {
        TextOf::Content => ChunkDelta { content: Some(text), ..ChunkDelta::default() },
        TextOf::Reasoning => ChunkDelta { reasoning_content: Some(text), ..ChunkDelta::default() },
    })
}

fn end(outcome: Outcome, code: Option<String>, reason: Option<String>) -> ChatEnd {
    match (outcome, code.as_deref()) {
        (Outcome::Completed, _) => ChatEnd::Finished(FinishReason::Stop),
        (Outcome::Failed, Some("model_length")) => ChatEnd::Finished(FinishReason::Length),
        (Outcome::Failed, Some("model_filtered")) => ChatEnd::Finished(FinishReason::ContentFilter),
        // The refusal's words are the message.
        (Outcome::Failed, Some("model_refused")) => ChatEnd::Finished(FinishReason::Stop),
        (Outcome::Failed | Outcome::Cancelled | Outcome::Interrupted, _) => {
            ChatEnd::Failed(OpenAiError::of_turn(code, reason))
        }
    }
}
