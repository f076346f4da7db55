//! Assigning turns to workers, and the futures of these turns.

use std::sync::Arc;

use thoughtwire_proto::{Record, WorkerId};
use tokio::sync::oneshot;

use super::permit::{PermitCell, WorkerPermit};
use super::registry::OfferRegistry;
use super::turn::{TurnEndSender, WorkerTurn};
use super::{no_worker_status, worker_lost};
use crate::agent::Turn;
use crate::turn_message::AgentError;

/// Result of assigning a turn.
enum Assignment {
    Done(Arc<WorkerTurn>),
    /// The worker is gone for good; the turn comes back.
    WorkerGone(Box<Turn>, TurnEndSender),
}

/// Releases a turn when its future is done or dropped.
struct ReleaseOnDrop {
    registry: Arc<OfferRegistry>,
    turn: Arc<WorkerTurn>,
}

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        self.registry.release(&self.turn);
    }
}

impl OfferRegistry {
    /// Runs a turn at a worker: assigns it, and resolves when it is ended.
    pub(crate) async fn run(
        self: Arc<Self>,
        turn: Turn,
        permit: PermitCell,
    ) -> Result<(), AgentError> {
        let so_far = if turn.goes_on() { turn.so_far().await? } else { Vec::new() };
        let (end, ended) = oneshot::channel();
        let (mut turn, mut end) = (turn, end);
        let assigned = loop {
            let worker = permit.lock().as_ref().map(|permit| permit.worker().clone());
            let Some(worker) = worker else {
                // A turn that was parked when the server stopped starts without a permit.
                let given = self.next_permit(&turn).await?;
                *permit.lock() = Some(given);
                continue;
            };
            match self.assign(turn, worker, end, &so_far) {
                Assignment::Done(assigned) => break assigned,
                // The worker left since the permit was read; another one may have room.
                Assignment::WorkerGone(same, sender) => {
                    (turn, end) = (*same, sender);
                    drop(permit.lock().take());
                }
            }
        };
        let _release = ReleaseOnDrop { registry: Arc::clone(&self), turn: Arc::clone(&assigned) };
        assigned.resume_calls(&so_far).await;
        self.deliver(&assigned);
        ended.await.unwrap_or_else(|_| Err(worker_lost()))
    }

    /// Waits for a permit to resume a turn.
    async fn next_permit(self: &Arc<Self>, turn: &Turn) -> Result<WorkerPermit, AgentError> {
        if self.is_deserted(&turn.agent.id) {
            turn.interface.status(no_worker_status(&turn.agent)).await?;
        }
        let permit = self.request_permit(&turn.agent.id, &turn.session, Some(turn.id.clone()));
        permit.await.map_err(|_| worker_lost())
    }

    /// Makes a turn a worker's; gives it back if the worker is gone for good.
    fn assign(
        self: &Arc<Self>,
        turn: Turn,
        worker: WorkerId,
        end: TurnEndSender,
        so_far: &[Record],
    ) -> Assignment {
        let mut state = self.state.lock();
        let Some(known) = state.worker(&turn.agent.id, &worker) else {
            return Assignment::WorkerGone(Box::new(turn), end);
        };
        let turn = Arc::new(WorkerTurn::new(turn, worker, self, end, so_far));
        known.turns.push(Arc::clone(&turn));
        state.turns.insert(turn.id().clone(), Arc::clone(&turn));
        Assignment::Done(turn)
    }

    /// Puts a turn into its worker's inbox, unless the worker is disconnected or has it already.
    fn deliver(&self, turn: &Arc<WorkerTurn>) {
        let mut state = self.state.lock();
        let inbox = state.worker_of(turn).and_then(|worker| worker.inbox.as_ref());
        if let Some(inbox) = inbox
            && !turn.has_entered_inbox()
        {
            inbox.push_turn(Arc::clone(turn), turn.is_resumed());
        }
    }

    /// Takes a turn from its worker after the turn has ended.
    fn release(&self, turn: &Arc<WorkerTurn>) {
        let mut state = self.state.lock();
        state.turns.remove(turn.id());
        if let Some(worker) = state.worker_of(turn) {
            worker.turns.retain(|other| !Arc::ptr_eq(other, turn));
            worker.remember(turn);
            if let Some(inbox) = &worker.inbox
                && !self.is_stopping()
            {
                inbox.withdraw(turn);
            }
        }
        drop(state);
        self.released.notify_waiters();
    }
}
