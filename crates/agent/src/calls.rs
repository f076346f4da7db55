//! One step's calls: checked, logged together, run side by side, and answered.

use futures::future::{join, join_all};
use serde_json::{Map, Value};
use thoughtwire_hub::{AgentError, Called, ClientResult, ItemWriter, TurnError};
use thoughtwire_proto::{
    CallId, Decision, OpenCall, Permission, Seq, Style, Timestamp, ToolStatus,
};

use crate::Chat;
use crate::limits::Limits;
use crate::reply::HeardCall;
use crate::tool;
use crate::tools::{self, Desk, Runs, ToolFault, ToolOutput, Toolbox, Toolset};

/// Whether the turn goes on after a step's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    Beats,
    Rests,
}

/// The calls of one step.
pub(crate) struct Calls<'a> {
    pub(crate) toolbox: &'a Toolbox,
    pub(crate) toolset: &'a Toolset,
    pub(crate) turn: &'a thoughtwire_hub::Turn,
    pub(crate) style: Style,
    pub(crate) limits: Limits,
    /// Where the turn's own input stands in the log, and when it came.
    pub(crate) asked: Option<(Seq, Timestamp)>,
}

/// A call and what is to become of it.
struct Plan {
    call: CallId,
    name: String,
    args: Map<String, Value>,
    provider_id: Option<String>,
    spoken: Option<ItemWriter>,
    next: Next,
}

/// What comes next for a call.
enum Next {
    /// The model is told what was wrong.
    Complain(String),
    /// It runs.
    Run(Runs),
    /// The owner is asked first, until then.
    Ask(Runs, Timestamp),
    /// A client was asked to run it already, before a restart.
    AwaitClient(Timestamp),
}

/// What a call came to.
struct Done {
    status: ToolStatus,
    text: String,
}

/// Whether an entry is a message that a `send_message` call brought to the person.
pub(crate) fn has_sent(entry: &Chat) -> bool {
    match entry {
        Chat::Returned { name, status, .. } => {
            tool::Tool::named(name) == Some(tool::Tool::SendMessage)
                && *status == ToolStatus::Success
        }
        Chat::Note(_) | Chat::User(_) | Chat::Thought(_) | Chat::Message(_) => false,
        Chat::Kept(_) | Chat::Called { .. } => false,
    }
}

