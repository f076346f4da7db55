//! Calls of a session, as its log accounts for them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CallId, Epoch, Seq, SessionId, Timestamp, TurnId};

/// A page of a session's calls.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallPage {
    /// Session.
    pub session: SessionId,
    /// Lifetime of its log.
    pub epoch: Epoch,
    /// Position at which its log now begins. Calls before it are not listed.
    pub first: Seq,
    /// Newest position. The calls are listed as they are there.
    pub head: Seq,
    /// Calls in the order in which they were made.
    pub calls: Vec<CallListing>,
}

/// A call and its state.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallListing {
    /// The call's id.
    pub call: CallId,
    /// The tool.
    pub name: String,
    /// The arguments, as an object.
    pub args: Map<String, Value>,
    /// Its turn.
    pub turn: TurnId,
    /// Position of its `tool_called`.
    pub seq: Seq,
    /// Time of its `tool_called`.
    pub at: Timestamp,
    /// State at the newest position.
    pub state: CallState,
    /// Number of times that it was made again.
    pub retries: u32,
    /// With the state `waiting`: what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<CallWait>,
    /// With the state `waiting`: time at which the wait ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Position of its `tool_returned`, once it has returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_seq: Option<Seq>,
    /// Time of its `tool_returned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_at: Option<Timestamp>,
    /// The text of its result, at most 200 characters. A text that was cut ends with `…`; the event
    /// at `returned_seq` has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// State of a call.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// It returned a result.
    Done,
    /// It returned an error.
    Failed,
    /// It has not returned.
    Running,
    /// It waits for its owner or for a client.
    Waiting,
    /// It was interrupted: it may or may not have taken effect.
    Unknown,
}

/// Answer or client that a call waits for.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallWait {
    /// Its owner's approval to run.
    Approval,
    /// Its owner's decision whether to run again, as its outcome is unknown.
    Retry,
    /// A client that runs it.
    Client,
}
