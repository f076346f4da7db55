//! One turn at a worker: its state, and the replies that its open calls get.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thoughtwire_proto::{
    AgentId, ApprovalAbout, CallId, CommandId, ConnectionReply, Decision, Directive, Event, Id,
    Permission, Record, Refusal, RefusalCode, SessionId, Timestamp, TurnEvent, TurnId, Verb,
    WorkerId,
};
use thoughtwire_session::whole_item;
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

use super::answers::{FirstAnswers, answering, at_once};
use super::cut_items::CutItems;
use super::held_calls::{HeldCalls, not_run, when_approved};
use super::progress::TurnProgress;
use super::registry::OfferRegistry;
use super::verbs::{VerbRunner, append};
use crate::agent::Turn;
use crate::clock::Clock;
use crate::turn_message::{AgentError, AgentVerb, CallQuestion, CallReply, ClientResult, Replying};

/// Sender of a turn's end, to the future that stands in for the agent.
pub(super) type TurnEndSender = oneshot::Sender<Result<(), AgentError>>;

/// A turn that a worker runs.
pub(crate) struct WorkerTurn {
    pub(super) worker: WorkerId,
    pub(super) turn: Turn,
    registry: Weak<OfferRegistry>,
    clock: Clock,
    tasks: TaskTracker,
    answers: Arc<FirstAnswers>,
    /// Verbs are carried out one by one, also while two connections of one worker overlap.
    order: tokio::sync::Mutex<()>,
    pub(super) progress: Mutex<TurnProgress>,
    pub(super) held: Mutex<HeldCalls>,
    /// Texts that the worker may continue.
    pub(super) cut: CutItems,
    end: Mutex<Option<TurnEndSender>>,
    /// The worker has ended the turn itself, so it needs no cancel.
    pub(super) finishing: Arc<AtomicBool>,
    /// The turn is or was in its worker's inbox.
    entered_inbox: AtomicBool,
    /// The turn was taken out of the inbox for the worker.
    handed_over: AtomicBool,
    /// Whether the worker is disconnected.
    away: watch::Sender<bool>,
    /// Whether another worker has the turn, so that this one says nothing more in it.
    moved: AtomicBool,
}

impl WorkerTurn {
    /// Makes a worker's turn. `so_far` has the records of a turn that resumes: verbs that said
    /// them have no second effect.
    pub(super) fn new(
        turn: Turn,
        worker: WorkerId,
        registry: &Arc<OfferRegistry>,
        end: TurnEndSender,
        so_far: &[Record],
    ) -> Self {
        let (answers, held) = answers_so_far(&turn, registry, so_far);
        Self {
            worker,
            registry: Arc::downgrade(registry),
            clock: registry.clock().clone(),
            tasks: registry.tasks().clone(),
            answers: Arc::new(answers),
            order: tokio::sync::Mutex::default(),
            progress: Mutex::new(TurnProgress::new(&turn.open_calls)),
            held: Mutex::new(held),
            cut: CutItems::read(so_far),
            end: Mutex::new(Some(end)),
            finishing: Arc::default(),
            entered_inbox: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            away: watch::Sender::new(false),
            moved: AtomicBool::new(false),
            turn,
        }
    }

    pub(crate) fn id(&self) -> &TurnId {
        &self.turn.id
    }

    pub(super) fn session(&self) -> &SessionId {
        &self.turn.session
    }

    pub(super) fn agent(&self) -> &AgentId {
        &self.turn.agent.id
    }

    /// The registry; `None` once the hub is gone.
    pub(super) fn registry(&self) -> Option<Arc<OfferRegistry>> {
        self.registry.upgrade()
    }

