//! A turn as chunks of an assistant message.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, Event, ItemId, Outcome, Record, Seq, SessionId, StreamKind,
    ToolStatus, TurnEvent, Usage,
};

use super::ids;
use super::text_parts::{ItemText, LostText, TextParts};
use super::ui_chunk::{ApprovalDescriptor, UiChunk, UiFinish, UiMetadata};
use crate::endpoint::{OpenToolCall, TurnPlace, TurnStep, is_shown};

/// An assistant message as it grows.
pub(super) struct UiMessageEncoder {
    session: SessionId,
    place: TurnPlace,
    texts: TextParts,
    /// Calls that have not returned, as far as they were made behind the place.
    calls: HashMap<CallId, UiCall>,
    /// Calls that the owner denied. Their results are not shown.
    denied: HashSet<CallId>,
    step: UiStep,
    usage: Option<Usage>,
    is_ended: bool,
}

/// A call that has not returned.
struct UiCall {
    name: String,
    args: Map<String, Value>,
    is_shown: bool,
}

/// A step is a reply of the model with the results of its calls. The client looks at the last one
/// to see whether all calls are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UiStep {
    /// None has begun in this stream.
    Before,
    Open,
    /// Calls have returned, so the next item begins another step.
    Returned,
}

impl UiMessageEncoder {
    /// Begins at a place. If the turn is shown from behind its input's place, the client's message
    /// goes on.
    pub(super) fn new(session: SessionId, place: TurnPlace) -> Self {
        Self {
            session,
            place,
            texts: TextParts::default(),
            calls: HashMap::new(),
            denied: HashSet::new(),
            step: UiStep::Before,
            usage: None,
            is_ended: false,
        }
    }

    /// Whether nothing follows.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Takes one step of the turn. `seen` is the position up to which the log was read.
    ///
    /// # Errors
    /// When the client has text that the log does not have.
    pub(super) fn take(&mut self, step: TurnStep, seen: Seq) -> Result<Vec<UiChunk>, LostText> {
        let mut chunks = Vec::new();
        match step {
            TurnStep::Quiet => {}
            TurnStep::Input(_) => {
                let message_id = (!self.goes_on()).then(|| ids::message_id(self.place.before));
                let message_metadata = self.metadata(None);
                chunks.push(UiChunk::Start { message_id, message_metadata });
            }
            TurnStep::Delta(delta) => {
                let (item, continues) = (&delta.item, delta.continues.as_ref());
                self.text(delta.kind, item, continues, ItemText::Piece(&delta.text), &mut chunks)?;
            }
            TurnStep::Partial(part) => {
                let (item, continues) = (&part.item, part.continues.as_ref());
                self.text(part.kind, item, continues, ItemText::SoFar(&part.text), &mut chunks)?;
            }
            TurnStep::Record(record) => self.record(&record, &mut chunks)?,
            TurnStep::Waits(calls) => {
                let awaited = calls.into_iter().filter(|open| open.is_awaited);
                for OpenToolCall { call, name, args, .. } in awaited {
                    chunks.push(self.input_available(&call, name, args, false));
                }
                self.end_step(&mut chunks);
                self.finish(UiFinish::ToolCalls, seen, &mut chunks);
            }
            TurnStep::Ended { outcome, code, reason } => {
                // Otherwise the client takes the calls that it answered for new ones.
                if self.goes_on() && self.step == UiStep::Before {
                    self.begin_item(&mut chunks);
                }
                self.end_step(&mut chunks);
                self.end(outcome, code.as_deref(), reason, seen, &mut chunks);
            }
        }
        Ok(chunks)
    }

    fn goes_on(&self) -> bool {
        self.place.shown_after > self.place.before
    }

