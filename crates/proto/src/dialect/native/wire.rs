//! Frames as they are written: one variant per type, with its keys in the protocol's order.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::server::ConnectionLimits;
use crate::{
    AgentId, AgentProfile, AgentSettings, AgentSpec, ApprovalAbout, CallId, CommandId, Decision,
    Disposition, Epoch, Event, HistoryEntry, Input, ItemId, Offer, Policy, Run, Seq, SessionId,
    SessionListing, StreamKind, Style, Timestamp, ToolDeclaration, ToolStatus, TurnId, Verb,
    Verdict, WorkerId,
};

/// Frames that clients write.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(rename = "ClientFrame"),
    ts(optional_fields, rename = "ClientFrame")
)]
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientWire<'a> {
    /// Authenticates the connection, and names the client.
    Hello {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'a str>,
    },
    /// Subscribes to a session: after a position, from the newest events, or from the head.
    Attach {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Seq>,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<&'a Epoch>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<ToolDeclaration>>"))]
        tools: &'a [ToolDeclaration],
    },
    /// Stops reading a session. Its turns continue.
    Detach {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
    },
    /// Creates an agent and its main session.
    CreateAgent {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        persona: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        human: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        style: Option<Style>,
    },
    /// Creates a session with an agent.
    CreateSession {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        agent: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        instructions: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<HistoryEntry>>"))]
        history: &'a [HistoryEntry],
    },
    /// Deletes a session and its log.
    DeleteSession {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
    },
    /// Sends an input to a session.
    Send {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        text: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
        attachments: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<Policy>,
    },
    /// Removes an input from the queue.
    Withdraw {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        input: &'a ItemId,
    },
    /// Cancels the running turn.
    Cancel {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
    },
    /// Answers a call's request for approval.
    Decide {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        call: &'a CallId,
        decision: Verdict,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a str>,
    },
    /// Returns the result of a tool that this client ran.
    ToolReturn {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        call: &'a CallId,
        status: ToolStatus,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a Value>,
    },
    /// Gives a session a title.
    Rename {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        title: &'a str,
    },
    /// Subscribes to the list of sessions.
    Watch {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
    /// Offers to run the turns of an agent.
    Offer {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(flatten)]
        offer: &'a Offer,
    },
    /// A verb about a turn that this worker runs.
    Say {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        turn: &'a TurnId,
        #[serde(flatten)]
        verb: &'a Verb,
    },
    /// Asks for a `pong`.
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
}

