//! Records: events at their positions.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Seq, Timestamp, TurnId};

/// An event at its position in a session's log.
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    ts(optional_fields, rename = "LogRecord")
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its position.
    pub seq: Seq,
    /// Time at which it was accepted.
    pub at: Timestamp,
    /// The turn it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// The event.
    pub event: Event,
}
