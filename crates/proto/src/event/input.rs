//! Events about the inputs of a session.

use serde::{Deserialize, Serialize};

use crate::ItemId;

/// A change of a session's inputs.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputEvent {
    /// A user sent an input.
    UserMessage {
        /// The input's id.
        item: ItemId,
        /// The text.
        text: String,
        /// References to files.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
        attachments: Vec<String>,
        /// The client that sent it: the name that it gave, or its dialect's. A `MemGPT` client with
        /// a name is `memgpt:NAME`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A queued input was withdrawn before its turn.
    #[serde(rename = "input_withdrawn")]
    Withdrawn {
        /// The input that will not run.
        input: ItemId,
    },
}

impl InputEvent {
    /// Kinds of this group, as written in the `kind` key.
    pub const KINDS: [&str; 2] = ["user_message", "input_withdrawn"];

    /// Kind of the event, as written in its `kind` key.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UserMessage { .. } => "user_message",
            Self::Withdrawn { .. } => "input_withdrawn",
        }
    }
}
