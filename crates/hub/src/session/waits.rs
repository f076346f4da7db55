//! What a running turn waits for from outside: leave for its calls, and results of those that clients run.

use std::collections::HashMap;

use thoughtwire_proto::{CallId, OpenTurn, Timestamp};

use crate::turn_message::{CallReply, ReplySender};

/// Which of the two a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Approval,
    Client,
}

/// The calls that wait.
///
/// A question can stand before its agent listens, above all after a restart: until then an answer is kept.
#[derive(Default)]
pub(super) struct Waits(HashMap<CallId, Wait>);

enum Wait {
    Open {
        awaited: Awaited,
        expires_at: Timestamp,
        reply: Option<ReplySender>,
    },
    /// Settled, and on its way to the disk.
    Closed {
        reply: Option<ReplySender>,
    },
    Answered(CallReply),
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
            Some((open.call.clone(), Wait::Open { awaited, expires_at, reply: None }))
        });
        Self(waits.collect())
    }

    /// Begins to wait for a call.
    pub(super) fn begin(
        &mut self,
        call: CallId,
        awaited: Awaited,
        expires_at: Timestamp,
        reply: ReplySender,
    ) {
        self.0.insert(call, Wait::Open { awaited, expires_at, reply: Some(reply) });
    }

    /// Listens again for a call that waits already; hands the reply back when none does.
    pub(super) fn listen(&mut self, call: &CallId, reply: ReplySender) -> Option<ReplySender> {
        match self.0.remove(call) {
            Some(Wait::Open { awaited, expires_at, reply: _ }) => {
                self.0.insert(call.clone(), Wait::Open { awaited, expires_at, reply: Some(reply) });
                None
            }
            Some(Wait::Closed { reply: _ }) => {
                self.0.insert(call.clone(), Wait::Closed { reply: Some(reply) });
                None
            }
            Some(Wait::Answered(answer)) => {
                // An agent that no longer waits needs no answer.
                drop(reply.send(answer));
                None
            }
            None => Some(reply),
        }
    }

    /// A call is settled: it lapses no more.
    pub(super) fn close(&mut self, call: &CallId) {
        let reply = match self.0.remove(call) {
            Some(Wait::Open { reply, .. } | Wait::Closed { reply }) => reply,
            Some(Wait::Answered(_)) | None => None,
        };
        self.0.insert(call.clone(), Wait::Closed { reply });
    }

    /// Tells what came for a call.
    pub(super) fn settle(&mut self, call: &CallId, answer: CallReply) {
        match self.0.remove(call) {
            Some(Wait::Open { reply: Some(reply), .. } | Wait::Closed { reply: Some(reply) }) => {
                drop(reply.send(answer));
            }
            Some(
                Wait::Open { reply: None, .. } | Wait::Closed { reply: None } | Wait::Answered(_),
            )
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
