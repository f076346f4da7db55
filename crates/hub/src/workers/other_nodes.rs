//! The registry as other nodes use it: for their workers, and for their sessions.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, SessionId, Timestamp, TurnId, WorkerId};
use tokio::sync::oneshot;

use super::inbox::WorkerInbox;
use super::permit::WorkerPermit;
use super::pool::{RequestSource, WorkerChoice};
use super::registry::{JoinedWorker, OfferRegistry};
use super::worker::{OfferTerms, Worker};
use super::worker_node::WorkerNode;

/// A registry, for what other nodes ask.
pub(crate) struct NodeOffers<'a>(pub(crate) &'a Arc<OfferRegistry>);

impl NodeOffers<'_> {
    /// Requests a permit from a worker that is connected to this node, for a session of another.
    pub(crate) fn request_permit(
        &self,
        agent: &AgentId,
        session: &SessionId,
        turn: Option<TurnId>,
        takers: WorkerChoice,
    ) -> oneshot::Receiver<WorkerPermit> {
        self.0.enqueue(agent, session, turn, takers, RequestSource::OtherNode)
    }

    /// Takes a place that a worker's node has given. A place that nobody wants goes back.
    pub(crate) fn grant(&self, agent: &AgentId, number: u64, worker: &WorkerId, node: &WorkerNode) {
        self.0.state.lock().pool(agent).grant(self.0, number, worker, node);
    }

    /// A permit for a place at a worker of this node that another node uses already. `None` if the
    /// worker is not connected here any more.
    pub(crate) fn hold(&self, agent: &AgentId, id: &WorkerId) -> Option<WorkerPermit> {
        let mut state = self.0.state.lock();
        let number = state.next_permit();
        state.pools.get_mut(agent)?.hold(self.0, id, number)
    }

    /// Adds a worker that is connected to another node, or renews its offer. `None` if a worker of
    /// this name has offered later.
    pub(crate) fn join(
        &self,
        agent: &AgentId,
        id: &WorkerId,
        terms: OfferTerms,
        inbox: &Arc<WorkerInbox>,
        (since, node): (Timestamp, WorkerNode),
    ) -> Option<JoinedWorker> {
        let mut state = self.0.state.lock();
        let is_later = |worker: &mut Worker| worker.inbox.is_some() && worker.since > since;
        if state.worker(agent, id).is_some_and(is_later) {
            return None;
        }
        Some(self.0.add(&mut state, agent, id, terms, inbox, (since, Some(node))))
    }
}
