//! A subscriber as its session's tail knows it.

use std::sync::Arc;

use thoughtwire_fanout::{ParkSlot, PushReader};
use thoughtwire_proto::ToolDeclaration;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Tail, TailEntry};

/// Wakes a connection; each has one, whatever number of sessions it reads.
pub type WakeSignal = Arc<Notify>;

/// One reader of a tail.
pub(crate) struct TailReader {
    wake: WakeSignal,
    /// Whether it counts as present; a read of the server itself for a REST client does not.
    pub(crate) present: bool,
    /// The tools that it runs.
    pub(crate) tools: Vec<ToolDeclaration>,
    pub(super) joined: Instant,
    pub(super) slot: ParkSlot<Arc<TailEntry>>,
}

impl TailReader {
    pub(crate) fn new(wake: WakeSignal, present: bool, tools: Vec<ToolDeclaration>) -> Arc<Self> {
        let slot = ParkSlot::default();
        Arc::new(Self { wake, present, tools, joined: Instant::now(), slot })
    }

    /// Leaves the tail for good.
    pub(crate) fn leave(&self, tail: &Tail) {
        self.slot.leave();
        tail.presence.notify_one();
    }
}

impl PushReader for TailReader {
    type Item = Arc<TailEntry>;

    fn slot(&self) -> &ParkSlot<Arc<TailEntry>> {
        &self.slot
    }

    fn wake(&self) {
        self.wake.notify_one();
    }
}
