//! What a running turn waits for from outside: leave for its calls, and results of those that clients run.

use std::collections::HashMap;

use serde_json::Value;
use thoughtwire_proto::{CallId, Decision, OpenTurn, Timestamp, ToolStatus};
use tokio::sync::oneshot;

/// What a call that a client ran came back with.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    /// Whether it worked.
    pub status: ToolStatus,
    /// The result or the error.
    pub text: String,
    /// The result in richer form.
    pub content: Option<Value>,
}

/// What an agent waits for, told once it has come.
#[derive(Debug)]
pub(crate) enum Answered {
    /// It was not even asked; why.
    Refused(String),
    Decided(Decision),
    Returned(Returned),
}

/// Which of the two a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Approval,
    Client,
}

/// Where an agent listens for what it waits for.
pub(crate) type Ear = oneshot::Sender<Answered>;

/// The calls that wait.
///
/// A question can stand before its agent listens, above all after a restart: until then an answer is kept.
#[derive(Default)]
pub(super) struct Waits(HashMap<CallId, Wait>);

enum Wait {
    Open {
        awaited: Awaited,
        expires_at: Timestamp,
        ear: Option<Ear>,
    },
    /// Settled, and on its way to the disk.
    Closed {
        ear: Option<Ear>,
    },
    Answered(Answered),
}

impl Waits {
    /// What an open turn waits for, by its log.
    pub(super) fn of(turn: &OpenTurn) -> Self {
        let waits = turn.calls.iter().filter_map(|open| {
            let (awaited, expires_at) = match (open.approval, open.awaited) {
                (Some(at), _) => (Awaited::Approval, at),
                (None, Some(at)) => (Awaited::Client, at),
                (None, None) => return None,
            };
            Some((open.call.clone(), Wait::Open { awaited, expires_at, ear: None }))
        });
        Self(waits.collect())
    }

    /// Begins to wait for a call.
    pub(super) fn begin(
        &mut self,
        call: CallId,
        awaited: Awaited,
        expires_at: Timestamp,
        ear: Ear,
    ) {
        self.0.insert(call, Wait::Open { awaited, expires_at, ear: Some(ear) });
    }

    /// Listens again for a call that waits already; hands the ear back when none does.
    pub(super) fn listen(&mut self, call: &CallId, ear: Ear) -> Option<Ear> {
        match self.0.remove(call) {
            Some(Wait::Open { awaited, expires_at, ear: _ }) => {
                self.0.insert(call.clone(), Wait::Open { awaited, expires_at, ear: Some(ear) });
                None
            }
            Some(Wait::Closed { ear: _ }) => {
                self.0.insert(call.clone(), Wait::Closed { ear: Some(ear) });
                None
            }
            Some(Wait::Answered(answer)) => {
                // An agent that no longer waits needs no answer.
                drop(ear.send(answer));
                None
            }
            None => Some(ear),
        }
    }

    /// A call is settled: it lapses no more.
    pub(super) fn close(&mut self, call: &CallId) {
        let ear = match self.0.remove(call) {
            Some(Wait::Open { ear, .. } | Wait::Closed { ear }) => ear,
            Some(Wait::Answered(_)) | None => None,
        };
        self.0.insert(call.clone(), Wait::Closed { ear });
    }

    /// Tells what came for a call.
    pub(super) fn settle(&mut self, call: &CallId, answer: Answered) {
        match self.0.remove(call) {
            Some(Wait::Open { ear: Some(ear), .. } | Wait::Closed { ear: Some(ear) }) => {
                drop(ear.send(answer));
            }
            Some(Wait::Open { ear: None, .. } | Wait::Closed { ear: None } | Wait::Answered(_))
            | None => {
                drop(self.0.insert(call.clone(), Wait::Answered(answer)));
            }
        }
    }

    /// When the first of them lapses.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.0.values().filter_map(Wait::expires_at).min()
    }

    /// The calls whose time is up.
    pub(super) fn lapsed(&self, now: Timestamp) -> Vec<(CallId, Awaited)> {
        let lapsed = self.0.iter().filter_map(|(call, wait)| match wait {
            Wait::Open { awaited, expires_at, .. } if *expires_at <= now => {
                Some((call.clone(), *awaited))
            }
            Wait::Open { .. } | Wait::Closed { .. } | Wait::Answered(_) => None,
        });
        lapsed.collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Wait {
    fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Open { expires_at, .. } => Some(*expires_at),
            Self::Closed { .. } | Self::Answered(_) => None,
        }
    }
}
