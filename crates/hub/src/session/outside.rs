//! What comes from outside for a running turn: decisions about its calls, and results of those that clients run.

use thoughtwire_proto::{
    CallId, Decision, Event, OpenCall, RefusalCode, Seq, SessionReply, ToolStatus, TurnEvent,
    TurnId,
};
use tokio::sync::oneshot;

use super::asked::refuse;
use super::commit::Waiter;
use super::task::{Also, Task};
use super::waits::Awaited;
use super::{Once, Reply};
use crate::turn_message::{CallReply, Question, ReplySender, Returned, TurnError};

impl Task {
    /// The agent waits: asks the question, or goes on with one that stood before a restart.
    pub(super) fn begin_waiting(
        &mut self,
        turn: TurnId,
        call: CallId,
        question: Question,
        reply: ReplySender,
        told: Option<oneshot::Sender<Result<Seq, TurnError>>>,
    ) {
        let Some(running) = &mut self.running else { return };
        let Some(reply) = running.waits.listen(&call, reply) else {
            // It was asked before: whoever asks again learns up to where that is known.
            drop(told.map(|told| told.send(Ok(self.state.head()))));
            return;
        };
        let (awaited, expires_at, event) = match question {
            Question::Approval { name, expires_at } => (
                Awaited::Approval,
                expires_at,
                Event::Turn(TurnEvent::ApprovalAsked { call: call.clone(), name, expires_at }),
            ),
            Question::Client { expires_at } => (
                Awaited::Client,
                expires_at,
                Event::Turn(TurnEvent::ToolAwaited { call: call.clone(), expires_at }),
            ),
        };
        // The call's own append may have asked already.
        let stands = self
            .state
            .turn()
            .is_some_and(|turn| turn.calls.iter().any(|open| open.call == call && open.waits()));
        let asked = self
            .state
            .turn()
            .map_or(0, |turn| turn.calls.iter().filter(|open| open.approval.is_some()).count());
        if !stands && awaited == Awaited::Approval && asked >= self.shared.options.open_approvals {
            let reason = format!(
                "{asked} calls wait for approval already, so this one was not asked for and not made."
            );
            // An agent that no longer waits needs no answer.
            drop(reply.send(CallReply::Refused(reason.clone())));
            drop(told.map(|told| told.send(Err(TurnError::Refused(reason)))));
            return;
        }
        // When it cannot be asked, dropping the reply tells the agent.
        let seq = if stands { self.state.head() } else { self.state.head().next() };
        let mut waiters: Vec<_> = told.map(|told| Waiter::Agent(told, seq)).into_iter().collect();
        if stands {
            waiters.drain(..).for_each(Waiter::saved);
        }
        if (stands || self.append(vec![(Some(turn), event)], Also::default(), waiters).is_ok())
            && let Some(running) = &mut self.running
        {
            running.waits.begin(call, awaited, expires_at, reply);
        }
    }

    pub(super) fn decide(
        &mut self,
        call: CallId,
        approve: bool,
        by: Option<String>,
        once: Option<Once>,
        reply: Reply,
    ) {
        let asked = |open: &OpenCall| open.approval.is_some() && open.call == call;
        let turn = self.state.turn().filter(|turn| turn.calls.iter().any(asked));
        let Some(turn) = turn.map(|turn| turn.id.clone()) else {
            let reason =
                format!("call {call} waits for no decision: it was settled, ended, or never asked");
            return refuse(reply, RefusalCode::UnknownCall, reason);
        };
        let decision = if approve { Decision::Approved } else { Decision::Denied };
        let event = Event::Turn(TurnEvent::ApprovalSettled { call: call.clone(), decision, by });
        self.settle_call(&turn, &call, event, CallReply::Decided(decision), Some((once, reply)));
    }

    pub(super) fn tool_returned(
        &mut self,
        call: &CallId,
        returned: Returned,
        once: Option<Once>,
        reply: Reply,
    ) {
        let awaited = |open: &&OpenCall| open.call == *call && open.awaited.is_some();
        let found = self.state.turn().and_then(|turn| {
            turn.calls.iter().find(awaited).map(|open| (turn.id.clone(), open.name.clone()))
        });
        let Some((turn, name)) = found else {
            let reason = format!(
                "call {call} waits for no client: it came back, ended, or is not a client's to run"
            );
            return refuse(reply, RefusalCode::UnknownCall, reason);
        };
        let event = returned.clone().into_event(call, name);
        self.settle_call(&turn, call, event, CallReply::Returned(returned), Some((once, reply)));
    }

    /// Settles what nobody answered in time.
    pub(super) fn expire_waits(&mut self) {
        let Some(running) = &self.running else { return };
        let turn = running.id.clone();
        for (call, awaited) in running.waits.lapsed(self.shared.now()) {
            match awaited {
                Awaited::Approval => {
                    let event = Event::Turn(TurnEvent::ApprovalSettled {
                        call: call.clone(),
                        decision: Decision::Expired,
                        by: None,
                    });
                    self.settle_call(
                        &turn,
                        &call,
                        event,
                        CallReply::Decided(Decision::Expired),
                        None,
                    );
                }
                Awaited::Client => {
                    let open = self
                        .state
                        .turn()
                        .and_then(|turn| turn.calls.iter().find(|open| open.call == call));
                    let name = open.map(|open| open.name.clone()).unwrap_or_default();
                    let text = "No client ran the tool in time.".to_owned();
                    let returned = Returned { status: ToolStatus::Error, text, content: None };
                    let event = returned.clone().into_event(&call, name);
                    self.settle_call(&turn, &call, event, CallReply::Returned(returned), None);
                }
            }
        }
    }

    fn settle_call(
        &mut self,
        turn: &TurnId,
        call: &CallId,
        event: Event,
        answered: CallReply,
        asked: Option<(Option<Once>, Reply)>,
    ) {
        let answer = SessionReply::Done { seq: Some(self.state.head().next()), duplicate: false };
        let (once, waiters) = match asked {
            Some((once, reply)) => (once, vec![Waiter::Client(reply, Box::new(answer))]),
            None => (None, Vec::new()),
        };
        if self
            .append(
                vec![(Some(turn.clone()), event)],
                Also { once, answered: Some((call.clone(), answered)), ..Also::default() },
                waiters,
            )
            .is_err()
        {
            // Something else has settled it: there is nothing to wait for.
            tracing::debug!(%call, "a call that waited was settled otherwise");
        }
        if let Some(running) = &mut self.running {
            running.waits.close(call);
        }
    }
}

impl Returned {
    fn into_event(self, call: &CallId, name: String) -> Event {
        Event::Turn(TurnEvent::ToolReturned {
            call: call.clone(),
            name,
            status: self.status,
            text: self.text,
            content: self.content,
        })
    }
}
