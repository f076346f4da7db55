//! Permits: the right to run one turn at one worker.

use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_proto::{AgentId, WorkerId};

use super::pool::WorkerPool;
use super::registry::OfferRegistry;

/// The right to run one turn at one worker. Dropping it frees the place for the next request.
pub(crate) struct WorkerPermit {
    /// `None` if the permit was never used, so that dropping it frees nothing.
    registry: Option<Arc<OfferRegistry>>,
    agent: AgentId,
    worker: WorkerId,
    /// Tells the worker from an earlier one of the same name.
    generation: u64,
    /// Number of the place.
    number: u64,
}

/// A session's permit, while it passes from one turn to the next.
pub(crate) type PermitCell = Arc<Mutex<Option<WorkerPermit>>>;

impl WorkerPermit {
    pub(super) fn new(
        registry: &Arc<OfferRegistry>,
        agent: &AgentId,
        worker: &WorkerId,
        generation: u64,
        number: u64,
    ) -> Self {
        Self {
            registry: Some(Arc::clone(registry)),
            agent: agent.clone(),
            worker: worker.clone(),
            generation,
            number,
        }
    }

    /// Name of the permit's worker.
    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// Drops a permit that nobody received. Its ordinary drop would take the registry's lock,
    /// which the caller holds.
    pub(super) fn discard(mut self) {
        self.registry = None;
    }

    /// Whether the worker is connected and has no more turns than it offered to run.
    pub(crate) fn is_kept(&self) -> bool {
        self.ask_pool(|pool| pool.keeps(self.generation))
    }

    /// Whether other sessions wait for a permit of this agent. A permit of another node's worker
    /// always counts as wanted: only that node knows who waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.ask_pool(|pool| pool.has_requests() || pool.is_remote(self.generation))
    }

    fn ask_pool(&self, question: impl FnOnce(&WorkerPool) -> bool) -> bool {
        self.registry.as_ref().is_some_and(|registry| registry.ask_pool(&self.agent, question))
    }
}

impl Drop for WorkerPermit {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.take() {
            registry.free(&self.agent, self.generation, self.number);
        }
    }
}
