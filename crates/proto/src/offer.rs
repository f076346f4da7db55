//! Offering an agent: how a program of one's own is handed turns, and what it says in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    AgentId, CallId, Decision, ItemId, Permission, Record, Seq, SessionId, StreamKind,
    ToolDeclaration, ToolStatus, TurnId, Usage, WorkerId,
};

/// What an agent's `model` is called where programs outside run it.
pub const OFFERED: &str = "offered";

/// "I run turns for this agent."
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// The agent's name or id.
    pub agent: String,
    /// The program's name for itself, under which it has its turns again when it comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// How many turns it runs at once; absent for 1, and 0 for no more new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// How many of the newest records before its input come with a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<u64>,
    /// Whether core memory comes with a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
    /// The agent's own tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<ToolDeclaration>>"))]
    pub tools: Vec<ToolDeclaration>,
    /// There when it keeps what it was handed: up to where it has sessions' logs already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(as = "Option<std::collections::HashMap<SessionId, Seq>>"))]
    pub cursors: Option<BTreeMap<SessionId, Seq>>,
}

/// Something said to an agent.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its id.
    pub item: ItemId,
    /// The words.
    pub text: String,
    /// References to files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
    pub attachments: Vec<String>,
}

/// A core memory block, as a program is shown it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBlock {
    /// Its label.
    pub label: String,
    /// Its text.
    pub text: String,
    /// The most characters it may have.
    pub limit: u64,
}

/// A call of a turn that goes on after a break, which waits.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingCall {
    /// The call.
    pub call: CallId,
    /// The tool.
    pub name: String,
    /// For whom.
    pub awaits: Awaits,
}

/// For whom a call waits.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaits {
    /// For its owner's leave.
    Approval,
    /// For a client that runs it.
    Client,
}

/// A turn to run.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The agent that is meant.
    pub agent: AgentId,
    /// The session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// What was said.
    pub input: Input,
    /// What the session adds to the agent's persona.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// The position behind which `history` is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// What was asked for of the past, and of a turn that goes on what happened in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<Record>>"))]
    pub history: Vec<Record>,
    /// Core memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<MemoryBlock>>"))]
    pub memory: Vec<MemoryBlock>,
    /// Tools that attached clients run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<ToolDeclaration>>"))]
    pub client_tools: Vec<ToolDeclaration>,
    /// Those of the declared tools that are not allowed outright.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "schema",
        ts(as = "Option<std::collections::HashMap<String, Permission>>")
    )]
    pub permissions: BTreeMap<String, Permission>,
    /// Its open calls that people or a client were asked about. An answer that has come follows behind this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<WaitingCall>>"))]
    pub waiting: Vec<WaitingCall>,
    /// The turn goes on: this worker had it before, or it waited for people when the server stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", ts(as = "Option<bool>"))]
    pub resumed: bool,
    /// How many deltas of each open item have arrived.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<std::collections::HashMap<ItemId, u64>>"))]
    pub open: BTreeMap<ItemId, u64>,
}

/// What a program says in a turn that it runs: the verbs of an agent's interface.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// A whole thought.
    InternalMonologue {
        /// The words.
        text: String,
    },
    /// A whole message.
    AssistantMessage {
        /// The words.
        text: String,
    },
    /// A line as `MemGPT` agents give it.
    FunctionMessage {
        /// The line.
        text: String,
    },
    /// A tool is about to run.
    ToolCalled {
        /// The tool.
        name: String,
        /// Its arguments.
        args: Map<String, Value>,
    },
    /// What a call came back with.
    ToolReturned {
        /// The call.
        call: CallId,
        /// Whether it worked.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in richer form.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", ts(optional, type = "JsonValue"))]
        content: Option<Value>,
    },
    /// Ask the owner's leave for an open call.
    Approval {
        /// The call.
        call: CallId,
        /// How long the question stands, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Have a client run an open call.
    ClientRuns {
        /// The call.
        call: CallId,
        /// How long the result is awaited, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// A piece of an item that is said whole later.
    Delta {
        /// The item, or the call whose arguments these are.
        item: ItemId,
        /// Which of the item's pieces: from 0.
        n: u64,
        /// What kind of item.
        kind: StreamKind,
        /// The piece.
        text: String,
    },
    /// What goes on, for people.
    Status {
        /// The words.
        text: String,
    },
    /// What the turn cost so far.
    Usage(Usage),
    /// Ends the turn.
    Finish {
        /// Its last message.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Ends the turn as failed.
    Fail {
        /// A word for programs.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// A sentence for people.
        reason: String,
    },
}

impl Verb {
    /// Whether it is said under an id: what leaves an event, or ends something, must not take effect twice.
    #[must_use]
    pub const fn needs_id(&self) -> bool {
        match self {
            Self::Delta { .. } | Self::Status { .. } | Self::Usage(_) => false,
            Self::InternalMonologue { .. }
            | Self::AssistantMessage { .. }
            | Self::FunctionMessage { .. }
            | Self::ToolCalled { .. }
            | Self::ToolReturned { .. }
            | Self::Approval { .. }
            | Self::ClientRuns { .. }
            | Self::Finish { .. }
            | Self::Fail { .. } => true,
        }
    }
}

/// What a program that offers is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Directive {
    /// Run a turn.
    Run(Box<Run>),
    /// A turn has ended without its program.
    Cancel {
        /// The session.
        session: SessionId,
        /// The turn.
        turn: TurnId,
    },
    /// An approval was settled, or its time is over.
    ApprovalSettled {
        /// The turn.
        turn: TurnId,
        /// The call.
        call: CallId,
        /// What came of it.
        decision: Decision,
    },
    /// A client ran a call, or none did in time.
    ToolReturned {
        /// The turn.
        turn: TurnId,
        /// The call.
        call: CallId,
        /// Whether it worked.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in richer form.
        content: Option<Value>,
    },
    /// An offer no longer holds.
    OfferEnded {
        /// The agent.
        agent: AgentId,
        /// The program's name.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
}
