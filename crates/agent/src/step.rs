//! The step loop of a turn: ask a model, publish its text, run its calls, and repeat if needed.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Map;
use thoughtwire_hub::{AgentError, Final, Finish, Turn, unread_code};
use thoughtwire_proto::{CallId, Event, Style, TurnEvent, Usage};

use crate::calls::{Heartbeat, StepCalls, has_sent};
use crate::context::PromptContext;
use crate::history::{self, StoredReply, TurnPast};
use crate::limits::TurnLimits;
use crate::metrics::ModelMetrics;
use crate::model::{LanguageModel, ModelError};
use crate::numbers::grouped;
use crate::past_cache::PastCache;
use crate::prompt::{NO_ANSWER, Prompt, PromptEntry, Purpose, SystemPrompt, overhead};
use crate::reply::{ModelReply, ReplyCall, ReplyFault, ReplyReader};
use crate::resuming::{CutText, DoneWork};
use crate::tools::{Toolbox, Toolset};

/// Number of times that a prompt is shortened after the provider found it too long.
const MAX_SHORTENINGS: usize = 3;

/// Number of additional steps in MemGPT style while the person has not received a message.
const QUIET_STEPS: usize = 5;

/// A model's name, and the model or the reason why it cannot be used.
pub(crate) type Candidate = (String, Result<Arc<dyn LanguageModel>, ModelError>);

/// The run of one turn.
pub(crate) struct StepLoop {
    turn: Turn,
    style: Style,
    /// The agent's model and its fallbacks, in order.
    models: Vec<Candidate>,
    toolbox: Arc<Toolbox>,
    limits: TurnLimits,
    /// Largest number of tokens of a prompt.
    room: usize,
    context: PromptContext,
    /// The turn's own part of the log before an interruption, until the turn goes on.
    past: Option<TurnPast>,
    /// Whether the person received a message since the newest input.
    has_messaged: bool,
    spent: Usage,
    /// Cost of the turn so far.
    total: Usage,
    /// A text that an interruption has cut, for the next reply to continue.
    cut: Option<CutText>,
    /// Inputs that joined the turn while that text was written. They are answered behind it.
    unseen: Vec<Arc<PromptEntry>>,
    metrics: ModelMetrics,
}

/// The parts of a step's prompt, except the conversation.
struct StepInputs {
    system: String,
    blocks: Arc<[thoughtwire_store::Block]>,
    toolset: Toolset,
}

impl StepLoop {
    pub(crate) async fn begin(
        turn: Turn,
        models: Vec<Candidate>,
        toolbox: Arc<Toolbox>,
        limits: TurnLimits,
        metrics: ModelMetrics,
        past_cache: Arc<PastCache>,
    ) -> Result<Self, AgentError> {
        let style = turn.agent.spec.style.unwrap_or_default();
        let reply = limits
            .max_output_tokens
            .map_or(limits.context_window / 4, |max| (max as usize).min(limits.context_window / 2));
        let room = limits.context_window.saturating_sub(reply).max(500);
        let past = TurnPast::read(&turn).await?;
        let context = PromptContext::read(&turn, past.as_ref(), room, past_cache).await?;
        let mut steps = Self {
            turn,
            style,
            models,
            toolbox,
            limits,
            room,
            context,
            past,
            has_messaged: false,
            spent: Usage::default(),
            total: Usage::default(),
            cut: None,
            unseen: Vec::new(),
            metrics,
        };
        if steps.context.overflows(&steps.turn, room) {
            let inputs = steps.inputs().await?;
            steps.shrink(&inputs).await?;
        }
        Ok(steps)
    }

    /// Runs the turn to its end.
    pub(crate) async fn run(mut self) -> Result<(), AgentError> {
        self.run_steps().await
    }

