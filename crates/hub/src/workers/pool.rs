//! One agent's workers, and the sessions that wait for one of them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use thoughtwire_proto::{AgentId, SessionId, ToolDeclaration, TurnId, WorkerId};
use tokio::sync::oneshot;

use super::permit::WorkerPermit;
use super::registry::OfferRegistry;
use super::worker::Worker;

/// Requests that may be added before cancelled ones are swept out.
const SWEEP_AFTER: usize = 64;

/// The workers of one agent and the waiting requests, the longest-waiting first.
pub(super) struct WorkerPool {
    agent: AgentId,
    workers: Vec<Worker>,
    requests: VecDeque<PermitRequest>,
    /// Number of requests that the last sweep left.
    swept: usize,
}

/// A session's request for a permit. It is cancelled by dropping the receiver of `permit`.
pub(super) struct PermitRequest {
    pub(super) session: SessionId,
    /// The turn to resume, if it goes on.
    pub(super) turn: Option<TurnId>,
    /// Workers that the turn may go to.
    pub(super) takers: WorkerChoice,
    pub(super) permit: oneshot::Sender<WorkerPermit>,
}

/// Workers that a turn may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerChoice {
    /// Any worker: the turn starts, or it only waits for people or clients.
    Any,
    /// A worker that goes on with turns that another one began.
    Resumable,
}

impl WorkerChoice {
    fn allows(self, worker: &Worker) -> bool {
        match self {
            Self::Any => true,
            Self::Resumable => worker.terms.resumable,
        }
    }
}

impl WorkerPool {
    pub(super) fn new(agent: AgentId) -> Self {
        Self { agent, workers: Vec::new(), requests: VecDeque::new(), swept: 0 }
    }

    pub(super) fn worker(&mut self, id: &WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == *id)
    }

    pub(super) fn add(&mut self, worker: Worker) {
        self.workers.push(worker);
    }

    /// Removes a worker that has been disconnected since its connection number `connection`.
    pub(super) fn remove(&mut self, id: &WorkerId, connection: u64) -> Option<Worker> {
        let is_gone = |worker: &Worker| {
            worker.id == *id && worker.inbox.is_none() && connection == worker.connection
        };
        let at = self.workers.iter().position(is_gone)?;
        Some(self.workers.swap_remove(at))
    }

    /// Removes all workers and all requests.
    pub(super) fn clear(&mut self) -> (Vec<Worker>, VecDeque<PermitRequest>) {
        (std::mem::take(&mut self.workers), std::mem::take(&mut self.requests))
    }

    /// Turns that may resume at a worker once there is a permit for them.
    pub(super) fn waiting_for(&self, id: &WorkerId) -> impl Iterator<Item = &TurnId> {
        let worker = self.workers.iter().find(|worker| worker.id == *id);
        self.requests
            .iter()
            .filter(|request| !request.permit.is_closed())
            .filter(move |request| worker.is_some_and(|worker| request.takers.allows(worker)))
            .filter_map(|request| request.turn.as_ref())
    }

    /// Drops the requests to move a worker's turns to another one, since it is back.
    pub(super) fn keep_turns(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.iter().find(|worker| worker.id == *id) else { return };
        let is_its =
            |turn: &TurnId| worker.turns.iter().any(|worker_turn| worker_turn.id() == turn);
        self.requests.retain(|request| !request.turn.as_ref().is_some_and(is_its));
    }

    /// Tools that the workers declared. Of two with one name the first counts.
    pub(super) fn tools(&self) -> Vec<ToolDeclaration> {
        let mut known = HashSet::new();
        let all = self.workers.iter().flat_map(|worker| &worker.terms.tools);
        all.filter(|tool| known.insert(tool.name.clone())).cloned().collect()
    }

    /// Whether no worker is connected.
    pub(super) fn is_deserted(&self) -> bool {
        self.workers.iter().all(|worker| worker.inbox.is_none())
    }

    /// Whether a session waits for a permit.
    pub(super) fn has_requests(&self) -> bool {
        self.requests.iter().any(|request| !request.permit.is_closed())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.requests.is_empty()
    }

    /// Queues a request. Turns that resume come before turns that start.
    pub(super) fn enqueue(&mut self, request: PermitRequest) {
        if self.requests.len() > 2 * self.swept + SWEEP_AFTER {
            self.requests.retain(|request| !request.permit.is_closed());
            self.swept = self.requests.len();
        }
        let at = if request.turn.is_some() {
            self.requests.iter().take_while(|other| other.turn.is_some()).count()
        } else {
            self.requests.len()
        };
        self.requests.insert(at, request);
    }

    /// Whether a worker is connected and has no more turns than it offered to run.
    pub(super) fn keeps(&self, generation: u64) -> bool {
        let is_kept = |known: &Worker| {
            known.generation == generation
                && known.inbox.is_some()
                && known.permits <= known.terms.turns
        };
        self.workers.iter().any(is_kept)
    }

    /// Returns a worker's permit.
    pub(super) fn free(&mut self, generation: u64) {
        let worker = self.workers.iter_mut().find(|worker| worker.generation == generation);
        if let Some(worker) = worker {
            worker.permits = worker.permits.saturating_sub(1);
        }
    }

    /// Gives permits to the waiting requests while workers have room. Returns the turns that
    /// resume, each with its worker.
    pub(super) fn serve(&mut self, registry: &Arc<OfferRegistry>) -> Vec<(WorkerId, TurnId)> {
        let mut resumed = Vec::new();
        // Requests that no free worker may serve.
        let mut unserved = Vec::new();
        while let Some(request) = self.requests.pop_front() {
            if request.permit.is_closed() {
                continue;
            }
            // Rendezvous hashing (Thaler and Ravishankar, 1998): a session comes to the same
            // worker while that has room and the set of workers stays, without any stored state.
            let is_free = |worker: &&mut Worker| worker.has_room() && request.takers.allows(worker);
            let free = self.workers.iter_mut().filter(is_free);
            let best = free.max_by_key(|worker| score(&request.session, &worker.id));
            let Some(worker) = best else {
                let takes_any = request.takers == WorkerChoice::Any;
                unserved.push(request);
                if takes_any {
                    break;
                }
                continue;
            };
            let permit = WorkerPermit::new(registry, &self.agent, &worker.id, worker.generation);
            worker.permits += 1;
            match request.permit.send(permit) {
                Ok(()) => resumed.extend(request.turn.map(|turn| (worker.id.clone(), turn))),
                Err(permit) => {
                    worker.permits -= 1;
                    permit.discard();
                }
            }
        }
        unserved.into_iter().rev().for_each(|request| self.requests.push_front(request));
        resumed
    }
}

fn score(session: &SessionId, worker: &WorkerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (session.as_str(), worker.as_str()).hash(&mut hasher);
    hasher.finish()
}
