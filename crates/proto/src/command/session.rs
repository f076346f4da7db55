//! Commands that a session carries out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Command;
use crate::{CallId, ItemId, Seq, SessionId, ToolStatus, TurnId};

/// A command that a session carries out. It always travels with its session's id. Its form in JSON
/// is for [`crate::cluster`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionCommand {
    /// Send an input.
    Send {
        /// Text of the input.
        text: String,
        /// References to files.
        attachments: Vec<String>,
        /// Treatment of the input if a turn runs.
        policy: Policy,
    },
    /// Remove an input from the queue.
    Withdraw {
        /// The input.
        input: ItemId,
    },
    /// End the running turn.
    Cancel {
        /// The turn, to end only that one.
        turn: Option<TurnId>,
    },
    /// Answer a request for approval.
    Decide {
        /// The call that waits for approval.
        call: CallId,
        /// The decision.
        decision: Verdict,
        /// With [`Verdict::Done`]: the call's result, for the model.
        result: Option<String>,
    },
    /// Return the result of a tool that a client ran.
    ToolReturn {
        /// The call.
        call: CallId,
        /// Whether the call succeeded.
        status: ToolStatus,
        /// The result or the error.
        text: String,
        /// The result in a richer form.
        content: Option<Value>,
    },
    /// Give the session a title.
    Rename {
        /// The title.
        title: String,
    },
    /// Give the session instructions.
    Instruct {
        /// The instructions. An empty text removes them.
        instructions: String,
    },
    /// Delete the session and its log.
    Delete,
}

impl SessionCommand {
    /// The command for a session.
    #[must_use]
    pub fn on(self, session: SessionId) -> Command {
        Command::Session { session, command: self }
    }

    /// Name of the command, the first part of its idempotency digest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Withdraw { .. } => "withdraw",
            Self::Cancel { .. } => "cancel",
            Self::Decide { .. } => "decide",
            Self::ToolReturn { .. } => "tool_return",
            Self::Rename { .. } => "rename",
            Self::Instruct { .. } => "instruct",
            Self::Delete => "delete_session",
        }
    }

    /// Content of the command for its idempotency digest. Stored receipts depend on it.
    #[must_use]
    pub fn digest_parts<'a>(&'a self, session: &'a SessionId) -> Vec<Cow<'a, str>> {
        match self {
            Self::Send { text, attachments, policy } => {
                let mut parts = vec![Cow::from(text), policy.name().into()];
                parts.extend(attachments.iter().map(Cow::from));
                parts
            }
            Self::Withdraw { input } => vec![input.as_str().into()],
            Self::Cancel { turn } => {
                vec![turn.as_ref().map_or("", |turn| turn.as_str()).into()]
            }
            Self::Decide { call, decision, result } => {
                let mut parts = vec![call.as_str().into(), decision.name().into()];
                parts.extend(result.as_deref().map(Cow::from));
                parts
            }
            Self::ToolReturn { call, status, text, content } => {
                let status = match status {
                    ToolStatus::Success => "success",
                    ToolStatus::Error => "error",
                    ToolStatus::Unknown => "unknown",
                };
                let content = content.as_ref().map(ToString::to_string).unwrap_or_default();
                vec![call.as_str().into(), status.into(), text.into(), content.into()]
            }
            Self::Rename { title } => vec![title.into()],
            Self::Instruct { instructions } => vec![instructions.into()],
            Self::Delete => vec![session.as_str().into()],
        }
    }
}

/// A client's answer to a request for approval.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The call may run, or run again.
    Approved,
    /// It may not. A call whose outcome is unknown counts as failed.
    Denied,
    /// The call has been made: for calls whose outcome is unknown.
    Done,
}

impl Verdict {
    /// Name of the verdict on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Done => "done",
        }
    }
}

/// A session's success reply. Its form in JSON is for [`crate::cluster`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionReply {
    /// An input was accepted and is on disk.
    Input {
        /// Position of its `user_message`.
        seq: Seq,
        /// Id of the input.
        input: ItemId,
        /// Disposition of the input.
        disposition: Disposition,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
    /// The command took effect.
    Done {
        /// Position of the event, if the command wrote one.
        seq: Option<Seq>,
        /// True when this id was seen before and nothing was done again.
        duplicate: bool,
    },
}

/// Treatment of an input that arrives while a turn runs.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is queued.
    #[default]
    Queue,
    /// It ends the running turn as cancelled and starts at once.
    Interrupt,
    /// It is refused.
    Reject,
    /// It joins the running turn at its next step.
    Steer,
}

impl Policy {
    /// Name of the policy on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Interrupt => "interrupt",
            Self::Reject => "reject",
            Self::Steer => "steer",
        }
    }
}

/// Disposition of an accepted input.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Its turn started.
    Started,
    /// It is queued.
    Queued,
    /// It joined the running turn.
    Steered,
}
