//! Events of a session: pages, and the ends of a stream.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Record, Seq, SessionId};

/// A page of a session's events.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// Session.
    pub session: SessionId,
    /// Lifetime of its log.
    pub epoch: Epoch,
    /// Position at which its log now begins.
    pub first: Seq,
    /// Newest position.
    pub head: Seq,
    /// Events in order.
    pub events: Vec<Record>,
}

/// Data of the server-sent event `restarted`: the stream's cursor was not of this log.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRestarted {
    /// A sentence for people.
    pub reason: String,
    /// Lifetime of the log.
    pub epoch: Epoch,
    /// Position at which the log now begins.
    pub first: Seq,
    /// Newest position.
    pub head: Seq,
}

/// Data of the server-sent event `closed`, the last one of a stream.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamClosed {
    /// Cause.
    pub code: StreamEnd,
    /// A sentence for people.
    pub reason: String,
}

/// Cause of a stream's end.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// Events behind the cursor were deleted. The next stream begins where the log does.
    Trimmed,
    /// The session was deleted, or the server stops.
    Closed,
    /// The key was revoked or has expired.
    Unauthorized,
    /// The log could not be read.
    StoreFailed,
}
