//! The core's effects, carried out: calls of the store, the tail and the agent.

use std::sync::Arc;

use futures::future::join_all;
use thoughtwire_proto::{Emission, Event, Record, TurnEvent};
use thoughtwire_session::{Effect, Runner, SessionEnd, SessionInput, TurnStart};
use tokio::sync::mpsc;

use super::TURN_MESSAGES;
use super::driver::{LiveEnd, SessionDriver};
use super::host::{DriverHost, reply};
use super::jobs::JobResult;
use super::live_turn::{LiveTurn, TurnWork};
use crate::agent::{Log, Turn};
use crate::interface::Interface;
use crate::turn_message::TurnSender;
use crate::workers::is_offered;

impl SessionDriver {
    /// Carries one effect of the core out. Nothing here waits.
    pub(super) fn carry_out(&mut self, effect: Effect<DriverHost>) {
        match effect {
            Effect::Append(batch) => self.commits.push_back(self.storage.append(*batch)),
            Effect::DiscardAppends => self.discarded.extend(self.commits.drain(..)),
            Effect::Publish { records, then } => {
                self.services.committed(&self.storage.user, &self.storage.id, &records);
                if records.iter().any(ends_turn) {
                    self.services.agent.turn_ended(&self.storage.agent);
                }
                let records = records.into_iter().map(Emission::Record);
                self.tail.publish(records.chain(then));
            }
            Effect::Show(emission) => self.tail.publish([emission]),
            Effect::SetStanding(text) => self.tail.stands(text),
            Effect::Checkpoint(texts) => {
                self.checkpoint = Some(join_all(self.storage.checkpoint(texts)));
            }
            Effect::StartTurn(start) => self.start_turn(*start),
            Effect::DropTurn => {
                self.turn = None;
                self.core.host_mut().turn_dropped();
            }
            Effect::LookUpReceipt(key) => {
                let storage = self.storage.clone();
                self.spawn(async move { JobResult::Receipt(storage.receipt(&key).await) });
            }
            Effect::Delete(key) => {
                let storage = self.storage.clone();
                self.spawn(async move { JobResult::Deleted(storage.delete(key).await) });
            }
            Effect::Reload => {
                let (storage, shown) = (self.storage.clone(), self.tail.head());
                let discarded = join_all(std::mem::take(&mut self.discarded));
                self.spawn(async move {
                    // A log that is read before they are settled may grow.
                    drop(discarded.await);
                    JobResult::Reloaded(storage.reload(shown).await)
                });
            }
            Effect::CountClients => {
                let clients = self.tail.presence();
                self.handle(SessionInput::ClientsCounted(clients));
            }
            Effect::End(end) => {
                self.end = Some(match end {
                    SessionEnd::Deleted => LiveEnd::Deleted,
                    SessionEnd::Stopped => LiveEnd::Stopped,
                    SessionEnd::StoreLost => LiveEnd::StoreLost,
                });
            }
            Effect::Reply(answer) => reply(answer),
        }
    }

    /// Starts the agent's work on a turn.
    fn start_turn(&mut self, start: TurnStart<DriverHost>) {
        let (sender, messages) = mpsc::channel(TURN_MESSAGES);
        let id = start.turn.clone();
        let interface = Interface {
            session: self.storage.id.clone(),
            sender: TurnSender::new(start.turn.clone(), sender),
            tail: Arc::clone(&self.tail),
            clients: Arc::clone(&self.clients),
            input: Arc::new(start.input.clone()),
            memory: Arc::clone(&self.services.memory),
            tasks: self.services.tasks.clone(),
            agent: self.storage.agent.clone(),
        };
        let worker = match start.runner {
            Runner::Embedder(begun) => {
                drop(begun.send(Ok(interface)));
                TurnWork::Embedder
            }
            Runner::Agent(permit) => {
                let host = self.core.host_mut();
                let (cell, profile) = (host.turn_started(permit), Arc::clone(host.profile()));
                let turn = Turn {
                    session: self.storage.id.clone(),
                    id: start.turn,
                    instructions: start.instructions,
                    input: start.input,
                    attempt: start.attempt,
                    open_calls: start.open_calls,
                    compaction: start.compaction,
                    log: Log {
                        store: Arc::clone(&self.services.store),
                        session: self.storage.id.clone(),
                        first: self.first,
                        asked: start.asked,
                        started: start.started,
                        launched: start.launched,
                    },
                    interface,
                    agent: profile,
                };
                let work = if is_offered(&turn.agent) {
                    Box::pin(Arc::clone(&self.services.workers).run(turn, cell))
                } else {
                    self.services.agent.run(turn)
                };
                TurnWork::Task(tokio::spawn(self.services.agent_work.track_future(work)))
            }
        };
        self.turn = Some(LiveTurn::new(id, messages, worker));
    }
}

const fn ends_turn(record: &Record) -> bool {
    matches!(record.event, Event::Turn(TurnEvent::Ended { .. }))
}
