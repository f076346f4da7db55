//! Events: the facts of a session.

#[cfg(feature = "schema")]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "only tests enable the feature")]
mod contract;
mod input;
mod other;
mod read;
mod record;
mod session;
mod turn;
mod usage;

use serde::Serialize;

pub use input::InputEvent;
pub use other::OtherEvent;
pub use record::Record;
pub use session::{HistoryEntry, Role, SessionEvent};
pub use turn::{
    ApprovalAbout, Decision, Outcome, ResumeReason, RetryReason, ToolStatus, TurnEvent,
};
pub use usage::Usage;

#[doc = include_str!("event.md")]
// The groups exist only in Rust: the JSON is one flat list of kinds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A change of the session itself.
    Session(SessionEvent),
    /// A change of a session's inputs.
    Input(InputEvent),
    /// A step of a turn.
    Turn(TurnEvent),
    /// A kind that this version does not know; kept as it came.
    Other(OtherEvent),
}

impl Event {
    /// Kind of the event, as written in its `kind` key.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Session(event) => event.kind(),
            Self::Input(event) => event.kind(),
            Self::Turn(event) => event.kind(),
            Self::Other(event) => event.kind(),
        }
    }

    /// Text of a user message or of the agent's message, and who wrote it.
    #[must_use]
    pub fn said(&self) -> Option<(Role, &str)> {
        match self {
            Self::Input(InputEvent::UserMessage { text, .. }) => Some((Role::User, text)),
            Self::Turn(TurnEvent::Message { text, .. }) => Some((Role::Assistant, text)),
            Self::Session(_)
            | Self::Input(InputEvent::Withdrawn { .. })
            | Self::Turn(
                TurnEvent::Started { .. }
                | TurnEvent::Resumed { .. }
                | TurnEvent::ToolRetried { .. }
                | TurnEvent::Thought { .. }
                | TurnEvent::ToolCalled { .. }
                | TurnEvent::ApprovalAsked { .. }
                | TurnEvent::ApprovalSettled { .. }
                | TurnEvent::ToolAwaited { .. }
                | TurnEvent::ToolReturned { .. }
                | TurnEvent::Usage(_)
                | TurnEvent::Ended { .. },
            )
            | Self::Other(_) => None,
        }
    }

    /// Tells whether this version knows a kind. An [`OtherEvent`] never has such a kind.
    #[must_use]
    pub fn knows(kind: &str) -> bool {
        SessionEvent::KINDS.contains(&kind)
            || InputEvent::KINDS.contains(&kind)
            || TurnEvent::KINDS.contains(&kind)
    }

    /// All kinds that this version knows.
    pub fn known_kinds() -> impl Iterator<Item = &'static str> {
        SessionEvent::KINDS.into_iter().chain(InputEvent::KINDS).chain(TurnEvent::KINDS)
    }
}

impl From<SessionEvent> for Event {
    fn from(event: SessionEvent) -> Self {
        Self::Session(event)
    }
}

impl From<InputEvent> for Event {
    fn from(event: InputEvent) -> Self {
        Self::Input(event)
    }
}

impl From<TurnEvent> for Event {
    fn from(event: TurnEvent) -> Self {
        Self::Turn(event)
    }
}