    fn record(&mut self, record: &Record, chunks: &mut Vec<UiChunk>) -> Result<(), LostText> {
        let Event::Turn(event) = &record.event else { return Ok(()) };
        match event {
            TurnEvent::Thought { item, text, complete, continues } => {
                let text = ItemText::Whole { text, complete: *complete };
                self.text(StreamKind::Thought, item, continues.as_ref(), text, chunks)?;
            }
            TurnEvent::Message { item, text, complete, continues } => {
                let text = ItemText::Whole { text, complete: *complete };
                self.text(StreamKind::Message, item, continues.as_ref(), text, chunks)?;
            }
            TurnEvent::ToolCalled { call, name, args } => {
                let (name, args) = (name.clone(), args.clone());
                let open = UiCall { name, args, is_shown: false };
                let is_shown = is_shown(&open.name);
                self.calls.insert(call.clone(), open);
                if is_shown {
                    self.show_call(call, chunks);
                }
            }
            TurnEvent::ApprovalAsked { call, about, .. } => {
                self.show_call(call, chunks);
                let approval_descriptor = match about {
                    ApprovalAbout::Run => None,
                    ApprovalAbout::Retry => Some(ApprovalDescriptor { about: *about }),
                };
                chunks.push(UiChunk::ToolApprovalRequest {
                    approval_id: ids::approval_id(record.seq),
                    tool_call_id: self.call_id(call),
                    approval_descriptor,
                });
            }
            TurnEvent::ApprovalSettled { call, decision: Decision::Denied, .. } => {
                self.denied.insert(call.clone());
                chunks.push(UiChunk::ToolOutputDenied { tool_call_id: self.call_id(call) });
            }
            TurnEvent::ToolReturned { call, name, status, text, content } => {
                let open = self.calls.remove(call);
                let is_denied = self.denied.remove(call);
                let is_known = open.map_or_else(|| is_shown(name), |open| open.is_shown);
                if is_known && !is_denied {
                    chunks.push(self.output(call, *status, text, content.as_ref()));
                }
                if self.calls.is_empty() && self.step == UiStep::Open {
                    self.step = UiStep::Returned;
                }
            }
            TurnEvent::Usage(usage) => self.usage.get_or_insert_default().add(*usage),
            TurnEvent::Resumed { .. } => self.texts.interrupt()?,
            TurnEvent::Started { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Ended { .. } => {}
        }
        Ok(())
    }

    fn text(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        continues: Option<&ItemId>,
        text: ItemText<'_>,
        chunks: &mut Vec<UiChunk>,
    ) -> Result<(), LostText> {
        // Arguments come whole, with their call.
        if kind == StreamKind::ToolArgs {
            return Ok(());
        }
        if !self.texts.has(item, continues) {
            self.begin_item(chunks);
        }
        self.texts.take(kind, item, continues, text, chunks)
    }

    /// Shows a call that is not shown yet.
    fn show_call(&mut self, call: &CallId, chunks: &mut Vec<UiChunk>) {
        let Some(open) = self.calls.get_mut(call).filter(|open| !open.is_shown) else { return };
        open.is_shown = true;
        let (name, args) = (open.name.clone(), open.args.clone());
        self.begin_item(chunks);
        chunks.push(self.input_available(call, name, args, true));
    }

    fn call_id(&self, call: &CallId) -> String {
        ids::call_id(self.place.before, call)
    }

    fn input_available(
        &self,
        call: &CallId,
        tool_name: String,
        input: Map<String, Value>,
        provider_executed: bool,
    ) -> UiChunk {
        let tool_call_id = self.call_id(call);
        UiChunk::ToolInputAvailable { tool_call_id, tool_name, input, provider_executed }
    }

    fn output(
        &self,
        call: &CallId,
        status: ToolStatus,
        text: &str,
        content: Option<&Value>,
    ) -> UiChunk {
        let tool_call_id = self.call_id(call);
        match status {
            ToolStatus::Success => {
                let output = content.cloned().unwrap_or_else(|| text.into());
                UiChunk::ToolOutputAvailable { tool_call_id, output }
            }
            ToolStatus::Error | ToolStatus::Unknown => {
                UiChunk::ToolOutputError { tool_call_id, error_text: text.to_owned() }
            }
        }
    }

    /// Ends texts that nothing continues, and begins a step if the next item is in another one.
    fn begin_item(&mut self, chunks: &mut Vec<UiChunk>) {
        self.texts.end_cut(chunks);
        match self.step {
            UiStep::Before => chunks.push(UiChunk::StartStep),
            UiStep::Returned if self.texts.is_empty() => {
                chunks.extend([UiChunk::FinishStep, UiChunk::StartStep]);
            }
            UiStep::Open | UiStep::Returned => return,
        }
        self.step = UiStep::Open;
    }

    fn end_step(&mut self, chunks: &mut Vec<UiChunk>) {
        self.texts.end_all(chunks);
        if self.step != UiStep::Before {
            chunks.push(UiChunk::FinishStep);
        }
    }

    fn end(
        &mut self,
        outcome: Outcome,
        code: Option<&str>,
        reason: Option<String>,
        seen: Seq,
        chunks: &mut Vec<UiChunk>,
    ) {
        let reason = reason.unwrap_or_else(|| "the turn did not complete".to_owned());
        match (outcome, code) {
            // A refusal's words are the message.
            (Outcome::Completed, _) | (Outcome::Failed, Some("model_refused")) => {
                self.finish(UiFinish::Stop, seen, chunks);
            }
            (Outcome::Failed, Some("model_length")) => self.finish(UiFinish::Length, seen, chunks),
            (Outcome::Failed, Some("model_filtered")) => {
                self.finish(UiFinish::ContentFilter, seen, chunks);
            }
            (Outcome::Cancelled, _) => chunks.push(UiChunk::Abort { reason }),
            (Outcome::Failed | Outcome::Interrupted, _) => {
                chunks.push(UiChunk::Error { error_text: reason });
            }
        }
        self.is_ended = true;
    }

    fn finish(&mut self, finish_reason: UiFinish, seen: Seq, chunks: &mut Vec<UiChunk>) {
        let message_metadata = self.metadata(Some(seen));
        chunks.push(UiChunk::Finish { finish_reason, message_metadata });
        self.is_ended = true;
    }

    fn metadata(&self, seq: Option<Seq>) -> UiMetadata {
        let usage = self.usage.filter(|_| seq.is_some()).map(Into::into);
        UiMetadata { session: self.session.clone(), seq, usage }
    }
}
