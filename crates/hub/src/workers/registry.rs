//! The registry of all offers of a hub, and of the turns that workers run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_proto::{
    AgentId, AgentProfile, Directive, Permission, SessionId, Timestamp, ToolDeclaration, TurnId,
    WorkerId,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use super::answers::FirstAnswers;
use super::inbox::WorkerInbox;
use super::permit::WorkerPermit;
use super::pool::{PermitRequest, RequestSource, WorkerChoice, WorkerPool};
use super::turn::WorkerTurn;
use super::worker::{OfferTerms, Worker};
use super::worker_lost;
use super::worker_node::WorkerNode;
use crate::agent::Agent;
use crate::clock::Clock;

/// All offers of a hub.
pub(crate) struct OfferRegistry {
    pub(super) state: Mutex<RegistryState>,
    /// Decides the permissions of tools.
    agent: Arc<dyn Agent>,
    /// How long a worker's turns wait for it after it disconnected.
    grace: Duration,
    /// Set when the hub stops. Parked turns resume at the next start, so workers that wait for
    /// them are not told that they are over.
    stopping: AtomicBool,
    clock: Clock,
    tasks: TaskTracker,
    /// Notified when a turn leaves its worker.
    pub(super) released: Arc<Notify>,
}

/// Pools and turns, under one lock that is never held across an await.
#[derive(Default)]
pub(super) struct RegistryState {
    pub(super) pools: HashMap<AgentId, WorkerPool>,
    pub(super) turns: HashMap<TurnId, Arc<WorkerTurn>>,
    /// Number of connections that offered so far.
    connections: u64,
    /// Number of permits that were requested so far.
    permits: u64,
}

impl RegistryState {
    pub(super) fn worker(&mut self, agent: &AgentId, worker: &WorkerId) -> Option<&mut Worker> {
        self.pools.get_mut(agent)?.worker(worker)
    }

    /// The worker of a turn.
    pub(super) fn worker_of(&mut self, turn: &WorkerTurn) -> Option<&mut Worker> {
        self.worker(turn.agent(), &turn.worker)
    }

    pub(super) fn next_permit(&mut self) -> u64 {
        self.permits += 1;
        self.permits
    }

    pub(super) fn pool(&mut self, agent: &AgentId) -> &mut WorkerPool {
        self.pools.entry(agent.clone()).or_insert_with(|| WorkerPool::new(agent.clone()))
    }
}

