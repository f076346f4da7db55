//! Messages from a turn's agent to its session, and their replies.

use serde_json::Value;
use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, Event, Input, ItemId, OpenCall, ResumeReason, StreamKind,
    Timestamp, ToolStatus, TurnEvent, Usage,
};

use crate::{AgentError, AgentSenders};

/// Request of a turn's agent.
pub enum TurnVerb<A: AgentSenders> {
    /// Appends events in one batch. The reply comes when they are accepted or, if `durable`, when
    /// they are committed.
    Append {
        /// Events of the batch.
        events: Vec<Event>,
        /// Data that is committed with them.
        extras: A::EventExtras,
        /// Whether the reply waits for the commit.
        durable: bool,
        /// Sender of the last event's position; with `durable`, of the first event's.
        reply: A::SeqSender,
    },
    /// Streams a piece of an open item.
    Delta {
        /// The item.
        item: ItemId,
        /// Kind of the item.
        kind: StreamKind,
        /// Text of the piece.
        text: String,
        /// The cut item whose text this one continues. It counts with the first piece.
        continues: Option<ItemId>,
    },
    /// Shows a status line.
    Status {
        /// The line.
        text: String,
    },
    /// Ends the turn.
    Finish {
        /// Events in front of the end.
        events: Vec<Event>,
        /// Set if the turn failed.
        failed: Option<AgentError>,
        /// Sender of the position of the turn's last event, used when that is on disk.
        on_disk: Option<A::SeqSender>,
        /// Sender of the outcome, used when the end is accepted.
        reply: A::FinishSender,
    },
    /// Takes the inputs that joined the turn since the last such question.
    Steered {
        /// Sender of the inputs.
        reply: A::SteeredSender,
    },
    /// The turn goes on after the program that ran it was lost: closes its open items, and appends
    /// `turn_resumed`. Refused if it was interrupted too often.
    Resume {
        /// Cause of the interruption.
        reason: ResumeReason,
        /// Sender of the position of `turn_resumed`, used when it is on disk.
        reply: A::SeqSender,
    },
    /// Sets what the turn has cost so far.
    Spent(Usage),
    /// Waits for the owner or a client to settle a call.
    Await {
        /// The call.
        call: CallId,
        /// The question to ask, unless it is asked already.
        question: CallQuestion,
        /// Sender of the reply.
        reply: A::CallSender,
        /// Sender of the question's position, used when it is on disk; gets an error if it was not
        /// asked.
        asked: Option<A::SeqSender>,
    },
}

/// A question whose answer a call waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallQuestion {
    /// The owner's approval.
    Approval {
        /// Name of the tool.
        name: String,
        /// Subject of the question.
        about: ApprovalAbout,
        /// Deadline of the decision.
        expires_at: Timestamp,
    },
    /// The result of a client that runs it.
    Client {
        /// Deadline of the result.
        expires_at: Timestamp,
    },
}

/// Reply to [`TurnVerb::Await`].
#[derive(Debug, Clone, PartialEq)]
pub enum CallReply {
    /// The owner was not asked; the reason says why.
    Refused(String),
    /// The owner decided, or the deadline passed.
    Decided(Decision),
    /// The call has a result, and the session has written it: a client's, or what the owner said
    /// about a call whose outcome was unknown, or that the deadline passed.
    Returned(ClientResult),
}

/// Result of a call that the session writes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientResult {
    /// Whether the call worked.
    pub status: ToolStatus,
    /// Text of the result or the error.
    pub text: String,
    /// The result in richer form.
    pub content: Option<Value>,
}

impl ClientResult {
    /// The result as an event.
    pub(crate) fn into_event(self, open: &OpenCall) -> Event {
        Event::Turn(TurnEvent::ToolReturned {
            call: open.call.clone(),
            name: open.name.clone(),
            status: self.status,
            text: self.text,
            content: self.content,
        })
    }
}

/// Outcome of [`TurnVerb::Finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The turn is over.
    Ended,
    /// Inputs joined the turn meanwhile. The events were appended, and the turn goes on with them.
    Steered(Vec<Input>),
}
