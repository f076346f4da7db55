//! The step loop: ask a model, speak, run what it called, and go on while there is reason to.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Map;
use thoughtwire_hub::{AgentError, Final, Finish, Turn};
use thoughtwire_proto::{CallId, Event, Seq, Style, TurnEvent, Usage};

use crate::calls::{Calls, Heartbeat, has_sent};
use crate::context::Context;
use crate::figures::grouped;
use crate::history;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::model::{Model, ModelError};
use crate::pasts::Pasts;
use crate::prompt::{Brief, Chat, NO_ANSWER, Prompt, Purpose, overhead};
use crate::reply::{Fault, Heard, HeardCall, Listener};
use crate::tools::{Toolbox, Toolset};

/// How often a prompt that the provider finds too long is made shorter.
const SHORTER: usize = 3;

/// How many steps a turn goes on by itself while the person was told nothing, in MemGPT's style.
const QUIET_STEPS: usize = 5;

/// A model and its name, or why it cannot be had.
pub(crate) type Candidate = (String, Result<Arc<dyn Model>, ModelError>);

/// One turn's run.
pub(crate) struct Steps {
    turn: Turn,
    style: Style,
    /// The agent's model, and those to ask when it cannot be had.
    models: Vec<Candidate>,
    toolbox: Arc<Toolbox>,
    limits: Limits,
    /// How many tokens a prompt may have.
    room: usize,
    context: Context,
    /// Whether the person was told anything since the newest input.
    has_spoken: bool,
    spent: Usage,
    /// What the turn cost so far, in tokens read and written.
    cost: u64,
    metrics: Metrics,
}

/// What a step's prompt is written from, beside the conversation.
struct Frame {
    system: String,
    blocks: Arc<[thoughtwire_store::Block]>,
    toolset: Toolset,
}

impl Steps {
    pub(crate) async fn begin(
        turn: Turn,
        models: Vec<Candidate>,
        toolbox: Arc<Toolbox>,
        limits: Limits,
        metrics: Metrics,
        pasts: Arc<Pasts>,
    ) -> Result<Self, AgentError> {
        let style = turn.agent.spec.style.unwrap_or_default();
        let reply = limits.max_output_tokens.map_or(limits.context_window / 4, |most| {
            (most as usize).min(limits.context_window / 2)
        });
        let room = limits.context_window.saturating_sub(reply).max(500);
        let context = Context::read(&turn, room, pasts).await?;
        let mut steps = Self {
            turn,
            style,
            models,
            toolbox,
            limits,
            room,
            context,
            has_spoken: false,
            spent: Usage::default(),
            cost: 0,
            metrics,
        };
        if steps.context.overflows(&steps.turn, room) {
            let frame = steps.frame().await?;
            steps.shrink(&frame).await?;
        }
        Ok(steps)
    }

    /// Runs the turn to its end.
    pub(crate) async fn run(mut self) -> Result<(), AgentError> {
        self.steps().await
    }

    async fn steps(&mut self) -> Result<(), AgentError> {
        let (mut steps, mut quiet) = (0, 0);
        let mut heartbeat = self.resume().await?;
        loop {
            // The model may rest only when the person has an answer.
            if heartbeat == Some(Heartbeat::Rests) && !self.has_spoken && quiet < QUIET_STEPS {
                quiet += 1;
                heartbeat = Some(Heartbeat::Beats);
            }
            let mut last = if heartbeat == Some(Heartbeat::Rests) {
                None
            } else {
                let joined = self.turn.interface.control().steered().await?;
                self.context.hear(&joined);
                self.check_limits(steps)?;
                steps += 1;
                let frame = self.frame().await?;
                let heard = self.ask(&frame).await?;
                self.spend(heard.usage).await?;
                self.has_spoken |= heard.has_spoken;
                let kept = heard.said.iter().rev().find_map(Chat::kept_as_json);
                self.context.chat.extend(heard.said.into_iter().map(Arc::new));
                if !heard.calls.is_empty() {
                    heartbeat = Some(self.call_all(&frame, heard.calls, kept).await?);
                    continue;
                }
                // What was meant for nobody is better than no answer.
                let words = Some(heard.monologue).filter(|words| !words.trim().is_empty());
                heard.last.or_else(|| words.filter(|_| !self.has_spoken).map(Final::Text))
            };
            if last.is_none() && !self.has_spoken {
                let joined = self.turn.interface.control().steered().await?;
                if !joined.is_empty() {
                    self.context.hear(&joined);
                    (steps, quiet, heartbeat) = (0, 0, None);
                    continue;
                }
                // A turn that completes says something, if only that there is nothing.
                last = Some(Final::Text(NO_ANSWER.to_owned()));
            }
            match self.finish(last).await? {
                Finish::Ended => return Ok(()),
                Finish::Steered(inputs) => {
                    self.context.hear(&inputs);
                    (steps, quiet, heartbeat) = (0, 0, None);
                    self.has_spoken = false;
                }
            }
        }
    }

