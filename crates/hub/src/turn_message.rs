//! Messages from a turn's agent to the session that runs the turn, and the replies to them.
//!
//! The [`Interface`](crate::Interface) and the programs that run agents from outside send these.
//! The session's actor handles them in the order in which they were sent.

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use thoughtwire_proto::{
    CallId, Decision, Event, Input, ItemId, Refusal, Seq, StreamKind, Timestamp, ToolStatus,
    TurnId, Usage,
};
use thoughtwire_store::BlockEdit;
use tokio::sync::{mpsc, oneshot};

/// A reply under way. It resolves when the command's effect is on disk.
pub type Replying<T> = BoxFuture<'static, Result<T, Refusal>>;

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

/// A verb of the agent, with the sender of its reply.
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

/// Question that a call waits for.
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

/// Sender of a turn's messages. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TurnSender {
    turn: TurnId,
    messages: mpsc::Sender<TurnMessage>,
}

/// Data that goes to disk in the same batch as an agent's events.
#[derive(Default)]
pub(crate) struct AgentExtras {
    /// Memory block that changes with the events.
    pub(crate) block: Option<BlockEdit>,
    /// Whole output of a call whose event has a part of it.
    pub(crate) output: Option<(CallId, String)>,
    /// JSON that the model's provider wants back with the calls.
    pub(crate) kept: Option<String>,
}

impl TurnSender {
    pub(crate) fn new(turn: TurnId, messages: mpsc::Sender<TurnMessage>) -> Self {
        Self { turn, messages }
    }

    pub(crate) fn turn(&self) -> &TurnId {
        &self.turn
    }

    /// Sends a message. Waits while the turn's channel is full.
    ///
    /// # Errors
    /// When the turn has ended.
    pub(crate) async fn send(&self, verb: TurnVerb) -> Result<(), TurnError> {
        let message = TurnMessage { turn: self.turn.clone(), verb };
        self.messages.send(message).await.map_err(|_| TurnError::Ended)
    }

    /// Sends a message if the channel has room; else drops it.
    pub(crate) fn try_send(&self, verb: TurnVerb) {
        drop(self.messages.try_send(TurnMessage { turn: self.turn.clone(), verb }));
    }

    /// Appends events. Returns when the session has accepted them.
    ///
    /// # Errors
    /// When the turn has ended or an event is illegal.
    pub(crate) async fn append(&self, events: Vec<Event>) -> Result<Seq, TurnError> {
        self.append_with(events, AgentExtras::default(), false).await
    }

    /// Appends events with extras. Returns when the session has accepted them.
    ///
    /// # Errors
    /// As [`TurnSender::append`].
    pub(crate) async fn append_extras(
        &self,
        events: Vec<Event>,
        extras: AgentExtras,
    ) -> Result<Seq, TurnError> {
        self.append_with(events, extras, false).await
    }

    /// Appends events with extras. Returns when they are on disk.
    ///
    /// # Errors
    /// When the turn has ended, an event is illegal, or the batch cannot be saved.
    pub(crate) async fn commit(
        &self,
        events: Vec<Event>,
        extras: AgentExtras,
    ) -> Result<Seq, TurnError> {
        self.append_with(events, extras, true).await
    }

    async fn append_with(
        &self,
        events: Vec<Event>,
        extras: AgentExtras,
        durable: bool,
    ) -> Result<Seq, TurnError> {
        let AgentExtras { block, output, kept } = extras;
        self.ask(|reply| TurnVerb::Append { events, block, output, kept, durable, reply }).await?
    }

    /// Sends a message and waits for its reply.
    ///
    /// # Errors
    /// When the turn has ended.
    pub(crate) async fn ask<T>(
        &self,
        verb: impl FnOnce(oneshot::Sender<T>) -> TurnVerb,
    ) -> Result<T, TurnError> {
        let (reply, answer) = oneshot::channel();
        self.send(verb(reply)).await?;
        answer.await.map_err(|_| TurnError::Ended)
    }

    /// Resolves when the turn has ended.
    pub(crate) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Whether the turn has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }
}
