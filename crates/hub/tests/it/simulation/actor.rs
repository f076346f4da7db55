//! The simulation's agent: it does what its input says, also what no agent should.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use thoughtwire_hub::{Agent, AgentError, Clock, Finish, Interface, Turn};
use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, OpenCall, RetryReason, Seq, Timestamp, ToolStatus, Usage,
};

use super::effects::Class;
use super::ledger::Ledger;
use super::played_steps::{CutStep, PlayedSteps, STEP};

pub(crate) struct Actor {
    pub(crate) resumes: bool,
    pub(crate) clock: Clock,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
}

/// A script: words that [`Actor`] knows.
pub(crate) fn script(dice: &mut Rng) -> String {
    let mut words = Vec::new();
    for _ in 0..dice.usize(0..6) {
        words.push(match dice.u8(0..16) {
            0 | 1 => "think".to_owned(),
            2 => "say".to_owned(),
            3 => format!("tool:{}", dice.u32(0..6_000)),
            4 => format!("ask:{}", dice.u32(1..20_000)),
            5 => format!("client:{}", dice.u32(1..20_000)),
            6 | 7 => format!("stream:{}", dice.u32(1..12)),
            8 => format!("drip:{}", dice.u32(1..12)),
            9 => format!("nap:{}", dice.u32(1..4_000)),
            10 => "open".to_owned(),
            11 => "remember".to_owned(),
            12 => "status".to_owned(),
            13 => "spent".to_owned(),
            14 => format!("tool:{}", dice.u32(0..6_000)),
            _ => "history".to_owned(),
        });
    }
    words.push(match dice.u8(0..24) {
        0 | 1 => "hang".to_owned(),
        2 => "panic".to_owned(),
        3 => "fail".to_owned(),
        4 => "leave".to_owned(),
        5 => "twice".to_owned(),
        6 => "ghost".to_owned(),
        7 => "quiet".to_owned(),
        8 => format!("flood:{}", dice.u32(50..400)),
        9 => format!("pour:{}", dice.u32(50..600)),
        10 => "large".to_owned(),
        _ => "finish".to_owned(),
    });
    words.join(" ")
}

impl Agent for Actor {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let (clock, ledger) = (self.clock.clone(), Arc::clone(&self.ledger));
        Box::pin(async move { Part::new(turn, clock, ledger).await?.play().await })
    }

    fn resumes(&self) -> bool {
        self.resumes
    }
}

/// One turn's part.
struct Part {
    turn: Turn,
    voice: Interface,
    clock: Clock,
    ledger: Arc<Mutex<Ledger>>,
    /// Stands in front of everything it says, so that nothing can slip into another turn unseen.
    tag: String,
    /// Steps that the turn had taken before an interruption.
    past: PlayedSteps,
}

/// A word of the script with its place in it.
struct Step<'s> {
    at: usize,
    verb: &'s str,
    number: u64,
}

impl Part {
    async fn new(turn: Turn, clock: Clock, ledger: Arc<Mutex<Ledger>>) -> Result<Self, AgentError> {
        let tag = turn.input.text.split(' ').next().unwrap_or_default().to_owned();
        let past = if turn.goes_on() {
            let records = turn.so_far().await?;
            ledger.lock().unwrap().goes_on(&turn, &records);
            PlayedSteps::new(&records)
        } else {
            PlayedSteps::default()
        };
        Ok(Self { voice: turn.interface.clone(), turn, clock, ledger, tag, past })
    }

    /// Plays the script, from where the log is.
    async fn play(&self) -> Result<(), AgentError> {
        let begin = self.past.step.unwrap_or(0);
        for (at, word) in self.turn.input.text.split(' ').skip(1).enumerate().skip(begin) {
            let (verb, number) = word
                .split_once(':')
                .map_or((word, 0), |(verb, number)| (verb, number.parse().unwrap_or(0)));
            let step = Step { at, verb, number };
            if self.past.step == Some(at) && self.go_on_in(&step).await? {
                continue;
            }
            if self.take(&step).await? {
                return Ok(());
            }
        }
        self.finish().await
    }

