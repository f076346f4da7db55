//! The turn of one input, as a request follows it.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_hub::TailEntry;
use thoughtwire_proto::{
    CallId, Delta, Emission, Event, InputEvent, ItemId, Outcome, Partial, Record, Refusal,
    RefusalCode, Seq, SessionId, TurnEvent, TurnId,
};

use super::SessionReader;

/// Part of a session's log that a request is about: the turn of one input, or the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TurnPlace {
    /// Position before that of the input.
    pub(crate) before: Seq,
    /// Position behind which the turn is shown. Records up to it are read for its open calls.
    pub(crate) shown_after: Seq,
}

/// Tools that the request's own client runs.
#[derive(Debug, Clone)]
pub(crate) enum ClientTools {
    /// Those with these names.
    Named(HashSet<String>),
    /// All that any client runs.
    Any,
}

/// A call that has not returned.
#[derive(Debug, Clone)]
pub(crate) struct OpenToolCall {
    pub(crate) call: CallId,
    pub(crate) name: String,
    pub(crate) args: Map<String, Value>,
    /// Whether the request's client is asked to run it.
    pub(crate) is_awaited: bool,
    /// Whether it waits for the owner's approval.
    is_asked: bool,
}

/// One step of the turn.
pub(crate) enum TurnStep {
    /// The input itself. It comes first, also if it is not shown.
    Input(Record),
    /// A record of the turn.
    Record(Record),
    /// A piece of an open item.
    Delta(Delta),
    /// An open item's text so far.
    Partial(Partial),
    /// Nothing more is there at the moment.
    Quiet,
    /// Every open call waits for the request's client, so the request is answered. Nothing follows.
    /// See [`TurnReader::ending_at_questions`].
    Waits(Vec<OpenToolCall>),
    /// The turn ended. Nothing follows.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// The cause for programs.
        code: Option<String>,
        /// The cause as a sentence.
        reason: Option<String>,
    },
}

/// Follows the turn of one input.
pub(crate) struct TurnReader {
    reader: SessionReader,
    place: TurnPlace,
    tools: ClientTools,
    /// The input, once it was read.
    input: Option<ItemId>,
    turn: Option<TurnId>,
    calls: Vec<OpenToolCall>,
    /// The entry that was read behind the calls that wait for the client.
    held: Option<Arc<TailEntry>>,
    /// Position of the last record of the log that was read.
    seen: Seq,
    /// Position up to which nothing ends the request but the turn's end.
    ends_after: Seq,
    /// Whether calls that wait for approval end the request, as those of its client do.
    ends_at_questions: bool,
    was_quiet: bool,
}

impl ClientTools {
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(name),
            Self::Any => true,
        }
    }
}

impl TurnReader {
    /// Follows the turn at a place that `reader` has not passed.
    ///
    /// # Errors
    /// When retention has deleted the turn.
    pub(crate) fn new(
        reader: SessionReader,
        place: TurnPlace,
        tools: ClientTools,
    ) -> Result<Self, Refusal> {
        if reader.after() > place.before {
            return Err(Refusal::new(
                RefusalCode::UnknownInput,
                "retention has deleted this part of the conversation",
            ));
        }
        Ok(Self {
            reader,
            place,
            tools,
            input: None,
            turn: None,
            calls: Vec::new(),
            held: None,
            seen: place.before,
            ends_after: place.shown_after,
            ends_at_questions: false,
            was_quiet: false,
        })
    }

    /// Ends the request as well when all open calls wait for the owner's approval or for the
    /// request's client. Calls that were answered up to `answered`, or before the reader attached,
    /// do not end it.
    pub(crate) fn ending_at_questions(mut self, answered: Seq) -> Self {
        self.ends_at_questions = true;
        self.ends_after = self.reader.head().max(answered);
        self
    }

    pub(crate) fn session(&self) -> &SessionId {
        self.reader.session()
    }

    /// The input, once it was read.
    pub(crate) fn input(&self) -> Option<&ItemId> {
        self.input.as_ref()
    }

    /// The turn, once it has started.
    pub(crate) fn turn(&self) -> Option<&TurnId> {
        self.turn.as_ref()
    }

    /// Position of the last record that was read.
    pub(crate) fn seen(&self) -> Seq {
        self.seen
    }

    /// Calls that the request's client was asked to run and that have not returned, as far as the
    /// turn was read. There are none once it has ended.
    pub(crate) fn awaited_calls(&self) -> Vec<CallId> {
        let awaited = self.calls.iter().filter(|open| open.is_awaited);
        awaited.map(|open| open.call.clone()).collect()
    }

