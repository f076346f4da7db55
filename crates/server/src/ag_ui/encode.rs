//! A turn as the events of a run.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use thoughtwire_proto::{
    ApprovalAbout, CallId, Event, ItemId, OpenCall, Outcome, Record, Seq, SessionEvent, StreamKind,
    Timestamp, ToolStatus, TurnEvent, Usage,
};

use super::client_copy::ClientCopy;
use super::event::{AgUiEvent, AgUiMetadata, Interrupt, ResultFacts, RunOutcome};
use super::text_stream::TextStream;
use super::{ids, state};
use crate::endpoint::{TurnStep, is_shown};

/// The run that a turn is shown as.
pub(super) struct RunFrame {
    pub(super) thread: String,
    pub(super) run: String,
    /// Position before that of the turn's input.
    pub(super) before: Seq,
    /// Position of the client's last answer to a call. Thoughts before it are not shown, because
    /// clients may keep them out of their messages.
    pub(super) answered: Option<Seq>,
    /// Names of the tools that the client runs.
    pub(super) tools: HashSet<String>,
    /// Position behind which edits of memory are changes of the state; `None` without a state.
    pub(super) state_at: Option<Seq>,
}

/// A run as it grows.
pub(super) struct RunEncoder {
    frame: RunFrame,
    copy: ClientCopy,
    /// Messages that are open or were cut.
    texts: Vec<TextStream>,
    open: Vec<OpenCall>,
    /// Calls that the owner was asked about, with the position of the newest question.
    asked: Vec<(CallId, Seq)>,
    /// Position of the turn's last record that was read.
    seen: Seq,
    usage: Option<Usage>,
    ready: Vec<AgUiEvent>,
    is_ended: bool,
}

impl RunEncoder {
    /// A run for a client that has `copy`.
    pub(super) fn new(frame: RunFrame, copy: ClientCopy) -> Self {
        Self {
            frame,
            copy,
            texts: Vec::new(),
            open: Vec::new(),
            asked: Vec::new(),
            seen: Seq::ZERO,
            usage: None,
            ready: Vec::new(),
            is_ended: false,
        }
    }

    /// Whether the run ended.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Takes the events that were made.
    pub(super) fn take_events(&mut self) -> Vec<AgUiEvent> {
        std::mem::take(&mut self.ready)
    }

    /// Whether an open message has a piece to send once it is on disk.
    pub(super) fn has_piece(&self) -> bool {
        self.texts.iter().any(TextStream::has_piece)
    }

    /// Sends the text of open messages, which is on disk.
    pub(super) fn send_saved(&mut self) {
        for text in &mut self.texts {
            text.send(&mut self.ready);
        }
    }

    /// Takes one step of the turn.
    pub(super) fn take(&mut self, step: TurnStep) {
        match step {
            TurnStep::Input(_) | TurnStep::Quiet | TurnStep::Waits(_) => {}
            TurnStep::Record(record) => self.record(&record),
            TurnStep::Delta(delta) => {
                let continues = delta.continues.as_ref();
                if let Some(text) = self.text(delta.kind, &delta.item, continues) {
                    text.add(&delta.text);
                }
            }
            TurnStep::Partial(partial) => {
                let continues = partial.continues.as_ref();
                if let Some(text) = self.text(partial.kind, &partial.item, continues) {
                    text.reach(&partial.text);
                }
            }
            TurnStep::Ended { outcome, code, reason } => self.end(outcome, code, reason),
        }
    }

    /// Ends the run if the turn goes on only when the client, or an owner, answers open calls.
    pub(super) fn end_if_waiting(&mut self) {
        let is_ours = |open: &OpenCall| {
            open.approval.is_some() || (open.awaited.is_some() && self.is_clients(&open.name))
        };
        let has_answers = self.frame.answered.is_none_or(|answered| self.seen >= answered);
        if !has_answers || self.open.is_empty() || !self.open.iter().all(is_ours) {
            return;
        }
        let before = self.frame.before;
        let asked = |open: &OpenCall| {
            self.asked.iter().find(|(call, _)| *call == open.call).map(|(_, asked)| *asked)
        };
        let question =
            |open: &OpenCall| Some(interrupt(before, asked(open)?, open, open.approval?));
        let interrupts: Vec<Interrupt> = self.open.iter().filter_map(question).collect();
        let outcome = if interrupts.is_empty() {
            let waiting = self.open.iter();
            let pending_tool_call_ids = waiting.map(|open| ids::call(before, &open.call)).collect();
            RunOutcome::Success { pending_tool_call_ids }
        } else {
            RunOutcome::Interrupt { interrupts }
        };
        self.finish(outcome);
    }

    fn is_clients(&self, name: &str) -> bool {
        self.frame.tools.contains(name)
    }

    /// The message of an item; `None` for arguments of calls.
    fn text(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        continues: Option<&ItemId>,
    ) -> Option<&mut TextStream> {
        let at = match self.texts.iter().position(|text| text.takes(item, continues)) {
            Some(at) => at,
            None if kind == StreamKind::ToolArgs => return None,
            None => {
                let id = ids::message(self.frame.before, item);
                let sent = self.copy.take_text(&id);
                self.texts.push(TextStream::new(id, kind, item, sent));
                self.texts.len() - 1
            }
        };
        let text = self.texts.get_mut(at)?;
        text.turn_to(item);
        Some(text)
    }

