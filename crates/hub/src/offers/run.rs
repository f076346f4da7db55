//! One turn at a program outside: what it is told of it, and what it says in it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use thoughtwire_proto::{
    AgentId, Answer, Awaits, CallId, CommandId, Decision, Directive, Event, Id, Input, ItemId,
    Permission, Record, Refusal, RefusalCode, Seq, SessionId, StreamKind, Timestamp, ToolStatus,
    TurnEvent, TurnId, Usage, Verb, WaitingCall, WorkerId,
};
use tokio::sync::oneshot;

use super::Offers;
use super::permits::{MOST_HELD, Permit, Permits, not_run, permitted};
use crate::agent::Turn;
use crate::function_message::{self, Line, Of};
use crate::hub::Answering;
use crate::session::item_of;
use crate::tail::locked;
use crate::turn_message::{CallReply, Finish, Question, TurnError, TurnMessage, TurnVerb};
use crate::{AgentError, now};

/// Ids of what was said that a turn knows: many more than a program may have said without an answer.
const KNOWN: usize = 1_024;
/// Calls of one turn that may be open at once.
const OPEN_CALLS: usize = 256;
/// Items of one turn that may be open at once, and their bytes together.
const OPEN_ITEMS: usize = 64;
const OPEN_BYTES: usize = 8 << 20;
/// What is kept of what came for calls, to be told again.
const TOLD: usize = 64;
/// How long people and clients are waited for, unless the program says otherwise: as with the built-in agent.
const APPROVAL_MS: u64 = 3_600_000;
const CLIENT_MS: u64 = 120_000;
/// A month: longer than anybody waits.
const LONGEST_MS: u64 = 30 * 24 * 3_600_000;

/// What came of something said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    seq: Option<Seq>,
    steered: Vec<Input>,
}

type Settled = Shared<BoxFuture<'static, Result<Said, Refusal>>>;

/// What was said in a turn, by its ids: the same id does nothing again.
#[derive(Default)]
pub(super) struct Heard(Mutex<VecDeque<(CommandId, Settled)>>);

impl Heard {
    /// The answer to what was said before. A refusal is not remembered.
    pub(super) fn again(&self, id: &CommandId) -> Option<Answering> {
        let heard = locked(&self.0);
        let (_, settled) = heard.iter().rev().find(|(known, _)| known == id)?;
        if let Some(Err(_)) = settled.peek() {
            return None;
        }
        Some(answering(settled.clone(), true))
    }

    /// Whether something was said whole under an id.
    fn knows(&self, id: &str) -> bool {
        let is_said = |(known, settled): &(CommandId, Settled)| {
            known.as_str() == id && !matches!(settled.peek(), Some(Err(_)))
        };
        locked(&self.0).iter().any(is_said)
    }

    fn add(&self, id: CommandId, settled: Settled) {
        let mut heard = locked(&self.0);
        heard.push_back((id, settled));
        if heard.len() > KNOWN {
            heard.pop_front();
        }
    }
}

fn answering(settled: Settled, duplicate: bool) -> Answering {
    Box::pin(async move {
        settled.await.map(|Said { seq, steered }| Answer::Said { seq, steered, duplicate })
    })
}

/// A turn at a worker.
pub(super) struct Run {
    pub(super) worker: WorkerId,
    pub(super) turn: Turn,
    pub(super) offers: Weak<Offers>,
    heard: Arc<Heard>,
    /// One thing is said after the other, also where two connections speak for one worker for a moment.
    order: tokio::sync::Mutex<()>,
    pub(super) so_far: Mutex<SoFar>,
    permits: Mutex<Permits>,
    over: Mutex<Option<oneshot::Sender<Result<(), AgentError>>>>,
    /// The worker has said its end, so that it need not be told of it.
    finishing: Arc<AtomicBool>,
    /// It is, or was, in its worker's mail, and was taken out of it.
    mailed: AtomicBool,
    pub(super) handed: AtomicBool,
}

