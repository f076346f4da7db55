//! Sessions as lists show them.

use serde::{Deserialize, Serialize};

use crate::{AgentId, Seq, SessionId, Timestamp, Usage};

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
    /// Its title, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The newest position.
    pub head: Seq,
    /// Whether a turn runs.
    pub running: bool,
    /// Number of queued inputs.
    pub queued: u64,
    /// Whether a call of the running turn waits for the owner's approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<bool>"))]
    pub needs_you: bool,
    /// Whether it is its agent's main session.
    pub main: bool,
    /// Cost of all its turns.
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<Usage>"))]
    pub usage: Usage,
    /// Time at which it was opened.
    pub created_at: Timestamp,
    /// Time of its newest event.
    pub updated_at: Timestamp,
}