/// Frames that servers write.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(rename = "ServerFrame"),
    ts(optional_fields, rename = "ServerFrame")
)]
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerWire<'a> {
    /// The first frame of a connection.
    Welcome { protocol: &'a str, server: &'a str, limits: &'a ConnectionLimits },
    /// Success of an `attach`.
    Attached {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        agent: &'a AgentId,
        epoch: &'a Epoch,
        first: Seq,
        head: Seq,
        recovered: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
    },
    /// All events up to `seq` were sent. Everything after it is live.
    CaughtUp { session: &'a SessionId, seq: Seq },
    /// Success of a command. Its effect is on disk.
    Ack {
        id: &'a CommandId,
        #[serde(skip_serializing_if = "Option::is_none")]
        agent: Option<AgentWire<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<Seq>,
        #[serde(skip_serializing_if = "Option::is_none")]
        disposition: Option<Disposition>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<&'a ItemId>,
        /// To an `offer`: the worker's name.
        #[serde(skip_serializing_if = "Option::is_none")]
        worker: Option<&'a WorkerId>,
        /// To an `offer`: the turns that this worker still runs.
        #[serde(skip_serializing_if = "Option::is_none")]
        turns: Option<&'a [TurnId]>,
        /// To a `finish`: the inputs that joined the turn meanwhile.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<Input>>"))]
        steered: &'a [Input],
        /// Whether a command with this id took effect before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        #[cfg_attr(feature = "schema", ts(as = "Option<bool>"))]
        duplicate: bool,
    },
    /// Refusal of a command.
    Refused {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        code: &'a str,
        reason: &'a str,
        retry: bool,
    },
    /// An event at its position in a session.
    Event {
        session: &'a SessionId,
        seq: Seq,
        at: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
        event: &'a Event,
    },
    /// A streamed piece of an open item's text. The first piece names the item that it continues.
    Delta {
        session: &'a SessionId,
        turn: &'a TurnId,
        item: &'a ItemId,
        n: u64,
        kind: StreamKind,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<&'a ItemId>,
    },
    /// An open item's text so far; `n` is the number of the next delta.
    Partial {
        session: &'a SessionId,
        turn: &'a TurnId,
        item: &'a ItemId,
        n: u64,
        kind: StreamKind,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<&'a ItemId>,
    },
    /// A progress note for people. It is not stored.
    Status {
        session: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
        text: &'a str,
    },
    /// Number of clients that are attached to a session.
    Presence { session: &'a SessionId, clients: u64 },
    /// A new or changed session, for clients that watch the list.
    Session { listing: &'a SessionListing },
    /// A session was deleted.
    SessionGone { session: &'a SessionId },
    /// The server ended an attachment.
    Detached { session: &'a SessionId, reason: &'a str },
    /// Answer to a `ping`.
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
    /// A turn for this worker to run.
    Run(&'a Run),
    /// A turn of this worker has ended without it.
    Cancel { session: &'a SessionId, turn: &'a TurnId },
    /// Outcome of an approval that a worker asked for.
    ApprovalSettled {
        turn: &'a TurnId,
        call: &'a CallId,
        /// Subject of the question; absent for `run`.
        #[serde(default, skip_serializing_if = "ApprovalAbout::is_run")]
        #[cfg_attr(feature = "schema", ts(as = "Option<ApprovalAbout>"))]
        about: ApprovalAbout,
        decision: Decision,
    },
    /// Result of a call that a client ran, or the error that none did in time.
    ToolReturned {
        turn: &'a TurnId,
        call: &'a CallId,
        status: ToolStatus,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a Value>,
    },
    /// The offer is no longer valid.
    OfferEnded { agent: &'a AgentId, worker: &'a WorkerId, reason: &'a str },
    /// The server is about to stop.
    Goaway { reason: &'a str, retry_after_ms: u64 },
    /// One part of a frame that is larger than the limit. The `data` of all parts, concatenated, is
    /// the frame's text.
    Part {
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<Seq>,
        part: u64,
        parts: u64,
        data: &'a str,
    },
    /// A frame of an unknown type, as sent. It has its own `type`.
    #[serde(untagged)]
    #[cfg_attr(feature = "schema", schemars(skip), ts(skip))]
    Other(&'a Map<String, Value>),
}

/// An agent as an `ack` shows it.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(rename = "Agent"),
    ts(optional_fields, rename = "Agent")
)]
#[derive(Serialize)]
pub(super) struct AgentWire<'a> {
    id: &'a AgentId,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    persona: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    human: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<Style>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preset: Option<&'a str>,
}

impl<'a> From<&'a AgentProfile> for AgentWire<'a> {
    fn from(profile: &'a AgentProfile) -> Self {
        let AgentSpec { name, persona, human, model, style, preset, settings: _, extra: _ } =
            &profile.spec;
        Self {
            id: &profile.id,
            name,
            persona: persona.as_deref(),
            human: human.as_deref(),
            model: model.as_deref(),
            style: *style,
            preset: preset.as_deref(),
        }
    }
}

/// An agent read from an `ack`. Its main session is beside it.
#[derive(Deserialize)]
pub(super) struct AgentRead {
    pub(super) id: AgentId,
    name: String,
    persona: Option<String>,
    human: Option<String>,
    model: Option<String>,
    style: Option<Style>,
    preset: Option<String>,
}

impl AgentRead {
    pub(super) fn into_profile(self, main_session: SessionId) -> AgentProfile {
        let Self { id, name, persona, human, model, style, preset } = self;
        AgentProfile {
            id,
            spec: AgentSpec {
                name,
                persona,
                human,
                model,
                style,
                preset,
                settings: AgentSettings::default(),
                extra: Map::new(),
            },
            main_session,
        }
    }
}

/// Writes a frame.
// Invariant: every part has string keys and no other maps, so it always serialises.
pub(super) fn to_text(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}
