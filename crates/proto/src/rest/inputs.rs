//! Inputs of a session, and decisions in it.

use serde::{Deserialize, Serialize};

use crate::{Disposition, ItemId, Policy, Record, Seq, SessionId, Timestamp, TurnId, Verdict};

/// An input to send.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDraft {
    /// Text.
    pub text: String,
    /// Handling of an input that arrives while a turn runs; absent for `queue`.
    #[serde(default, skip_serializing_if = "is_queue")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Policy>"))]
    pub policy: Policy,
    /// References to files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>"))]
    pub attachments: Vec<String>,
}

/// Tells the policy that is left out.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_queue(policy: &Policy) -> bool {
    *policy == Policy::Queue
}

/// An input that is on disk. Its turn runs or waits.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputAccepted {
    /// Session.
    pub session: SessionId,
    /// Position of its `user_message`.
    pub seq: Seq,
    /// The input's id.
    pub input: ItemId,
    /// Handling of the input.
    pub disposition: Disposition,
    /// Whether this idempotency key was used before and nothing was sent again.
    pub duplicate: bool,
}

/// An input with the events of its turn, which has ended.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnResult {
    /// The input.
    #[serde(flatten)]
    pub input: InputAccepted,
    /// The turn's events in order.
    pub events: Vec<Record>,
    /// True if retention deleted at least one of them; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<bool>"))]
    pub trimmed: bool,
}

/// Inputs that wait for their turn.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputList {
    /// Inputs in the order of their turns.
    pub inputs: Vec<InputListing>,
}

/// An input that waits for its turn.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputListing {
    /// The input's id.
    pub input: ItemId,
    /// Position of its `user_message`.
    pub seq: Seq,
    /// Time at which it was sent.
    pub at: Timestamp,
    /// Text.
    pub text: String,
}

/// The turn to cancel.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Only this turn, so that a late request cannot cancel the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
}

/// A decision about a call that waits for approval.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRequest {
    /// The decision. `done` is for calls whose outcome is unknown.
    pub decision: Verdict,
    /// With `done`: the call's result, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub result: Option<String>,
}

/// A command that was carried out. It has no keys if the request changed nothing in the log.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandDone {
    /// Position of its event; null if it left none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::present")]
    #[cfg_attr(feature = "schema", schemars(extend("x-nullable" = true)))]
    pub seq: Option<Option<Seq>>,
    /// Whether this idempotency key was used before and nothing was done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}