#[derive(Default)]
pub(super) struct SoFar {
    /// Open calls with their tools, in the order of the calls.
    calls: Vec<(CallId, String)>,
    /// Those of them that wait.
    waiting: Vec<WaitingCall>,
    /// How many deltas of each open item came.
    pub(super) open: BTreeMap<ItemId, u64>,
    /// Their bytes.
    open_bytes: usize,
    usage: Usage,
    /// How much of that is written.
    written: Usage,
    /// What came for open calls: told again to a worker that comes back.
    told: Vec<(CallId, Directive)>,
}

impl SoFar {
    /// The open calls that people or a client were asked about. Those that were answered are among them, and
    /// their answers follow behind the turn: when it was given decides nothing for a program that comes back.
    pub(super) fn asked(&self) -> Vec<WaitingCall> {
        let asked = self.calls.iter().filter_map(|(call, name)| {
            let waits = self.waiting.iter().find(|waiting| waiting.call == *call).cloned();
            let was_answered = || self.told.iter().any(|(about, _)| about == call);
            waits.or_else(|| {
                was_answered().then(|| WaitingCall {
                    call: call.clone(),
                    name: name.clone(),
                    awaits: Awaits::Approval,
                })
            })
        });
        asked.collect()
    }

    /// An item is whole.
    fn close(&mut self, item: &str) {
        self.open.retain(|open, _| open.as_str() != item);
        // What is said whole is not said piece by piece any more; a little too much room harms nobody.
        if self.open.is_empty() {
            self.open_bytes = 0;
        }
    }
}

impl Run {
    /// `so_far` is what a turn that goes on has said: saying it again says nothing.
    pub(super) fn new(
        turn: Turn,
        worker: WorkerId,
        offers: &Arc<Offers>,
        over: oneshot::Sender<Result<(), AgentError>>,
        so_far: &[Record],
    ) -> Self {
        let (heard, mut permits) = (Heard::default(), Permits::default());
        for record in so_far {
            let (id, settled) = if let Event::Turn(TurnEvent::ToolCalled { call, name, .. }) =
                &record.event
            {
                let is_asked = offers.permission(&turn.agent, name) == Permission::Ask;
                let decided = decision_in(so_far, call).filter(|_| is_asked);
                if let Some(decision) = decided {
                    permits.note(call, decision);
                }
                let waits = || {
                    turn.waiting.iter().any(|open| open.call == *call && open.approval.is_some())
                };
                let settled = match decided {
                    None if is_asked && waits() => {
                        held(call.clone(), done(Some(record.seq)), permits.hold(call))
                    }
                    // Said again, it is refused again.
                    Some(Decision::Denied | Decision::Expired | Decision::Void) => continue,
                    Some(Decision::Approved) | None => done(Some(record.seq)),
                };
                (Some(call.as_str()), settled)
            } else {
                (item_of(&record.event).map(Id::as_str), done(Some(record.seq)))
            };
            if let Some(Ok(id)) = id.map(CommandId::new) {
                heard.add(id, settled);
            }
        }
        let calls =
            turn.waiting.iter().map(|open| (open.call.clone(), open.name.clone())).collect();
        let waiting = turn.waiting.iter().filter_map(|open| {
            let awaits = match (open.approval, open.awaited) {
                (Some(_), _) => Awaits::Approval,
                (None, Some(_)) => Awaits::Client,
                (None, None) => return None,
            };
            Some(WaitingCall { call: open.call.clone(), name: open.name.clone(), awaits })
        });
        let waiting = waiting.collect();
        Self {
            worker,
            turn,
            offers: Arc::downgrade(offers),
            heard: Arc::new(heard),
            order: tokio::sync::Mutex::default(),
            so_far: Mutex::new(SoFar { calls, waiting, ..SoFar::default() }),
            permits: Mutex::new(permits),
            over: Mutex::new(Some(over)),
            finishing: Arc::default(),
            mailed: AtomicBool::new(false),
            handed: AtomicBool::new(false),
        }
    }