    /// The next step. [`TurnStep::Quiet`] comes before each wait.
    ///
    /// # Errors
    /// When the caller may read no more, the session ends, or its log cannot be read.
    pub(crate) async fn next(&mut self) -> Result<TurnStep, Refusal> {
        loop {
            let next = match self.held.take() {
                Some(held) => Some(held),
                None => self.reader.next_ready().await?,
            };
            let Some(entry) = next else {
                if let Some(waits) = self.waits_for_client() {
                    return Ok(waits);
                }
                if !std::mem::replace(&mut self.was_quiet, true) {
                    return Ok(TurnStep::Quiet);
                }
                self.reader.wait().await?;
                continue;
            };
            self.was_quiet = false;
            if let Some(step) = self.take(&entry) {
                return Ok(step);
            }
        }
    }

    fn take(&mut self, entry: &Arc<TailEntry>) -> Option<TurnStep> {
        match &entry.emitted().emission {
            Emission::Record(record) if record.seq <= self.place.before => None,
            Emission::Record(record) => {
                // Calls that are made together are announced together.
                if self.is_ours(record.turn.as_ref())
                    && !is_announcement(&record.event)
                    && let Some(waits) = self.waits_for_client()
                {
                    self.held = Some(Arc::clone(entry));
                    return Some(waits);
                }
                self.seen = record.seq;
                self.take_record(record)
            }
            Emission::Delta(delta) if self.is_ours(Some(&delta.turn)) => {
                Some(TurnStep::Delta(delta.clone()))
            }
            Emission::Partial(partial) if self.is_ours(Some(&partial.turn)) => {
                Some(TurnStep::Partial(partial.clone()))
            }
            Emission::Delta(_)
            | Emission::Partial(_)
            | Emission::Status { .. }
            | Emission::Presence { .. } => None,
        }
    }

    fn is_ours(&self, turn: Option<&TurnId>) -> bool {
        self.turn.is_some() && turn == self.turn.as_ref()
    }

    fn take_record(&mut self, record: &Record) -> Option<TurnStep> {
        match &record.event {
            Event::Input(InputEvent::UserMessage { item, .. }) if self.input.is_none() => {
                self.input = Some(item.clone());
                // An input that joined a turn is in it already.
                self.turn.clone_from(&record.turn);
                return Some(TurnStep::Input(record.clone()));
            }
            Event::Input(InputEvent::Withdrawn { input }) if self.input.as_ref() == Some(input) => {
                return Some(TurnStep::Ended {
                    outcome: Outcome::Cancelled,
                    code: Some("withdrawn".to_owned()),
                    reason: Some("the input was withdrawn before its turn".to_owned()),
                });
            }
            Event::Turn(TurnEvent::Started { input }) if self.input.as_ref() == Some(input) => {
                self.turn.clone_from(&record.turn);
            }
            Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => {}
        }
        if !self.is_ours(record.turn.as_ref()) {
            return None;
        }
        self.note_call(&record.event);
        if let Event::Turn(TurnEvent::Ended { outcome, code, reason, .. }) = &record.event {
            self.calls.clear();
            let (code, reason) = (code.clone(), reason.clone());
            return Some(TurnStep::Ended { outcome: *outcome, code, reason });
        }
        (record.seq > self.place.shown_after).then(|| TurnStep::Record(record.clone()))
    }

    fn note_call(&mut self, event: &Event) {
        match event {
            Event::Turn(TurnEvent::ToolCalled { call, name, args }) => {
                let (call, name, args) = (call.clone(), name.clone(), args.clone());
                let (is_awaited, is_asked) = (false, false);
                self.calls.push(OpenToolCall { call, name, args, is_awaited, is_asked });
            }
            Event::Turn(TurnEvent::ToolAwaited { call, .. }) => {
                if let Some(open) = self.calls.iter_mut().find(|open| open.call == *call) {
                    open.is_awaited = self.tools.has(&open.name);
                }
            }
            Event::Turn(TurnEvent::ApprovalAsked { call, .. }) => self.note_question(call, true),
            Event::Turn(TurnEvent::ApprovalSettled { call, .. }) => self.note_question(call, false),
            Event::Turn(TurnEvent::ToolReturned { call, .. }) => {
                self.calls.retain(|open| open.call != *call);
            }
            Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => {}
        }
    }

    fn note_question(&mut self, call: &CallId, is_asked: bool) {
        if let Some(open) = self.calls.iter_mut().find(|open| open.call == *call) {
            open.is_asked = is_asked;
        }
    }

    /// The end of the request, if nothing happens until its client has answered the open calls.
    fn waits_for_client(&self) -> Option<TurnStep> {
        let waits =
            |open: &OpenToolCall| open.is_awaited || (self.ends_at_questions && open.is_asked);
        let is_due =
            self.seen >= self.ends_after && !self.calls.is_empty() && self.calls.iter().all(waits);
        is_due.then(|| TurnStep::Waits(self.calls.clone()))
    }
}

/// Whether a record tells of a call that is made, or of one about which somebody is asked.
fn is_announcement(event: &Event) -> bool {
    matches!(
        event,
        Event::Turn(
            TurnEvent::ToolCalled { .. }
                | TurnEvent::ToolAwaited { .. }
                | TurnEvent::ApprovalAsked { .. }
        )
    )
}
