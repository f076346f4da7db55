//! The frames as they are written: one struct per type, its keys in the order of the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::Verdict;
use super::server::Limits;
use crate::{
    AgentId, AgentProfile, AgentSettings, AgentSpec, CallId, CommandId, Decision, Disposition,
    Epoch, Event, HistoryEntry, Input, ItemId, Offer, Policy, Run, Seq, SessionId, SessionListing,
    StreamKind, Style, Timestamp, ToolDeclaration, ToolStatus, TurnId, Verb, WorkerId,
};

/// What clients write.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(rename = "ClientFrame"),
    ts(optional_fields, rename = "ClientFrame")
)]
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientWire<'a> {
    Hello {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'a str>,
    },
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
    Detach {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
    },
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
    DeleteSession {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
    },
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
    Withdraw {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        input: &'a ItemId,
    },
    Cancel {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
    },
    Decide {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        call: &'a CallId,
        decision: Verdict,
    },
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
    Rename {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        session: &'a SessionId,
        title: &'a str,
    },
    Watch {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
    Offer {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        #[serde(flatten)]
        offer: &'a Offer,
    },
    Say {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        turn: &'a TurnId,
        #[serde(flatten)]
        verb: &'a Verb,
    },
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
}

/// What servers write.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(rename = "ServerFrame"),
    ts(optional_fields, rename = "ServerFrame")
)]
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerWire<'a> {
    Welcome {
        protocol: &'a str,
        server: &'a str,
        limits: &'a Limits,
    },
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
    CaughtUp {
        session: &'a SessionId,
        seq: Seq,
    },
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
        #[serde(skip_serializing_if = "Option::is_none")]
        worker: Option<&'a WorkerId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        turns: Option<&'a [TurnId]>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<Input>>"))]
        steered: &'a [Input],
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        #[cfg_attr(feature = "schema", ts(as = "Option<bool>"))]
        duplicate: bool,
    },
    Refused {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        code: &'a str,
        reason: &'a str,
        retry: bool,
    },
    Event {
        session: &'a SessionId,
        seq: Seq,
        at: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
        event: &'a Event,
    },
    Delta {
        session: &'a SessionId,
        turn: &'a TurnId,
        item: &'a ItemId,
        n: u64,
        kind: StreamKind,
        text: &'a str,
    },
    Partial {
        session: &'a SessionId,
        turn: &'a TurnId,
        item: &'a ItemId,
        n: u64,
        kind: StreamKind,
        text: &'a str,
    },
    Status {
        session: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<&'a TurnId>,
        text: &'a str,
    },
    Presence {
        session: &'a SessionId,
        clients: u64,
    },
    Session {
        listing: &'a SessionListing,
    },
    SessionGone {
        session: &'a SessionId,
    },
    Detached {
        session: &'a SessionId,
        reason: &'a str,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
    Run(&'a Run),
    Cancel {
        session: &'a SessionId,
        turn: &'a TurnId,
    },
    ApprovalSettled {
        turn: &'a TurnId,
        call: &'a CallId,
        decision: Decision,
    },
    ToolReturned {
        turn: &'a TurnId,
        call: &'a CallId,
        status: ToolStatus,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a Value>,
    },
    OfferEnded {
        agent: &'a AgentId,
        worker: &'a WorkerId,
        reason: &'a str,
    },
    Goaway {
        reason: &'a str,
        retry_after_ms: u64,
    },
    Part {
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'a SessionId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<Seq>,
        part: u64,
        parts: u64,
        data: &'a str,
    },
    /// A type that this version does not know, as it came; it has its own `type`.
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

/// An agent read back from an `ack`; its main session stands beside it.
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