    pub(super) fn turn(&self) -> &TurnId {
        &self.turn.id
    }

    pub(super) fn session(&self) -> &SessionId {
        &self.turn.session
    }

    pub(super) fn agent(&self) -> &AgentId {
        &self.turn.agent.id
    }

    pub(super) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    /// It went on after the server was stopped.
    pub(super) fn goes_on(&self) -> bool {
        self.turn.goes_on()
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// Ends the future that stands in for the agent.
    pub(super) fn end(&self, outcome: Result<(), AgentError>) {
        if let Some(over) = locked(&self.over).take() {
            // A turn that was ended otherwise needs no end.
            drop(over.send(outcome));
        }
    }

    /// Shows a status, if the turn has room for it.
    pub(super) fn say_soon(&self, text: String) {
        // It is for people only.
        drop(
            self.turn.interface.messages.try_send(TurnMessage {
                turn: self.turn.id.clone(),
                verb: TurnVerb::Status { text },
            }),
        );
    }

    pub(super) fn is_mailed(&self) -> bool {
        self.mailed.load(Ordering::Relaxed)
    }

    pub(super) fn was_handed(&self) -> bool {
        self.handed.load(Ordering::Relaxed)
    }

    /// It comes into its worker's mail: gives what came for its open calls, which belongs behind it.
    pub(super) fn mailed(&self) -> Vec<Directive> {
        self.mailed.store(true, Ordering::Relaxed);
        locked(&self.so_far).told.iter().map(|(_, directive)| directive.clone()).collect()
    }

    /// Tells what came for a call, for which nobody waits any more.
    fn tell(&self, call: CallId, directive: Directive) {
        {
            let mut so_far = locked(&self.so_far);
            so_far.waiting.retain(|waiting| waiting.call != call);
            if matches!(directive, Directive::ToolReturned { .. }) {
                so_far.calls.retain(|(open, _)| *open != call);
            }
            so_far.told.push((call, directive.clone()));
            if so_far.told.len() > TOLD {
                so_far.told.remove(0);
            }
        }
        // Otherwise it comes with the turn.
        if self.is_mailed()
            && let Some(offers) = self.offers.upgrade()
        {
            offers.tell(self, directive);
        }
    }

    /// Listens for what a turn that goes on waits for, and tells what came while nobody listened.
    pub(super) async fn listen_again(self: &Arc<Self>, so_far: &[Record]) {
        let waiting: Vec<_> =
            self.turn.waiting.iter().filter(|open| open.waits()).cloned().collect();
        let mut awaited = HashSet::new();
        for record in so_far {
            match &record.event {
                Event::Turn(TurnEvent::ApprovalSettled { call, decision, .. })
                    if !waiting.iter().any(|open| open.call == *call) =>
                {
                    let directive = Directive::ApprovalSettled {
                        turn: self.turn.id.clone(),
                        call: call.clone(),
                        decision: *decision,
                    };
                    self.tell(call.clone(), directive);
                }
                Event::Turn(TurnEvent::ToolAwaited { call, .. }) => drop(awaited.insert(call)),
                // Of what it returned itself it need not be told.
                Event::Turn(TurnEvent::ToolReturned { call, status, text, content, .. })
                    if awaited.contains(call) =>
                {
                    let (turn, text, content) =
                        (self.turn.id.clone(), text.clone(), content.clone());
                    self.tell(
                        call.clone(),
                        Directive::ToolReturned {
                            turn,
                            call: call.clone(),
                            status: *status,
                            text,
                            content,
                        },
                    );
                }
                Event::Session(_)
                | Event::Input(_)
                | Event::Turn(
                    TurnEvent::Started { .. }
                    | TurnEvent::Thought { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ApprovalAsked { .. }
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
                (Some(expires_at), _) => Question::Approval { name: open.name, expires_at },
                (None, Some(expires_at)) => Question::Client { expires_at },
                (None, None) => continue,
            };
            let (reply, answer) = oneshot::channel();
            if self
                .turn
                .interface
                .speak(TurnVerb::Await { call: open.call.clone(), question, reply, asked: None })
                .await
                .is_ok()
            {
                self.follow(open.call, answer);
            }
        }
    }

    /// Tells the worker what comes for a call that waits.
    fn follow(self: &Arc<Self>, call: CallId, answer: oneshot::Receiver<CallReply>) {
        let run = Arc::clone(self);
        tokio::spawn(async move {
            let turn = run.turn.id.clone();
            let directive = match answer.await {
                Ok(CallReply::Decided(decision)) => {
                    let directive =
                        Directive::ApprovalSettled { turn, call: call.clone(), decision };
                    run.tell(call.clone(), directive);
                    return run.decided(&call, decision).await;
                }
                Ok(CallReply::Returned(crate::Returned { status, text, content })) => {
                    Directive::ToolReturned { turn, call: call.clone(), status, text, content }
                }
                // Of which its own answer tells.
                Ok(CallReply::Refused(_)) => {
                    locked(&run.so_far).waiting.retain(|waiting| waiting.call != call);
                    return run.decided(&call, Decision::Void).await;
                }
                // Asked again meanwhile, it is followed there; or the turn is over.
                Err(_) => return,
            };
            run.tell(call, directive);
        });
    }

    // ------------------------------------------------------------ what it says

    /// Takes something said. It is on its way in its order when this returns; the answer comes when it
    /// is on disk.
    pub(super) async fn say(self: &Arc<Self>, id: Option<CommandId>, verb: Verb) -> Answering {
        let _order = self.order.lock().await;
        if let Some(again) = id.as_ref().and_then(|id| self.heard.again(id)) {
            return again;
        }
        match self.speak(id.as_ref(), verb).await {
            Ok(settled) => {
                if let Some(id) = id {
                    self.heard.add(id, settled.clone());
                }
                answering(settled, false)
            }
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }

    async fn speak(
        self: &Arc<Self>,
        id: Option<&CommandId>,
        verb: Verb,
    ) -> Result<Settled, Refusal> {
        // Those that have events were refused before they came here if they have no id.
        let id = id.map_or("", |id| id.as_str());
        let item = || ItemId::new(id).map_err(|bad| bad_request(bad.to_string()));
        match verb {
            Verb::InternalMonologue { text } => {
                self.whole(Event::Turn(TurnEvent::Thought { item: item()?, text, complete: true }))
                    .await
            }
            Verb::AssistantMessage { text } => {
                self.whole(Event::Turn(TurnEvent::Message { item: item()?, text, complete: true }))
                    .await
            }
            Verb::FunctionMessage { text } => match function_message::parse(&text) {
                Line::Running { name, args } => self.called(id, name, args).await,
                Line::Returned { status, text } => {
                    let open = locked(&self.so_far).calls.clone();
                    match function_message::of(&text, open.into_iter()) {
                        Of::Call(call) => self.returned(call, status, text, None).await,
                        Of::Unsaid(name) => self.unsaid(id, name, status, text).await,
                    }
                }
                Line::Other => self.word(TurnVerb::Status { text }).await,
            },
            Verb::ToolCalled { name, args } => self.called(id, name, args).await,
            Verb::ToolReturned { call, status, text, content } => {
                self.returned(call, status, text, content).await
            }
            Verb::Approval { call, timeout_ms } => {
                let permit = locked(&self.permits).of(&call);
                match permit {
                    Permit::Unasked => {}
                    // The server has asked already; the worker hears the decision once it is made.
                    Permit::Held => return Ok(nothing()),
                    Permit::Decided(decision) => {
                        let turn = self.turn.id.clone();
                        let directive =
                            Directive::ApprovalSettled { turn, call: call.clone(), decision };
                        self.tell(call, directive);
                        return Ok(nothing());
                    }
                }
                let name = self.open_call(&call)?;
                self.wait(
                    call,
                    Question::Approval {
                        name,
                        expires_at: within(timeout_ms.unwrap_or(APPROVAL_MS)),
                    },
                )
                .await
            }
            Verb::ClientRuns { call, timeout_ms } => {
                self.open_call(&call)?;
                self.wait(
                    call,
                    Question::Client { expires_at: within(timeout_ms.unwrap_or(CLIENT_MS)) },
                )
                .await
            }
            Verb::Delta { item, n, kind, text } => self.piece(item, n, kind, text).await,
            Verb::Status { text } => self.word(TurnVerb::Status { text }).await,
            Verb::Usage(usage) => {
                locked(&self.so_far).usage = usage;
                self.word(TurnVerb::Spent(usage)).await
            }
            Verb::Finish { text } => {
                let mut events = Vec::new();
                {
                    let mut so_far = locked(&self.so_far);
                    let usage = so_far.usage.since(so_far.written);
                    so_far.written = so_far.usage;
                    events
                        .extend((!usage.is_none()).then_some(Event::Turn(TurnEvent::Usage(usage))));
                }
                if let Some(text) = text {
                    events.push(Event::Turn(TurnEvent::Message {
                        item: item()?,
                        text,
                        complete: true,
                    }));
                }
                self.finish(events, None).await
            }
            Verb::Fail { code, reason } => {
                let error =
                    AgentError::new(code.unwrap_or_else(|| "agent_failed".to_owned()), reason);
                self.finish(Vec::new(), Some(error)).await
            }
        }
    }

    fn open_call(&self, call: &CallId) -> Result<String, Refusal> {
        let so_far = locked(&self.so_far);
        let open = so_far.calls.iter().find(|(open, _)| open == call).map(|(_, name)| name.clone());
        open.ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownCall, format!("call {call} is not open in this turn"))
        })
    }

    /// Something that has no event: done when it is on its way.
    async fn word(&self, verb: TurnVerb) -> Result<Settled, Refusal> {
        self.turn.interface.speak(verb).await.map_err(|error| refused(&error))?;
        Ok(nothing())
    }

    /// A call that the agent did not say, since it could not be made, and its result.
    async fn unsaid(
        &self,
        id: &str,
        name: String,
        status: ToolStatus,
        text: String,
    ) -> Result<Settled, Refusal> {
        let call = CallId::new(id).map_err(|bad| bad_request(bad.to_string()))?;
        let called = Event::Turn(TurnEvent::ToolCalled {
            call: call.clone(),
            name: name.clone(),
            args: serde_json::Map::new(),
        });
        let returned =
            Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content: None });
        self.events(vec![called, returned]).await
    }

    async fn event(&self, event: Event) -> Result<Settled, Refusal> {
        self.events(vec![event]).await
    }

    async fn events(&self, events: Vec<Event>) -> Result<Settled, Refusal> {
        let (reply, answer) = oneshot::channel();
        let verb = TurnVerb::Append {
            events,
            block: None,
            output: None,
            kept: None,
            durable: true,
            reply,
        };
        self.turn.interface.speak(verb).await.map_err(|error| refused(&error))?;
        Ok(saved(answer))
    }

    /// A whole item, which supersedes the deltas of it.
    async fn whole(&self, event: Event) -> Result<Settled, Refusal> {
        if let Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) =
            &event
        {
            locked(&self.so_far).close(item.as_str());
        }
        self.event(event).await
    }

    /// Takes a call. One that needs the owner's permission is answered once that is decided.
    async fn called(
        self: &Arc<Self>,
        id: &str,
        name: String,
        args: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Settled, Refusal> {
        let call = CallId::new(id).map_err(|bad| bad_request(bad.to_string()))?;
        if let Permit::Decided(decision) = locked(&self.permits).of(&call) {
            permitted(&call, Some(decision))?;
        }
        let offers = self.offers.upgrade();
        let permission = offers
            .as_ref()
            .map_or(Permission::Deny, |offers| offers.permission(&self.turn.agent, &name));
        match permission {
            Permission::Allow => {}
            Permission::Ask => {
                if offers.is_some_and(|offers| offers.held(self) >= MOST_HELD) {
                    return Err(Refusal::new(
                        RefusalCode::QueueFull,
                        format!(
                            "{MOST_HELD} calls of this worker wait for approval; call {name} later"
                        ),
                    ));
                }
            }
            Permission::Deny => {
                return Err(Refusal::new(
                    RefusalCode::Forbidden,
                    format!("this agent may not use the tool {name}"),
                ));
            }
        }
        {
            let mut so_far = locked(&self.so_far);
            if so_far.calls.len() >= OPEN_CALLS {
                return Err(too_large(format!(
                    "{OPEN_CALLS} calls of this turn are open, which is the most; let some return first"
                )));
            }
            so_far.calls.push((call.clone(), name.clone()));
            so_far.close(id);
        }
        let event =
            Event::Turn(TurnEvent::ToolCalled { call: call.clone(), name: name.clone(), args });
        let called = self.event(event).await?;
        match permission {
            Permission::Allow | Permission::Deny => Ok(called),
            Permission::Ask => {
                let decision = locked(&self.permits).hold(&call);
                let question = Question::Approval { name, expires_at: within(APPROVAL_MS) };
                let asked = self.wait(call.clone(), question).await?;
                let called = async move {
                    let said = called.await?;
                    asked.await?;
                    Ok(said)
                };
                Ok(held(call, called.boxed().shared(), decision))
            }
        }
    }

    /// Number of its calls that wait for the owner's permission.
    pub(super) fn held(&self) -> usize {
        locked(&self.permits).held()
    }

    /// Lets a held call run, or closes it. Does nothing for other calls.
    async fn decided(&self, call: &CallId, decision: Decision) {
        let Some(held) = locked(&self.permits).settle(call, decision) else { return };
        if decision != Decision::Approved {
            let name = self.open_call(call).unwrap_or_default();
            locked(&self.so_far).calls.retain(|(open, _)| open != call);
            let (call, text) = (call.clone(), not_run(decision).to_owned());
            let status = ToolStatus::Error;
            let event =
                Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content: None });
            // A turn that has ended has closed the call.
            drop(self.event(event).await);
        }
        if held.send(decision).is_err() {
            tracing::debug!(%call, "nobody waits for a decision any more");
        }
    }

    async fn returned(
        &self,
        call: CallId,
        status: ToolStatus,
        text: String,
        content: Option<serde_json::Value>,
    ) -> Result<Settled, Refusal> {
        // The server has closed it; a worker that asked for approval itself closes it once more.
        if matches!(
            locked(&self.permits).of(&call),
            Permit::Decided(Decision::Denied | Decision::Expired | Decision::Void)
        ) {
            return Ok(nothing());
        }
        let name = self.open_call(&call)?;
        {
            let mut so_far = locked(&self.so_far);
            if so_far.waiting.iter().any(|waiting| waiting.call == call) {
                return Err(bad_request(format!(
                    "call {call} waits for somebody else; it returns when that is settled"
                )));
            }
            so_far.calls.retain(|(open, _)| *open != call);
            so_far.told.retain(|(about, _)| *about != call);
        }
        self.event(Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content })).await
    }

    async fn wait(self: &Arc<Self>, call: CallId, question: Question) -> Result<Settled, Refusal> {
        let ((reply, answer), (asked, on_disk)) = (oneshot::channel(), oneshot::channel());
        let awaits = match question {
            Question::Approval { .. } => Awaits::Approval,
            Question::Client { .. } => Awaits::Client,
        };
        let name = self.open_call(&call)?;
        {
            let mut so_far = locked(&self.so_far);
            so_far.waiting.retain(|waiting| waiting.call != call);
            so_far.waiting.push(WaitingCall { call: call.clone(), name, awaits });
        }
        let verb = TurnVerb::Await { call: call.clone(), question, reply, asked: Some(asked) };
        self.turn.interface.speak(verb).await.map_err(|error| refused(&error))?;
        self.follow(call, answer);
        Ok(saved(on_disk))
    }

    async fn piece(
        &self,
        item: ItemId,
        n: u64,
        kind: StreamKind,
        text: String,
    ) -> Result<Settled, Refusal> {
        // Of a program that starts over: the whole of it is there already.
        if self.heard.knows(item.as_str()) {
            return Ok(nothing());
        }
        {
            let mut so_far = locked(&self.so_far);
            let next = so_far.open.get(&item).copied().unwrap_or(0);
            if n > next {
                return Err(bad_request(format!("delta {next} of {item} comes before {n}")));
            }
            if n < next {
                return Ok(nothing());
            }
            if so_far.open_bytes + text.len() > OPEN_BYTES
                || (n == 0 && so_far.open.len() >= OPEN_ITEMS)
            {
                let most = format!("{OPEN_ITEMS} items and {} MiB", OPEN_BYTES >> 20);
                return Err(too_large(format!(
                    "at most {most} of a turn may be streamed and not said whole; say some of it whole first"
                )));
            }
            so_far.open_bytes += text.len();
            so_far.open.insert(item.clone(), next + 1);
        }
        self.word(TurnVerb::Delta { item, kind, text }).await
    }

    async fn finish(
        &self,
        events: Vec<Event>,
        failed: Option<AgentError>,
    ) -> Result<Settled, Refusal> {
        let ((reply, answer), (on_disk, saved)) = (oneshot::channel(), oneshot::channel());
        self.finishing.store(true, Ordering::Relaxed);
        let verb = TurnVerb::Finish { events, failed, on_disk: Some(on_disk), reply };
        if let Err(error) = self.turn.interface.speak(verb).await {
            return Err(refused(&error));
        }
        let finishing = Arc::clone(&self.finishing);
        let outcome = async move {
            let finish = answer.await.unwrap_or(Err(TurnError::Ended));
            if !matches!(finish, Ok(Finish::Ended)) {
                finishing.store(false, Ordering::Relaxed);
            }
            let steered = match finish.map_err(|error| refused(&error))? {
                Finish::Ended => Vec::new(),
                Finish::Steered(inputs) => inputs,
            };
            let seq =
                saved.await.unwrap_or(Err(TurnError::Ended)).map_err(|error| refused(&error))?;
            Ok(Said { seq: Some(seq), steered })
        };
        Ok(outcome.boxed().shared())
    }
}

