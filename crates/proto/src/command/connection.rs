//! Commands that a connection carries out itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AgentProfile, Command, PeerRef, SessionCommand};
use crate::{AgentId, Cursor, Epoch, Input, Offer, Seq, SessionId, TurnId, Verb, WorkerId};

/// A command that the connection carries out itself.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionCommand {
    /// Read a session from some position on.
    Attach {
        /// The session.
        session: SessionId,
        /// Position to start from.
        start: Start,
        /// Tools that this client runs.
        tools: Vec<ToolDeclaration>,
    },
    /// Stop reading a session.
    Detach {
        /// The session.
        session: SessionId,
    },
    /// Follow the list of sessions.
    Watch,
    /// Run turns for an agent as an external worker.
    Offer(Box<Offer>),
    /// Append to a turn that this connection runs.
    Say {
        /// The turn.
        turn: TurnId,
        /// What to append.
        verb: Verb,
    },
    /// Carry out a command that names an input or a call but no session.
    /// The connection tries its attached sessions until one has the input or call.
    InAttached(SessionCommand),
    /// Settle the approval of a session that has waited longest.
    DecideOldest {
        /// The session.
        session: SessionId,
        /// True to let the call run.
        approve: bool,
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
    /// The connection reads the session.
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
    /// What was appended to a turn is on disk.
    Said {
        /// Position of the event.
        seq: Option<Seq>,
        /// Inputs that joined the turn, which therefore continues.
        steered: Vec<Input>,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
    /// The connection detached, or follows the list.
    Done,
}

/// From where a subscriber reads a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// What comes from now on.
    Head,
    /// What lies behind a cursor.
    After(Cursor),
    /// The newest so many events, then what comes.
    Last(u64),
    /// Where the peer's connections had proven to be; at the head when nothing is known.
    Proven(PeerRef),
}

/// A tool that a client runs, declared at `attach`.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolDeclaration {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    #[serde(default)]
    pub description: String,
    /// The JSON Schema of its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
}

/// Where an attachment begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The session.
    pub session: SessionId,
    /// Its agent.
    pub agent: AgentId,
    /// The log's lifetime.
    pub epoch: Epoch,
    /// Where the log now begins.
    pub first: Seq,
    /// Its newest position.
    pub head: Seq,
    /// False when the cursor could not be honoured and the whole log follows instead.
    pub recovered: bool,
    /// The position behind which events follow.
    pub after: Seq,
    /// The running turn.
    pub turn: Option<TurnId>,
}
