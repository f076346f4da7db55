//! The running turn.

use std::time::Duration;

use thoughtwire_proto::{Input, TurnId, Usage};

use crate::SessionHost;
use crate::call_waiters::CallWaiters;
use crate::open_items::OpenItems;
use crate::turn_time::TurnTime;

/// The running turn's parts that `State` does not have.
pub(crate) struct RunningTurn<H: SessionHost> {
    pub(crate) id: TurnId,
    /// Whether the agent's work was dropped already, and the turn is ended later.
    pub(crate) is_aborted: bool,
    /// Whether an embedder runs the turn. Nobody else can go on with it.
    pub(crate) is_embedders: bool,
    /// Inputs that joined the turn and that its agent has not taken yet.
    pub(crate) steered: Vec<Input>,
    pub(crate) items: OpenItems,
    pub(crate) waiters: CallWaiters<H>,
    pub(crate) time: TurnTime,
    /// Cost of the turn so far, where its agent said so and has not written it.
    pub(crate) spent: Usage,
}

impl<H: SessionHost> RunningTurn<H> {
    /// A turn in which nothing was said yet, with the time it may take.
    pub(crate) fn new(id: TurnId, within: Duration, is_embedders: bool) -> Self {
        Self {
            id,
            is_aborted: false,
            is_embedders,
            steered: Vec::new(),
            items: OpenItems::default(),
            waiters: CallWaiters::default(),
            time: TurnTime::new(within),
            spent: Usage::default(),
        }
    }

    /// Takes the inputs that joined the turn.
    pub(crate) fn take_steered(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.steered)
    }
}
