//! [`crate::TurnControl`] for synchronous agents.

use std::sync::mpsc::sync_channel;

use thoughtwire_proto::Input;

use super::pump::VerbPump;
use crate::turn_message::TurnError;

/// The verbs of a [`BlockingInterface`](super::Interface) about inputs that join the turn, and
/// about its end from outside.
#[derive(Clone, Copy)]
pub struct BlockingTurnControl<'a> {
    pump: &'a VerbPump,
}

impl<'a> BlockingTurnControl<'a> {
    pub(super) fn new(pump: &'a VerbPump) -> Self {
        Self { pump }
    }

    /// Takes the inputs that joined the turn (policy `steer`) since the last call of this. Waits.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn steered(self) -> Result<Vec<Input>, TurnError> {
        self.pump.wait(|interface| async move { interface.control().steered().await })
    }

    /// Waits until the turn has ended. It does not wait for queued verbs.
    pub fn cancelled(self) {
        let (ended, end) = sync_channel::<()>(1);
        let interface = self.pump.interface().clone();
        let tasks = interface.tasks.clone();
        let wait = async move {
            interface.control().cancelled().await;
            drop(ended);
        };
        drop(tasks.spawn_on(wait, self.pump.runtime()));
        // Nothing is sent: the channel closes when the turn or the runtime has ended.
        let _ended = end.recv();
    }

    /// Whether the turn has ended.
    #[must_use]
    pub fn is_cancelled(self) -> bool {
        self.pump.interface().control().is_cancelled()
    }
}
