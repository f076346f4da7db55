//! One step's calls: checked, logged together, run side by side, and answered.

use futures::future::{join, join_all};
use serde_json::{Map, Value};
use thoughtwire_hub::{AgentError, Called, ClientResult, ItemWriter, TurnError};
use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, OpenCall, Permission, Replay, RetryReason, Seq, Style,
    Timestamp, ToolStatus,
};

use crate::PromptEntry;
use crate::limits::TurnLimits;
use crate::reply::ReplyCall;
use crate::resuming::CutText;
use crate::tool;
use crate::tools::{self, ToolContext, ToolFault, ToolHost, ToolOutput, Toolbox, Toolset};

/// Whether the turn goes on after a step's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    Continue,
    Stop,
}

/// The calls of one step.
pub(crate) struct StepCalls<'a> {
    pub(crate) toolbox: &'a Toolbox,
    pub(crate) toolset: &'a Toolset,
    pub(crate) turn: &'a thoughtwire_hub::Turn,
    pub(crate) style: Style,
    pub(crate) limits: TurnLimits,
    /// Position of the turn's own input in the log.
    pub(crate) turn_input: Option<Seq>,
}

/// A call and the action decided for it.
struct PlannedCall {
    call: CallId,
    name: String,
    args: Map<String, Value>,
    provider_id: Option<String>,
    said: SaidSoFar,
    next: CallAction,
}

/// The part of a `send_message` call's message that clients have.
#[derive(Default)]
pub(crate) struct SaidSoFar {
    /// The item that the call has streamed.
    pub(crate) streamed: Option<ItemWriter>,
    /// The text that an interruption has cut.
    pub(crate) cut: Option<CutText>,
}

/// Result of a call whose outcome nobody knows.
const UNKNOWN: &str = "The call was interrupted: it may or may not have taken effect. Find out \
                       before you make it again.";

/// The next action for a call.
enum CallAction {
    /// Return an error text to the model.
    Complain(String),
    /// Run the tool.
    Run(ToolHost),
    /// Ask the owner for approval until the given time, then run.
    Ask(ToolHost, Timestamp),
    /// Wait for the result of a client that was asked before a restart.
    AwaitClient(Timestamp),
    /// Log that the call is made again, for this many times, and run the tool.
    Retry(ToolHost, u32),
    /// Ask the owner whether the call is made again, until the given time.
    AskRetry(ToolHost, Timestamp),
    /// Tell the model that nobody knows whether the call has taken effect.
    GiveUp,
}

/// Result of a call, as the model is shown it.
struct CallOutcome {
    status: ToolStatus,
    text: String,
}

/// Whether an entry is a message that a `send_message` call sent to the person.
pub(crate) fn has_sent(entry: &PromptEntry) -> bool {
    match entry {
        PromptEntry::Returned { name, status, .. } => {
            tool::BuiltInTool::named(name) == Some(tool::BuiltInTool::SendMessage)
                && *status == ToolStatus::Success
        }
        PromptEntry::Note(_)
        | PromptEntry::User(_)
        | PromptEntry::Thought(_)
        | PromptEntry::Message(_) => false,
        PromptEntry::ProviderState(_) | PromptEntry::Called { .. } => false,
    }
}

fn no_longer_allowed(tool: &str) -> String {
    format!("The tool `{tool}` may not be used here any more.")
}

