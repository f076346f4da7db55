//! Errors of models, and whether a retry can help.

use std::time::Duration;

/// First pause before a retry; the limit doubles with each retry.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause before a retry. People do not wait longer than this for an answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Reason why a model did not answer. Each has a sentence for people, which never contains keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No model has this name, or its parameters are invalid.
    #[error("{0}")]
    Unknown(String),
    /// A setting that the provider needs is missing.
    #[error("{0}")]
    Unset(String),
    /// The provider refused the key.
    #[error("{0}")]
    RefusedKey(String),
    /// The provider could not be reached, or closed the connection before any output.
    #[error("{0}")]
    Unreachable(String),
    /// The provider asks to retry later.
    #[error("{reason}")]
    Busy {
        /// The error text.
        reason: String,
        /// Delay that the provider asks for.
        retry_after: Option<Duration>,
    },
    /// The provider had an internal error, which may pass.
    #[error("{reason}")]
    Faulty {
        /// The error text.
        reason: String,
        /// Delay that the provider asks for.
        retry_after: Option<Duration>,
    },
    /// The provider exceeded a time limit.
    #[error("{reason}")]
    TimedOut {
        /// The error text.
        reason: String,
        /// The time limit that was exceeded.
        awaited: ModelWait,
    },
    /// The prompt does not fit the model's context window.
    #[error("{0}")]
    TooLong(String),
    /// The reply was cut off.
    #[error("{0}")]
    Cut(String),
    /// The reply reached a length limit.
    #[error("{0}")]
    Length(String),
    /// The provider's filter stopped the reply, or blocked the prompt.
    #[error("{0}")]
    Filtered(String),
    /// The model refused to answer.
    #[error("{0}")]
    Refused(String),
    /// The model made a tool call that its provider could not read.
    #[error("{0}")]
    MalformedCall(String),
    /// The reply is larger than the limit of all replies.
    #[error("{0}")]
    TooMuch(String),
    /// Any other error.
    #[error("{0}")]
    Failed(String),
}

/// The part of a reply that did not arrive in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelWait {
    /// The connection.
    Connection,
    /// The first output of the reply.
    First,
    /// The next output.
    Next,
}

impl ModelError {
    /// The stable error code of the turn.
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

    /// Returns how long to wait before the same request may succeed, or nothing if it cannot.
    ///
    /// The provider's own delay is used exactly. Otherwise the pause is random, from zero to a
    /// limit that doubles each time, so that requests that failed together do not return together.
    pub(crate) fn retry_in(&self, attempt: u32) -> Option<Duration> {
        let drawn =
            || (FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(4))).mul_f64(fastrand::f64());
        match self {
            Self::Busy { retry_after, .. } | Self::Faulty { retry_after, .. } => {
                Some(retry_after.unwrap_or_else(drawn)).filter(|wait| *wait <= LONGEST_PAUSE)
            }
            Self::Unreachable(_)
            | Self::TimedOut { awaited: ModelWait::Connection | ModelWait::First, .. } => {
                Some(drawn())
            }
            Self::Unknown(_)
            | Self::Unset(_)
            | Self::RefusedKey(_)
            | Self::TimedOut { awaited: ModelWait::Next, .. }
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

    /// Whether the same request with other texts may succeed.
    pub(crate) const fn may_depend_on_text(&self) -> bool {
        match self {
            Self::TooLong(_)
            | Self::Length(_)
            | Self::Filtered(_)
            | Self::Refused(_)
            | Self::TooMuch(_)
            | Self::Failed(_) => true,
            Self::Unknown(_)
            | Self::Unset(_)
            | Self::RefusedKey(_)
            | Self::Unreachable(_)
            | Self::Busy { .. }
            | Self::Faulty { .. }
            | Self::TimedOut { .. }
            | Self::Cut(_)
            | Self::MalformedCall(_) => false,
        }
    }

    /// Whether another model may succeed with the same prompt.
    pub(crate) const fn is_elsewhere_better(&self) -> bool {
        !matches!(self, Self::TooLong(_))
    }
}
