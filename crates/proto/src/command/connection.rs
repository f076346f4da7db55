//! Commands that a connection carries out itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AgentProfile, Command, PeerRef, Replay, SessionCommand, Verdict};
use crate::{AgentId, Cursor, Epoch, Input, ItemId, Offer, Seq, SessionId, TurnId, Verb, WorkerId};

/// A command that the connection carries out itself.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionCommand {
    /// Subscribe to a session.
    Attach {
        /// The session.
        session: SessionId,
        /// Position to start from.
        start: Start,
        /// Tools that this client runs.
        tools: Vec<ToolDeclaration>,
    },
    /// End a subscription.
    Detach {
        /// The session.
        session: SessionId,
    },
    /// Subscribe to the list of sessions.
    Watch,
    /// Run turns of an agent as a worker.
    Offer(Box<Offer>),
    /// Send a verb about a turn that this connection runs.
    Say {
        /// The turn.
        turn: TurnId,
        /// The verb.
        verb: Verb,
    },
    /// Carry out a command that names an input or a call but no session.
    /// The connection tries its attached sessions until one has the input or call.
    InAttached(SessionCommand),
    /// Answer the oldest approval that waits in a session and can be answered so.
    DecideOldest {
        /// The session.
        session: SessionId,
        /// The decision.
        decision: Verdict,
        /// With [`Verdict::Done`]: the call's result, for the model.
        result: Option<String>,
    },
}

impl From<ConnectionCommand> for Command {
    fn from(command: ConnectionCommand) -> Self {
        Self::Connection(command)
    }
}

/// A connection's success reply.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionReply {
    /// The connection is attached to the session.
    Attached(Attached),
    /// Turns of an agent will be assigned to this connection.
    Offered {
        /// The agent.
        agent: Box<AgentProfile>,
        /// Name of the worker.
        worker: WorkerId,
        /// Turns that are still assigned to this worker.
        turns: Vec<TurnId>,
    },
    /// The verb took effect and is on disk.
    Said {
        /// Position of the event.
        seq: Option<Seq>,
        /// Inputs that joined the turn, which therefore continues.
        steered: Vec<Input>,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
    /// The command took effect.
    Done,
}

/// Position from which a subscriber reads a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The head: only new events.
    Head,
    /// After a cursor.
    After(Cursor),
    /// The newest events of this number, and then new ones.
    Last(u64),
    /// The largest position that the peer's connections have proven; the head if none is known.
    Proven(PeerRef),
}

/// A tool that a client runs, declared at `attach`.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolDeclaration {
    /// Its name.
    pub name: String,
    /// Description for the model.
    #[serde(default)]
    pub description: String,
    /// The JSON Schema of its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Treatment of a call that an interruption left without a result; absent for `ask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub replay: Option<Replay>,
}

/// Start of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The session.
    pub session: SessionId,
    /// Its agent.
    pub agent: AgentId,
    /// Epoch of the log.
    pub epoch: Epoch,
    /// First position that the log still has.
    pub first: Seq,
    /// The newest position.
    pub head: Seq,
    /// False if the cursor could not be used and the whole log follows.
    pub recovered: bool,
    /// Position after which events follow.
    pub after: Seq,
    /// The running turn.
    pub turn: Option<TurnId>,
    /// With [`Start::Proven`]: inputs that the peer sent before `after` and whose turns had not
    /// ended there.
    pub unended: Vec<ItemId>,
}
