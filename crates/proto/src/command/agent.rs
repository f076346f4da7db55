//! Agents as clients describe and see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AgentId, SessionId};

/// Style of an agent's replies.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Plain content is the message, and reasoning the thought.
    #[default]
    Native,
    /// Plain content is inner monologue. The tool `send_message` sends messages.
    Memgpt,
}

/// Whether a tool may be used.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// It may be used.
    Allow,
    /// The owner is asked before each use.
    Ask,
    /// It may not be used. The model does not know of it.
    Deny,
}

/// Treatment of a call that an interruption left without a result.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// It is made again: the tool reads only, or a repetition has no second effect.
    Safe,
    /// The owner is asked: run again, assume done, or fail.
    Ask,
    /// It is not made again. The model is told that its outcome is unknown.
    Never,
}

/// Treatment of an agent's turn that a crash or a stop of the server interrupted.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// It goes on.
    #[default]
    Resume,
    /// It ends as `interrupted`.
    Stop,
}

/// An agent's permissions and limits. Absent ones have the server's default.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSettings {
    /// Models to try in order if `model` is not available.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
    pub fallbacks: Vec<String>,
    /// Maximum number of tokens that its model reads, prompt and reply together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u32>,
    /// Maximum number of tokens of one reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Maximum number of model calls in one turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// Maximum number of tokens that one turn may cost, input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<u64>,
    /// Age in days at which ended turns of its sessions are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// Number of events that its sessions keep. The oldest turns beyond it are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_events: Option<u64>,
    /// Treatment of a turn that was interrupted; absent for `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_crash: Option<OnCrash>,
    /// Permissions of its tools, by the tool's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "schema",
        ts(as = "Option<std::collections::HashMap<String, Permission>>")
    )]
    pub permissions: BTreeMap<String, Permission>,
}

/// Description of an agent.
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
    /// Style of its replies; absent for the dialect's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// A `MemGPT` preset's name, kept as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Its permissions and limits.
    #[serde(flatten)]
    pub settings: AgentSettings,
    /// Keys that this version does not know, kept as given.
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
    /// Its description.
    #[serde(flatten)]
    pub spec: AgentSpec,
    /// Its main session.
    pub main_session: SessionId,
}