    /// Completes the step in which the turn was interrupted. Returns false if it has to be taken
    /// from its beginning.
    async fn go_on_in(&self, step: &Step<'_>) -> Result<bool, AgentError> {
        match step.verb {
            "tool" | "ask" | "client" => {
                if let Some(open) = self.past.open_call(&self.turn.open_calls, step.at) {
                    self.settle(step, open).await?;
                }
                Ok(true)
            }
            "stream" | "drip" | "pour" => {
                let whole = self.streamed(step).concat();
                if let Some(CutStep { item, text }) = &self.past.cut {
                    let Some(rest) = whole.strip_prefix(text.as_str()) else {
                        self.complain("a cut text is not the beginning of what was said");
                        return Ok(true);
                    };
                    if !rest.is_empty() {
                        let mut message = self.voice.open_message().continuing(item.clone());
                        for piece in rest.split_inclusive(' ') {
                            message.write(piece).await?;
                            self.pause(step).await;
                        }
                        message.finish().await?;
                    }
                }
                Ok(true)
            }
            "flood" | "large" => Ok(false),
            _ => Ok(true),
        }
    }

    /// Settles a call that an interruption left open.
    async fn settle(&self, step: &Step<'_>, open: &OpenCall) -> Result<(), AgentError> {
        let tools = self.voice.tools();
        match (step.verb, open.about, open.approval, open.awaited) {
            ("client", ..) => {
                drop(tools.client_runs(&open.call, self.later(step.number)).await?);
                Ok(())
            }
            (_, ApprovalAbout::Retry, Some(_), _) => self.ask_to_retry(step, open).await,
            ("ask", _, Some(_), _) => self.ask(step, &open.call).await,
            ("ask", ..) => match self.past.decisions.get(&open.call) {
                None => self.ask(step, &open.call).await,
                Some(Decision::Approved) => self.make_again(step, open).await,
                Some(decision) => self.denied(&open.call, *decision).await,
            },
            _ => self.make_again(step, open).await,
        }
    }

    /// Treats a call whose outcome is unknown by its tool's class.
    async fn make_again(&self, step: &Step<'_>, open: &OpenCall) -> Result<(), AgentError> {
        let tools = self.voice.tools();
        match Class::of(step.number) {
            Class::Safe => {
                tools.retried(&open.call, open.retries + 1, RetryReason::Safe).await?;
                self.run_tool(step, open).await
            }
            Class::Ask => self.ask_to_retry(step, open).await,
            Class::Never => {
                let status = ToolStatus::Unknown;
                tools.returned(&open.call, &open.name, status, "cut", None).await?;
                Ok(())
            }
        }
    }

    async fn ask_to_retry(&self, step: &Step<'_>, open: &OpenCall) -> Result<(), AgentError> {
        let until = self.later(step.number + 1_000);
        match self.voice.tools().retry_approval(&open.call, &open.name, until).await? {
            None => self.run_tool(step, open).await,
            Some(_) => Ok(()),
        }
    }

    async fn run_tool(&self, step: &Step<'_>, open: &OpenCall) -> Result<(), AgentError> {
        self.use_tool(&open.call, step).await?;
        let (tools, status) = (self.voice.tools(), ToolStatus::Success);
        tools.returned(&open.call, &open.name, status, "found", None).await?;
        Ok(())
    }

