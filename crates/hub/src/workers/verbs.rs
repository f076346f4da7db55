//! Verbs of a worker: each becomes a message of its turn's interface.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;
use serde_json::{Map, Value};
use thoughtwire_proto::{
    ApprovalAbout, Awaits, CallId, Decision, Event, ItemId, Permission, Refusal, RefusalCode,
    RetryReason, StreamKind, Timestamp, ToolStatus, TurnEvent, Verb, WaitingCall,
};
use tokio::sync::oneshot;

use super::answers::{PendingSay, SayOutcome, committed, no_event};
use super::held_calls::{HoldState, MOST_HELD, check_decision, when_approved};
use super::turn::WorkerTurn;
use crate::function_message::{self, MessageLine, ResultOwner};
use crate::turn_message::{
    AgentError, AgentExtras, AgentVerb, CallQuestion, Finish, TurnError, TurnSender,
};

/// Milliseconds that an approval or a client is waited for if the worker names no time. The
/// built-in agent has the same limits.
const APPROVAL_MS: u64 = 3_600_000;
const CLIENT_MS: u64 = 120_000;
/// Longest time that a worker may name: 30 days.
const LONGEST_MS: u64 = 30 * 24 * 3_600_000;

/// Carries out one verb in a turn. The caller holds the turn's order.
pub(super) struct VerbRunner<'a> {
    turn: &'a Arc<WorkerTurn>,
    /// Id of the verb, which is also the id of its item or call. Empty if the verb has none.
    id: &'a str,
}

impl<'a> VerbRunner<'a> {
    pub(super) fn new(turn: &'a Arc<WorkerTurn>, id: &'a str) -> Self {
        Self { turn, id }
    }

    /// Hands the verb to the session. The outcome resolves when its event is on disk.
    pub(super) async fn run(&self, verb: Verb) -> Result<PendingSay, Refusal> {
        match verb {
            Verb::InternalMonologue { text, continues } => {
                self.turn.cut.check(StreamKind::Thought, continues.as_ref())?;
                let (item, complete) = (self.item()?, true);
                let thought = TurnEvent::Thought { item, text, complete, continues };
                self.append_item(Event::Turn(thought)).await
            }
            Verb::AssistantMessage { text, continues } => {
                self.turn.cut.check(StreamKind::Message, continues.as_ref())?;
                let (item, complete) = (self.item()?, true);
                let message = TurnEvent::Message { item, text, complete, continues };
                self.append_item(Event::Turn(message)).await
            }
            Verb::FunctionMessage { text } => self.function_message(text).await,
            Verb::ToolCalled { name, args } => self.call_tool(name, args).await,
            Verb::ToolReturned { call, status, text, content } => {
                self.return_tool(call, status, text, content).await
            }
            Verb::ToolRetried { call, reason } => self.retry_call(call, reason).await,
            Verb::Approval { call, about, timeout_ms } => {
                self.ask_approval(call, about.unwrap_or_default(), timeout_ms).await
            }
            Verb::ClientRuns { call, timeout_ms } => {
                let expires_at = self.within(timeout_ms.unwrap_or(CLIENT_MS));
                self.wait_for_call(call, CallQuestion::Client { expires_at }).await
            }
            Verb::Delta { item, n, kind, text, continues } => {
                self.stream(item, n, kind, text, continues).await
            }
            Verb::Status { text } => self.send(AgentVerb::Status { text }).await,
            Verb::Usage(usage) => {
                self.turn.progress.lock().set_usage(usage);
                self.send(AgentVerb::Spent(usage)).await
            }
            Verb::Finish { text } => {
                let usage = self.turn.progress.lock().take_usage();
                let mut events: Vec<Event> = Vec::new();
                events.extend(usage.map(|usage| Event::from(TurnEvent::Usage(usage))));
                if let Some(text) = text {
                    events.push(Event::Turn(TurnEvent::Message {
                        item: self.item()?,
                        text,
                        complete: true,
                        continues: None,
                    }));
                }
                self.finish(events, None).await
            }
            Verb::Fail { code, reason } => {
                let code = code.unwrap_or_else(|| "agent_failed".to_owned());
                self.finish(Vec::new(), Some(AgentError::new(code, reason))).await
            }
        }
    }

    fn item(&self) -> Result<ItemId, Refusal> {
        ItemId::new(self.id).map_err(|bad| bad_request(bad.to_string()))
    }

    fn call(&self) -> Result<CallId, Refusal> {
        CallId::new(self.id).map_err(|bad| bad_request(bad.to_string()))
    }

    /// The time so many milliseconds from now, at most `LONGEST_MS`.
    fn within(&self, millis: u64) -> Timestamp {
        self.turn.within(millis.min(LONGEST_MS))
    }

    fn sender(&self) -> &TurnSender {
        &self.turn.turn.interface.sender
    }

