//! Agents as clients describe and see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AgentId, SessionId};

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
