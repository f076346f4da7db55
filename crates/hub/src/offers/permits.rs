//! Calls of a worker's turn that need the owner's permission before they may run.

use std::collections::HashMap;

use thoughtwire_proto::{CallId, Decision, Refusal, RefusalCode};
use tokio::sync::oneshot;

/// Calls of one worker that may wait for permission at once. Each holds one of the commands that
/// its connection may have under way (64), so more of them could keep the connection from being
/// read.
pub(super) const MOST_HELD: usize = 32;

/// The calls of one turn for which the server asked the owner.
#[derive(Default)]
pub(super) struct Permits {
    held: HashMap<CallId, oneshot::Sender<Decision>>,
    decided: HashMap<CallId, Decision>,
}

/// What became of a call that needs permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// The server has not asked for it.
    Unasked,
    /// The owner has not decided.
    Held,
    /// The owner decided, or the time is over.
    Decided(Decision),
}

impl Permits {
    pub(super) fn of(&self, call: &CallId) -> Permit {
        if self.held.contains_key(call) {
            return Permit::Held;
        }
        self.decided.get(call).map_or(Permit::Unasked, |decision| Permit::Decided(*decision))
    }

    /// Number of calls that wait.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Holds a call until its decision, which the receiver gets.
    pub(super) fn hold(&mut self, call: &CallId) -> oneshot::Receiver<Decision> {
        let (decided, decision) = oneshot::channel();
        self.held.insert(call.clone(), decided);
        decision
    }

    /// Notes a decision that was made before.
    pub(super) fn note(&mut self, call: &CallId, decision: Decision) {
        self.decided.insert(call.clone(), decision);
    }

    /// Settles a call. Returns where its decision goes, if the call was held.
    pub(super) fn settle(
        &mut self,
        call: &CallId,
        decision: Decision,
    ) -> Option<oneshot::Sender<Decision>> {
        let held = self.held.remove(call)?;
        self.note(call, decision);
        Some(held)
    }
}

/// The answer to a held call, by its decision; none if the turn ended first.
pub(super) fn permitted(call: &CallId, decision: Option<Decision>) -> Result<(), Refusal> {
    let forbidden = |why: &str| {
        Err(Refusal::new(RefusalCode::Forbidden, format!("call {call} must not run: {why}")))
    };
    match decision {
        Some(Decision::Approved) => Ok(()),
        Some(Decision::Denied) => forbidden("its owner denied it"),
        Some(Decision::Expired) => forbidden("nobody approved it in time"),
        Some(Decision::Void) | None => Err(Refusal::new(
            RefusalCode::NoTurn,
            format!("call {call} must not run: its turn has ended"),
        )),
    }
}

/// The result with which the server closes a call that did not run.
pub(super) fn not_run(decision: Decision) -> &'static str {
    match decision {
        Decision::Denied => "The owner denied this call. It did not run.",
        Decision::Expired => "Nobody approved this call in time. It did not run.",
        Decision::Approved | Decision::Void => "This call did not run.",
    }
}
