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
    /// The turn goes on after an interruption. Calls that were running have no result yet.
    #[serde(rename = "turn_resumed")]
    Resumed {
        /// Number of interruptions of the turn that count against its limit, from 1. A planned stop
        /// does not count; then it is the number before.
        attempt: u32,
        /// Cause of the interruption.
        reason: ResumeReason,
    },
    /// The agent had a thought.
    Thought {
        /// The thought's id.
        item: ItemId,
        /// The text; never empty.
        text: String,
        /// False if the thought was cut: the turn ended or was interrupted first.
        complete: bool,
        /// The cut thought whose text this one continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continues: Option<ItemId>,
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
    /// A call whose outcome was unknown is made again. On disk before the tool runs.
    ToolRetried {
        /// The call.
        call: CallId,
        /// Number of this repetition, from 1.
        attempt: u32,
        /// Why the call may be repeated.
        reason: RetryReason,
    },
    /// A call waits for the owner's approval.
    ApprovalAsked {
        /// The call that waits.
        call: CallId,
        /// The tool, so that the record is understandable alone.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "schema", ts(as = "Option<String>"))]
        name: String,
        /// Subject of the question. Absent for `run`.
        #[serde(default, skip_serializing_if = "ApprovalAbout::is_run")]
        #[cfg_attr(feature = "schema", ts(as = "Option<ApprovalAbout>"))]
        about: ApprovalAbout,
        /// Time at which the approval expires. That counts as a denial, or leaves the outcome of a
        /// call unknown.
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
        /// Whether the call succeeded, as far as that is known.
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
        /// False if the message was cut: the turn ended or was interrupted first.
        complete: bool,
        /// The cut message whose text this one continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continues: Option<ItemId>,
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
    pub const KINDS: [&str; 12] = [
        "turn_started",
        "turn_resumed",
        "thought",
        "tool_called",
        "tool_retried",
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
            Self::Resumed { .. } => "turn_resumed",
            Self::Thought { .. } => "thought",
            Self::ToolCalled { .. } => "tool_called",
            Self::ToolRetried { .. } => "tool_retried",
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
    /// It may not. A call whose outcome is unknown counts as failed.
    Denied,
    /// The owner says that the call, whose outcome was unknown, has been made.
    Done,
    /// Nobody answered in time.
    Expired,
    /// Its turn ended first.
    Void,
}

/// Subject of a question to the owner.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalAbout {
    /// To run a call.
    #[default]
    Run,
    /// To run a call again whose outcome is unknown.
    Retry,
}

impl ApprovalAbout {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn is_run(&self) -> bool {
        *self == Self::Run
    }
}

/// Cause of an interruption of a turn.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeReason {
    /// The server stopped or died.
    Restart,
    /// The session moved to another server.
    Moved,
    /// The worker that ran the turn was lost.
    WorkerLost,
}

/// Why a call whose outcome is unknown may be made again.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryReason {
    /// The tool may be called twice: it reads only, or a repetition has no second effect.
    Safe,
    /// The owner said so.
    Approved,
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
    /// It was interrupted: it may or may not have taken effect.
    Unknown,
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
