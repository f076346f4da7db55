//! Errors between a turn's agent and its session.

use thoughtwire_proto::{Refusal, RefusalCode};

/// Error of a verb that a turn's agent used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The turn has ended: it was cancelled, interrupted or finished. The agent should return.
    #[error("the turn has ended")]
    Ended,
    /// The event is not allowed here, such as an empty message. The turn goes on.
    #[error("{0}")]
    Illegal(String),
    /// The limit of open approvals is reached, so the owner was not asked. The turn goes on.
    #[error("{0}")]
    Refused(String),
    /// The event could not be saved, or it is unknown whether it was. The refusal's code says
    /// which.
    #[error("{}", .0.reason)]
    Unsaved(Refusal),
}

impl TurnError {
    /// Refusal that a client or a worker gets for this error.
    #[must_use]
    pub fn to_refusal(&self) -> Refusal {
        let code = match self {
            Self::Ended => RefusalCode::NoTurn,
            Self::Illegal(_) => RefusalCode::BadRequest,
            Self::Refused(_) => RefusalCode::QueueFull,
            Self::Unsaved(refusal) => return refusal.clone(),
        };
        Refusal::new(code, self.to_string())
    }
}

/// Error that ends a turn as failed: a stable code and a sentence that any client may see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AgentError {
    /// Stable code, such as `model_failed`.
    pub code: String,
    /// Sentence for people.
    pub reason: String,
}

impl AgentError {
    /// Code of an agent that could not go on because a shared store was lost. The turn does not end
    /// with it: it goes on as after a crash once the store is back.
    pub const STORE_LOST: &'static str = "store_lost";

    /// Makes an error of a code and a sentence.
    #[must_use]
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }
}

/// An agent whose turn has ended only has to return; the session ignores this error then.
impl From<TurnError> for AgentError {
    fn from(error: TurnError) -> Self {
        let code = match &error {
            TurnError::Ended | TurnError::Illegal(_) | TurnError::Refused(_) => "silenced",
            TurnError::Unsaved(refusal) => refusal.code.as_str(),
        };
        Self::new(code, error.to_string())
    }
}
