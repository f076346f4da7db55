//! First answers to a worker's verbs, by their ids.

use std::collections::VecDeque;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use thoughtwire_proto::{CommandId, ConnectionReply, Input, Refusal, Seq};
use tokio::sync::oneshot;

use crate::turn_message::{Replying, TurnError};

/// Ids per turn whose answers are kept: many more than a worker may have unanswered.
const KEPT: usize = 1_024;

/// Outcome of a verb.
#[derive(Debug, Clone)]
pub(super) struct SayOutcome {
    pub(super) seq: Option<Seq>,
    pub(super) steered: Vec<Input>,
}

/// Outcome of a verb under way; any number of repetitions may wait for it.
pub(super) type PendingSay = Shared<BoxFuture<'static, Result<SayOutcome, Refusal>>>;

/// Answers to the verbs of one turn. A verb with a known id has no second effect.
#[derive(Default)]
pub(crate) struct FirstAnswers(Mutex<VecDeque<(CommandId, PendingSay)>>);

impl FirstAnswers {
    /// The answer to an earlier verb of this id. A refused verb had no effect and is not kept.
    pub(crate) fn repeated(&self, id: &CommandId) -> Option<Replying<ConnectionReply>> {
        let known = self.0.lock();
        let (_, pending) = known.iter().rev().find(|(known, _)| known == id)?;
        if let Some(Err(_)) = pending.peek() {
            return None;
        }
        Some(answering(pending.clone(), true))
    }

    /// Whether a verb of this id had an effect.
    pub(super) fn contains(&self, id: &str) -> bool {
        let is_its = |(known, pending): &(CommandId, PendingSay)| {
            known.as_str() == id && !matches!(pending.peek(), Some(Err(_)))
        };
        self.0.lock().iter().any(is_its)
    }

    pub(super) fn add(&self, id: CommandId, pending: PendingSay) {
        let mut known = self.0.lock();
        known.push_back((id, pending));
        if known.len() > KEPT {
            known.pop_front();
        }
    }
}

/// The answer to a verb, from its outcome.
pub(super) fn answering(pending: PendingSay, duplicate: bool) -> Replying<ConnectionReply> {
    Box::pin(async move {
        pending.await.map(|SayOutcome { seq, steered }| ConnectionReply::Said {
            seq,
            steered,
            duplicate,
        })
    })
}

/// The outcome of a verb that appends no event.
pub(super) fn no_event() -> PendingSay {
    at_once(None)
}

/// The outcome of a verb whose event is on disk already.
pub(super) fn at_once(seq: Option<Seq>) -> PendingSay {
    std::future::ready(Ok(SayOutcome { seq, steered: Vec::new() })).boxed().shared()
}

/// The outcome of a verb whose event is on its way to the disk.
pub(super) fn committed(answer: oneshot::Receiver<Result<Seq, TurnError>>) -> PendingSay {
    let pending = async move {
        let outcome = answer.await.unwrap_or(Err(TurnError::Ended));
        let seq = outcome.map_err(|error| error.to_refusal())?;
        Ok(SayOutcome { seq: Some(seq), steered: Vec::new() })
    };
    pending.boxed().shared()
}
