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
use super::worker_node::WorkerNode;

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
    /// Number of the request, and of the permit that it gets.
    pub(super) number: u64,
    pub(super) source: RequestSource,
    /// Other nodes that were asked for a place.
    pub(super) asked: Vec<WorkerNode>,
    pub(super) session: SessionId,
    /// The turn to resume, if it goes on.
    pub(super) turn: Option<TurnId>,
    /// Workers that the turn may go to.
    pub(super) takers: WorkerChoice,
    /// Absent once the permit was given.
    pub(super) permit: Option<oneshot::Sender<WorkerPermit>>,
}

/// Where the session is that requests a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestSource {
    /// On this node.
    Here,
    /// On another node, which asks each node itself.
    OtherNode,
}

impl PermitRequest {
    fn is_cancelled(&self) -> bool {
        self.permit.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Asks another node for a place at its workers, once.
    fn ask(&mut self, agent: &AgentId, node: &WorkerNode) {
        if self.source == RequestSource::Here && !self.asked.contains(node) {
            node.ask(self, agent);
            self.asked.push(node.clone());
        }
    }

    /// Gives the permit. Other nodes that were asked are told that none is wanted any more.
    fn give(&mut self, permit: WorkerPermit) -> Result<(), WorkerPermit> {
        match self.permit.take() {
            Some(sender) => sender.send(permit),
            None => Err(permit),
        }
    }
}

impl Drop for PermitRequest {
    fn drop(&mut self) {
        for node in &self.asked {
            node.free(self.number);
        }
    }
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
            .filter(|request| !request.is_cancelled())
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
        self.requests.iter().any(|request| !request.is_cancelled())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.requests.is_empty()
    }

    /// Queues a request. Turns that resume come before turns that start.
    pub(super) fn enqueue(&mut self, mut request: PermitRequest) {
        let takers = request.takers;
        for worker in self.workers.iter().filter(|worker| takers.allows(worker)) {
            if let Some(node) = &worker.node {
                request.ask(&self.agent, node);
            }
        }
        if self.requests.len() > 2 * self.swept + SWEEP_AFTER {
            self.requests.retain(|request| !request.is_cancelled());
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
                && known.permits.len() <= known.terms.turns
        };
        self.workers.iter().any(is_kept)
    }

    /// Whether a worker is connected to another node.
    pub(super) fn is_remote(&self, generation: u64) -> bool {
        let worker = self.workers.iter().find(|worker| worker.generation == generation);
        worker.is_some_and(|worker| worker.node.is_some())
    }

    /// Returns a worker's permit.
    pub(super) fn free(&mut self, generation: u64, number: u64) {
        let worker = self.workers.iter_mut().find(|worker| worker.generation == generation);
        if let Some(worker) = worker
            && worker.permits.remove(&number)
            && let Some(node) = &worker.node
        {
            node.free(number);
        }
    }

    /// Asks the node of a worker for places for the requests that wait.
    pub(super) fn ask_node_of(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.iter().find(|worker| worker.id == *id) else { return };
        let Some(node) = &worker.node else { return };
        for request in self.requests.iter_mut().filter(|request| !request.is_cancelled()) {
            if request.takers.allows(worker) {
                request.ask(&self.agent, node);
            }
        }
    }

    /// Gives a request the place that a worker's node has given, or gives that back.
    pub(super) fn grant(
        &mut self,
        registry: &Arc<OfferRegistry>,
        number: u64,
        id: &WorkerId,
        node: &WorkerNode,
    ) {
        let worker = self.workers.iter_mut().find(|worker| worker.id == *id);
        let worker =
            worker.filter(|worker| worker.inbox.is_some() && worker.node.as_ref() == Some(node));
        let waits = |request: &PermitRequest| {
            request.number == number
                && !request.is_cancelled()
                && worker.as_ref().is_some_and(|worker| request.takers.allows(worker))
        };
        let at = self.requests.iter().position(waits);
        let request = at.and_then(|at| self.requests.remove(at));
        let (Some(worker), Some(mut request)) = (worker, request) else {
            return node.free(number);
        };
        request.asked.retain(|asked| asked != node);
        let permit = WorkerPermit::new(registry, &self.agent, id, worker.generation, number);
        worker.permits.insert(number);
        if let Err(permit) = request.give(permit) {
            permit.discard();
            worker.permits.remove(&number);
            node.free(number);
        }
    }

    /// A permit for a place at a connected worker that another node uses already, whatever room
    /// there is.
    pub(super) fn hold(
        &mut self,
        registry: &Arc<OfferRegistry>,
        id: &WorkerId,
        number: u64,
    ) -> Option<WorkerPermit> {
        let worker = self.workers.iter_mut().find(|worker| worker.id == *id)?;
        if worker.node.is_some() || worker.inbox.is_none() {
            return None;
        }
        worker.permits.insert(number);
        Some(WorkerPermit::new(registry, &self.agent, id, worker.generation, number))
    }

    /// Gives permits to the waiting requests while workers have room. Returns the turns that
    /// resume, each with its worker.
    pub(super) fn serve(&mut self, registry: &Arc<OfferRegistry>) -> Vec<(WorkerId, TurnId)> {
        let mut resumed = Vec::new();
        // Requests that no free worker may serve.
        let mut unserved = Vec::new();
        while let Some(mut request) = self.requests.pop_front() {
            if request.is_cancelled() {
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
            let number = request.number;
            let permit =
                WorkerPermit::new(registry, &self.agent, &worker.id, worker.generation, number);
            worker.permits.insert(number);
            match request.give(permit) {
                Ok(()) => resumed.extend(request.turn.take().map(|turn| (worker.id.clone(), turn))),
                Err(permit) => {
                    worker.permits.remove(&number);
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