    /// The time so many milliseconds from now, by the hub's clock.
    pub(super) fn within(&self, millis: u64) -> Timestamp {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.clock.now().as_millis().saturating_add(millis))
    }

    pub(super) fn answers(&self) -> Arc<FirstAnswers> {
        Arc::clone(&self.answers)
    }

    /// Notes whether the worker is disconnected.
    pub(super) fn set_away(&self, is_away: bool) {
        if is_away {
            self.lose_worker();
        }
        self.away.send_replace(is_away);
    }

    /// Notes that the worker's process may be gone, with the calls that it was running. The same
    /// worker may come back as another process.
    pub(super) fn lose_worker(&self) {
        self.progress.lock().interrupt();
    }

    /// Resolves when the worker is disconnected, or connected again.
    pub(super) async fn until_away(&self, is_away: bool) {
        // The sender lives as long as this turn.
        drop(self.away.subscribe().wait_for(|now| *now == is_away).await);
    }

    /// Takes the turn from its worker: what the worker still says is refused.
    pub(super) async fn take_away(&self) {
        let _order = self.order.lock().await;
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Whether the turn goes on after an interruption.
    pub(super) fn is_resumed(&self) -> bool {
        self.turn.goes_on()
    }

    /// Whether the worker has ended the turn itself.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// Ends the future that stands in for the agent. Only the first end counts.
    pub(crate) fn end(&self, outcome: Result<(), AgentError>) {
        if let Some(end) = self.end.lock().take() {
            // The turn may have been cancelled; then nobody waits for its end.
            drop(end.send(outcome));
        }
    }

    /// Shows a status if the turn's channel has room. A status may be lost.
    pub(super) fn try_status(&self, text: String) {
        self.turn.interface.sender.try_send(AgentVerb::Status { text });
    }

    /// Whether the turn is or was in its worker's inbox.
    pub(super) fn has_entered_inbox(&self) -> bool {
        self.entered_inbox.load(Ordering::Relaxed)
    }

    /// Marks the turn as entered into the inbox. Returns the replies to its open calls, which
    /// follow it there.
    pub(super) fn enter_inbox(&self) -> Vec<Directive> {
        self.entered_inbox.store(true, Ordering::Relaxed);
        self.progress.lock().replies()
    }

    /// Marks the turn as taken out of the inbox for the worker.
    pub(super) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Number of calls that wait for the owner's approval.
    pub(super) fn held_calls(&self) -> usize {
        self.held.lock().len()
    }

    /// Takes a verb of the worker. When this returns, the verb has its place in the turn's order.
    /// The answer comes when its event is on disk.
    pub(crate) async fn say(
        self: &Arc<Self>,
        id: Option<CommandId>,
        verb: Verb,
    ) -> Replying<ConnectionReply> {
        let _order = self.order.lock().await;
        if let Some(repeated) = id.as_ref().and_then(|id| self.answers.repeated(id)) {
            return repeated;
        }
        if self.moved.load(Ordering::Relaxed) {
            let reason = format!("turn {} has gone to another worker", self.id());
            let refusal = Refusal::new(RefusalCode::NoTurn, reason);
            return Box::pin(std::future::ready(Err(refusal)));
        }
        // The connection has refused verbs that need an id and have none.
        let runner = VerbRunner::new(self, id.as_ref().map_or("", |id| id.as_str()));
        match runner.run(verb).await {
            Ok(pending) => {
                if let Some(id) = id {
                    self.answers.add(id, pending.clone());
                }
                answering(pending, false)
            }
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }

    /// Sends the worker the reply to a call, which no longer waits.
    pub(super) fn reply_to_call(&self, call: CallId, directive: Directive) {
        self.progress.lock().add_reply(call, directive.clone());
        // Otherwise the reply enters the inbox together with the turn.
        if self.has_entered_inbox()
            && let Some(registry) = self.registry()
        {
            registry.notify(self, directive);
        }
    }

    /// Waits again for the calls of a turn that resumes, and sends the worker the replies that
    /// came while no worker had the turn.
    pub(super) async fn resume_calls(self: &Arc<Self>, so_far: &[Record]) {
        let waiting: Vec<_> =
            self.turn.open_calls.iter().filter(|open| open.waits()).cloned().collect();
        let (mut awaited, mut subjects) = (HashSet::new(), HashMap::new());
        for record in so_far {
            match &record.event {
                Event::Turn(TurnEvent::ApprovalSettled { call, decision, .. })
                    if !waiting.iter().any(|open| open.call == *call) =>
                {
                    let about = subjects.get(call).copied().unwrap_or_default();
                    self.reply_to_call(call.clone(), self.settled(call, about, *decision));
                }
                Event::Turn(TurnEvent::ApprovalAsked { call, about, .. }) => {
                    subjects.insert(call, *about);
                }
                Event::Turn(TurnEvent::ToolAwaited { call, .. }) => drop(awaited.insert(call)),
                // The worker knows the results that it returned itself.
                Event::Turn(TurnEvent::ToolReturned { call, status, text, content, .. })
                    if awaited.contains(call) =>
                {
                    let (text, content) = (text.clone(), content.clone());
                    let returned = ClientResult { status: *status, text, content };
                    self.reply_to_call(call.clone(), self.returned(call, returned));
                }
                Event::Session(_)
                | Event::Input(_)
                | Event::Turn(
                    TurnEvent::Started { .. }
                    | TurnEvent::Resumed { .. }
                    | TurnEvent::ToolRetried { .. }
                    | TurnEvent::Thought { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::ToolReturned { .. }
                    | TurnEvent::Message { .. }
                    | TurnEvent::Usage(_)
                    | TurnEvent::Ended { .. },
                )
                | Event::Other(_) => {}
            }
        }
        for open in waiting {
            let question = match (open.approval, open.awaited) {
                (Some(expires_at), _) => {
                    let (name, about) = (open.name, open.about);
                    CallQuestion::Approval { name, about, expires_at }
                }
                (None, Some(expires_at)) => CallQuestion::Client { expires_at },
                (None, None) => continue,
            };
            let (reply, answer) = oneshot::channel();
            let call = open.call.clone();
            let verb = AgentVerb::Await { call, question, reply, asked: None };
            if self.turn.interface.sender.send(verb).await.is_ok() {
                self.follow(open.call, open.about, answer);
            }
        }
    }

    /// Sends the worker the reply to a waiting call, once it is there. `about` is the subject of
    /// the question if the owner was asked.
    pub(super) fn follow(
        self: &Arc<Self>,
        call: CallId,
        about: ApprovalAbout,
        answer: oneshot::Receiver<CallReply>,
    ) {
        let turn = Arc::clone(self);
        self.tasks.spawn(async move {
            match answer.await {
                Ok(CallReply::Decided(decision)) => {
                    turn.reply_to_call(call.clone(), turn.settled(&call, about, decision));
                    turn.settle_held(&call, decision).await;
                }
                Ok(CallReply::Returned(returned)) => {
                    turn.reply_to_call(call.clone(), turn.returned(&call, returned));
                }
                // The verb's own answer has the reason.
                Ok(CallReply::Refused(_)) => {
                    turn.progress.lock().stop_waiting(&call);
                    turn.settle_held(&call, Decision::Void).await;
                }
                // The turn is over, or a later request for the same call is followed instead.
                Err(_) => {}
            }
        });
    }

    /// Lets a held call run, or closes it. Does nothing for other calls.
    async fn settle_held(&self, call: &CallId, decision: Decision) {
        let Some(held) = self.held.lock().settle(call, decision) else { return };
        if decision != Decision::Approved {
            let name = {
                let mut progress = self.progress.lock();
                let name = progress.tool_of(call).unwrap_or_default();
                progress.close_call(call);
                name
            };
            let event = Event::Turn(TurnEvent::ToolReturned {
                call: call.clone(),
                name,
                status: thoughtwire_proto::ToolStatus::Error,
                text: not_run(decision).to_owned(),
                content: None,
            });
            // A turn that has ended has closed the call.
            drop(append(&self.turn.interface.sender, vec![event]).await);
        }
        if held.send(decision).is_err() {
            tracing::debug!(%call, "no verb waits for this decision any more");
        }
    }

    /// The directive about a call's approval.
    pub(super) fn settled(
        &self,
        call: &CallId,
        about: ApprovalAbout,
        decision: Decision,
    ) -> Directive {
        let (turn, call) = (self.turn.id.clone(), call.clone());
        Directive::ApprovalSettled { turn, call, about, decision }
    }

    fn returned(&self, call: &CallId, returned: ClientResult) -> Directive {
        let ClientResult { status, text, content } = returned;
        let (turn, call) = (self.turn.id.clone(), call.clone());
        Directive::ToolReturned { turn, call, status, text, content }
    }
}

/// Answers to the verbs that said the records of a turn that resumes, and its held calls.
fn answers_so_far(
    turn: &Turn,
    registry: &OfferRegistry,
    so_far: &[Record],
) -> (FirstAnswers, HeldCalls) {
    let (answers, mut held) = (FirstAnswers::default(), HeldCalls::default());
    for record in so_far {
        let done = at_once(Some(record.seq));
        let Event::Turn(TurnEvent::ToolCalled { call, name, .. }) = &record.event else {
            if let Some(Ok(id)) = whole_item(&record.event).map(Id::as_str).map(CommandId::new) {
                answers.add(id, done);
            }
            continue;
        };
        let is_asked = registry.permission(&turn.agent, name) == Permission::Ask;
        let decided = decision_in(so_far, call).filter(|_| is_asked);
        if let Some(decision) = decided {
            held.note(call, decision);
        }
        let waits =
            || turn.open_calls.iter().any(|open| open.call == *call && open.approval.is_some());
        let pending = match decided {
            None if is_asked && waits() => when_approved(call.clone(), done, held.hold(call)),
            // Said again, the call is refused again.
            Some(Decision::Denied | Decision::Expired | Decision::Void) => continue,
            Some(Decision::Approved | Decision::Done) | None => done,
        };
        if let Ok(id) = CommandId::new(call.as_str()) {
            answers.add(id, pending);
        }
    }
    (answers, held)
}

/// The last decision about a call in a turn's records.
fn decision_in(records: &[Record], call: &CallId) -> Option<Decision> {
    records.iter().rev().find_map(|record| {
        if let Event::Turn(TurnEvent::ApprovalSettled { call: settled, decision, .. }) =
            &record.event
            && settled == call
        {
            Some(*decision)
        } else {
            None
        }
    })
}