    async fn run_steps(&mut self) -> Result<(), AgentError> {
        let Resumption { mut steps, mut heartbeat } = self.resume().await?;
        let mut quiet = 0;
        loop {
            // The turn may rest only after the person has an answer.
            if heartbeat == Some(Heartbeat::Stop) && !self.has_messaged && quiet < QUIET_STEPS {
                quiet += 1;
                heartbeat = Some(Heartbeat::Continue);
            }
            let mut last = if heartbeat == Some(Heartbeat::Stop) {
                None
            } else {
                let joined = self.turn.interface.control().steered().await?;
                self.context.add_inputs(&joined);
                self.check_limits(steps)?;
                steps += 1;
                let inputs = self.inputs().await?;
                let reply = self.ask(&inputs).await?;
                self.cut = None;
                self.add_usage(reply.usage).await?;
                self.has_messaged |= reply.has_messaged;
                let state = reply.published.iter().rev().find_map(PromptEntry::provider_state);
                let kept = StoredReply { state: state.cloned(), spent: self.total };
                self.context.chat.extend(reply.published.into_iter().map(Arc::new));
                if !reply.calls.is_empty() {
                    heartbeat = Some(self.call_all(&inputs, reply.calls, kept).await?);
                    if !self.unseen.is_empty() {
                        self.context.extend(std::mem::take(&mut self.unseen));
                        (self.has_messaged, heartbeat) = (false, None);
                    }
                    continue;
                }
                if !self.unseen.is_empty() {
                    if let Some(Final::Text(text)) = reply.last {
                        self.context.add_message(&text);
                        self.turn.interface.assistant_message(text).await?;
                    }
                    self.context.extend(std::mem::take(&mut self.unseen));
                    (self.has_messaged, heartbeat) = (false, None);
                    continue;
                }
                // An inner monologue is better than no answer.
                let words = Some(reply.monologue).filter(|words| !words.trim().is_empty());
                reply.last.or_else(|| words.filter(|_| !self.has_messaged).map(Final::Text))
            };
            if last.is_none() && !self.has_messaged {
                let joined = self.turn.interface.control().steered().await?;
                if !joined.is_empty() {
                    self.context.add_inputs(&joined);
                    (steps, quiet, heartbeat) = (0, 0, None);
                    continue;
                }
                // A turn that completes has a message, even if it only says that there is no
                // answer.
                last = Some(Final::Text(NO_ANSWER.to_owned()));
            }
            match self.finish(last).await? {
                Finish::Ended => return Ok(()),
                Finish::Steered(steered) => {
                    self.context.add_inputs(&steered);
                    (steps, quiet, heartbeat) = (0, 0, None);
                    self.has_messaged = false;
                }
            }
        }
    }

