//! Appends under way, and the replies and emissions that wait behind them.

use std::collections::VecDeque;

use thoughtwire_proto::{
    CallId, CommandId, Emission, Record, Refusal, RefusalCode, Seq, SessionReply, TurnId,
};

use crate::host::SeqReply;
use crate::{CallReply, CoreReply, IdempotencyKey, SessionHost, TurnError};

/// Appends under way per session. This bounds what the store's queue holds for it.
pub const MAX_APPENDS: usize = 256;
/// Appends under way and emissions behind them: while the disk stands still, an agent that streams
/// is slowed as well.
pub const MAX_STEPS: usize = 4 * MAX_APPENDS;

/// Steps in emission order: nothing is shown before the appends in front of it are on disk.
pub(crate) struct Pipeline<H: SessionHost> {
    steps: VecDeque<PipelineStep<H>>,
    appends: usize,
}

enum PipelineStep<H: SessionHost> {
    Append(Box<PendingAppend<H>>),
    Show(Emission),
}

/// One append that the store has not confirmed.
pub(crate) struct PendingAppend<H: SessionHost> {
    pub(crate) records: Vec<Record>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) waiters: Vec<Waiter<H>>,
    pub(crate) settles: Option<Settlement>,
}

/// A call that an append settles, and the reply for the agent that waits for it.
pub(crate) struct Settlement {
    pub(crate) turn: TurnId,
    pub(crate) call: CallId,
    pub(crate) reply: CallReply,
}

/// Sender of a reply that waits until an append is on disk.
pub(crate) enum Waiter<H: SessionHost> {
    Command(H::CommandSender, Box<SessionReply>),
    Agent(SeqReply<H>, Seq),
}

impl<H: SessionHost> Waiter<H> {
    /// The reply once the append is on disk.
    pub(crate) fn saved(self) -> CoreReply<H> {
        match self {
            Self::Command(reply, answer) => CoreReply::Command(reply, Ok(*answer)),
            Self::Agent(reply, seq) => CoreReply::Seq(reply, Ok(seq)),
        }
    }

    /// The reply if the append failed or was illegal.
    pub(crate) fn failed(self, refusal: &Refusal) -> CoreReply<H> {
        match self {
            Self::Command(reply, _) => CoreReply::Command(reply, Err(refusal.clone())),
            Self::Agent(reply, _) => {
                let error = if refusal.code == RefusalCode::BadRequest {
                    TurnError::Illegal(refusal.reason.clone())
                } else {
                    TurnError::Unsaved(refusal.clone())
                };
                CoreReply::Seq(reply, Err(error))
            }
        }
    }
}

impl<H: SessionHost> PendingAppend<H> {
    /// The answer of the command that caused the append.
    pub(crate) fn answer(&self) -> Option<&SessionReply> {
        self.waiters.iter().find_map(|waiter| match waiter {
            Waiter::Command(_, answer) => Some(&**answer),
            Waiter::Agent(..) => None,
        })
    }
}

impl<H: SessionHost> Default for Pipeline<H> {
    fn default() -> Self {
        Self { steps: VecDeque::new(), appends: 0 }
    }
}

impl<H: SessionHost> Pipeline<H> {
    pub(crate) fn has_room(&self) -> bool {
        self.appends < MAX_APPENDS && self.steps.len() < MAX_STEPS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn push(&mut self, append: PendingAppend<H>) {
        self.appends += 1;
        self.steps.push_back(PipelineStep::Append(Box::new(append)));
    }

    /// Queues an emission behind the appends; returns it if there are none.
    pub(crate) fn show(&mut self, emission: Emission) -> Option<Emission> {
        if self.appends == 0 {
            return Some(emission);
        }
        self.steps.push_back(PipelineStep::Show(emission));
        None
    }

    /// The append that carries a command id, so that a repetition of the command can join it.
    pub(crate) fn with_key(&mut self, id: &CommandId) -> Option<&mut PendingAppend<H>> {
        self.steps.iter_mut().find_map(|step| match step {
            PipelineStep::Append(append)
                if append.key.as_ref().is_some_and(|key| key.id == *id) =>
            {
                Some(&mut **append)
            }
            PipelineStep::Append(_) | PipelineStep::Show(_) => None,
        })
    }

    /// Takes the oldest append, which is on disk, and the emissions right behind it.
    pub(crate) fn confirm(&mut self) -> Option<(PendingAppend<H>, Vec<Emission>)> {
        let append = match self.steps.pop_front()? {
            PipelineStep::Append(append) => *append,
            // Invariant: the front is an append, see `show` and the loop below. Test: `batches`.
            PipelineStep::Show(_) => return None,
        };
        self.appends -= 1;
        let mut shown = Vec::new();
        while let Some(step) = self.steps.pop_front() {
            match step {
                PipelineStep::Show(emission) => shown.push(emission),
                append @ PipelineStep::Append(_) => {
                    self.steps.push_front(append);
                    break;
                }
            }
        }
        Some((append, shown))
    }

    /// Takes all appends after one failed: none of them will be on disk.
    pub(crate) fn discard(&mut self) -> Vec<PendingAppend<H>> {
        self.appends = 0;
        let appends = self.steps.drain(..).filter_map(|step| match step {
            PipelineStep::Append(append) => Some(*append),
            PipelineStep::Show(_) => None,
        });
        appends.collect()
    }
}