impl OfferRegistry {
    /// Makes an empty registry. `grace` is how long the turns of a worker wait for it after it
    /// disconnected. Tasks are spawned on `tasks`.
    pub(crate) fn new(
        grace: Duration,
        agent: Arc<dyn Agent>,
        clock: Clock,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            state: Mutex::default(),
            agent,
            grace,
            stopping: AtomicBool::new(false),
            clock,
            tasks,
            released: Arc::default(),
        }
    }

    /// How long the turns of a worker wait for it, or for another one.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Permission of an agent's tool, whether or not the worker checks it as well.
    pub(super) fn permission(&self, agent: &AgentProfile, tool: &str) -> Permission {
        self.agent.permission(&agent.spec, tool)
    }

    /// Number of calls of a turn's worker that wait for the owner's approval, over all its turns.
    pub(super) fn held_calls(&self, turn: &WorkerTurn) -> usize {
        let mut state = self.state.lock();
        let worker = state.worker_of(turn);
        worker.map_or(0, |worker| worker.turns.iter().map(|turn| turn.held_calls()).sum())
    }

    /// Stops telling workers that their turns are over. A worker that reconnects after the next
    /// start learns which of them resume.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the hub stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    // Permits.

    /// Requests a permit from one of an agent's workers; the receiver gets it when there is one.
    /// `turn` is the turn to resume, if it goes on.
    pub(crate) fn request_permit(
        self: &Arc<Self>,
        agent: &AgentId,
        session: &SessionId,
        turn: Option<TurnId>,
        takers: WorkerChoice,
    ) -> oneshot::Receiver<WorkerPermit> {
        self.enqueue(agent, session, turn, takers, RequestSource::Here)
    }

    pub(super) fn enqueue(
        self: &Arc<Self>,
        agent: &AgentId,
        session: &SessionId,
        turn: Option<TurnId>,
        takers: WorkerChoice,
        source: RequestSource,
    ) -> oneshot::Receiver<WorkerPermit> {
        let (permit, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let number = state.next_permit();
        let pool = state.pool(agent);
        pool.enqueue(PermitRequest {
            number,
            source,
            asked: Vec::new(),
            session: session.clone(),
            turn,
            takers,
            permit: Some(permit),
        });
        drop(pool.serve(self));
        receiver
    }

    pub(super) fn ask_pool(
        &self,
        agent: &AgentId,
        question: impl FnOnce(&WorkerPool) -> bool,
    ) -> bool {
        self.state.lock().pools.get(agent).is_some_and(question)
    }

    /// Frees a permit, for the next request.
    pub(super) fn free(self: &Arc<Self>, agent: &AgentId, generation: u64, number: u64) {
        let mut state = self.state.lock();
        if let Some(pool) = state.pools.get_mut(agent) {
            pool.free(generation, number);
            drop(pool.serve(self));
            if pool.is_empty() {
                state.pools.remove(agent);
            }
        }
    }

    /// Whether no worker of an agent is connected.
    pub(crate) fn is_deserted(&self, agent: &AgentId) -> bool {
        self.state.lock().pools.get(agent).is_none_or(WorkerPool::is_deserted)
    }

    /// Tools that an agent's workers declared. Of two with one name the first counts.
    pub(crate) fn tools(&self, agent: &AgentId) -> Vec<ToolDeclaration> {
        self.state.lock().pools.get(agent).map(WorkerPool::tools).unwrap_or_default()
    }

    // Turns.

    /// Sends a directive to a turn's worker if that is connected.
    pub(super) fn notify(&self, turn: &WorkerTurn, directive: Directive) {
        let mut state = self.state.lock();
        if let Some(inbox) = state.worker_of(turn).and_then(|worker| worker.inbox.as_ref()) {
            inbox.push(directive);
        }
    }

    /// The turn of this id, if its worker speaks over this inbox's connection.
    pub(crate) fn running(
        &self,
        turn: &TurnId,
        inbox: &Arc<WorkerInbox>,
    ) -> Option<Arc<WorkerTurn>> {
        let mut state = self.state.lock();
        let turn = Arc::clone(state.turns.get(turn)?);
        is_connected(state.worker_of(&turn)?, inbox).then_some(turn)
    }

    /// Answers of a turn that has ended, if one of these workers ran it over this inbox's
    /// connection and the answers are still kept.
    pub(crate) fn answers_of(
        &self,
        turn: &TurnId,
        offered: &[(AgentId, WorkerId)],
        inbox: &Arc<WorkerInbox>,
    ) -> Option<Arc<FirstAnswers>> {
        let mut state = self.state.lock();
        offered.iter().find_map(|(agent, worker)| {
            let worker = state.worker(agent, worker)?;
            if is_connected(worker, inbox) { worker.answers_of(turn) } else { None }
        })
    }

    /// Terms of a turn's worker.
    pub(super) fn terms(&self, turn: &WorkerTurn) -> OfferTerms {
        let mut state = self.state.lock();
        let worker = state.worker_of(turn);
        worker.map(|worker| worker.terms_for(turn.session())).unwrap_or_default()
    }

    // Workers.

    /// Adds a worker that is connected to this node, or renews its offer.
    pub(crate) fn join(
        self: &Arc<Self>,
        agent: &AgentId,
        id: &WorkerId,
        terms: OfferTerms,
        inbox: &Arc<WorkerInbox>,
    ) -> JoinedWorker {
        let mut state = self.state.lock();
        // Later than what another node has told, whose clock may be ahead.
        let known = state.worker(agent, id).map(|worker| worker.since);
        let since = known.map_or(self.clock.now(), |known| {
            self.clock.now().max(Timestamp::from_millis(known.as_millis().saturating_add(1)))
        });
        self.add(&mut state, agent, id, terms, inbox, (since, None))
    }

    pub(super) fn add(
        self: &Arc<Self>,
        state: &mut RegistryState,
        agent: &AgentId,
        id: &WorkerId,
        terms: OfferTerms,
        inbox: &Arc<WorkerInbox>,
        (since, node): (Timestamp, Option<WorkerNode>),
    ) -> JoinedWorker {
        state.connections += 1;
        let connection = state.connections;
        let pool = state.pool(agent);
        let mut turns = Vec::new();
        match pool.worker(id) {
            Some(worker) => {
                (worker.since, worker.node) = (since, node);
                let before = worker.inbox.replace(Arc::clone(inbox));
                let is_back = before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, inbox));
                if let Some(before) = before.filter(|_| is_back) {
                    let reason = format!("another connection offers as {id}");
                    before.push(offer_ended(agent, id, reason));
                    worker.turns.iter().for_each(|turn| turn.lose_worker());
                }
                worker.connection = connection;
                worker.terms = terms;
                for turn in &worker.turns {
                    turn.set_away(false);
                    turns.push(turn.id().clone());
                    if is_back {
                        inbox.push_turn(Arc::clone(turn), true);
                    }
                }
            }
            None => {
                let mut worker =
                    Worker::new(id.clone(), connection, terms, Arc::clone(inbox), since);
                worker.node = node;
                pool.add(worker);
            }
        }
        pool.keep_turns(id);
        let resumed = pool.serve(self);
        turns.extend(resumed.into_iter().filter(|(to, _)| to == id).map(|(_, turn)| turn));
        turns.extend(pool.waiting_for(id).cloned());
        pool.ask_node_of(id);
        let places = pool.worker(id).map(|worker| worker.permits.iter().copied().collect());
        JoinedWorker { turns, places: places.unwrap_or_default(), since }
    }

    /// Disconnects a worker. Its turns wait for it for the grace.
    pub(crate) fn leave(
        self: &Arc<Self>,
        agent: &AgentId,
        id: &WorkerId,
        inbox: &Arc<WorkerInbox>,
    ) {
        let mut state = self.state.lock();
        let Some(worker) = state.worker(agent, id) else { return };
        // It may have reconnected already.
        if !is_connected(worker, inbox) {
            return;
        }
        worker.inbox = None;
        let connection = worker.connection;
        if worker.turns.is_empty() {
            return self.remove(state, agent, id, connection);
        }
        let seconds = self.grace.as_secs();
        for turn in &worker.turns {
            turn.set_away(true);
            turn.try_status(format!(
                "the program that runs this agent went away; it has {seconds} seconds to come back"
            ));
        }
        let left = Absence {
            released: Arc::clone(&self.released),
            agent: agent.clone(),
            id: id.clone(),
            connection,
        };
        let (registry, grace) = (Arc::downgrade(self), self.grace);
        self.tasks.spawn(async move {
            let over = tokio::time::sleep(grace);
            tokio::pin!(over);
            loop {
                let released = left.released.notified();
                if registry.upgrade().is_none_or(|registry| left.is_settled(&registry)) {
                    return;
                }
                tokio::select! {
                    () = &mut over => break,
                    () = released => {}
                }
            }
            if let Some(registry) = registry.upgrade() {
                registry.remove(registry.state.lock(), &left.agent, &left.id, left.connection);
            }
        });
    }

    /// Removes a worker, unless it reconnected meanwhile. Its turns fail.
    fn remove(
        &self,
        mut state: MutexGuard<'_, RegistryState>,
        agent: &AgentId,
        id: &WorkerId,
        connection: u64,
    ) {
        let Some(pool) = state.pools.get_mut(agent) else { return };
        let Some(gone) = pool.remove(id, connection) else { return };
        if pool.is_empty() {
            state.pools.remove(agent);
        }
        drop(state);
        for turn in gone.turns {
            turn.end(Err(worker_lost()));
        }
    }

    /// Ends all offers of an agent: it was deleted, or the server runs it now. Its turns fail.
    pub(crate) fn end(&self, agent: &AgentId, reason: &str) {
        let pool = self.state.lock().pools.remove(agent);
        let Some(mut pool) = pool else { return };
        let (workers, requests) = pool.clear();
        // A session that waits requests again, if it still needs a permit.
        drop(requests);
        for worker in workers {
            // The node of another worker ends the offer there.
            if let Some(inbox) = worker.inbox.as_ref().filter(|_| worker.node.is_none()) {
                inbox.push(offer_ended(agent, &worker.id, reason.to_owned()));
            }
            for turn in worker.turns {
                turn.end(Err(worker_lost()));
            }
        }
    }
}

