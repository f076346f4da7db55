//! Messages from a turn's agent to the session that runs the turn, and the replies to them.
//!
//! The [`Interface`](crate::Interface) and the workers' turns send these. The session's task
//! handles them in the order in which they were sent.

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Event, Input, Refusal, Seq, Timestamp, TurnId};
pub use thoughtwire_session::{AgentError, ClientResult, Finish, TurnError};
use thoughtwire_session::{AgentSenders, TurnVerb};
pub(crate) use thoughtwire_session::{CallQuestion, CallReply};
use thoughtwire_store::BlockEdit;
use tokio::sync::{mpsc, oneshot};

/// A reply under way. It resolves when the command's effect is on disk.
pub type Replying<T> = BoxFuture<'static, Result<T, Refusal>>;

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

/// Types of the senders in an agent's messages.
pub(crate) struct AgentReplies;

impl AgentSenders for AgentReplies {
    type SeqSender = oneshot::Sender<Result<Seq, TurnError>>;
    type FinishSender = oneshot::Sender<Result<Finish, TurnError>>;
    type SteeredSender = oneshot::Sender<Vec<Input>>;
    type CallSender = oneshot::Sender<CallReply>;
    type EventExtras = AgentExtras;
}

/// A verb of the agent, with the sender of its reply.
pub(crate) type AgentVerb = TurnVerb<AgentReplies>;

/// One message of a turn's agent.
pub(crate) struct TurnMessage {
    pub(crate) turn: TurnId,
    pub(crate) verb: AgentVerb,
}

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
    pub(crate) async fn send(&self, verb: AgentVerb) -> Result<(), TurnError> {
        let message = TurnMessage { turn: self.turn.clone(), verb };
        self.messages.send(message).await.map_err(|_| TurnError::Ended)
    }

    /// Sends a message if the channel has room; else drops it.
    pub(crate) fn try_send(&self, verb: AgentVerb) {
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
        self.ask(|reply| AgentVerb::Append { events, extras, durable, reply }).await?
    }

    /// Sends a message and waits for its reply.
    ///
    /// # Errors
    /// When the turn has ended.
    pub(crate) async fn ask<T>(
        &self,
        verb: impl FnOnce(oneshot::Sender<T>) -> AgentVerb,
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
