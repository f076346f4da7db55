//! Commands: what clients ask, in the one vocabulary that all dialects map to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    AgentId, CallId, CommandId, Cursor, Epoch, HistoryEntry, Input, ItemId, Offer, Seq, SessionId,
    Timestamp, ToolStatus, TurnId, Usage, Verb, WorkerId,
};

/// What happens to an input that arrives while a turn runs.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It waits.
    #[default]
    Queue,
    /// It ends the running turn as cancelled and starts at once.
    Interrupt,
    /// It is refused.
    Reject,
    /// It joins the running turn at its next step.
    Steer,
}

/// What became of an accepted input.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Its turn started.
    Started,
    /// It waits.
    Queued,
    /// It joined the running turn.
    Steered,
}

/// How an agent speaks.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Plain content is the message, reasoning the thought.
    #[default]
    Native,
    /// Plain content is inner monologue; the tool `send_message` speaks.
    Memgpt,
}

/// Whether a tool may be used.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// It may.
    Allow,
    /// The owner is asked each time.
    Ask,
    /// It may not; the model is not told of it.
    Deny,
}

/// What an agent may do and spend; what is absent has the server's default.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSettings {
    /// Models to ask, in order, when `model` cannot be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
    pub fallbacks: Vec<String>,
    /// How many tokens its model reads at most, prompt and reply together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u32>,
    /// How many tokens one reply may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// How many model calls one turn may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// How many tokens one turn may cost, read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<u64>,
    /// Turns of its sessions that ended so many days ago are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// The oldest turns of its sessions are deleted while more than so many events stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_events: Option<u64>,
    /// What it may do with its tools, by the tool's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "schema",
        ts(as = "Option<std::collections::HashMap<String, Permission>>")
    )]
    pub permissions: BTreeMap<String, Permission>,
}

/// What an agent is made of.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Its name, unique per user.
    pub name: String,
    /// The first text of its `persona` block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// The first text of its `human` block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<String>,
    /// Its model as `provider/name`; absent for the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How it speaks; absent for the dialect's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// A `MemGPT` preset's name, kept as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What it may do and spend.
    #[serde(flatten)]
    pub settings: AgentSettings,
    /// Keys that we do not know, kept as given.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Map<String, Value>>"))]
    pub extra: Map<String, Value>,
}

/// An agent as stored.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentProfile {
    /// Its id.
    pub id: AgentId,
    /// What it is made of.
    #[serde(flatten)]
    pub spec: AgentSpec,
    /// Its main session.
    pub main_session: SessionId,
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

/// A client of an older wire that can be known again: Sparky's `session_id`, `MemGPT`'s `?client=`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerRef {
    /// Which wire.
    pub wire: PeerWire,
    /// The name space: Sparky's `user_id`; empty for `MemGPT`.
    pub space: String,
    /// The peer's name in it.
    pub name: String,
}

/// Chat of a peer that has not named one.
pub const DEFAULT_CHAT: &str = "default";

/// The wires that have peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerWire {
    /// `MemGPT`'s.
    Memgpt,
    /// Sparky's.
    Sparky,
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