    fn record(&mut self, record: &Record) {
        self.seen = record.seq;
        match &record.event {
            Event::Turn(event) => {
                OpenCall::follow(&mut self.open, event);
                self.turn_event(record.seq, event);
            }
            Event::Session(SessionEvent::MemoryEdited { block, after, .. }) => {
                if self.frame.state_at.is_some_and(|at| record.seq > at) {
                    let delta = [state::change(block, after)];
                    self.ready.push(AgUiEvent::StateDelta { delta });
                }
            }
            Event::Session(_) | Event::Input(_) | Event::Other(_) => {}
        }
    }

    fn turn_event(&mut self, seq: Seq, event: &TurnEvent) {
        match event {
            TurnEvent::Thought { item, text, complete, continues } => {
                if self.frame.answered.is_none_or(|answered| seq > answered) {
                    let continues = continues.as_ref();
                    self.item(StreamKind::Thought, item, text, *complete, continues);
                }
            }
            TurnEvent::Message { item, text, complete, continues } => {
                self.item(StreamKind::Message, item, text, *complete, continues.as_ref());
            }
            // Text that was streamed and not saved is lost, and was not sent.
            TurnEvent::Resumed { .. } => self.texts.retain(TextStream::is_known),
            TurnEvent::ToolCalled { call, name, args } => self.call(call, name, args),
            TurnEvent::ToolReturned { call, name, status, text, .. } => {
                self.result(call, name, *status, text);
            }
            TurnEvent::ApprovalAsked { call, .. } => {
                self.asked.retain(|(known, _)| known != call);
                self.asked.push((call.clone(), seq));
            }
            TurnEvent::Usage(usage) => self.usage.get_or_insert_default().add(*usage),
            TurnEvent::Started { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Ended { .. } => {}
        }
    }

    fn item(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        whole: &str,
        is_complete: bool,
        continues: Option<&ItemId>,
    ) {
        if self.text(kind, item, continues).is_none() {
            return;
        }
        let Some(at) = self.texts.iter().position(|text| text.takes(item, None)) else { return };
        let mut text = self.texts.swap_remove(at);
        text.reach(whole);
        text.send(&mut self.ready);
        text.end(&mut self.ready);
        if !is_complete {
            self.texts.push(text);
        }
    }

    fn call(&mut self, call: &CallId, name: &str, args: &Map<String, Value>) {
        let tool_call_id = ids::call(self.frame.before, call);
        if !is_shown(name) || self.copy.has_call(&tool_call_id) {
            return;
        }
        let delta = Value::Object(args.clone()).to_string();
        self.ready.extend([
            AgUiEvent::ToolCallStart {
                tool_call_id: tool_call_id.clone(),
                tool_call_name: name.to_owned(),
            },
            AgUiEvent::ToolCallArgs { tool_call_id: tool_call_id.clone(), delta },
            AgUiEvent::ToolCallEnd { tool_call_id },
        ]);
    }

    fn result(&mut self, call: &CallId, name: &str, status: ToolStatus, text: &str) {
        let tool_call_id = ids::call(self.frame.before, call);
        if !is_shown(name) || self.copy.has_result(&tool_call_id) {
            return;
        }
        let status = match status {
            ToolStatus::Success => None,
            ToolStatus::Error => Some("error"),
            ToolStatus::Unknown => Some("unknown"),
        };
        self.ready.push(AgUiEvent::ToolCallResult {
            message_id: ids::result(self.frame.before, call),
            tool_call_id,
            content: text.to_owned(),
            role: "tool",
            metadata: status.map(|status| AgUiMetadata { thoughtwire: ResultFacts { status } }),
        });
    }

    fn end(&mut self, outcome: Outcome, code: Option<String>, reason: Option<String>) {
        match (outcome, code.as_deref()) {
            // A refusal's words are the message.
            (Outcome::Completed, _) | (Outcome::Failed, Some("model_refused")) => {
                self.finish(RunOutcome::Success { pending_tool_call_ids: Vec::new() });
            }
            (Outcome::Cancelled, _) => self.finish(RunOutcome::Cancelled),
            (Outcome::Failed | Outcome::Interrupted, _) => {
                self.end_texts();
                let message = reason.unwrap_or_else(|| "the turn did not complete".to_owned());
                let usage = self.usage.map(Into::into).into_iter().collect();
                self.ready.push(AgUiEvent::RunError { message, code, usage });
                self.is_ended = true;
            }
        }
    }

    fn end_texts(&mut self) {
        for text in &mut self.texts {
            text.end(&mut self.ready);
        }
    }

    fn finish(&mut self, outcome: RunOutcome) {
        self.end_texts();
        let (thread_id, run_id) = (self.frame.thread.clone(), self.frame.run.clone());
        let usage = self.usage.map(Into::into).into_iter().collect();
        self.ready.push(AgUiEvent::RunFinished { thread_id, run_id, outcome, usage });
        self.is_ended = true;
    }
}

/// The question for the approval of a call.
fn interrupt(before: Seq, asked: Seq, open: &OpenCall, expires_at: Timestamp) -> Interrupt {
    let name = &open.name;
    let message = match open.about {
        ApprovalAbout::Run => format!("The agent wants to run {name}."),
        ApprovalAbout::Retry => {
            format!("{name} may or may not have taken effect. Should it run again?")
        }
    };
    Interrupt {
        id: ids::interrupt(before, asked, &open.call),
        reason: "tool_call",
        message,
        tool_call_id: ids::call(before, &open.call),
        response_schema: json!({
            "type": "object",
            "properties": {"approved": {"type": "boolean"}},
            "required": ["approved"],
        }),
        expires_at,
    }
}
