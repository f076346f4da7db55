//! The step loop: ask the model, speak, run what it called, and go on while there is reason to.

use std::sync::Arc;

use thoughtwire_hub::{AgentError, Final, Finish, Input, Turn};
use thoughtwire_proto::{Event, Record, Seq, Style, Timestamp, ToolStatus, Usage};

use crate::agent::Limits;
use crate::history;
use crate::model::{Model, ModelError};
use crate::prompt::{Brief, Chat, Prompt};
use crate::reply::{Fault, Heard, HeardCall, Listener};
use crate::tools::{Desk, Tool, ToolFault, ToolSpec, Toolbox};

/// How many records of the past are read at once for a prompt, and in all.
const PAGE_OF_RECORDS: usize = 100;
const MOST_RECORDS: usize = 1_000;

/// One turn's run.
pub(crate) struct Steps {
    turn: Turn,
    style: Style,
    model: Arc<dyn Model>,
    toolbox: Arc<Toolbox>,
    limits: Limits,
    chat: Vec<Chat>,
    turn_from: usize,
    asked: Option<(Seq, Timestamp)>,
    spent: Usage,
}

/// Whether the turn goes on after a step's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    Beats,
    Rests,
}

impl Steps {
    pub(crate) fn new(turn: Turn, model: Arc<dyn Model>, toolbox: Arc<Toolbox>, limits: Limits) -> Self {
        let style = turn.agent.spec.style.unwrap_or_default();
        Self { turn, style, model, toolbox, limits, chat: Vec::new(), turn_from: 0, asked: None, spent: Usage::default() }
    }

    /// Runs the turn to its end.
    pub(crate) async fn run(mut self) -> Result<(), AgentError> {
        let outcome = self.steps().await;
        if outcome.is_err() && self.spent != Usage::default() {
            // What a failed turn cost is known all the same; the failure itself matters more than this.
            self.turn.interface.usage(self.spent).await.ok();
        }
        outcome
    }

    async fn steps(&mut self) -> Result<(), AgentError> {
        self.remember().await?;
        let mut steps = 0;
        loop {
            let joined = self.turn.interface.steered().await?;
            self.hear_inputs(&joined);
            if steps == self.limits.max_steps {
                return Err(AgentError::new(
                    "step_limit",
                    format!("The agent took {steps} steps without coming to an end, which is the limit. Say how it should go on."),
                ));
            }
            steps += 1;
            let heard = self.ask().await?;
            self.spend(heard.usage);
            self.chat.extend(heard.said);
            let last = if heard.calls.is_empty() {
                heard.last
            } else {
                if self.call_all(heard.calls).await? == Heartbeat::Beats {
                    continue;
                }
                None
            };
            match self.finish(last).await? {
                Finish::Ended => return Ok(()),
                Finish::Steered(inputs) => {
                    self.hear_inputs(&inputs);
                    steps = 0;
                }
            }
        }
    }

    /// Reads the conversation so far and puts the input behind it.
    async fn remember(&mut self) -> Result<(), AgentError> {
        let records = self.past().await?;
        let asked = |event: &Event| matches!(event, Event::UserMessage { item, .. } if *item == self.turn.input.item);
        self.asked = records.iter().rev().find(|record| asked(&record.event)).map(|record| (record.seq, record.at));
        self.chat = history::fit(history::clip(history::chat(&records), self.limits.context_tokens / 4), self.limits.context_tokens);
        self.turn_from = self.chat.len();
        let input = self.turn.input.clone();
        self.hear_inputs(&[input]);
        Ok(())
    }

    /// Reads back page by page, as far as there may be room in the prompt: records can be large.
    async fn past(&self) -> Result<Vec<Record>, AgentError> {
        let mut records = self.turn.history(PAGE_OF_RECORDS).await?;
        while records.len() < MOST_RECORDS && history::tokens(&records) < self.limits.context_tokens {
            let Some(first) = records.first() else { break };
            let mut older = self.turn.records_before(first.seq, PAGE_OF_RECORDS).await?;
            if older.is_empty() {
                break;
            }
            older.append(&mut records);
            records = older;
        }
        Ok(records)
    }

    fn hear_inputs(&mut self, inputs: &[Input]) {
        self.chat.extend(inputs.iter().map(|input| history::heard(&input.text, &input.attachments)));
    }

    fn spend(&mut self, usage: Usage) {
        self.spent.input_tokens += usage.input_tokens;
        self.spent.output_tokens += usage.output_tokens;
        if let Some(cached) = usage.cached_tokens {
            *self.spent.cached_tokens.get_or_insert(0) += cached;
        }
    }