    /// Fails the turn if it has reached its step limit or its token budget.
    fn check_limits(&self, steps: usize) -> Result<(), AgentError> {
        if steps >= self.limits.max_steps {
            let reason = format!(
                "The agent took {steps} steps without finishing, which is the limit. Say how it \
                 should continue, or raise `max_steps`."
            );
            return Err(AgentError::new("step_limit", reason));
        }
        match self.limits.token_budget {
            Some(budget) if self.cost() >= budget => {
                let (cost, budget) = (grouped(self.cost() as usize), grouped(budget as usize));
                let reason = format!(
                    "The turn has cost {cost} tokens, and the limit is {budget}. Say how it should \
                     continue, or raise `token_budget`."
                );
                Err(AgentError::new("token_budget", reason))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Goes on with a turn that was interrupted: settles its open calls, and finds what is left to
    /// do. Cost and steps of the turn so far count.
    async fn resume(&mut self) -> Result<Resumption, AgentError> {
        let Some(TurnPast { records, states, spent: stored }) = self.past.take() else {
            return Ok(Resumption::default());
        };
        // Directly after a start, MCP servers have not listed their tools yet. Without this wait,
        // the next step would lack tools that earlier steps had.
        self.toolbox.servers_settled().await;
        let DoneWork { cut, steps, has_messaged, has_unseen_input, logged, wants_heartbeat } =
            DoneWork::read(&records, self.style);
        // The cost in the log may be newer than the one stored with the last calls, or older.
        let before = if logged.input_tokens > stored.input_tokens { logged } else { stored };
        // The past may have been summarised already.
        let since = std::mem::replace(&mut self.total, before);
        self.spent = before.since(logged);
        self.add_usage(since).await?;
        self.has_messaged = has_messaged;
        let open_calls = std::mem::take(&mut self.turn.open_calls);
        if open_calls.is_empty() {
            let joined = if has_unseen_input { self.context.take_joined() } else { Vec::new() };
            if let Some(cut) = cut {
                // An eighth of the room, at four bytes for a token.
                self.context.ask_for_rest(&cut, self.style, self.room / 2);
                (self.cut, self.unseen) = (Some(cut), joined);
                return Ok(Resumption { steps, heartbeat: None });
            }
            self.context.extend(joined);
            let rests = self.style == Style::Memgpt && steps > 0 && !wants_heartbeat;
            return Ok(Resumption { steps, heartbeat: rests.then_some(Heartbeat::Stop) });
        }
        let mut ids = history::provider_ids(&records, &states);
        let args: Vec<(CallId, Map<String, serde_json::Value>)> =
            records.into_iter().filter_map(called).collect();
        let args_of = |call: &CallId| {
            args.iter()
                .find(|(known, _)| known == call)
                .map(|(_, args)| args.clone())
                .unwrap_or_default()
        };
        let inputs = self.inputs().await?;
        let mut chat = Vec::new();
        let provider_id_of = |call: &CallId| ids.remove(call);
        let calls = self.calls(&inputs.toolset);
        let heartbeat = calls.resume(&open_calls, cut, args_of, provider_id_of, &mut chat).await?;
        self.has_messaged |= chat.iter().any(has_sent);
        self.context.add_settled_calls(chat);
        let heartbeat = if wants_heartbeat { Heartbeat::Continue } else { heartbeat };
        Ok(Resumption { steps, heartbeat: Some(heartbeat) })
    }

    /// Cost of the turn so far, in tokens read and written.
    fn cost(&self) -> u64 {
        self.total.input_tokens + self.total.output_tokens
    }

    /// Counts the cost of a reply and reports it to the session, because a turn that is cancelled
    /// or fails still cost it.
    async fn add_usage(&mut self, usage: Usage) -> Result<(), AgentError> {
        self.total.add(usage);
        self.spent.add(usage);
        Ok(self.turn.interface.spent(self.spent).await?)
    }

    async fn finish(&mut self, last: Option<Final>) -> Result<Finish, AgentError> {
        let usage = std::mem::take(&mut self.spent);
        match &last {
            Some(Final::Text(text)) => self.context.add_message(text),
            Some(Final::Open(writer)) => self.context.add_message(writer.text()),
            None => {}
        }
        Ok(self.turn.interface.finish(last, (!usage.is_none()).then_some(usage)).await?)
    }

    /// Asks the agent's models. A prompt that is too long is shortened.
    async fn ask(&mut self, inputs: &StepInputs) -> Result<ModelReply, AgentError> {
        let mut shorter = 0;
        loop {
            self.make_room(inputs).await?;
            let mut lost_usage = Usage::default();
            let fault = match self.ask_models(inputs, &mut lost_usage).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            // A reply that was not used still has its cost.
            self.add_usage(lost_usage).await?;
            match fault {
                ReplyFault::TurnError(error) => return Err(error.into()),
                ReplyFault::Model(ModelError::TooLong(_)) if shorter < MAX_SHORTENINGS => {
                    // Our token count is an estimate; the provider's is exact.
                    shorter += 1;
                    self.room /= 2;
                }
                ReplyFault::Model(error) => return Err(failed(&error)),
            }
        }
    }

    async fn ask_models(
        &mut self,
        inputs: &StepInputs,
        lost_usage: &mut Usage,
    ) -> Result<ModelReply, ReplyFault> {
        let prompt = Arc::new(self.prompt(inputs));
        let mut last = ModelError::Unknown("the agent has no model".to_owned());
        for (at, (name, model)) in self.models.iter().enumerate() {
            if at > 0 {
                self.turn.interface.status(format!("{last} Asking {name} instead.")).await?;
            }
            let outcome = match model {
                Ok(model) => self.ask_with_retries(name, model, &prompt, lost_usage).await,
                Err(error) => Err((ReplyFault::Model(error.clone()), OutputSent::Nothing)),
            };
            match outcome {
                Ok(reply) => return Ok(reply),
                // Another model could not continue the reply that this one began.
                Err((ReplyFault::Model(error), OutputSent::Nothing))
                    if error.is_elsewhere_better() =>
                {
                    last = error;
                }
                Err((fault, _)) => return Err(fault),
            }
        }
        Err(ReplyFault::Model(last))
    }

    /// Asks one model, with retries while no output has arrived.
    async fn ask_with_retries(
        &self,
        name: &str,
        model: &Arc<dyn LanguageModel>,
        prompt: &Arc<Prompt>,
        lost_usage: &mut Usage,
    ) -> Result<ModelReply, (ReplyFault, OutputSent)> {
        let mut attempt = 0;
        loop {
            let mut reader = ReplyReader::new(
                self.turn.interface.clone(),
                self.cut.clone(),
                !self.unseen.is_empty(),
            );
            let asked = Instant::now();
            let outcome = reader.read(model.reply(Arc::clone(prompt))).await;
            let first = reader.first().map(|first| (first - asked).as_secs_f64());
            self.metrics.record_call(
                name,
                first,
                outcome.is_ok().then(|| asked.elapsed().as_secs_f64()),
            );
            let error = match outcome {
                Ok(reply) => return Ok(reply),
                Err(ReplyFault::Model(error)) => error,
                Err(error) => return Err((error, OutputSent::Something)),
            };
            lost_usage.add(reader.usage());
            if reader.has_begun() {
                return Err((ReplyFault::Model(error), OutputSent::Something));
            }
            let Some(wait) = error.retry_in(attempt).filter(|_| attempt < self.limits.retries)
            else {
                return Err((ReplyFault::Model(error), OutputSent::Nothing));
            };
            attempt += 1;
            tracing::debug!(code = error.code(), attempt, "asking the model again");
            let status =
                format!("The model did not answer; retrying in {:.1} s.", wait.as_secs_f64());
            self.turn
                .interface
                .status(status)
                .await
                .map_err(|error| (error.into(), OutputSent::Nothing))?;
            tokio::time::sleep(wait).await;
        }
    }

    /// Compacts or shortens the conversation if it does not fit.
    async fn make_room(&mut self, inputs: &StepInputs) -> Result<(), AgentError> {
        if self.context.tokens() <= self.room_beside(inputs) {
            Ok(())
        } else {
            self.shrink(inputs).await
        }
    }

    /// Number of tokens of conversation that a prompt has room for.
    fn room_beside(&self, inputs: &StepInputs) -> usize {
        self.room.saturating_sub(overhead(&inputs.system, &inputs.toolset.specs())).max(200)
    }

    async fn shrink(&mut self, inputs: &StepInputs) -> Result<(), AgentError> {
        let room = self.room_beside(inputs);
        let models: Vec<Arc<dyn LanguageModel>> =
            self.models.iter().filter_map(|(_, model)| model.as_ref().ok().cloned()).collect();
        let usage =
            self.context.shrink(&self.turn, &models, room, self.limits.context_window).await?;
        self.add_usage(usage).await
    }

    /// Reads memory and tools again for each step: a tool may have changed the core memory, and
    /// tools come and go.
    async fn inputs(&self) -> Result<StepInputs, AgentError> {
        let agent = &self.turn.agent;
        let unread = |error| {
            let reason = format!("the agent's memory cannot be read: {error}");
            AgentError::new(unread_code(&error), reason)
        };
        let known = self.toolbox.store.memory().summary(&agent.id).await.map_err(unread)?;
        let system = SystemPrompt {
            name: &agent.spec.name,
            style: self.style,
            instructions: self.turn.instructions.as_deref(),
            blocks: &known.blocks,
        }
        .write();
        let clients = self.turn.interface.tools().client_tools();
        let toolset = self.toolbox.toolset(self.style, clients, &agent.spec.settings.permissions);
        Ok(StepInputs { system, blocks: Arc::clone(&known.blocks), toolset })
    }

    fn prompt(&self, inputs: &StepInputs) -> Prompt {
        Prompt {
            purpose: Purpose::Turn,
            style: self.style,
            system: inputs.system.clone(),
            blocks: Arc::clone(&inputs.blocks),
            chat: self.context.chat.clone(),
            turn_from: self.context.turn_from,
            tools: inputs.toolset.specs(),
            max_output_tokens: self.limits.max_output_tokens,
            context_window: Some(self.limits.context_window),
        }
    }

    fn calls<'a>(&'a self, toolset: &'a Toolset) -> StepCalls<'a> {
        StepCalls {
            toolbox: &self.toolbox,
            toolset,
            turn: &self.turn,
            style: self.style,
            limits: self.limits,
            turn_input: self.context.turn_input,
        }
    }

    async fn call_all(
        &mut self,
        inputs: &StepInputs,
        calls: Vec<ReplyCall>,
        kept: StoredReply,
    ) -> Result<Heartbeat, AgentError> {
        let mut chat = Vec::new();
        let kept = serde_json::to_string(&kept).ok();
        let heartbeat = self.calls(&inputs.toolset).run(calls, kept, &mut chat).await?;
        self.has_messaged |= chat.iter().any(has_sent);
        self.context.chat.extend(chat.into_iter().map(Arc::new));
        Ok(heartbeat)
    }
}

/// Where a turn goes on.
#[derive(Default)]
struct Resumption {
    /// Number of steps taken before.
    steps: usize,
    heartbeat: Option<Heartbeat>,
}

/// Whether a model that failed had sent any output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputSent {
    Nothing,
    Something,
}

fn called(record: thoughtwire_proto::Record) -> Option<(CallId, Map<String, serde_json::Value>)> {
    if let Event::Turn(TurnEvent::ToolCalled { call, args, .. }) = record.event {
        Some((call, args))
    } else {
        None
    }
}

fn failed(error: &ModelError) -> AgentError {
    AgentError::new(error.code(), error.to_string())
}