    /// Sends a message that appends no event. It is done when it is sent.
    async fn send(&self, verb: AgentVerb) -> Result<PendingSay, Refusal> {
        self.sender().send(verb).await.map_err(|error| error.to_refusal())?;
        Ok(no_event())
    }

    /// Appends the event of a whole item, which supersedes the item's deltas.
    async fn append_item(&self, event: Event) -> Result<PendingSay, Refusal> {
        self.turn.progress.lock().close_item(self.id);
        append(self.sender(), vec![event]).await
    }

    async fn function_message(&self, text: String) -> Result<PendingSay, Refusal> {
        match function_message::parse(&text) {
            MessageLine::Running { name, args } => self.call_tool(name, args).await,
            MessageLine::Returned { status, text } => {
                let open = self.turn.progress.lock().calls().to_vec();
                match function_message::owner_of(&text, open.into_iter()) {
                    ResultOwner::Call(call) => self.return_tool(call, status, text, None).await,
                    ResultOwner::Uncalled(name) => self.return_uncalled(name, status, text).await,
                }
            }
            MessageLine::Other => self.send(AgentVerb::Status { text }).await,
        }
    }

    /// Appends a call that the agent could not make, together with its result.
    async fn return_uncalled(
        &self,
        name: String,
        status: ToolStatus,
        text: String,
    ) -> Result<PendingSay, Refusal> {
        let call = self.call()?;
        let called = Event::Turn(TurnEvent::ToolCalled {
            call: call.clone(),
            name: name.clone(),
            args: Map::new(),
        });
        let returned =
            Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content: None });
        append(self.sender(), vec![called, returned]).await
    }

    /// Opens a call. A call that needs the owner's approval is answered once that is decided.
    async fn call_tool(
        &self,
        name: String,
        args: Map<String, Value>,
    ) -> Result<PendingSay, Refusal> {
        let call = self.call()?;
        if let HoldState::Decided(decision) = self.turn.held.lock().state(&call) {
            check_decision(&call, Some(decision))?;
        }
        let permission = self.permission(&name)?;
        self.turn.progress.lock().open_call(&call, &name)?;
        let event =
            Event::Turn(TurnEvent::ToolCalled { call: call.clone(), name: name.clone(), args });
        let called = append(self.sender(), vec![event]).await?;
        match permission {
            Permission::Allow | Permission::Deny => Ok(called),
            Permission::Ask => {
                let decision = self.turn.held.lock().hold(&call);
                let question = CallQuestion::Approval {
                    name,
                    about: ApprovalAbout::Run,
                    expires_at: self.within(APPROVAL_MS),
                };
                let asked = self.wait_for_call(call.clone(), question).await?;
                let both = async move {
                    let outcome = called.await?;
                    asked.await?;
                    Ok(outcome)
                };
                Ok(when_approved(call, both.boxed().shared(), decision))
            }
        }
    }

    /// Permission of a tool: `Allow` or `Ask`.
    ///
    /// # Errors
    /// `forbidden` if it is denied, `queue_full` if too many calls wait for approval.
    fn permission(&self, name: &str) -> Result<Permission, Refusal> {
        let registry = self.turn.registry();
        let agent = &self.turn.turn.agent;
        let permission =
            registry.as_ref().map_or(Permission::Deny, |registry| registry.permission(agent, name));
        match permission {
            Permission::Allow => Ok(permission),
            Permission::Ask => {
                let held = registry.map_or(0, |registry| registry.held_calls(self.turn));
                if held < MOST_HELD {
                    return Ok(permission);
                }
                let reason = format!(
                    "{MOST_HELD} calls of this worker wait for approval; call {name} later"
                );
                Err(Refusal::new(RefusalCode::QueueFull, reason))
            }
            Permission::Deny => {
                let reason = format!("this agent may not use the tool {name}");
                Err(Refusal::new(RefusalCode::Forbidden, reason))
            }
        }
    }

    /// Appends the result of an open call.
    async fn return_tool(
        &self,
        call: CallId,
        status: ToolStatus,
        text: String,
        content: Option<Value>,
    ) -> Result<PendingSay, Refusal> {
        // The server has closed a call that was not approved. A worker that asked for the
        // approval itself closes the call once more.
        if matches!(
            self.turn.held.lock().state(&call),
            HoldState::Decided(Decision::Denied | Decision::Expired | Decision::Void)
        ) {
            return Ok(no_event());
        }
        let name = {
            let mut progress = self.turn.progress.lock();
            let name = progress.tool_of(&call)?;
            if progress.is_waiting(&call) {
                return Err(bad_request(format!(
                    "call {call} waits for somebody else; it returns when that is settled"
                )));
            }
            progress.close_call(&call);
            progress.remove_reply(&call);
            name
        };
        let event = Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content });
        append(self.sender(), vec![event]).await
    }

    /// Says that an open call whose outcome is unknown is made again.
    async fn retry_call(
        &self,
        call: CallId,
        reason: Option<RetryReason>,
    ) -> Result<PendingSay, Refusal> {
        let attempt = self.turn.progress.lock().count_retry(&call)?;
        let reason = reason.unwrap_or(RetryReason::Safe);
        append(self.sender(), vec![Event::Turn(TurnEvent::ToolRetried { call, attempt, reason })])
            .await
    }

    async fn ask_approval(
        &self,
        call: CallId,
        about: ApprovalAbout,
        timeout_ms: Option<u64>,
    ) -> Result<PendingSay, Refusal> {
        // Whether the call may run again is another question than whether it may run.
        let state = match about {
            ApprovalAbout::Run => self.turn.held.lock().state(&call),
            ApprovalAbout::Retry => HoldState::Unasked,
        };
        match state {
            HoldState::Unasked => {
                let name = self.turn.progress.lock().tool_of(&call)?;
                let expires_at = self.within(timeout_ms.unwrap_or(APPROVAL_MS));
                self.wait_for_call(call, CallQuestion::Approval { name, about, expires_at }).await
            }
            // The server has asked already. The worker gets the decision when it is made.
            HoldState::Held => Ok(no_event()),
            HoldState::Decided(decision) => {
                let settled = self.turn.settled(&call, about, decision);
                self.turn.reply_to_call(call, settled);
                Ok(no_event())
            }
        }
    }

    /// Has an open call wait for the owner or a client.
    async fn wait_for_call(
        &self,
        call: CallId,
        question: CallQuestion,
    ) -> Result<PendingSay, Refusal> {
        let ((reply, answer), (asked, on_disk)) = (oneshot::channel(), oneshot::channel());
        let (awaits, about) = match &question {
            CallQuestion::Approval { about, .. } => (Awaits::Approval, *about),
            CallQuestion::Client { .. } => (Awaits::Client, ApprovalAbout::Run),
        };
        {
            let mut progress = self.turn.progress.lock();
            let name = progress.tool_of(&call)?;
            // An answer to an earlier question is no answer to this one.
            progress.remove_reply(&call);
            progress.start_waiting(WaitingCall { call: call.clone(), name, awaits });
        }
        let verb = AgentVerb::Await { call: call.clone(), question, reply, asked: Some(asked) };
        self.sender().send(verb).await.map_err(|error| error.to_refusal())?;
        self.turn.follow(call, about, answer);
        Ok(committed(on_disk))
    }

    async fn stream(
        &self,
        item: ItemId,
        n: u64,
        kind: StreamKind,
        text: String,
        continues: Option<ItemId>,
    ) -> Result<PendingSay, Refusal> {
        // A worker that starts the turn over streams items again that are whole already.
        if self.turn.answers().contains(item.as_str()) {
            return Ok(no_event());
        }
        self.turn.cut.check(kind, continues.as_ref())?;
        let is_new = self.turn.progress.lock().count_delta(&item, n, text.len())?;
        if !is_new {
            return Ok(no_event());
        }
        self.send(AgentVerb::Delta { item, kind, text, continues }).await
    }

    async fn finish(
        &self,
        events: Vec<Event>,
        failed: Option<AgentError>,
    ) -> Result<PendingSay, Refusal> {
        let ((reply, answer), (on_disk, saved)) = (oneshot::channel(), oneshot::channel());
        self.turn.finishing.store(true, Ordering::Relaxed);
        let verb = AgentVerb::Finish { events, failed, on_disk: Some(on_disk), reply };
        self.sender().send(verb).await.map_err(|error| error.to_refusal())?;
        let finishing = Arc::clone(&self.turn.finishing);
        let outcome = async move {
            let finish = answer.await.unwrap_or(Err(TurnError::Ended));
            if !matches!(finish, Ok(Finish::Ended)) {
                finishing.store(false, Ordering::Relaxed);
            }
            let steered = match finish.map_err(|error| error.to_refusal())? {
                Finish::Ended => Vec::new(),
                Finish::Steered(inputs) => inputs,
            };
            let SayOutcome { seq, .. } = committed(saved).await?;
            Ok(SayOutcome { seq, steered })
        };
        Ok(outcome.boxed().shared())
    }
}

/// Appends events. The outcome resolves when they are on disk.
pub(super) async fn append(sender: &TurnSender, events: Vec<Event>) -> Result<PendingSay, Refusal> {
    let (reply, answer) = oneshot::channel();
    let verb = AgentVerb::Append { events, extras: AgentExtras::default(), durable: true, reply };
    sender.send(verb).await.map_err(|error| error.to_refusal())?;
    Ok(committed(answer))
}

fn bad_request(reason: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}
