//! Sessions.

use serde::{Deserialize, Serialize};

use crate::{Epoch, HistoryEntry, Seq, SessionId, SessionListing};

/// The user's sessions.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// Sessions, newest activity first.
    pub sessions: Vec<SessionListing>,
}

/// One session in full.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDetails {
    /// The session as lists show it.
    pub session: SessionListing,
    /// Lifetime of its log.
    pub epoch: Epoch,
    /// Position at which its log now begins.
    pub first: Seq,
    /// Instructions beside the agent's persona; null for none.
    pub instructions: Option<String>,
    /// Days after which ended turns are deleted; null for the agent's setting.
    pub keep_days: Option<u32>,
    /// Number of events above which the oldest turns are deleted; null for the agent's setting.
    pub keep_events: Option<u64>,
}

/// A session to open.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDraft {
    /// The agent's name or id.
    pub agent: String,
    /// Title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Instructions beside the agent's persona.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Messages from before the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<HistoryEntry>>"))]
    pub history: Vec<HistoryEntry>,
}

/// A session that was opened.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// Identifier.
    pub session: SessionId,
}

/// Changes to a session. An absent key stays as it is.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionPatch {
    /// New title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Days after which ended turns are deleted; null for the agent's setting.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::present")]
    #[cfg_attr(feature = "schema", schemars(extend("x-nullable" = true)))]
    pub keep_days: Option<Option<u32>>,
    /// Number of events above which the oldest turns are deleted; null for the agent's setting.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::present")]
    #[cfg_attr(feature = "schema", schemars(extend("x-nullable" = true)))]
    pub keep_events: Option<Option<u64>>,
}
