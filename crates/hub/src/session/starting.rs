//! Starting turns: whose is next, who runs it, and whether there is a place for it.

use std::sync::Arc;

use thoughtwire_proto::{Event, ItemId, TurnEvent, TurnId};
use tokio::sync::{mpsc, oneshot};

use super::TURN_MESSAGES;
use super::task::{Also, Task};
use super::turn::{Running, Work};
use super::turn_time::TurnTime;
use super::waits::Waits;
use crate::agent::{Log, Turn};
use crate::clock::new_turn_id;
use crate::turn_message::TurnSender;
use crate::workers::{WorkerPermit, is_offered, no_worker_status};
use crate::{Input, Interface};

/// A turn that is about to start.
pub(super) struct Starting {
    pub(super) turn: TurnId,
    input: ItemId,
    slot: Option<WorkerPermit>,
}

impl Starting {
    /// On an input, under a new id.
    pub(super) fn new(input: ItemId, slot: Option<WorkerPermit>) -> Self {
        Self { turn: new_turn_id(), input, slot }
    }

    /// The event that starts it.
    pub(super) fn event(&self) -> (Option<TurnId>, Event) {
        (Some(self.turn.clone()), Event::Turn(TurnEvent::Started { input: self.input.clone() }))
    }
}

/// A session's place with a program that runs its agent.
#[derive(Default)]
pub(super) enum Place {
    #[default]
    Unclaimed,
    Claimed(oneshot::Receiver<WorkerPermit>),
    Given(WorkerPermit),
}

/// There is no place yet; the session goes on when it is given one.
pub(super) struct NoPlace;

impl Place {
    /// Resolves when a place that was claimed is given.
    pub(super) async fn given(&mut self) {
        match self {
            Self::Claimed(claim) => {
                *self = claim.await.map_or(Self::Unclaimed, Self::Given);
            }
            Self::Unclaimed | Self::Given(_) => std::future::pending().await,
        }
    }
}

impl Task {
    pub(super) fn is_offered(&self) -> bool {
        is_offered(&self.profile)
    }

    /// A place for a turn, where its agent needs one.
    fn take_place(&mut self) -> Result<Option<WorkerPermit>, NoPlace> {
        let place = std::mem::take(&mut self.place);
        if !self.is_offered() {
            return Ok(None);
        }
        let mut claim = match place {
            Place::Given(slot) => return Ok(Some(slot)),
            Place::Claimed(claim) => claim,
            Place::Unclaimed => {
                self.shared.workers.request_permit(&self.profile.id, &self.stored.id, None)
            }
        };
        match claim.try_recv() {
            Ok(slot) => Ok(Some(slot)),
            Err(oneshot::error::TryRecvError::Empty) => {
                self.place = Place::Claimed(claim);
                Err(NoPlace)
            }
            Err(oneshot::error::TryRecvError::Closed) => Err(NoPlace),
        }
    }

    /// A place for an input that has just come: behind those that wait, or in the place of the turn that
    /// it interrupts.
    pub(super) fn place_for_new(&mut self) -> Result<Option<WorkerPermit>, NoPlace> {
        if !self.is_offered() {
            return Ok(None);
        }
        match &self.running {
            Some(running) => {
                running.slot.lock().take_if(|slot| slot.is_kept()).map(Some).ok_or(NoPlace)
            }
            None if self.state.queue().is_empty() => self.take_place(),
            None => Err(NoPlace),
        }
    }

    /// The turn that starts with the running one's end, in the same append.
    pub(super) fn next_in_line(&self) -> Option<Starting> {
        if self.stopping.is_some() {
            return None;
        }
        let input = self.state.queue().front()?.input.clone();
        if !self.is_offered() {
            return Some(Starting::new(input, None));
        }
        // Where other sessions wait for a place, this one waits behind them.
        let slot = self
            .running
            .as_ref()?
            .slot
            .lock()
            .take_if(|slot| slot.is_kept() && !slot.is_wanted())?;
        Some(Starting::new(input, Some(slot)))
    }

    /// The running turn is over.
    pub(super) fn go_on_with(&mut self, next: Option<Starting>) {
        drop(self.running.take());
        match next {
            Some(next) => self.launch(next),
            None => self.start_next(),
        }
    }

    /// Starts the oldest queued input, if nothing runs and there is a place for it.
    pub(super) fn start_next(&mut self) {
        if self.shared.options.resting
            || self.stopping.is_some()
            || self.unended.is_some()
            || self.state.turn().is_some()
        {
            return;
        }
        let Some(input) = self.state.queue().front().map(|queued| queued.input.clone()) else {
            self.place = Place::Unclaimed;
            return;
        };
        let Ok(slot) = self.take_place() else {
            // Also when it waited since before a restart.
            if self.shared.workers.is_deserted(&self.profile.id) {
                self.tail.stands(Some(no_worker_status(&self.profile)));
            }
            return;
        };
        let next = Starting::new(input, slot);
        if self.append(vec![next.event()], Also::default(), Vec::new()).is_ok() {
            self.launch(next);
        }
    }

    /// Goes on with the turn that was parked when the server last stopped.
    pub(super) fn resume(&mut self) {
        if self.unended.is_none()
            && !self.shared.options.resting
            && let Some(turn) = self.state.turn().cloned()
        {
            self.launch(Starting { turn: turn.id, input: turn.input, slot: None });
        }
    }

    /// Hands an accepted turn to the agent, without waiting for the disk.
    pub(super) fn launch(&mut self, starting: Starting) {
        let Starting { turn, input, slot } = starting;
        self.tail.stands(None);
        let waiting = self.state.turn().map(|turn| turn.calls.clone()).unwrap_or_default();
        let interface = self.embed(turn.clone(), input);
        let head = self.state.head();
        let run = Turn {
            session: self.stored.id.clone(),
            id: turn,
            agent: Arc::clone(&self.profile),
            instructions: self.state.instructions().map(str::to_owned),
            input: (*interface.input).clone(),
            waiting,
            compaction: self.state.compaction(),
            log: Log {
                store: Arc::clone(&self.shared.store),
                session: self.stored.id.clone(),
                first: self.stored.first,
                asked: self.state.turn().map_or(head, |turn| turn.asked),
                started: self.state.turn().map_or(head, |turn| turn.started),
                launched: head,
            },
            interface,
        };
        let Some(running) = &mut self.running else { return };
        let work = if is_offered(&self.profile) {
            *running.slot.lock() = slot;
            Box::pin(Arc::clone(&self.shared.workers).run(run, Arc::clone(&running.slot)))
        } else {
            self.shared.agent.run(run)
        };
        running.work = Work::Task(Some(tokio::spawn(work)));
    }

    /// Opens the interface of an accepted turn.
    pub(super) fn embed(&mut self, turn: TurnId, input: ItemId) -> Interface {
        let (sender, messages) = mpsc::channel(TURN_MESSAGES);
        let input = self.inputs.remove(&input).unwrap_or(Input {
            item: input,
            text: String::new(),
            attachments: Vec::new(),
        });
        let waits = self.state.turn().map(Waits::of).unwrap_or_default();
        self.running = Some(Running::new(
            turn.clone(),
            messages,
            waits,
            TurnTime::new(self.shared.options.turn_within),
        ));
        Interface {
            session: self.stored.id.clone(),
            sender: TurnSender::new(turn, sender),
            tail: Arc::clone(&self.tail),
            clients: Arc::clone(&self.clients),
            input: Arc::new(input),
            memory: Arc::clone(&self.shared.memory),
            tasks: self.shared.tasks.clone(),
            agent: self.stored.agent.clone(),
        }
    }
}
