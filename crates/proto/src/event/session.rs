//! Events about a session itself.

use serde::{Deserialize, Serialize};

use crate::{AgentId, Seq};

/// A change of the session itself. None of these needs a running turn.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SessionEvent {
    /// The first event of every session.
    #[serde(rename = "session_opened")]
    Opened {
        /// The agent this session talks to.
        agent: AgentId,
        /// What this session adds to the agent's persona.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instructions: Option<String>,
        /// Words from before the session, given by the client.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<HistoryEntry>>"))]
        history: Vec<HistoryEntry>,
    },
    /// The session has a new title.
    #[serde(rename = "session_renamed")]
    Renamed {
        /// The title from now on.
        title: String,
    },
    /// The session has new instructions.
    InstructionsChanged {
        /// The instructions from now on; empty takes them away.
        instructions: String,
    },
    /// A memory block changed.
    MemoryEdited {
        /// The block's label.
        block: String,
        /// Its text before.
        before: String,
        /// Its text now.
        after: String,
        /// `agent` or `owner`.
        by: String,
    },
    /// The oldest part of the context was summarised.
    Compacted {
        /// The summary that stands for it.
        summary: String,
        /// The last position it covers.
        through: Seq,
    },
}

impl SessionEvent {
    /// Kinds of this group, as written in the `kind` key.
    pub const KINDS: [&str; 5] =
        ["session_opened", "session_renamed", "instructions_changed", "memory_edited", "compacted"];

    /// Kind of the event, as written in its `kind` key.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "session_opened",
            Self::Renamed { .. } => "session_renamed",
            Self::InstructionsChanged { .. } => "instructions_changed",
            Self::MemoryEdited { .. } => "memory_edited",
            Self::Compacted { .. } => "compacted",
        }
    }
}

/// Words from before a session.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who spoke.
    pub role: Role,
    /// The words.
    pub text: String,
}

/// Who spoke in a [`HistoryEntry`].
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The agent.
    Assistant,
}
