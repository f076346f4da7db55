//! What a session has under way: appends not yet on disk, and what must be shown behind them.

use std::collections::VecDeque;

use thoughtwire_proto::{
    CallId, CommandId, Emission, Record, Refusal, RefusalCode, Seq, SessionReply,
};
use thoughtwire_store::{Commit, StoreError};
use tokio::sync::oneshot;

use super::Reply;
use crate::turn_message::{CallReply, TurnError};

/// In emission order: nothing is shown before the appends in front of it are on disk.
#[derive(Default)]
pub(crate) struct UnderWay {
    queue: VecDeque<Step>,
    appends: usize,
}

enum Step {
    Append(Box<Pending>),
    Show(Emission),
}

/// One append that the store has not confirmed.
pub(crate) struct Pending {
    pub(crate) commit: Commit<()>,
    pub(crate) records: Vec<Record>,
    pub(crate) command: Option<(CommandId, String)>,
    pub(crate) waiters: Vec<Waiter>,
    /// What the agent that waits for a call is told.
    pub(crate) answered: Option<(CallId, CallReply)>,
}

/// Who waits for an append to be on disk.
pub(crate) enum Waiter {
    Client(Reply, Box<SessionReply>),
    Agent(oneshot::Sender<Result<Seq, TurnError>>, Seq),
}

impl Waiter {
    pub(crate) fn saved(self) {
        match self {
            // A client that left needs no answer; what it asked is done all the same.
            Self::Client(reply, answer) => drop(reply.send(Ok(*answer))),
            Self::Agent(reply, seq) => drop(reply.send(Ok(seq))),
        }
    }

    pub(crate) fn failed(self, refusal: &Refusal) {
        match self {
            Self::Client(reply, _) => drop(reply.send(Err(refusal.clone()))),
            Self::Agent(reply, _) => {
                let reason = refusal.reason.clone();
                let error = if refusal.code == RefusalCode::BadRequest {
                    TurnError::Illegal(reason)
                } else {
                    TurnError::Unsaved(reason)
                };
                drop(reply.send(Err(error)));
            }
        }
    }
}

impl UnderWay {
    pub(crate) fn has_room(&self) -> bool {
        self.appends < super::UNDER_WAY && self.queue.len() < super::STEPS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, pending: Pending) {
        self.appends += 1;
        self.queue.push_back(Step::Append(Box::new(pending)));
    }

    /// Queues an emission behind the appends; hands it back when there are none.
    pub(crate) fn show(&mut self, emission: Emission) -> Option<Emission> {
        if self.appends == 0 {
            return Some(emission);
        }
        self.queue.push_back(Step::Show(emission));
        None
    }

    /// The append that carries a command id, to which a repetition of it can be joined.
    pub(crate) fn command(&mut self, id: &CommandId) -> Option<&mut Pending> {
        self.queue.iter_mut().find_map(|step| match step {
            Step::Append(pending)
                if pending.command.as_ref().is_some_and(|(known, _)| known == id) =>
            {
                Some(&mut **pending)
            }
            Step::Append(_) | Step::Show(_) => None,
        })
    }

    /// Waits for the front append. Never resolves while there is none; safe to drop and call again.
    pub(crate) async fn front(&mut self) -> Result<(), StoreError> {
        match self.queue.front_mut() {
            Some(Step::Append(pending)) => (&mut pending.commit).await,
            Some(Step::Show(_)) | None => std::future::pending().await,
        }
    }

    /// Takes the confirmed front append, and what was to be shown right behind it.
    pub(crate) fn confirmed(&mut self) -> Option<(Pending, Vec<Emission>)> {
        let pending = match self.queue.pop_front()? {
            Step::Append(pending) => *pending,
            Step::Show(_) => return None,
        };
        self.appends -= 1;
        let mut shown = Vec::new();
        while let Some(Step::Show(_)) = self.queue.front() {
            if let Some(Step::Show(emission)) = self.queue.pop_front() {
                shown.push(emission);
            }
        }
        Some((pending, shown))
    }

    /// Takes everything after a failed append: none of it will be on disk.
    pub(crate) fn discard(&mut self) -> Vec<Pending> {
        self.appends = 0;
        self.queue
            .drain(..)
            .filter_map(|step| match step {
                Step::Append(pending) => Some(*pending),
                Step::Show(_) => None,
            })
            .collect()
    }
}