    async fn finish(&mut self, last: Option<Final>) -> Result<Finish, AgentError> {
        let usage = std::mem::take(&mut self.spent);
        if let Some(Final::Text(text)) = &last {
            self.chat.push(Chat::Message(text.clone()));
        } else if let Some(Final::Open(writer)) = &last {
            self.chat.push(Chat::Message(writer.text().to_owned()));
        }
        Ok(self.turn.interface.finish(last, (usage != Usage::default()).then_some(usage)).await?)
    }

    /// Asks the model, and again while it cannot be had and has said nothing yet.
    async fn ask(&self) -> Result<Heard, AgentError> {
        let prompt = Arc::new(self.prompt().await?);
        let mut attempt = 0;
        loop {
            let mut listener = Listener::new(self.turn.interface.clone());
            match listener.listen(self.model.reply(Arc::clone(&prompt))).await {
                Ok(heard) => return Ok(heard),
                Err(Fault::Silenced(silenced)) => return Err(silenced.into()),
                Err(Fault::Model(error)) => {
                    let wait = error.retry_in(attempt).filter(|_| attempt < self.limits.retries && !listener.has_begun());
                    let Some(wait) = wait else { return Err(failed(&error)) };
                    attempt += 1;
                    tracing::debug!(code = error.code(), attempt, "asking the model again");
                    let seconds = wait.as_secs_f64();
                    self.turn.interface.status(format!("The model did not answer; asking again in {seconds:.1} s.")).await?;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// The prompt is written anew for each step: a tool may have changed the core memory.
    async fn prompt(&self) -> Result<Prompt, AgentError> {
        let agent = self.turn.agent.id.clone();
        let known = self.toolbox.known(agent).await.map_err(|error| AgentError::new("store_failed", error))?;
        let now = crate::tools::time::write((self.limits.clock)(), &jiff::tz::TimeZone::system());
        let system = Brief {
            name: &self.turn.agent.spec.name,
            style: self.style,
            instructions: self.turn.instructions.as_deref(),
            blocks: &known.blocks,
            archived: known.archived,
            remembered: known.remembered,
            now: &now,
        }
        .write();
        let tools = Tool::of(self.style).map(|tool| ToolSpec::new(tool, self.style)).collect();
        Ok(Prompt { style: self.style, system, blocks: known.blocks, chat: self.chat.clone(), turn_from: self.turn_from, tools })
    }

    async fn call_all(&mut self, calls: Vec<HeardCall>) -> Result<Heartbeat, AgentError> {
        // Natively a result always goes back to the model; in MemGPT's way the model has to ask for it.
        let mut heartbeat = match self.style {
            Style::Native => Heartbeat::Beats,
            Style::Memgpt => Heartbeat::Rests,
        };
        for call in calls {
            if self.call(call).await? == Heartbeat::Beats {
                heartbeat = Heartbeat::Beats;
            }
        }
        Ok(heartbeat)
    }

    /// Logs a call, runs it once that is on disk, and logs what came back.
    async fn call(&mut self, heard: HeardCall) -> Result<Heartbeat, AgentError> {
        let HeardCall { call, name, args, provider_id, spoken } = heard;
        let interface = &self.turn.interface;
        let (args, bad_args) = match args {
            Ok(args) => (args, None),
            Err(complaint) => (serde_json::Map::new(), Some(complaint)),
        };
        interface.tool_called_as(call.clone(), name.clone(), args.clone()).await?;
        let result = match bad_args {
            Some(complaint) => Err(ToolFault::Complaint(complaint)),
            None => {
                let desk = Desk { turn: &self.turn, style: self.style, asked: self.asked, spoken };
                self.toolbox.run(&name, &args, desk).await
            }
        };
        let (status, text) = match result {
            Ok(text) => (ToolStatus::Success, text),
            Err(ToolFault::Complaint(complaint)) => (ToolStatus::Error, complaint),
            Err(ToolFault::Silenced(silenced)) => return Err(silenced.into()),
        };
        interface.tool_returned(&call, name.clone(), status, text.clone(), None).await?;
        let wanted = args.get("request_heartbeat").and_then(serde_json::Value::as_bool) == Some(true);
        self.chat.push(Chat::Called { call: call.clone(), name: name.clone(), args, provider_id });
        self.chat.push(Chat::Returned { call, name, status, text });
        Ok(match status {
            ToolStatus::Error => Heartbeat::Beats,
            ToolStatus::Success if wanted => Heartbeat::Beats,
            ToolStatus::Success => Heartbeat::Rests,
        })
    }
}

fn failed(error: &ModelError) -> AgentError {
    AgentError::new(error.code(), error.to_string())
}
