//! Offers of agents, and the turns and verbs of workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    AgentId, ApprovalAbout, CallId, Decision, ItemId, Permission, Record, RetryReason, Seq,
    SessionId, StreamKind, ToolDeclaration, ToolStatus, TurnId, Usage, WorkerId,
};

/// Model of agents that are run by workers.
pub const OFFERED: &str = "offered";

/// A worker's offer to run the turns of an agent.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// The agent's name or id.
    pub agent: String,
    /// The worker's name. A worker that reconnects under this name gets its turns back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Number of turns that it runs at once; absent for 1, and 0 to accept no new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Number of the newest records before the input that come with a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<u64>,
    /// Whether core memory comes with a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
    /// The agent's own tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<ToolDeclaration>>"))]
    pub tools: Vec<ToolDeclaration>,
    /// Present if the worker stores the events that it receives: by session, the last position it
    /// has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(as = "Option<std::collections::HashMap<SessionId, Seq>>"))]
    pub cursors: Option<BTreeMap<SessionId, Seq>>,
    /// Whether it can go on with a turn that another worker began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumable: Option<bool>,
}

/// A user's input.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its id.
    pub item: ItemId,
    /// The text.
    pub text: String,
    /// References to files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
    pub attachments: Vec<String>,
}

/// A core memory block as a worker sees it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBlock {
    /// Its label.
    pub label: String,
    /// Its text.
    pub text: String,
    /// Maximum number of characters of the text.
    pub limit: u64,
}

/// A waiting call of a resumed turn.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingCall {
    /// The call.
    pub call: CallId,
    /// The tool.
    pub name: String,
    /// The party that it waits for.
    pub awaits: Awaits,
}

/// The party that a call waits for.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaits {
    /// The owner, who has to approve it.
    Approval,
    /// A client that runs it.
    Client,
}

/// A turn for a worker to run.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The agent.
    pub agent: AgentId,
    /// The session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// The turn's input.
    pub input: Input,
    /// The session's instructions, which are added to the agent's persona.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Position after which `history` is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// The events that the offer asked for; for a resumed turn also the turn's own events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<Record>>"))]
    pub history: Vec<Record>,
    /// Blocks of the core memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<MemoryBlock>>"))]
    pub memory: Vec<MemoryBlock>,
    /// Tools that attached clients run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<ToolDeclaration>>"))]
    pub client_tools: Vec<ToolDeclaration>,
    /// Declared tools that are not simply allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "schema",
        ts(as = "Option<std::collections::HashMap<String, Permission>>")
    )]
    pub permissions: BTreeMap<String, Permission>,
    /// Open calls that people or a client were asked about. An answer that is already there follows
    /// this frame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<WaitingCall>>"))]
    pub waiting: Vec<WaitingCall>,
    /// Whether the turn is resumed: this worker had it before, or it waited for people when the
    /// server stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", ts(as = "Option<bool>"))]
    pub resumed: bool,
    /// Number of interruptions of the turn that count against its limit; absent for 0.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    #[cfg_attr(feature = "schema", ts(as = "Option<u32>"))]
    pub attempt: u32,
    /// Calls of a resumed turn that were running and have no result. Their outcome is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<CallId>>"))]
    pub unknown: Vec<CallId>,
    /// Number of deltas that have arrived, by open item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<std::collections::HashMap<ItemId, u64>>"))]
    pub open: BTreeMap<ItemId, u64>,
}

/// Verb of an agent's interface, sent by a worker about a turn that it runs.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// A whole thought.
    InternalMonologue {
        /// The text.
        text: String,
        /// The cut thought of the same turn whose text this one continues.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<ItemId>,
    },
    /// A whole message.
    AssistantMessage {
        /// The text.
        text: String,
        /// The cut message of the same turn whose text this one continues.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<ItemId>,
    },
    /// A line in the form of `MemGPT`'s agents.
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
    /// The result of a call.
    ToolReturned {
        /// The call.
        call: CallId,
        /// Whether the call succeeded.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in a richer form.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", ts(optional, type = "JsonValue"))]
        content: Option<Value>,
    },
    /// An open call whose outcome is unknown is about to be made again.
    ToolRetried {
        /// The call.
        call: CallId,
        /// Why the call may be repeated; absent for `safe`.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<RetryReason>,
    },
    /// Ask the owner to approve an open call.
    Approval {
        /// The call.
        call: CallId,
        /// Subject of the question; absent for `run`.
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<ApprovalAbout>,
        /// Time to wait for the answer, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Have a client run an open call.
    ClientRuns {
        /// The call.
        call: CallId,
        /// Time to wait for the result, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// A piece of an item whose whole text is sent later.
    Delta {
        /// The item, or the call whose arguments these are.
        item: ItemId,
        /// Number of the piece within its item, from 0.
        n: u64,
        /// Kind of the item.
        kind: StreamKind,
        /// The piece.
        text: String,
        /// The cut item of the same turn whose text this one continues. It counts with the first
        /// piece.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<ItemId>,
    },
    /// A note for people about the agent's activity.
    Status {
        /// The text.
        text: String,
    },
    /// The turn's cost so far.
    Usage(Usage),
    /// Ends the turn.
    Finish {
        /// Its last message.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Ends the turn as failed.
    Fail {
        /// The cause, for programs.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The cause as a sentence for people.
        reason: String,
    },
}

impl Verb {
    /// Whether the verb needs an id. Verbs that write an event or end a turn need one, so that a
    /// repetition has no second effect.
    #[must_use]
    pub const fn needs_id(&self) -> bool {
        match self {
            Self::Delta { .. } | Self::Status { .. } | Self::Usage(_) => false,
            Self::InternalMonologue { .. }
            | Self::AssistantMessage { .. }
            | Self::FunctionMessage { .. }
            | Self::ToolCalled { .. }
            | Self::ToolRetried { .. }
            | Self::ToolReturned { .. }
            | Self::Approval { .. }
            | Self::ClientRuns { .. }
            | Self::Finish { .. }
            | Self::Fail { .. } => true,
        }
    }
}

/// A server's instruction to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Directive {
    /// Run a turn.
    Run(Box<Run>),
    /// The turn has ended without its worker.
    Cancel {
        /// The session.
        session: SessionId,
        /// The turn.
        turn: TurnId,
    },
    /// An approval was settled or has expired.
    ApprovalSettled {
        /// The turn.
        turn: TurnId,
        /// The call.
        call: CallId,
        /// Subject of the question that was settled.
        about: ApprovalAbout,
        /// How it was settled.
        decision: Decision,
    },
    /// A client ran a call, or no client did in time.
    ToolReturned {
        /// The turn.
        turn: TurnId,
        /// The call.
        call: CallId,
        /// Whether the call succeeded.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in a richer form.
        content: Option<Value>,
    },
    /// An offer has ended.
    OfferEnded {
        /// The agent.
        agent: AgentId,
        /// The worker's name.
        worker: WorkerId,
        /// The reason.
        reason: String,
    },
}
