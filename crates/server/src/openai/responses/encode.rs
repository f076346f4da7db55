//! A turn as a response: its output items, and the events of a stream.
//!
//! Invariant: the events and their numbers follow from the log alone, whether they were sent while
//! the turn ran or are made again after a crash. Test: `a_stream_resumes_after_a_kill`.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};
use thoughtwire_proto::{CallId, Event, ItemId, Record, StreamKind, ToolStatus, TurnEvent, Usage};

use super::events::{EventLog, ResponseEvent};
use super::items;
use super::live_items::{LiveItem, LiveItems};
use super::object::{ResponseEnd, ResponseFrame, response_object};
use super::open_text::OutputText;
use crate::endpoint::{ClientTools, OpenToolCall, TurnStep, is_shown, name_of};

/// A response as it grows.
pub(super) struct ResponseEncoder {
    frame: ResponseFrame,
    tools: ClientTools,
    /// Seconds since 1970 at which the input was accepted.
    created: i64,
    log: EventLog,
    /// Output items that are done; `null` in the place of others.
    output: Vec<Value>,
    open: Option<OutputText>,
    live: LiveItems,
    /// Calls of the agent whose items are not done.
    calls: Vec<items::AgentCall>,
    /// Names of all open calls.
    names: Vec<(CallId, String)>,
    /// A call of which the next record says whether a client runs it.
    undecided: Option<(CallId, String, Map<String, Value>)>,
    /// The `send_message` call whose message is being said. Everything else waits behind it.
    speaking: Option<CallId>,
    held: VecDeque<Record>,
    usage: Option<Usage>,
    end: Option<ResponseEnd>,
}

impl ResponseEncoder {
    pub(super) fn new(frame: ResponseFrame, tools: ClientTools) -> Self {
        Self {
            frame,
            tools,
            created: 0,
            log: EventLog::default(),
            output: Vec::new(),
            open: None,
            live: LiveItems::default(),
            calls: Vec::new(),
            names: Vec::new(),
            undecided: None,
            speaking: None,
            held: VecDeque::new(),
            usage: None,
            end: None,
        }
    }

    /// Whether the response ended.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes the events that were made.
    pub(super) fn take_events(&mut self) -> Vec<ResponseEvent> {
        self.log.take()
    }

    /// The open item of which a piece can be sent once it is on disk.
    pub(super) fn piece_to_save(&self) -> Option<LiveItem> {
        self.live.next(self.open.as_ref()).cloned()
    }

    /// Sends the complete pieces of an open item whose text is on disk.
    pub(super) fn saved(&mut self, live: &LiveItem) {
        self.reach(live.kind, &live.item, &live.text, live.continues.as_ref());
    }

    /// Takes one step of the turn.
    pub(super) fn take(&mut self, step: TurnStep) {
        match step {
            TurnStep::Input(record) => {
                self.created = record.at.as_millis() / 1_000;
                for kind in ["response.created", "response.in_progress"] {
                    self.log.push(kind, json!({"response": self.object("in_progress")}));
                }
            }
            TurnStep::Record(record) => self.record(record),
            TurnStep::Delta(delta) => self.live.add(delta),
            TurnStep::Partial(partial) => self.live.reach(partial),
            TurnStep::Quiet => self.decide(false),
            TurnStep::Waits(calls) => {
                self.settle();
                for open in &calls {
                    self.function_call(open);
                }
                self.finish(ResponseEnd::completed());
            }
            TurnStep::Ended { outcome, code, reason } => {
                self.settle();
                self.finish(ResponseEnd::of_turn(outcome, code.as_deref(), reason.as_deref()));
            }
        }
    }