impl StepCalls<'_> {
    /// Runs the calls that a model made and adds them to the chat. `kept` is the state that the
    /// model's provider wants back with them, as JSON.
    pub(crate) async fn run(
        &self,
        reply: Vec<ReplyCall>,
        kept: Option<String>,
        chat: &mut Vec<PromptEntry>,
    ) -> Result<Heartbeat, AgentError> {
        let plans: Vec<PlannedCall> = reply.into_iter().map(|reply| self.plan(reply)).collect();
        let until = self.client_until();
        let called = plans.iter().map(|plan| Called {
            call: plan.call.clone(),
            name: plan.name.clone(),
            args: plan.args.clone(),
            client_until: matches!(plan.next, CallAction::Run(ToolHost::Client)).then_some(until),
        });
        self.turn.interface.tools().called_keeping(called.collect(), kept).await?;
        self.run_planned(plans, chat).await
    }

    /// Settles the calls that were open when the turn was interrupted. `cut` is the text that the
    /// interruption cut.
    pub(crate) async fn resume(
        &self,
        open_calls: &[OpenCall],
        mut cut: Option<CutText>,
        args_of: impl Fn(&CallId) -> Map<String, Value>,
        mut provider_id_of: impl FnMut(&CallId) -> Option<String>,
        chat: &mut Vec<PromptEntry>,
    ) -> Result<Heartbeat, AgentError> {
        let mut plan = |open: &OpenCall| {
            let host = self.toolset.find(&open.name).map(|offered| offered.host);
            let host = host.unwrap_or_else(|_| self.toolbox.absent(&open.name));
            let next = match (open.awaited, open.approval, open.about) {
                (Some(until), _, _) => CallAction::AwaitClient(until),
                (None, Some(until), ApprovalAbout::Run) => CallAction::Ask(host, until),
                (None, Some(until), ApprovalAbout::Retry) => CallAction::AskRetry(host, until),
                (None, None, _) => self.after_interruption(open, host),
            };
            let (call, name) = (open.call.clone(), open.name.clone());
            let (args, provider_id) = (args_of(&call), provider_id_of(&call));
            let message = args.get("message").and_then(Value::as_str).unwrap_or_default();
            let cut = if host == ToolHost::BuiltIn(tool::BuiltInTool::SendMessage) {
                cut.take_if(|cut| message.starts_with(&cut.text))
            } else {
                None
            };
            let said = SaidSoFar { streamed: None, cut };
            PlannedCall { args, call, name, provider_id, said, next }
        };
        let plans = open_calls.iter().map(&mut plan).collect();
        self.run_planned(plans, chat).await
    }

    /// The action for a call that was running when the turn was interrupted.
    fn after_interruption(&self, open: &OpenCall, host: ToolHost) -> CallAction {
        match (host, self.toolbox.replay(&open.name)) {
            (ToolHost::Client, _) if self.is_denied(&open.name) => {
                CallAction::Complain(no_longer_allowed(&open.name))
            }
            // A client runs a call when it is awaited, and not before.
            (ToolHost::Client, _) => CallAction::Run(host),
            (ToolHost::BuiltIn(_) | ToolHost::Mcp, _) if self.is_denied(&open.name) => {
                CallAction::GiveUp
            }
            (ToolHost::BuiltIn(_) | ToolHost::Mcp, Replay::Safe) => {
                CallAction::Retry(host, open.retries + 1)
            }
            (ToolHost::BuiltIn(_) | ToolHost::Mcp, Replay::Ask) => {
                CallAction::AskRetry(host, self.later(self.limits.approval_ms))
            }
            (ToolHost::BuiltIn(_) | ToolHost::Mcp, Replay::Never) => CallAction::GiveUp,
        }
    }

    fn plan(&self, reply: ReplyCall) -> PlannedCall {
        let ReplyCall { call, name, args, provider_id, streamed, cut } = reply;
        let (args, next) = match args {
            Err(complaint) => (Map::new(), CallAction::Complain(complaint)),
            Ok(args) => {
                let next = match self.check(&name, &args) {
                    Err(complaint) => CallAction::Complain(complaint),
                    Ok((host, Permission::Ask)) => {
                        CallAction::Ask(host, self.later(self.limits.approval_ms))
                    }
                    Ok((host, Permission::Allow | Permission::Deny)) => CallAction::Run(host),
                };
                (args, next)
            }
        };
        let said = SaidSoFar { streamed, cut };
        PlannedCall { call, name, args, provider_id, said, next }
    }

    fn check(
        &self,
        name: &str,
        args: &Map<String, Value>,
    ) -> Result<(ToolHost, Permission), String> {
        let offered = self.toolset.find(name)?;
        match offered.host {
            // Built-in tools check their own arguments and word their own errors.
            ToolHost::BuiltIn(_) => {}
            ToolHost::Mcp | ToolHost::Client => {
                tools::schema::check(name, &offered.spec.schema, args)?;
            }
        }
        Ok((offered.host, offered.permission))
    }

    fn is_denied(&self, name: &str) -> bool {
        let agents = &self.turn.agent.spec.settings.permissions;
        self.toolbox.permission(name, agents) == Permission::Deny
    }

    fn later(&self, ms: i64) -> Timestamp {
        Timestamp::from_millis((self.limits.clock)().as_millis().saturating_add(ms))
    }

    fn client_until(&self) -> Timestamp {
        self.later(self.limits.client_tool_ms)
    }

    /// Runs the calls. Calls that speak or change memory run in order; all others run beside them.
    async fn run_planned(
        &self,
        plans: Vec<PlannedCall>,
        chat: &mut Vec<PromptEntry>,
    ) -> Result<Heartbeat, AgentError> {
        let ordered = |plan: &PlannedCall| match plan.next {
            CallAction::Run(ToolHost::BuiltIn(tool))
            | CallAction::Retry(ToolHost::BuiltIn(tool), _) => tool.keeps_order(),
            CallAction::Run(ToolHost::Mcp | ToolHost::Client)
            | CallAction::Retry(ToolHost::Mcp | ToolHost::Client, _)
            | CallAction::Complain(_)
            | CallAction::Ask(..)
            | CallAction::AskRetry(..)
            | CallAction::AwaitClient(_)
            | CallAction::GiveUp => false,
        };
        let (mut in_order, mut beside) = (Vec::new(), Vec::new());
        for (at, plan) in plans.into_iter().enumerate() {
            if ordered(&plan) { in_order.push((at, plan)) } else { beside.push((at, plan)) }
        }
        let one_by_one = async {
            let mut done = Vec::new();
            for (at, plan) in in_order {
                done.push((at, self.run_call(plan).await));
            }
            done
        };
        let side_by_side = join_all(
            beside.into_iter().map(|(at, plan)| async move { (at, self.run_call(plan).await) }),
        );
        let (mut done, others) = join(one_by_one, side_by_side).await;
        done.extend(others);
        done.sort_by_key(|(at, _)| *at);
        // Native style always returns results to the model; in MemGPT style the model has to ask
        // for it.
        let mut heartbeat = match self.style {
            Style::Native => Heartbeat::Continue,
            Style::Memgpt => Heartbeat::Stop,
        };
        let mut results = Vec::new();
        for (_, outcome) in done {
            let (called, returned, beats) = outcome?;
            chat.push(called);
            results.push(returned);
            if beats == Heartbeat::Continue {
                heartbeat = Heartbeat::Continue;
            }
        }
        // The model made all calls first, so all results follow them.
        chat.append(&mut results);
        Ok(heartbeat)
    }

    async fn run_call(
        &self,
        plan: PlannedCall,
    ) -> Result<(PromptEntry, PromptEntry, Heartbeat), AgentError> {
        let PlannedCall { call, name, args, provider_id, said, next } = plan;
        let wanted = args.get(tool::HEARTBEAT).is_some_and(tool::is_truthy);
        let CallOutcome { status, text } = match next {
            CallAction::Complain(complaint) => {
                self.log_result(&call, &name, Err(ToolFault::Complaint(complaint))).await?
            }
            CallAction::Run(host) => self.run_by(host, &call, &name, &args, said).await?,
            CallAction::Retry(host, attempt) => {
                let reason = RetryReason::Safe;
                self.turn.interface.tools().retried(&call, attempt, reason).await?;
                self.run_by(host, &call, &name, &args, said).await?
            }
            CallAction::AskRetry(host, until) => {
                let tools = self.turn.interface.tools();
                match tools.retry_approval(&call, name.clone(), until).await {
                    // The tool may have been forbidden while the call waited across a restart.
                    Ok(None) if self.is_denied(&name) => self.give_up(&call, &name).await?,
                    Ok(None) => self.run_by(host, &call, &name, &args, said).await?,
                    Ok(Some(result)) => self.result_of(&call, result),
                    Err(TurnError::Refused(_)) => self.give_up(&call, &name).await?,
                    Err(error) => return Err(error.into()),
                }
            }
            CallAction::GiveUp => self.give_up(&call, &name).await?,
            CallAction::AwaitClient(until) => self.await_client(&call, until).await?,
            CallAction::Ask(host, until) => {
                let refused =
                    match self.turn.interface.tools().approval(&call, name.clone(), until).await {
                        // The tool may have been forbidden while the call waited across a restart.
                        Ok(Decision::Approved) if self.is_denied(&name) => {
                            Some(no_longer_allowed(&name))
                        }
                        Ok(Decision::Approved | Decision::Done) => None,
                        Ok(Decision::Denied) => Some("The owner denied this call.".to_owned()),
                        Ok(Decision::Expired) => Some(
                            "Nobody approved this call in time, so it was not made.".to_owned(),
                        ),
                        Ok(Decision::Void) => Some(
                            "The turn ended before anybody could approve this call.".to_owned(),
                        ),
                        Err(TurnError::Refused(why)) => Some(why),
                        Err(error) => return Err(error.into()),
                    };
                match refused {
                    Some(why) => {
                        self.log_result(&call, &name, Err(ToolFault::Complaint(why))).await?
                    }
                    None => self.run_by(host, &call, &name, &args, said).await?,
                }
            }
        };
        let called =
            PromptEntry::Called { call: call.clone(), name: name.clone(), args, provider_id };
        let beats = match status {
            ToolStatus::Error | ToolStatus::Unknown => Heartbeat::Continue,
            ToolStatus::Success if wanted => Heartbeat::Continue,
            ToolStatus::Success => Heartbeat::Stop,
        };
        Ok((called, PromptEntry::Returned { call, name, status, text }, beats))
    }

    async fn run_by(
        &self,
        host: ToolHost,
        call: &CallId,
        name: &str,
        args: &Map<String, Value>,
        said: SaidSoFar,
    ) -> Result<CallOutcome, AgentError> {
        let result = match host {
            ToolHost::Client => return self.await_client(call, self.client_until()).await,
            ToolHost::Mcp => self.toolbox.call_mcp(call, name, args, self.style).await,
            ToolHost::BuiltIn(tool) => {
                let (turn, turn_input) = (self.turn, self.turn_input);
                let context = ToolContext { turn, turn_input, call, said };
                self.toolbox.run(tool, args, context).await
            }
        };
        self.log_result(call, name, result).await
    }

    /// Logs that nobody knows the outcome of a call.
    async fn give_up(&self, call: &CallId, name: &str) -> Result<CallOutcome, AgentError> {
        let (status, text) = (ToolStatus::Unknown, UNKNOWN.to_owned());
        self.turn.interface.tools().returned(call, name, status, text.clone(), None).await?;
        Ok(CallOutcome { status, text })
    }

    /// The outcome of a call whose result the session has logged.
    fn result_of(&self, call: &CallId, result: ClientResult) -> CallOutcome {
        let ClientResult { status, text, content: _ } = result;
        let text = tools::output::cut(&text, self.limits.output_bytes, &self.turn.session, call)
            .unwrap_or(text);
        CallOutcome { status, text }
    }

    /// Logs the result of a call.
    async fn log_result(
        &self,
        call: &CallId,
        name: &str,
        result: Result<ToolOutput, ToolFault>,
    ) -> Result<CallOutcome, AgentError> {
        let (status, ToolOutput { text, content, is_logged, is_error: _ }) = match result {
            Ok(output) if output.is_error => (ToolStatus::Error, output),
            Ok(output) => (ToolStatus::Success, output),
            Err(ToolFault::Complaint(complaint)) => {
                (ToolStatus::Error, ToolOutput::from(complaint))
            }
            Err(ToolFault::TurnError(error)) => return Err(error.into()),
        };
        if is_logged {
            return Ok(CallOutcome { status, text });
        }
        let interface = &self.turn.interface;
        // Content too large for its event is stored beside the log, as long text is.
        let (content, large) = match content {
            Some(content) if content.to_string().len() > self.limits.output_bytes => {
                (None, Some(content.to_string()))
            }
            content => (content, None),
        };
        if let (Some(whole), true) = (large, text.len() <= self.limits.output_bytes) {
            interface.tools().returned_part(call, name, status, text.clone(), whole, None).await?;
            return Ok(CallOutcome { status, text });
        }
        match tools::output::cut(&text, self.limits.output_bytes, &self.turn.session, call) {
            Some(part) => {
                interface
                    .tools()
                    .returned_part(call, name, status, part.clone(), text, content)
                    .await?;
                Ok(CallOutcome { status, text: part })
            }
            None => {
                interface.tools().returned(call, name, status, text.clone(), content).await?;
                Ok(CallOutcome { status, text })
            }
        }
    }

    /// Waits for a client's result, which the session logs itself.
    async fn await_client(
        &self,
        call: &CallId,
        until: Timestamp,
    ) -> Result<CallOutcome, AgentError> {
        let result = self.turn.interface.tools().client_runs(call, until).await?;
        Ok(self.result_of(call, result))
    }
}