impl Calls<'_> {
    /// Runs the calls that a model made, and tells the chat of them. `kept` is what the model's
    /// provider wants back with them, as JSON.
    pub(crate) async fn run(
        &self,
        heard: Vec<HeardCall>,
        kept: Option<String>,
        chat: &mut Vec<Chat>,
    ) -> Result<Heartbeat, AgentError> {
        let plans: Vec<Plan> = heard.into_iter().map(|heard| self.plan(heard)).collect();
        let until = self.client_until();
        let called = plans.iter().map(|plan| Called {
            call: plan.call.clone(),
            name: plan.name.clone(),
            args: plan.args.clone(),
            client_until: matches!(plan.next, Next::Run(Runs::Client)).then_some(until),
        });
        self.turn.interface.tools().called_keeping(called.collect(), kept).await?;
        self.carry_out(plans, chat).await
    }

    /// Goes on with calls that waited when the server stopped.
    pub(crate) async fn resume(
        &self,
        waiting: &[OpenCall],
        args_of: impl Fn(&CallId) -> Map<String, Value>,
        mut provider_id_of: impl FnMut(&CallId) -> Option<String>,
        chat: &mut Vec<Chat>,
    ) -> Result<Heartbeat, AgentError> {
        let mut plan = |open: &OpenCall| {
            let next = match (open.awaited, open.approval) {
                (Some(until), _) => Next::AwaitClient(until),
                (None, Some(until)) => {
                    let runs = self.toolset.find(&open.name).map(|offered| offered.runs);
                    Next::Ask(runs.unwrap_or_else(|_| self.toolbox.absent(&open.name)), until)
                }
                (None, None) => Next::Complain("interrupted: the server stopped".to_owned()),
            };
            let (call, name) = (open.call.clone(), open.name.clone());
            let provider_id = provider_id_of(&call);
            Plan { args: args_of(&call), call, name, provider_id, spoken: None, next }
        };
        let plans = waiting.iter().map(&mut plan).collect();
        self.carry_out(plans, chat).await
    }

    fn plan(&self, heard: HeardCall) -> Plan {
        let HeardCall { call, name, args, provider_id, spoken } = heard;
        let (args, next) = match args {
            Err(complaint) => (Map::new(), Next::Complain(complaint)),
            Ok(args) => {
                let next = match self.check(&name, &args) {
                    Err(complaint) => Next::Complain(complaint),
                    Ok((runs, Permission::Ask)) => {
                        Next::Ask(runs, self.later(self.limits.approval_ms))
                    }
                    Ok((runs, Permission::Allow | Permission::Deny)) => Next::Run(runs),
                };
                (args, next)
            }
        };
        Plan { call, name, args, provider_id, spoken, next }
    }

    fn check(&self, name: &str, args: &Map<String, Value>) -> Result<(Runs, Permission), String> {
        let offered = self.toolset.find(name)?;
        match offered.runs {
            // These check for themselves, in words of their own.
            Runs::BuiltIn(_) => {}
            Runs::Mcp | Runs::Client => tools::schema::check(name, &offered.spec.schema, args)?,
        }
        Ok((offered.runs, offered.permission))
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

    /// What speaks or changes the memory keeps its order; all else runs beside it.
    async fn carry_out(
        &self,
        plans: Vec<Plan>,
        chat: &mut Vec<Chat>,
    ) -> Result<Heartbeat, AgentError> {
        let ordered =
            |plan: &Plan| matches!(plan.next, Next::Run(Runs::BuiltIn(tool)) if tool.keeps_order());
        let (mut in_order, mut beside) = (Vec::new(), Vec::new());
        for (at, plan) in plans.into_iter().enumerate() {
            if ordered(&plan) { in_order.push((at, plan)) } else { beside.push((at, plan)) }
        }
        let one_by_one = async {
            let mut done = Vec::new();
            for (at, plan) in in_order {
                done.push((at, self.one(plan).await));
            }
            done
        };
        let side_by_side = join_all(
            beside.into_iter().map(|(at, plan)| async move { (at, self.one(plan).await) }),
        );
        let (mut done, others) = join(one_by_one, side_by_side).await;
        done.extend(others);
        done.sort_by_key(|(at, _)| *at);
        // Natively a result always goes back to the model; in MemGPT's way the model has to ask for it.
        let mut heartbeat = match self.style {
            Style::Native => Heartbeat::Beats,
            Style::Memgpt => Heartbeat::Rests,
        };
        let mut results = Vec::new();
        for (_, outcome) in done {
            let (called, returned, beats) = outcome?;
            chat.push(called);
            results.push(returned);
            if beats == Heartbeat::Beats {
                heartbeat = Heartbeat::Beats;
            }
        }
        // As the model made them: all calls, then all results.
        chat.append(&mut results);
        Ok(heartbeat)
    }

    async fn one(&self, plan: Plan) -> Result<(Chat, Chat, Heartbeat), AgentError> {
        let Plan { call, name, args, provider_id, spoken, next } = plan;
        let wanted = args.get(tool::HEARTBEAT).is_some_and(tool::is_yes);
        let Done { status, text } = match next {
            Next::Complain(complaint) => {
                self.say(&call, &name, Err(ToolFault::Complaint(complaint))).await?
            }
            Next::Run(runs) => self.run_by(runs, &call, &name, &args, spoken).await?,
            Next::AwaitClient(until) => self.client(&call, until).await?,
            Next::Ask(runs, until) => {
                let refused =
                    match self.turn.interface.tools().approval(&call, name.clone(), until).await {
                        // What was asked before a restart may have been forbidden since.
                        Ok(Decision::Approved) if self.is_denied(&name) => {
                            Some(format!("The tool `{name}` may not be used here any more."))
                        }
                        Ok(Decision::Approved) => None,
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
                    Some(why) => self.say(&call, &name, Err(ToolFault::Complaint(why))).await?,
                    None => self.run_by(runs, &call, &name, &args, spoken).await?,
                }
            }
        };
        let called = Chat::Called { call: call.clone(), name: name.clone(), args, provider_id };
        let beats = match status {
            ToolStatus::Error => Heartbeat::Beats,
            ToolStatus::Success if wanted => Heartbeat::Beats,
            ToolStatus::Success => Heartbeat::Rests,
        };
        Ok((called, Chat::Returned { call, name, status, text }, beats))
    }

    async fn run_by(
        &self,
        runs: Runs,
        call: &CallId,
        name: &str,
        args: &Map<String, Value>,
        spoken: Option<ItemWriter>,
    ) -> Result<Done, AgentError> {
        let result = match runs {
            Runs::Client => return self.client(call, self.client_until()).await,
            Runs::Mcp => self.toolbox.call_mcp(name, args, self.style).await,
            Runs::BuiltIn(tool) => {
                let desk = Desk { turn: self.turn, asked: self.asked, spoken };
                self.toolbox.run(tool, args, desk).await.map(ToolOutput::from)
            }
        };
        self.say(call, name, result).await
    }

    /// Logs what a call came back with.
    async fn say(
        &self,
        call: &CallId,
        name: &str,
        result: Result<ToolOutput, ToolFault>,
    ) -> Result<Done, AgentError> {
        let (status, ToolOutput { text, content, is_error: _ }) = match result {
            Ok(output) if output.is_error => (ToolStatus::Error, output),
            Ok(output) => (ToolStatus::Success, output),
            Err(ToolFault::Complaint(complaint)) => {
                (ToolStatus::Error, ToolOutput::from(complaint))
            }
            Err(ToolFault::TurnError(error)) => return Err(error.into()),
        };
        let interface = &self.turn.interface;
        // What is too large for its event is kept beside the log, as the text is.
        let (content, large) = match content {
            Some(content) if content.to_string().len() > self.limits.output_bytes => {
                (None, Some(content.to_string()))
            }
            content => (content, None),
        };
        if let (Some(whole), true) = (large, text.len() <= self.limits.output_bytes) {
            interface.tools().returned_part(call, name, status, text.clone(), whole, None).await?;
            return Ok(Done { status, text });
        }
        match tools::output::cut(&text, self.limits.output_bytes, &self.turn.session, call) {
            Some(part) => {
                interface
                    .tools()
                    .returned_part(call, name, status, part.clone(), text, content)
                    .await?;
                Ok(Done { status, text: part })
            }
            None => {
                interface.tools().returned(call, name, status, text.clone(), content).await?;
                Ok(Done { status, text })
            }
        }
    }

    /// Waits for a client's result, which the session logs itself.
    async fn client(&self, call: &CallId, until: Timestamp) -> Result<Done, AgentError> {
        let ClientResult { status, text, content: _ } =
            self.turn.interface.tools().client_runs(call, until).await?;
        let text = tools::output::cut(&text, self.limits.output_bytes, &self.turn.session, call)
            .unwrap_or(text);
        Ok(Done { status, text })
    }
}