    /// Takes a step. Returns true if the turn is over for this agent.
    async fn take(&self, step: &Step<'_>) -> Result<bool, AgentError> {
        let Self { voice, tag, .. } = self;
        let Step { at, verb, number } = *step;
        match verb {
            "think" => drop(voice.internal_monologue(format!("{tag}:{at}:hm")).await?),
            "say" => drop(voice.assistant_message(format!("{tag}:{at}:said")).await?),
            "tool" => {
                let call = voice.tools().called("lookup", args(at)).await?;
                self.use_tool(&call, step).await?;
                let (tools, status) = (voice.tools(), ToolStatus::Success);
                tools.returned(&call, "lookup", status, "found", None).await?;
            }
            "ask" => {
                let call = voice.tools().called("risky", args(at)).await?;
                self.ask(step, &call).await?;
            }
            "client" => {
                let call = voice.tools().called("outside", args(at)).await?;
                voice.tools().client_runs(&call, self.later(number)).await?;
            }
            "stream" | "drip" | "pour" => {
                let mut message = voice.open_message();
                for piece in self.streamed(step) {
                    message.write(&piece).await?;
                    self.pause(step).await;
                }
                message.finish().await?;
            }
            "open" => voice.open_thought().write(&format!("{tag}:{at}:half a thou")).await?,
            "nap" => tokio::time::sleep(Duration::from_millis(number)).await,
            "remember" => {
                let tag = format!(" [{tag}]");
                // A refused edit, for example while the disk fails, is not remembered.
                let edit =
                    voice.memory().edit("human", move |block| Ok(format!("{}{tag}", block.text)));
                drop(edit.await);
            }
            "status" => voice.status("busy").await?,
            "spent" => voice.spent(Usage { input_tokens: 1, ..Usage::default() }).await?,
            "history" => {
                let records = self.turn.history(20).await?;
                if records.windows(2).any(|two| two[1].seq != two[0].seq.next()) {
                    self.complain("an agent's history has a gap");
                }
            }
            // A flood goes past what a tail keeps, so that readers fall behind it.
            "flood" | "large" => {
                let (count, fill) = if verb == "flood" { (number, 0) } else { (5, 120_000) };
                for n in self.past.messages_at(at)..count {
                    let fill = "x".repeat(fill);
                    voice.assistant_message(format!("{tag}:{at}:{n}{fill}")).await?;
                }
            }
            "hang" => std::future::pending().await,
            // As a panic, without its line on the screen.
            "panic" => std::panic::resume_unwind(Box::new("as told")),
            "fail" => return Err(AgentError::new("told_to", "It was told to fail.")),
            "leave" => return Ok(true),
            "quiet" => {
                while let Finish::Steered(_) = voice.finish(None, None).await? {}
                return Ok(true);
            }
            "twice" => {
                let (other, line) = (voice.clone(), format!("{tag}:the end, again"));
                tokio::spawn(async move { other.finish(Some(line.into()), None).await });
            }
            "ghost" => {
                let (other, line) = (voice.clone(), format!("{tag}:boo"));
                tokio::spawn(async move {
                    while other.assistant_message(line.clone()).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                    }
                });
            }
            _ => {}
        }
        Ok(false)
    }

    /// The pieces of a streamed text.
    fn streamed(&self, step: &Step<'_>) -> Vec<String> {
        let head = format!("{}:{}:", self.tag, step.at);
        std::iter::once(head).chain((0..step.number).map(|piece| format!("{piece} "))).collect()
    }

    async fn pause(&self, step: &Step<'_>) {
        if step.verb == "drip" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn finish(&self) -> Result<(), AgentError> {
        while let Finish::Steered(_) =
            self.voice.finish(Some(format!("{}:done", self.tag).into()), None).await?
        {}
        Ok(())
    }

    async fn ask(&self, step: &Step<'_>, call: &CallId) -> Result<(), AgentError> {
        let until = self.later(step.number);
        match self.voice.tools().approval(call, "risky", until).await? {
            Decision::Approved => {
                self.use_tool(call, step).await?;
                let (tools, status) = (self.voice.tools(), ToolStatus::Success);
                tools.returned(call, "risky", status, "done", None).await?;
                Ok(())
            }
            decision => self.denied(call, decision).await,
        }
    }

    async fn denied(&self, call: &CallId, decision: Decision) -> Result<(), AgentError> {
        let text = format!("{decision:?}");
        self.voice.tools().returned(call, "risky", ToolStatus::Error, text, None).await?;
        Ok(())
    }

    /// Runs a tool for a while. Its effect in the middle cannot be undone, so the log on disk must
    /// allow it first.
    async fn use_tool(&self, call: &CallId, step: &Step<'_>) -> Result<(), AgentError> {
        let half = Duration::from_millis(step.number % 1_500);
        let before = Seq(self.turn.started().0 - 1);
        let records = self.turn.records_after(before, 10_000).await?;
        tokio::time::sleep(half).await;
        {
            let mut ledger = self.ledger.lock().unwrap();
            let missing = ledger.effects.happens(call, step.verb == "ask", &records);
            // The log may be gone with its session, of which this turn is told next.
            if let Some(missing) = missing.filter(|_| !self.is_doomed(&ledger)) {
                ledger.complain(format!("{missing}: turn {}", self.turn.id));
            }
        }
        tokio::time::sleep(half).await;
        Ok(())
    }

    fn later(&self, millis: u64) -> Timestamp {
        Timestamp::from_millis(self.clock.now().as_millis() + i64::try_from(millis).unwrap())
    }

    fn is_doomed(&self, ledger: &Ledger) -> bool {
        ledger.room_of(&self.turn.session).is_some_and(|room| ledger.is_doomed(room))
    }

    fn complain(&self, what: &str) {
        self.ledger.lock().unwrap().complain(format!("{what}: turn {}", self.turn.id));
    }
}

fn args(step: usize) -> Map<String, Value> {
    [(STEP.to_owned(), Value::from(step))].into_iter().collect()
}