/// A worker's offer as the registry knows it.
pub(crate) struct JoinedWorker {
    /// The turns that are or may become its own.
    pub(crate) turns: Vec<TurnId>,
    /// Numbers of its places that are in use.
    pub(crate) places: Vec<u64>,
    /// Time of its offer.
    pub(crate) since: Timestamp,
}

/// A worker's absence since one of its connections.
struct Absence {
    released: Arc<Notify>,
    agent: AgentId,
    id: WorkerId,
    connection: u64,
}

impl Absence {
    /// Whether the absence ends early: the hub stops, and no turn waits for the worker.
    fn is_settled(&self, registry: &OfferRegistry) -> bool {
        let has_turns = |worker: &mut Worker| !worker.turns.is_empty();
        let waits = || registry.state.lock().worker(&self.agent, &self.id).is_some_and(has_turns);
        registry.is_stopping() && !waits()
    }
}

fn is_connected(worker: &Worker, inbox: &Arc<WorkerInbox>) -> bool {
    worker.inbox.as_ref().is_some_and(|own| Arc::ptr_eq(own, inbox))
}

fn offer_ended(agent: &AgentId, worker: &WorkerId, reason: String) -> Directive {
    Directive::OfferEnded { agent: agent.clone(), worker: worker.clone(), reason }
}
