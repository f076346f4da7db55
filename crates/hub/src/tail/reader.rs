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
    /// Number of clients that it stands for: 0 for a read of the server itself for a REST client,
    /// and more than 1 for another node.
    pub(crate) clients: u64,
    /// The tools that it runs.
    pub(crate) tools: Vec<ToolDeclaration>,
    pub(super) joined: Instant,
    pub(super) slot: ParkSlot<Arc<TailEntry>>,
}

impl TailReader {
    pub(crate) fn new(wake: WakeSignal, clients: u64, tools: Vec<ToolDeclaration>) -> Arc<Self> {
        let slot = ParkSlot::default();
        Arc::new(Self { wake, clients, tools, joined: Instant::now(), slot })
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