    fn record(&mut self, record: Record) {
        let Event::Turn(event) = &record.event else { return };
        self.live.note(&record.event);
        let is_awaited = match (&self.undecided, event) {
            (Some((asked, ..)), TurnEvent::ToolAwaited { call, .. }) => asked == call,
            (Some(_) | None, _) => false,
        };
        self.decide(is_awaited);
        match event {
            TurnEvent::Thought { item, text, complete, continues } => {
                self.text(StreamKind::Thought, item, text, *complete, continues.as_ref());
            }
            TurnEvent::Message { item, text, complete, continues } => {
                self.text(StreamKind::Message, item, text, *complete, continues.as_ref());
            }
            TurnEvent::Usage(usage) => self.usage.get_or_insert_default().add(*usage),
            TurnEvent::ToolReturned { call, .. } if self.speaking.as_ref() == Some(call) => {
                self.speaking = None;
                self.show_held();
            }
            TurnEvent::ToolCalled { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ToolReturned { .. } => {
                self.held.push_back(record);
                self.show_held();
            }
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Ended { .. } => {}
        }
    }

    /// Shows records that waited behind a text.
    fn show_held(&mut self) {
        while self.speaking.is_none()
            && self.open.as_ref().is_none_or(|open| open.is_cut)
            && let Some(record) = self.held.pop_front()
        {
            self.show(record);
        }
    }

    fn show(&mut self, record: Record) {
        let Event::Turn(event) = record.event else { return };
        match event {
            TurnEvent::ToolCalled { call, name, .. } if !is_shown(&name) => {
                self.speaking = Some(call);
            }
            TurnEvent::ToolCalled { call, name, args } => {
                self.names.push((call.clone(), name.clone()));
                match &self.tools {
                    ClientTools::Named(names) if names.contains(&name) => {}
                    ClientTools::Named(_) => self.begin_call(call, name, args),
                    ClientTools::Any => self.undecided = Some((call, name, args)),
                }
            }
            TurnEvent::ApprovalAsked { call, .. } => {
                let name = name_of(&self.names, &call).to_owned();
                let index = self.new_item();
                let open = self.calls.iter().find(|open| open.call == call);
                let arguments = open.map(|open| open.arguments.clone()).unwrap_or_default();
                let id = self.frame.id.approval(&call);
                let item = items::approval(&id, &name, &arguments);
                self.log.push(
                    "response.output_item.added",
                    json!({"output_index": index, "item": item}),
                );
                self.done(index, item);
            }
            TurnEvent::ToolReturned { call, status, text, .. } => {
                self.names.retain(|(open, _)| *open != call);
                let at = self.calls.iter().position(|open| open.call == call);
                if let Some(open) = at.map(|at| self.calls.remove(at)) {
                    self.end_call(&open, status == ToolStatus::Success, &text);
                }
            }
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }

    fn decide(&mut self, is_clients: bool) {
        if let Some((call, name, args)) = self.undecided.take()
            && !is_clients
        {
            self.begin_call(call, name, args);
        }
    }

    /// Takes the text of an item so far, and sends its complete pieces.
    fn reach(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        text: &str,
        continues: Option<&ItemId>,
    ) -> bool {
        let fits = |open: &OutputText| open.takes(item, continues);
        if !self.open.as_ref().is_some_and(fits) {
            if self.open.as_ref().is_some_and(|open| !open.is_cut) {
                return false;
            }
            let index = self.new_item();
            self.open = Some(OutputText::begin(kind, item, index, &mut self.log));
        }
        if let Some(open) = &mut self.open {
            open.reach(item, text);
            open.send(&mut self.log);
        }
        true
    }

    fn text(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        text: &str,
        is_complete: bool,
        continues: Option<&ItemId>,
    ) {
        if !self.reach(kind, item, text, continues) {
            // Another item was sent before its event, and this one is not what follows it.
            self.close_text();
            self.reach(kind, item, text, continues);
        }
        if is_complete {
            self.close_text();
            self.show_held();
        } else if let Some(open) = &mut self.open {
            open.is_cut = true;
            self.show_held();
        }
    }

    fn close_text(&mut self) {
        if let Some(open) = self.open.take() {
            let (index, item) = open.end(&mut self.log);
            self.place(index, item);
        }
    }

    /// Begins an item. A text that was cut and that nothing continues ends in front of it.
    fn new_item(&mut self) -> usize {
        self.close_text();
        self.output.push(Value::Null);
        self.output.len() - 1
    }

    fn place(&mut self, index: usize, item: Value) {
        if let Some(slot) = self.output.get_mut(index) {
            *slot = item;
        }
    }

    fn done(&mut self, index: usize, item: Value) {
        let body = json!({"output_index": index, "item": item});
        self.log.push("response.output_item.done", body);
        self.place(index, item);
    }

    fn begin_call(&mut self, call: CallId, name: String, args: Map<String, Value>) {
        let index = self.new_item();
        let open = items::AgentCall::new(call, name, args, index);
        open.begin(&mut self.log);
        self.calls.push(open);
    }

    fn end_call(&mut self, open: &items::AgentCall, is_success: bool, text: &str) {
        let item = open.end(is_success, text, &mut self.log);
        self.done(open.index, item);
    }

    fn function_call(&mut self, open: &OpenToolCall) {
        let index = self.new_item();
        let id = self.frame.id.call(&open.call).id();
        let item = items::function_call(open, &id, index, &mut self.log);
        self.done(index, item);
    }

    /// Shows everything that waits, and ends what is open.
    fn settle(&mut self) {
        self.decide(false);
        self.close_text();
        while !self.held.is_empty() {
            self.speaking = None;
            self.show_held();
            self.decide(false);
        }
        for open in std::mem::take(&mut self.calls) {
            self.end_call(&open, false, "the turn ended first");
        }
    }

    fn finish(&mut self, end: ResponseEnd) {
        let kind = match end.status {
            "completed" => "response.completed",
            "failed" => "response.failed",
            _ => "response.incomplete",
        };
        let status = end.status;
        self.end = Some(end);
        self.log.push(kind, json!({"response": self.object(status)}));
    }

    /// The response as it is now; `status` if it has not ended.
    pub(super) fn object(&self, status: &str) -> Value {
        let output: Vec<&Value> = self.output.iter().filter(|item| !item.is_null()).collect();
        response_object(&self.frame, self.created, status, self.end.as_ref(), &output, self.usage)
    }
}
