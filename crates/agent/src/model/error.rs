//! Why a model did not answer, and whether to ask it again.

use std::time::Duration;

/// The first pause before a model is asked again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longer than people wait for an answer: better to say so at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a model did not answer. Each has a sentence for people; keys are never in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No model has this name, or its parameters are wrong.
    #[error("{0}")]
    Unknown(String),
    /// Something that the provider needs is not set.
    #[error("{0}")]
    Unset(String),
    /// The provider did not take the key.
    #[error("{0}")]
    RefusedKey(String),
    /// The provider could not be reached, or hung up before it said anything.
    #[error("{0}")]
    Unreachable(String),
    /// The provider asks to come again later.
    #[error("{reason}")]
    Busy {
        /// The sentence.
        reason: String,
        /// For how long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// Something broke at the provider, which may pass.
    #[error("{reason}")]
    Faulty {
        /// The sentence.
        reason: String,
        /// For how long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The provider took longer than it is given.
    #[error("{reason}")]
    TimedOut {
        /// The sentence.
        reason: String,
        /// What was waited for.
        awaited: Awaited,
    },
    /// The prompt does not fit the model's context window.
    #[error("{0}")]
    TooLong(String),
    /// The reply broke off.
    #[error("{0}")]
    Cut(String),
    /// The reply reached a limit of length.
    #[error("{0}")]
    Length(String),
    /// The provider's filter stopped the reply, or blocked the prompt.
    #[error("{0}")]
    Filtered(String),
    /// The model refused.
    #[error("{0}")]
    Refused(String),
    /// The model made a tool call that its provider could not read.
    #[error("{0}")]
    MalformedCall(String),
    /// The reply is larger than any may be.
    #[error("{0}")]
    TooMuch(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The connection.
    Connection,
    /// The first piece of the reply.
    First,
    /// The next piece, after others.
    Next,
}

impl ModelError {
    /// The stable word with which a turn fails.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "model_unknown",
            Self::Unset(_) => "model_unset",
            Self::RefusedKey(_) => "model_refused_key",
            Self::Unreachable(_) => "model_unreachable",
            Self::Busy { .. } => "model_busy",
            Self::TimedOut { .. } => "model_timeout",
            Self::TooLong(_) => "model_window",
            Self::Cut(_) => "model_cut",
            Self::Length(_) => "model_length",
            Self::Filtered(_) => "model_filtered",
            Self::Refused(_) => "model_refused",
            Self::MalformedCall(_) => "model_malformed_call",
            Self::TooMuch(_) => "model_too_much",
            Self::Faulty { .. } | Self::Failed(_) => "model_failed",
        }
    }

    /// How long to wait before the same request may succeed; none when it will not.
    ///
    /// What the provider asks for is kept exactly. Else the pause is drawn anew each time, from nothing
    /// to twice the last limit: those who failed together do not come back together.
    pub(crate) fn retry_in(&self, attempt: u32) -> Option<Duration> {
        let drawn =
            || (FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(4))).mul_f64(fastrand::f64());
        match self {
            Self::Busy { retry_after, .. } | Self::Faulty { retry_after, .. } => {
                Some(retry_after.unwrap_or_else(drawn)).filter(|wait| *wait <= LONGEST_PAUSE)
            }
            Self::Unreachable(_)
            | Self::TimedOut { awaited: Awaited::Connection | Awaited::First, .. } => Some(drawn()),
            Self::Unknown(_)
            | Self::Unset(_)
            | Self::RefusedKey(_)
            | Self::TimedOut { awaited: Awaited::Next, .. }
            | Self::TooLong(_)
            | Self::Cut(_)
            | Self::Length(_)
            | Self::Filtered(_)
            | Self::Refused(_)
            | Self::MalformedCall(_)
            | Self::TooMuch(_)
            | Self::Failed(_) => None,
        }
    }

    /// Whether another model may do better with the same prompt.
    pub(crate) const fn is_elsewhere_better(&self) -> bool {
        !matches!(self, Self::TooLong(_))
    }
}
