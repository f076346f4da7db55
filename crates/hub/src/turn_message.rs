//! Messages from a turn's agent to the session that runs the turn, and the replies to them.
//!
//! The [`Interface`](crate::Interface) and the programs that run agents from outside send these.
//! The session's actor handles them in the order in which they were sent.

use serde_json::{Map, Value};
use thoughtwire_proto::{
    CallId, Decision, Event, Input, ItemId, Seq, StreamKind, Timestamp, ToolStatus, TurnId, Usage,
};
use thoughtwire_store::BlockEdit;
use tokio::sync::oneshot;

/// Error of a verb that a turn's agent used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The turn has ended: it was cancelled, interrupted or finished. The agent should return.
    #[error("the turn has ended")]
    Ended,
    /// The event is not allowed here, such as an empty message. The turn goes on.
    #[error("{0}")]
    Illegal(String),
    /// The limit of open approvals is reached, so the owner was not asked. The turn goes on.
    #[error("{0}")]
    Refused(String),
    /// The event could not be saved.
    #[error("{0}")]
    Unsaved(String),
}

/// Error that ends a turn as failed: a stable code and a sentence that any client may see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AgentError {
    /// Stable code, such as `model_failed`.
    pub code: String,
    /// Sentence for people.
    pub reason: String,
}

impl AgentError {
    /// Makes an error of a code and a sentence.
    #[must_use]
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }
}

/// An agent whose turn has ended only has to return; the session ignores this error then.
impl From<TurnError> for AgentError {
    fn from(error: TurnError) -> Self {
        Self::new("silenced", error.to_string())
    }
}

/// Outcome of [`Interface::finish`](crate::Interface::finish).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The turn is over.
    Ended,
    /// Inputs joined the turn meanwhile. The message was said, and the turn goes on with them.
    Steered(Vec<Input>),
}

/// One of several calls that are made together.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// Id of the call.
    pub call: CallId,
    /// Name of the tool.
    pub name: String,
    /// Arguments of the call.
    pub args: Map<String, Value>,
    /// Deadline of the result, if a client runs the call.
    pub client_until: Option<Timestamp>,
}

/// Result of a call that a client ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    /// Whether the call worked.
    pub status: ToolStatus,
    /// Text of the result or the error.
    pub text: String,
    /// The result in richer form.
    pub content: Option<Value>,
}

/// One message of a turn's agent.
pub(crate) struct TurnMessage {
    pub(crate) turn: TurnId,
    pub(crate) verb: TurnVerb,
}

/// What the agent asks the session to do.
pub(crate) enum TurnVerb {
    /// Appends events in one batch. The reply comes when they are accepted or, if `durable`, when
    /// they are committed.
    Append {
        events: Vec<Event>,
        block: Option<BlockEdit>,
        output: Option<(CallId, String)>,
        kept: Option<String>,
        durable: bool,
        reply: oneshot::Sender<Result<Seq, TurnError>>,
    },
    /// Streams a piece of an open item.
    Delta { item: ItemId, kind: StreamKind, text: String },
    /// Shows a status line.
    Status { text: String },
    /// Ends the turn.
    Finish {
        events: Vec<Event>,
        /// Set if the turn failed.
        failed: Option<AgentError>,
        /// Position of the turn's last event, sent when that is on disk.
        on_disk: Option<oneshot::Sender<Result<Seq, TurnError>>>,
        reply: oneshot::Sender<Result<Finish, TurnError>>,
    },
    /// Takes the inputs that joined the turn since the last such question.
    Steered { reply: oneshot::Sender<Vec<Input>> },
    /// Sets what the turn has cost so far.
    Spent(Usage),
    /// Waits for the owner or a client to settle a call.
    Await {
        call: CallId,
        question: Question,
        reply: ReplySender,
        /// Position of the question, sent when it is on disk; an error if it was not asked.
        asked: Option<oneshot::Sender<Result<Seq, TurnError>>>,
    },
}

/// What a call waits for.
pub(crate) enum Question {
    /// The owner's approval.
    Approval { name: String, expires_at: Timestamp },
    /// The result of a client that runs it.
    Client { expires_at: Timestamp },
}

/// Reply to [`TurnVerb::Await`].
#[derive(Debug)]
pub(crate) enum CallReply {
    /// The owner was not asked; the reason says why.
    Refused(String),
    /// The owner decided, or the deadline passed.
    Decided(Decision),
    /// A client returned a result.
    Returned(Returned),
}

/// Sender of the reply to [`TurnVerb::Await`].
pub(crate) type ReplySender = oneshot::Sender<CallReply>;
