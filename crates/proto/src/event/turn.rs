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
        /// The input that it runs on.
        input: ItemId,
    },
    /// The agent had a thought.
    Thought {
        /// The thought's id.
        item: ItemId,
        /// The text; never empty.
        text: String,
        /// False if the turn ended before the thought was complete.
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
    /// A call waits for the owner's approval.
    ApprovalAsked {
        /// The call that waits.
        call: CallId,
        /// The tool, so that the record is understandable alone.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<String>"))]
        name: String,
        /// Time at which the approval expires, which counts as a denial.
        expires_at: Timestamp,
    },
    /// An approval was given, denied, or has expired.
    ApprovalSettled {
        /// The call that waited.
        call: CallId,
        /// How it was settled.
        decision: Decision,
        /// The client that settled it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A call waits for a client of the session to run it. Clients run it now, and not before.
    ToolAwaited {
        /// The call that waits.
        call: CallId,
        /// Time at which the wait ends and the call returns as an error.
        expires_at: Timestamp,
    },
    /// A call returned.
    ToolReturned {
        /// The call.
        call: CallId,
        /// The tool, so that the record is understandable alone.
        name: String,
        /// Whether the call succeeded.
        status: ToolStatus,
        /// The result or the error, as text.
        text: String,
        /// The result in a richer form, if the tool has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Value>,
    },
    /// The agent sent a message.
    Message {
        /// The message's id.
        item: ItemId,
        /// The text; never empty.
        text: String,
        /// False if the turn ended before the message was complete.
        complete: bool,
    },
    /// Cost of the turn's model calls.
    Usage(Usage),
    /// A turn ended. Each turn that started ends exactly once.
    #[serde(rename = "turn_ended")]
    Ended {
        /// The input that it ran on.
        input: ItemId,
        /// How it ended.
        outcome: Outcome,
        /// The cause for programs, if it did not complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The cause as a sentence.
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

/// Whether a call succeeded.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// It succeeded.
    Success,
    /// It failed; the text says why.
    Error,
}

/// How a turn ended.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished.
    Completed,
    /// A client cancelled it, or a new input interrupted it.
    Cancelled,
    /// It failed; code and reason say why.
    Failed,
    /// The server stopped during the turn. Written at the next start.
    Interrupted,
}
