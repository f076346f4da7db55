//! Calls of a worker's turn that need the owner's approval before they may run.

use std::collections::HashMap;

use futures::FutureExt as _;
use thoughtwire_proto::{CallId, Decision, Refusal, RefusalCode};
use tokio::sync::oneshot;

use super::answers::PendingSay;

/// Most calls of one worker that may wait for approval at once. Each holds one of the commands
/// that its connection may have under way (64), so more of them could block the connection.
pub(super) const MOST_HELD: usize = 32;

/// Calls of one turn for which the server asked the owner.
#[derive(Default)]
pub(super) struct HeldCalls {
    held: HashMap<CallId, oneshot::Sender<Decision>>,
    decided: HashMap<CallId, Decision>,
}

/// State of a call that may need approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldState {
    /// The server has not asked for it.
    Unasked,
    /// The owner has not decided yet.
    Held,
    /// The owner decided, or the deadline passed.
    Decided(Decision),
}

impl HeldCalls {
    pub(super) fn state(&self, call: &CallId) -> HoldState {
        if self.held.contains_key(call) {
            return HoldState::Held;
        }
        self.decided.get(call).map_or(HoldState::Unasked, |decision| HoldState::Decided(*decision))
    }

    /// Number of calls that wait.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Holds a call until its decision, which the receiver gets.
    pub(super) fn hold(&mut self, call: &CallId) -> oneshot::Receiver<Decision> {
        let (decided, decision) = oneshot::channel();
        self.held.insert(call.clone(), decided);
        decision
    }

    /// Notes a decision that was made earlier.
    pub(super) fn note(&mut self, call: &CallId, decision: Decision) {
        self.decided.insert(call.clone(), decision);
    }

    /// Notes a call's decision. Returns the sender for it if the call was held.
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

/// The outcome of a held call: that of its event once the call is approved, else a refusal.
pub(super) fn when_approved(
    call: CallId,
    called: PendingSay,
    decision: oneshot::Receiver<Decision>,
) -> PendingSay {
    let pending = async move {
        let outcome = called.await?;
        check_decision(&call, decision.await.ok())?;
        Ok(outcome)
    };
    pending.boxed().shared()
}

/// Checks that a call may run. `decision` is `None` if its turn ended first.
pub(super) fn check_decision(call: &CallId, decision: Option<Decision>) -> Result<(), Refusal> {
    let forbidden = |why: &str| {
        Err(Refusal::new(RefusalCode::Forbidden, format!("call {call} must not run: {why}")))
    };
    match decision {
        Some(Decision::Approved | Decision::Done) => Ok(()),
        Some(Decision::Denied) => forbidden("its owner denied it"),
        Some(Decision::Expired) => forbidden("nobody approved it in time"),
        Some(Decision::Void) | None => Err(Refusal::new(
            RefusalCode::NoTurn,
            format!("call {call} must not run: its turn has ended"),
        )),
    }
}

/// Text of the result with which the server closes a call that did not run.
pub(super) fn not_run(decision: Decision) -> &'static str {
    match decision {
        Decision::Denied => "The owner denied this call. It did not run.",
        Decision::Expired => "Nobody approved this call in time. It did not run.",
        Decision::Approved | Decision::Done | Decision::Void => "This call did not run.",
    }
}