/// What a client asks. May be refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make an agent and its main session.
    CreateAgent(Box<AgentSpec>),
    /// Find an agent by name or id.
    FindAgent {
        /// Its name or id.
        agent: String,
    },
    /// Open a session with an agent.
    CreateSession {
        /// The agent's name or id.
        agent: String,
        /// The session's title.
        title: Option<String>,
        /// What it adds to the agent's persona.
        instructions: Option<String>,
        /// Words from before it.
        history: Vec<HistoryEntry>,
    },
    /// Delete a session and its log.
    DeleteSession {
        /// Which.
        session: SessionId,
    },
    /// Read a session from some place on.
    Attach {
        /// Which.
        session: SessionId,
        /// From where.
        start: Start,
        /// Tools that this client runs.
        tools: Vec<ToolDeclaration>,
    },
    /// Stop reading a session.
    Detach {
        /// Which.
        session: SessionId,
    },
    /// Say something to a session's agent.
    Send {
        /// Which.
        session: SessionId,
        /// The words.
        text: String,
        /// References to files.
        attachments: Vec<String>,
        /// What to do if a turn runs.
        policy: Policy,
    },
    /// Take a queued input back.
    Withdraw {
        /// The session; absent for whichever attached one has it.
        session: Option<SessionId>,
        /// The input.
        input: ItemId,
    },
    /// End the running turn.
    Cancel {
        /// The session.
        session: SessionId,
        /// The turn, when only that one is meant.
        turn: Option<TurnId>,
    },
    /// Settle an approval.
    Decide {
        /// The session; absent for whichever attached one has it.
        session: Option<SessionId>,
        /// The call; absent for the one that has waited longest.
        call: Option<CallId>,
        /// True to let it run.
        approve: bool,
    },
    /// Bring the result of a tool that this client ran.
    ToolReturn {
        /// The session; absent for whichever attached one has it.
        session: Option<SessionId>,
        /// The call.
        call: CallId,
        /// Whether it worked.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in richer form.
        content: Option<Value>,
    },
    /// Give a session a title.
    Rename {
        /// Which.
        session: SessionId,
        /// The title.
        title: String,
    },
    /// Give a session instructions.
    Instruct {
        /// Which.
        session: SessionId,
        /// The instructions; empty takes them away.
        instructions: String,
    },
    /// Follow the list of sessions.
    Watch,
    /// Run turns for an agent, as a program outside.
    Offer(Box<Offer>),
    /// Speak in a turn that this connection runs.
    Say {
        /// Which.
        turn: TurnId,
        /// What.
        verb: Verb,
    },
    /// Know an older wire's client again, or make its name up.
    OpenPeer {
        /// Which wire.
        wire: PeerWire,
        /// The name space.
        space: String,
        /// The name the client gave; absent makes one.
        name: Option<String>,
    },
    /// Find or open one of a peer's chats and select it.
    OpenChat {
        /// The peer.
        peer: PeerRef,
        /// The chat's own name; absent for the one that any client of the peer's name space
        /// selected last, or [`DEFAULT_CHAT`] if there is none.
        chat: Option<String>,
        /// The title for a new one.
        title: Option<String>,
        /// The instructions for a new one.
        instructions: Option<String>,
        /// Words from before a new one.
        history: Vec<HistoryEntry>,
    },
}

/// A yes to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// An agent was made or found.
    Agent(AgentProfile),
    /// The agent that the first use of this command id made.
    AgentAgain(AgentProfile),
    /// A session was opened.
    Session(SessionId),
    /// The session that the first use of this command id opened.
    SessionAgain(SessionId),
    /// The connection reads the session.
    Attached(Attached),
    /// An input was accepted and is on disk.
    Input {
        /// Where its `user_message` stands.
        seq: Seq,
        /// The input's id.
        input: ItemId,
        /// What became of it.
        disposition: Disposition,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
    /// An older wire's client.
    Peer {
        /// Who.
        peer: PeerRef,
        /// Never seen before.
        is_new: bool,
        /// Its chats, as name and session.
        chats: Vec<(String, SessionId)>,
        /// The chat it selected last.
        selected: Option<String>,
    },
    /// One of a peer's chats.
    Chat {
        /// Its name.
        chat: String,
        /// The session behind it.
        session: SessionId,
        /// Opened just now.
        is_new: bool,
        /// The model of its agent.
        model: Option<String>,
    },
    /// Turns of an agent will be handed to this connection.
    Offered {
        /// The agent.
        agent: Box<AgentProfile>,
        /// The name under which it is offered.
        worker: WorkerId,
        /// The turns that are still this worker's.
        turns: Vec<TurnId>,
    },
    /// What was said in a turn is on disk.
    Said {
        /// The event's position.
        seq: Option<Seq>,
        /// Inputs that joined the turn, which therefore goes on.
        steered: Vec<Input>,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
    /// Done; where it left an event, its position.
    Done {
        /// The event's position.
        seq: Option<Seq>,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
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

/// A session as lists show it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionListing {
    /// Its id.
    pub id: SessionId,
    /// Its agent.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: String,
    /// Its title, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its newest position.
    pub head: Seq,
    /// A turn runs.
    pub running: bool,
    /// How many inputs wait.
    pub queued: u64,
    /// A call of the running turn waits for the owner's approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<bool>"))]
    pub needs_you: bool,
    /// It is its agent's main session.
    pub main: bool,
    /// What all its turns have cost.
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<Usage>"))]
    pub usage: Usage,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last grew.
    pub updated_at: Timestamp,
}

/// A command with the id that makes it take effect once.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client's id for it.
    pub id: Option<CommandId>,
    /// What is asked.
    pub command: Command,
}