    /// A turn ends here when it has taken or cost all that it may.
    fn check_limits(&self, steps: usize) -> Result<(), AgentError> {
        if steps >= self.limits.max_steps {
            let reason = format!(
                "The agent took {steps} steps without coming to an end, which is the limit. Say how it should go on."
            );
            return Err(AgentError::new("step_limit", reason));
        }
        match self.limits.token_budget {
            Some(budget) if self.cost >= budget => {
                let (cost, budget) = (grouped(self.cost as usize), grouped(budget as usize));
                let reason = format!(
                    "The turn has cost {cost} tokens, and {budget} is the limit. Say how it should go on."
                );
                Err(AgentError::new("token_budget", reason))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Goes on with the calls that waited when the server stopped.
    async fn resume(&mut self) -> Result<Option<Heartbeat>, AgentError> {
        if self.turn.waiting.is_empty() {
            return Ok(None);
        }
        let waiting = std::mem::take(&mut self.turn.waiting);
        self.toolbox.servers_settled().await;
        let so_far = self.turn.so_far().await?;
        let kept = self.turn.kept(self.turn.started(), Seq(u64::MAX)).await?;
        let mut ids = history::provider_ids(&so_far, &history::kept_replies(kept));
        self.has_spoken = so_far
            .iter()
            .any(|record| matches!(record.event, Event::Turn(TurnEvent::Message { .. })));
        let args: Vec<(CallId, Map<String, serde_json::Value>)> =
            so_far.into_iter().filter_map(called).collect();
        let args_of = |call: &CallId| {
            args.iter()
                .find(|(known, _)| known == call)
                .map(|(_, args)| args.clone())
                .unwrap_or_default()
        };
        let frame = self.frame().await?;
        let mut chat = Vec::new();
        let provider_id_of = |call: &CallId| ids.remove(call);
        self.calls(&frame.toolset).resume(&waiting, args_of, provider_id_of, &mut chat).await?;
        self.has_spoken |= chat.iter().any(has_sent);
        self.context.chat.extend(chat.into_iter().map(Arc::new));
        // Whether a call beside these had asked to go on is not known any more; to go on is right for all.
        Ok(Some(Heartbeat::Beats))
    }

    /// Counts what a model's reply cost. The session is told as well: a turn that is cancelled or fails
    /// cost what it cost.
    async fn spend(&mut self, usage: Usage) -> Result<(), AgentError> {
        self.cost += usage.input_tokens + usage.output_tokens;
        self.spent.add(usage);
        Ok(self.turn.interface.spent(self.spent).await?)
    }

    async fn finish(&mut self, last: Option<Final>) -> Result<Finish, AgentError> {
        let usage = std::mem::take(&mut self.spent);
        if let Some(Final::Text(text)) = &last {
            self.context.chat.push(Arc::new(Chat::Message(text.clone())));
        } else if let Some(Final::Open(writer)) = &last {
            self.context.chat.push(Arc::new(Chat::Message(writer.text().to_owned())));
        }
        Ok(self.turn.interface.finish(last, (!usage.is_none()).then_some(usage)).await?)
    }

    /// Asks the agent's model, and the others while none can be had and nothing was said yet.
    async fn ask(&mut self, frame: &Frame) -> Result<Heard, AgentError> {
        let mut shorter = 0;
        loop {
            self.make_room(frame).await?;
            let mut lost = Usage::default();
            let fault = match self.ask_each(frame, &mut lost).await {
                Ok(heard) => return Ok(heard),
                Err(fault) => fault,
            };
            // A reply that is of no use cost what it cost.
            self.spend(lost).await?;
            match fault {
                Fault::TurnError(error) => return Err(error.into()),
                Fault::Model(ModelError::TooLong(_)) if shorter < SHORTER => {
                    // Our count of tokens is rough; the provider's is not.
                    shorter += 1;
                    self.room /= 2;
                }
                Fault::Model(error) => return Err(failed(&error)),
            }
        }
    }

    async fn ask_each(&mut self, frame: &Frame, lost: &mut Usage) -> Result<Heard, Fault> {
        let prompt = Arc::new(self.prompt(frame));
        let mut last = ModelError::Unknown("the agent has no model".to_owned());
        for (at, (name, model)) in self.models.iter().enumerate() {
            if at > 0 {
                self.turn.interface.status(format!("{last} Asking {name} instead.")).await?;
            }
            let outcome = match model {
                Ok(model) => self.ask_one(name, model, &prompt, lost).await,
                Err(error) => Err((Fault::Model(error.clone()), Said::Nothing)),
            };
            match outcome {
                Ok(heard) => return Ok(heard),
                // Another model could not go on with what this one began to say.
                Err((Fault::Model(error), Said::Nothing)) if error.is_elsewhere_better() => {
                    last = error;
                }
                Err((fault, _)) => return Err(fault),
            }
        }
        Err(Fault::Model(last))
    }

    /// Asks one model, and again while it cannot be had and has said nothing yet.
    async fn ask_one(
        &self,
        name: &str,
        model: &Arc<dyn Model>,
        prompt: &Arc<Prompt>,
        lost: &mut Usage,
    ) -> Result<Heard, (Fault, Said)> {
        let mut attempt = 0;
        loop {
            let mut listener = Listener::new(self.turn.interface.clone());
            let asked = Instant::now();
            let outcome = listener.listen(model.reply(Arc::clone(prompt))).await;
            let first = listener.first().map(|first| (first - asked).as_secs_f64());
            self.metrics.asked(name, first, outcome.is_ok().then(|| asked.elapsed().as_secs_f64()));
            let error = match outcome {
                Ok(heard) => return Ok(heard),
                Err(Fault::Model(error)) => error,
                Err(error) => return Err((error, Said::Something)),
            };
            lost.add(listener.usage());
            if listener.has_begun() {
                return Err((Fault::Model(error), Said::Something));
            }
            let Some(wait) = error.retry_in(attempt).filter(|_| attempt < self.limits.retries)
            else {
                return Err((Fault::Model(error), Said::Nothing));
            };
            attempt += 1;
            tracing::debug!(code = error.code(), attempt, "asking the model again");
            let status =
                format!("The model did not answer; asking again in {:.1} s.", wait.as_secs_f64());
            self.turn
                .interface
                .status(status)
                .await
                .map_err(|error| (error.into(), Said::Nothing))?;
            tokio::time::sleep(wait).await;
        }
    }

    /// Sums up or shortens what would not fit.
    async fn make_room(&mut self, frame: &Frame) -> Result<(), AgentError> {
        if self.context.tokens() <= self.room_beside(frame) {
            Ok(())
        } else {
            self.shrink(frame).await
        }
    }

    /// How many tokens of conversation a prompt has room for.
    fn room_beside(&self, frame: &Frame) -> usize {
        self.room.saturating_sub(overhead(&frame.system, &frame.toolset.specs())).max(200)
    }

    async fn shrink(&mut self, frame: &Frame) -> Result<(), AgentError> {
        let room = self.room_beside(frame);
        let models: Vec<Arc<dyn Model>> =
            self.models.iter().filter_map(|(_, model)| model.as_ref().ok().cloned()).collect();
        let usage =
            self.context.shrink(&self.turn, &models, room, self.limits.context_window).await?;
        self.spend(usage).await
    }

    /// Read anew for each step: a tool may have changed the core memory, and tools come and go.
    async fn frame(&self) -> Result<Frame, AgentError> {
        let agent = &self.turn.agent;
        let unread = |error| {
            AgentError::new("store_failed", format!("the agent's memory cannot be read: {error}"))
        };
        let known = self.toolbox.store.known(&agent.id).await.map_err(unread)?;
        let system = Brief {
            name: &agent.spec.name,
            style: self.style,
            instructions: self.turn.instructions.as_deref(),
            blocks: &known.blocks,
        }
        .write();
        let clients = self.turn.interface.tools().client_tools();
        let toolset = self.toolbox.toolset(self.style, clients, &agent.spec.settings.permissions);
        Ok(Frame { system, blocks: Arc::clone(&known.blocks), toolset })
    }

    fn prompt(&self, frame: &Frame) -> Prompt {
        Prompt {
            purpose: Purpose::Turn,
            style: self.style,
            system: frame.system.clone(),
            blocks: Arc::clone(&frame.blocks),
            chat: self.context.chat.clone(),
            turn_from: self.context.turn_from,
            tools: frame.toolset.specs(),
            max_output_tokens: self.limits.max_output_tokens,
            context_window: Some(self.limits.context_window),
        }
    }

    fn calls<'a>(&'a self, toolset: &'a Toolset) -> Calls<'a> {
        Calls {
            toolbox: &self.toolbox,
            toolset,
            turn: &self.turn,
            style: self.style,
            limits: self.limits,
            asked: self.context.asked,
        }
    }

    async fn call_all(
        &mut self,
        frame: &Frame,
        calls: Vec<HeardCall>,
        kept: Option<String>,
    ) -> Result<Heartbeat, AgentError> {
        let mut chat = Vec::new();
        let heartbeat = self.calls(&frame.toolset).run(calls, kept, &mut chat).await?;
        self.has_spoken |= chat.iter().any(has_sent);
        self.context.chat.extend(chat.into_iter().map(Arc::new));
        Ok(heartbeat)
    }
}

/// Whether a model that failed had said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
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
