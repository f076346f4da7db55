//! Events about the inputs of a session.

use serde::{Deserialize, Serialize};

use crate::ItemId;

/// A change in what users have said to the agent.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputEvent {
    /// Somebody said something to the agent.
    UserMessage {
        /// The input's id.
        item: ItemId,
        /// What was said.
        text: String,
        /// References to files that came along.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
        attachments: Vec<String>,
        /// Which client said it, by the name it gave itself or its dialect's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A queued input was taken back before its turn.
    #[serde(rename = "input_withdrawn")]
    Withdrawn {
        /// The input that will not be run.
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
