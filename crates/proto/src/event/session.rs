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
        /// The session's agent.
        agent: AgentId,
        /// The session's instructions, which are added to the agent's persona.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instructions: Option<String>,
        /// Messages from before the session, given by the client.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<HistoryEntry>>"))]
        history: Vec<HistoryEntry>,
    },
    /// The session has a new title.
    #[serde(rename = "session_renamed")]
    Renamed {
        /// The new title.
        title: String,
    },
    /// The session has new instructions.
    InstructionsChanged {
        /// The new instructions. An empty text removes them.
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
        /// The editor: `agent` or `owner`.
        by: String,
    },
    /// The oldest part of the context was summarised.
    Compacted {
        /// The summary that replaces it for the model.
        summary: String,
        /// The last position that the summary covers.
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

/// A message from before a session.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The author.
    pub role: Role,
    /// The text.
    pub text: String,
}

/// Author of a message.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The agent.
    Assistant,
}
