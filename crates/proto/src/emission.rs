//! Emissions: what a subscriber of a session receives.

use serde::{Deserialize, Serialize};

use crate::{ItemId, Record, SessionId, TurnId};

/// What kind of item a delta or partial belongs to.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// A thought's words.
    Thought,
    /// A message's words.
    Message,
    /// The JSON text of a call's arguments.
    ToolArgs,
}

/// A streaming piece of an open item; no seq, never stored, superseded by the item's event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The turn.
    pub turn: TurnId,
    /// The open item; for arguments, the call's id.
    pub item: ItemId,
    /// Counted per item, from 0.
    pub n: u64,
    /// What kind of item.
    pub kind: StreamKind,
    /// The piece.
    pub text: String,
}

/// An open item's text so far. It replaces what a client has of the item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The turn.
    pub turn: TurnId,
    /// The open item.
    pub item: ItemId,
    /// How many deltas are in `text`: the next delta's `n`.
    pub n: u64,
    /// What kind of item.
    pub kind: StreamKind,
    /// All of its text so far.
    pub text: String,
}

/// What a subscriber of a session can be shown, in emission order.
#[derive(Debug, Clone, PartialEq)]
pub enum Emission {
    /// A committed event.
    Record(Record),
    /// A piece of an open item.
    Delta(Delta),
    /// An open item's text so far.
    Partial(Partial),
    /// What the agent is about, for people; never stored.
    Status {
        /// The turn, when it is about one.
        turn: Option<TurnId>,
        /// The words.
        text: String,
    },
    /// How many clients are attached.
    Presence {
        /// Their number.
        clients: u64,
    },
}

/// Which session an emission is of, for encoders.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// The session.
    pub session: SessionId,
    /// What to show.
    pub emission: Emission,
}
