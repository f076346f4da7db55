//! Emissions: what a subscriber of a session receives.

use serde::{Deserialize, Serialize};

use crate::{Event, ItemId, Record, SessionId, TurnEvent, TurnId};

/// Kind of item that a delta or partial belongs to.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Text of a thought.
    Thought,
    /// Text of a message.
    Message,
    /// The JSON text of a call's arguments.
    ToolArgs,
}

impl StreamKind {
    /// The event of an item that was cut, with the item that it continues. `None` for arguments of
    /// a call and for an empty text: the next text then continues what this one would have.
    #[must_use]
    pub fn incomplete_item(
        self,
        item: ItemId,
        text: String,
        continues: Option<ItemId>,
    ) -> Option<Event> {
        if text.is_empty() {
            return None;
        }
        let complete = false;
        match self {
            Self::Thought => {
                Some(Event::Turn(TurnEvent::Thought { item, text, complete, continues }))
            }
            Self::Message => {
                Some(Event::Turn(TurnEvent::Message { item, text, complete, continues }))
            }
            Self::ToolArgs => None,
        }
    }
}

/// A streamed piece of an open item. It has no seq, is never stored, and is replaced by the item's
/// event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The turn.
    pub turn: TurnId,
    /// The open item; for arguments, the call's id.
    pub item: ItemId,
    /// Number of the piece within its item, from 0.
    pub n: u64,
    /// Kind of the item.
    pub kind: StreamKind,
    /// The piece.
    pub text: String,
    /// The cut item whose text this one continues. Only the first piece has it.
    pub continues: Option<ItemId>,
}

/// An open item's text so far. It replaces what a client has of the item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The turn.
    pub turn: TurnId,
    /// The open item.
    pub item: ItemId,
    /// Number of deltas in `text`, which is the next delta's `n`.
    pub n: u64,
    /// Kind of the item.
    pub kind: StreamKind,
    /// All of its text so far.
    pub text: String,
    /// The cut item whose text this one continues.
    pub continues: Option<ItemId>,
}

/// Something that a subscriber of a session is shown. Emissions have an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Emission {
    /// A committed event.
    Record(Record),
    /// A piece of an open item.
    Delta(Delta),
    /// An open item's text so far.
    Partial(Partial),
    /// Note for people about the agent's activity. Never stored.
    Status {
        /// The turn, if the note is about one.
        turn: Option<TurnId>,
        /// Text of the note.
        text: String,
    },
    /// Number of attached clients.
    Presence {
        /// The number.
        clients: u64,
    },
}

/// An emission with its session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionEmission {
    /// The session.
    pub session: SessionId,
    /// The emission.
    pub emission: Emission,
}
