//! Refusals of commands and frames. A refusal does not close the connection.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the same command may succeed later, unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not unless something changes.
    Never,
    /// Yes, after a while.
    Later,
}

/// Reason for which a command or frame is refused. This is the table of codes for all dialects.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The frame is not a JSON object.
    BadFrame,
    /// The frame's type is unknown.
    UnknownType,
    /// A key is missing, or has a wrong type or value.
    BadRequest,
    /// The text is empty.
    EmptyText,
    /// A size or a nesting is above its limit.
    TooLarge,
    /// Credentials are missing or invalid.
    Unauthorized,
    /// The credentials do not allow this.
    Forbidden,
    /// The agent does not exist.
    UnknownAgent,
    /// The session does not exist.
    UnknownSession,
    /// The input is not in the queue.
    UnknownInput,
    /// The call is not open, or does not wait for an answer.
    UnknownCall,
    /// The key does not exist.
    UnknownKey,
    /// An agent with this name exists.
    NameTaken,
    /// The connection is not attached to this session.
    NotAttached,
    /// The limit on attached sessions is reached.
    TooManySessions,
    /// The session's queue of inputs is full.
    QueueFull,
    /// A turn runs, and the input's policy is `reject`.
    TurnRunning,
    /// No turn runs.
    NoTurn,
    /// Workers do not run this agent.
    NotOffered,
    /// The command id was used with other content.
    IdReused,
    /// The agent's archival memory is full.
    ArchivalFull,
    /// Commands arrive too fast.
    TooFast,
    /// The disk is full. Nothing was saved.
    StoreFull,
    /// The disk failed. Nothing was saved.
    StoreFailed,
    /// The disk failed during a save. The outcome is unknown until the disk works again.
    StoreUnknown,
    /// Another node has the session, and cannot be asked now.
    Moved,
    /// The server is stopping.
    Stopping,
    /// The server was built without this feature.
    Unsupported,
    /// A defect in the server.
    Internal,
}

impl RefusalCode {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 29] = [
        Self::BadFrame,
        Self::UnknownType,
        Self::BadRequest,
        Self::EmptyText,
        Self::TooLarge,
        Self::Unauthorized,
        Self::Forbidden,
        Self::UnknownAgent,
        Self::UnknownSession,
        Self::UnknownInput,
        Self::UnknownCall,
        Self::UnknownKey,
        Self::NameTaken,
        Self::NotAttached,
        Self::TooManySessions,
        Self::QueueFull,
        Self::TurnRunning,
        Self::NoTurn,
        Self::NotOffered,
        Self::IdReused,
        Self::ArchivalFull,
        Self::TooFast,
        Self::StoreFull,
        Self::StoreFailed,
        Self::StoreUnknown,
        Self::Moved,
        Self::Stopping,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The code as written on the native protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::UnknownType => "unknown_type",
            Self::BadRequest => "bad_request",
            Self::EmptyText => "empty_text",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::UnknownAgent => "unknown_agent",
            Self::UnknownSession => "unknown_session",
            Self::UnknownInput => "unknown_input",
            Self::UnknownCall => "unknown_call",
            Self::UnknownKey => "unknown_key",
            Self::NameTaken => "name_taken",
            Self::NotAttached => "not_attached",
            Self::TooManySessions => "too_many_sessions",
            Self::QueueFull => "queue_full",
            Self::TurnRunning => "turn_running",
            Self::NoTurn => "no_turn",
            Self::NotOffered => "not_offered",
            Self::IdReused => "id_reused",
            Self::ArchivalFull => "archival_full",
            Self::TooFast => "too_fast",
            Self::StoreFull => "store_full",
            Self::StoreFailed => "store_failed",
            Self::StoreUnknown => "store_unknown",
            Self::Moved => "moved",
            Self::Stopping => "stopping",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::QueueFull
            | Self::TurnRunning
            | Self::TooFast
            | Self::StoreFull
            | Self::StoreFailed
            | Self::StoreUnknown
            | Self::Moved
            | Self::Stopping => Retry::Later,
            Self::BadFrame
            | Self::UnknownType
            | Self::BadRequest
            | Self::EmptyText
            | Self::TooLarge
            | Self::Unauthorized
            | Self::Forbidden
            | Self::UnknownAgent
            | Self::UnknownSession
            | Self::UnknownInput
            | Self::UnknownCall
            | Self::UnknownKey
            | Self::NameTaken
            | Self::NotAttached
            | Self::TooManySessions
            | Self::NoTurn
            | Self::NotOffered
            | Self::IdReused
            | Self::ArchivalFull
            | Self::Unsupported
            | Self::Internal => Retry::Never,
        }
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The code.
    pub code: RefusalCode,
    /// A sentence that says what is wrong and what to do.
    pub reason: String,
}

impl Refusal {
    /// Makes a refusal.
    #[must_use]
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