/// The answer to a call that waits for the owner's permission.
fn held(call: CallId, called: Settled, decision: oneshot::Receiver<Decision>) -> Settled {
    let settled = async move {
        let said = called.await?;
        permitted(&call, decision.await.ok())?;
        Ok(said)
    };
    settled.boxed().shared()
}

/// The decision about a call in a turn's records.
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

/// The answer to what leaves no event.
fn nothing() -> Settled {
    done(None)
}

/// The answer to what is done.
fn done(seq: Option<Seq>) -> Settled {
    std::future::ready(Ok(Said { seq, steered: Vec::new() })).boxed().shared()
}

fn too_large(reason: String) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, reason)
}

fn saved(answer: oneshot::Receiver<Result<Seq, TurnError>>) -> Settled {
    let settled = async move {
        let seq = answer.await.unwrap_or(Err(TurnError::Ended)).map_err(|error| refused(&error))?;
        Ok(Said { seq: Some(seq), steered: Vec::new() })
    };
    settled.boxed().shared()
}

fn within(millis: u64) -> Timestamp {
    let millis = i64::try_from(millis.min(LONGEST_MS)).unwrap_or(0);
    Timestamp::from_millis(now().as_millis().saturating_add(millis))
}

fn bad_request(reason: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}

fn refused(error: &TurnError) -> Refusal {
    let code = match error {
        TurnError::Ended => RefusalCode::NoTurn,
        TurnError::Illegal(_) => RefusalCode::BadRequest,
        TurnError::Refused(_) => RefusalCode::QueueFull,
        TurnError::Unsaved(_) => RefusalCode::StoreFailed,
    };
    Refusal::new(code, error.to_string())
}
