//! Agents as files.

use serde::{Deserialize, Serialize};

use super::CoreBlock;
use crate::{AgentSpec, Record, Timestamp};

/// An agent as a file: its settings, its memory and optionally the logs of its sessions.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::optional("notes")))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentFile {
    /// Version of the file's form.
    #[cfg_attr(feature = "schema", schemars(extend("const" = AgentFile::FORM)))]
    pub thoughtwire_agent: u32,
    /// Settings.
    pub agent: AgentSpec,
    /// Core memory.
    pub blocks: Vec<CoreBlock>,
    /// Archival memory.
    #[serde(default)]
    pub notes: Vec<FileNote>,
    /// Logs of its sessions; the first one is the main session's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<Vec<FileSession>>"))]
    pub sessions: Vec<FileSession>,
}

impl AgentFile {
    /// The form that this version writes and reads.
    pub const FORM: u32 = 1;
}

/// A note of an agent in a file.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Text.
    pub text: String,
    /// Time of the note.
    pub at: Timestamp,
    /// Origin of an imported note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A session's log in a file.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSession {
    /// Events in order, from the session's opening.
    pub events: Vec<Record>,
}
