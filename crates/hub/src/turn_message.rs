//! Messages from a turn's agent to the session that runs the turn, and the replies to them.
//!
//! The [`Interface`](crate::Interface) and the workers' runs send these. The session's task handles them
//! in the order in which they were sent.

use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Input, Seq, Timestamp, TurnId};
use thoughtwire_session::AgentSenders;
pub use thoughtwire_session::{AgentError, Finish, Returned, TurnError};
pub(crate) use thoughtwire_session::{CallReply, Question, TurnVerb};
use thoughtwire_store::BlockEdit;
use tokio::sync::oneshot;

/// Senders of the replies to a turn's agent.
pub(crate) struct TurnSenders;

impl AgentSenders for TurnSenders {
    type SeqSender = oneshot::Sender<Result<Seq, TurnError>>;
    type FinishSender = oneshot::Sender<Result<Finish, TurnError>>;
    type SteeredSender = oneshot::Sender<Vec<Input>>;
    type CallSender = ReplySender;
    type BatchExtras = AppendExtras;
}

/// Data that is committed together with events.
#[derive(Default)]
pub(crate) struct AppendExtras {
    /// Memory block that changes with them.
    pub(crate) block: Option<BlockEdit>,
    /// Whole output of a call, where its event has a part.
    pub(crate) output: Option<(CallId, String)>,
    /// JSON that the model's provider wants back with the calls that the events begin with.
    pub(crate) kept: Option<String>,
}

/// One message of a turn's agent.
pub(crate) struct TurnMessage {
    pub(crate) turn: TurnId,
    pub(crate) verb: TurnVerb<TurnSenders>,
}

/// Sender of the reply to [`TurnVerb::Await`].
pub(crate) type ReplySender = oneshot::Sender<CallReply>;

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
