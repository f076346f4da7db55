//! Events of a turn.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Usage;
use crate::{CallId, ItemId, Timestamp};

/// A step of a running turn, from its start to its end.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TurnEvent {
    /// A turn began.
    #[serde(rename = "turn_started")]
    Started {
        /// The input it runs.
        input: ItemId,
    },
    /// The agent thought something.
    Thought {
        /// The thought's id.
        item: ItemId,
        /// The words; never empty.
        text: String,
        /// False when the turn ended in the middle of it.
        complete: bool,
    },
    /// The agent called a tool. On disk before the tool runs.
    ToolCalled {
        /// The call's id.
        call: CallId,
        /// The tool.
        name: String,
        /// The arguments, as an object.
        args: Map<String, Value>,
    },
    /// A call waits for its owner's leave.
    ApprovalAsked {
        /// The call that waits.
        call: CallId,
        /// The tool, so that the record stands by itself.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<String>"))]
        name: String,
        /// When the question lapses into a no.
        expires_at: Timestamp,
    },
    /// The question was answered, or lapsed.
    ApprovalSettled {
        /// The call that waited.
        call: CallId,
        /// How it was settled.
        decision: Decision,
        /// Who settled it, when somebody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A call waits for a client of the session to run it; only now may one.
    ToolAwaited {
        /// The call that waits.
        call: CallId,
        /// When waiting ends, and the call comes back as an error.
        expires_at: Timestamp,
    },
    /// A call came back.
    ToolReturned {
        /// The call.
        call: CallId,
        /// The tool, so that the record stands by itself.
        name: String,
        /// Whether it worked.
        status: ToolStatus,
        /// The result or the error, as text.
        text: String,
        /// The result in richer form, where the tool has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Value>,
    },
    /// The agent said something.
    Message {
        /// The message's id.
        item: ItemId,
        /// The words; never empty.
        text: String,
        /// False when the turn ended in the middle of it.
        complete: bool,
    },
    /// What the turn's model calls cost.
    Usage(Usage),
    /// A turn ended; exactly once for each that started.
    #[serde(rename = "turn_ended")]
    Ended {
        /// The input it ran.
        input: ItemId,
        /// How it ended.
        outcome: Outcome,
        /// A stable word for the cause, when it did not complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The cause in a sentence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl TurnEvent {
    /// Kinds of this group, as written in the `kind` key.
    pub const KINDS: [&str; 10] = [
        "turn_started",
        "thought",
        "tool_called",
        "approval_asked",
        "approval_settled",
        "tool_awaited",
        "tool_returned",
        "message",
        "usage",
        "turn_ended",
    ];

    /// Kind of the event, as written in its `kind` key.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "turn_started",
            Self::Thought { .. } => "thought",
            Self::ToolCalled { .. } => "tool_called",
            Self::ApprovalAsked { .. } => "approval_asked",
            Self::ApprovalSettled { .. } => "approval_settled",
            Self::ToolAwaited { .. } => "tool_awaited",
            Self::ToolReturned { .. } => "tool_returned",
            Self::Message { .. } => "message",
            Self::Usage(_) => "usage",
            Self::Ended { .. } => "turn_ended",
        }
    }
}

/// How an approval was settled.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The call may run.
    Approved,
    /// It may not.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// Its turn ended first.
    Void,
}

/// Whether a call worked.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// It did.
    Success,
    /// It did not; the text says why.
    Error,
}

/// How a turn ended.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished.
    Completed,
    /// Somebody cancelled it, or a new input interrupted it.
    Cancelled,
    /// It could not go on; code and reason say why.
    Failed,
    /// The server stopped in the middle; written at the next start.
    Interrupted,
}
