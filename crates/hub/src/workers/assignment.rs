//! Assigning turns to workers, and the futures of these turns.

use std::sync::Arc;

use thoughtwire_proto::{Event, OpenCall, Record, ResumeReason, WorkerId};
use thoughtwire_session::resume_delay;
use tokio::sync::oneshot;

use super::permit::{PermitCell, WorkerPermit};
use super::pool::WorkerChoice;
use super::registry::OfferRegistry;
use super::turn::{TurnEndSender, WorkerTurn};
use super::{no_worker_status, worker_lost};
use crate::agent::Turn;
use crate::turn_message::{AgentError, AgentVerb, TurnError};

/// Result of assigning a turn.
enum Assignment {
    Done(Arc<WorkerTurn>),
    /// The worker is gone for good.
    WorkerGone(TurnEndSender),
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
    /// Runs a turn at a worker, and at another one if that is lost. Resolves when the turn is
    /// ended.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut turn: Turn,
        permit: PermitCell,
    ) -> Result<(), AgentError> {
        let mut takers = WorkerChoice::Any;
        if turn.goes_on() && !OpenCall::all_wait(&turn.open_calls) {
            takers = WorkerChoice::Resumable;
        }
        loop {
            let so_far = if turn.goes_on() { turn.so_far().await? } else { Vec::new() };
            let (assigned, ended) = self.place(&turn, takers, &permit, &so_far).await?;
            let release =
                ReleaseOnDrop { registry: Arc::clone(&self), turn: Arc::clone(&assigned) };
            assigned.resume_calls(&so_far).await;
            self.deliver(&assigned);
            let other = tokio::select! {
                biased;
                outcome = ended => return outcome.unwrap_or_else(|_| Err(worker_lost())),
                other = self.other_worker(&assigned) => other,
            };
            assigned.take_away().await;
            drop(release);
            *permit.lock() = Some(other);
            turn = move_on(turn).await?;
            takers = WorkerChoice::Resumable;
        }
    }

    /// Assigns a turn to a worker, once there is a permit.
    async fn place(
        self: &Arc<Self>,
        turn: &Turn,
        takers: WorkerChoice,
        permit: &PermitCell,
        so_far: &[Record],
    ) -> Result<(Arc<WorkerTurn>, oneshot::Receiver<Result<(), AgentError>>), AgentError> {
        let (mut end, ended) = oneshot::channel();
        loop {
            let worker = permit.lock().as_ref().map(|permit| permit.worker().clone());
            let Some(worker) = worker else {
                // A turn that goes on after a restart starts without a permit.
                let given = self.next_permit(turn, takers).await?;
                *permit.lock() = Some(given);
                continue;
            };
            match self.assign(turn.clone(), worker, end, so_far) {
                Assignment::Done(assigned) => return Ok((assigned, ended)),
                // The worker left since the permit was read; another one may have room.
                Assignment::WorkerGone(sender) => {
                    end = sender;
                    drop(permit.lock().take());
                }
            }
        }
    }

    /// Waits for a permit to resume a turn. Only a turn that waits for people or clients waits for
    /// any time; another one fails when no worker has taken it within the grace.
    async fn next_permit(
        self: &Arc<Self>,
        turn: &Turn,
        takers: WorkerChoice,
    ) -> Result<WorkerPermit, AgentError> {
        if self.is_deserted(&turn.agent.id) {
            turn.interface.status(no_worker_status(&turn.agent)).await?;
        }
        let (agent, id) = (&turn.agent.id, Some(turn.id.clone()));
        let permit = self.request_permit(agent, &turn.session, id, takers);
        let given = match takers {
            WorkerChoice::Any => permit.await,
            WorkerChoice::Resumable => match tokio::time::timeout(self.grace(), permit).await {
                Ok(given) => given,
                Err(_) => return Err(worker_lost()),
            },
        };
        given.map_err(|_| worker_lost())
    }

    /// Waits until a turn's worker is disconnected and another one may take the turn. A worker that
    /// comes back before keeps its turn. Safe to drop.
    async fn other_worker(self: &Arc<Self>, turn: &WorkerTurn) -> WorkerPermit {
        loop {
            turn.until_away(true).await;
            let takers = WorkerChoice::Resumable;
            let id = Some(turn.id().clone());
            let permit = self.request_permit(turn.agent(), turn.session(), id, takers);
            tokio::select! {
                biased;
                () = turn.until_away(false) => {}
                given = permit => match given {
                    Ok(permit) => return permit,
                    // The turn ends with the offers of its agent, or its worker is back.
                    Err(_) => turn.until_away(false).await,
                },
            }
        }
    }

    /// Makes a turn a worker's, unless the worker is gone for good.
    fn assign(
        self: &Arc<Self>,
        turn: Turn,
        worker: WorkerId,
        end: TurnEndSender,
        so_far: &[Record],
    ) -> Assignment {
        let mut state = self.state.lock();
        let Some(known) = state.worker(&turn.agent.id, &worker) else {
            return Assignment::WorkerGone(end);
        };
        let turn = Arc::new(WorkerTurn::new(turn, worker, self, end, so_far));
        turn.set_away(known.inbox.is_none());
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

/// Lets a turn go on whose worker was lost: `turn_resumed` is on disk when this returns, and the
/// pause before the next attempt is over.
async fn move_on(mut turn: Turn) -> Result<Turn, AgentError> {
    let reason = ResumeReason::WorkerLost;
    let sender = turn.interface.sender.clone();
    let resumed = sender.ask(|reply| AgentVerb::Resume { reason, reply }).await?;
    let seq = resumed.map_err(|error| match error {
        TurnError::Refused(_) => AgentError::new(
            "crash_loop",
            "The programs that run this agent were lost again and again during this turn, so it \
             does not go on. Find out what ends them, then send the input again.",
        ),
        TurnError::Ended | TurnError::Illegal(_) | TurnError::Unsaved(_) => error.into(),
    })?;
    turn.log.launched = seq;
    turn.attempt += 1;
    turn.open_calls = Vec::new();
    for record in turn.so_far().await? {
        if let Event::Turn(event) = &record.event {
            OpenCall::follow(&mut turn.open_calls, event);
        }
    }
    tokio::time::sleep(resume_delay(turn.attempt).unwrap_or_default()).await;
    Ok(turn)
}
