//! Verbs about inputs that join a turn, and about its end from outside.

use thoughtwire_proto::Input;

use super::Interface;
use crate::turn_message::{AgentVerb, TurnError};

/// The verbs of an [`Interface`] about inputs that join the turn, and about its end from outside.
#[derive(Clone, Copy)]
pub struct TurnControl<'a> {
    interface: &'a Interface,
}

impl<'a> TurnControl<'a> {
    pub(super) fn new(interface: &'a Interface) -> Self {
        Self { interface }
    }

    /// Takes the inputs that joined the turn (policy `steer`) since the last call of this.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn steered(self) -> Result<Vec<Input>, TurnError> {
        self.interface.sender.ask(|reply| AgentVerb::Steered { reply }).await
    }

    /// Resolves when the turn has ended, for work that must be told to stop.
    pub async fn cancelled(self) {
        self.interface.sender.closed().await;
    }

    /// Whether the turn has ended.
    #[must_use]
    pub fn is_cancelled(self) -> bool {
        self.interface.sender.is_closed()
    }
}
