//! The simulation's agent: it does what its input says, also what no agent should.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::future::BoxFuture;
use thoughtwire_hub::{Agent, AgentError, Clock, Finish, Interface, Turn};
use thoughtwire_proto::{CallId, Decision, Event, Seq, Timestamp, ToolStatus, TurnEvent, Usage};

use super::ledger::Ledger;

pub(crate) struct Actor {
    pub(crate) resumes: bool,
    pub(crate) clock: Clock,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
}

/// A script: words that [`Actor`] knows.
pub(crate) fn script(dice: &mut Rng) -> String {
    let mut words = Vec::new();
    for _ in 0..dice.usize(0..6) {
        words.push(match dice.u8(0..15) {
            0 | 1 => "think".to_owned(),
            2 => "say".to_owned(),
            3 => "tool".to_owned(),
            4 => format!("ask:{}", dice.u32(1..20_000)),
            5 => format!("client:{}", dice.u32(1..20_000)),
            6 | 7 => format!("stream:{}", dice.u32(1..12)),
            8 => format!("drip:{}", dice.u32(1..12)),
            9 => format!("nap:{}", dice.u32(1..4_000)),
            10 => "open".to_owned(),
            11 => "remember".to_owned(),
            12 => "status".to_owned(),
            13 => "spent".to_owned(),
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
        Box::pin(async move {
            let tag = turn.input.text.split(' ').next().unwrap_or_default().to_owned();
            let part = Part { voice: turn.interface.clone(), turn, clock, ledger, tag };
            if part.turn.goes_on() { part.go_on().await } else { part.play().await }
        })
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
}

impl Part {
    async fn play(&self) -> Result<(), AgentError> {
        let Self { voice, tag, .. } = self;
        for word in self.turn.input.text.split(' ').skip(1) {
            let (verb, number) = word
                .split_once(':')
                .map_or((word, 0), |(verb, number)| (verb, number.parse().unwrap_or(0)));
            match verb {
                "think" => drop(voice.internal_monologue(format!("{tag}:hm")).await?),
                "say" => drop(voice.assistant_message(format!("{tag}:said")).await?),
                "tool" => {
                    let call = voice.tools().called("lookup", Default::default()).await?;
                    self.use_tool(&call, false).await?;
                    voice
                        .tools()
                        .returned(&call, "lookup", ToolStatus::Success, "found", None)
                        .await?;
                }
                "ask" => {
                    let call = voice.tools().called("risky", Default::default()).await?;
                    self.ask(&call, self.later(number)).await?;
                }
                "client" => {
                    let call = voice.tools().called("outside", Default::default()).await?;
                    voice.tools().client_runs(&call, self.later(number)).await?;
                }
                "stream" | "drip" | "pour" => {
                    let mut message = voice.open_message();
                    message.write(&format!("{tag}:")).await?;
                    for piece in 0..number {
                        message.write(&format!("{piece} ")).await?;
                        if verb == "drip" {
                            tokio::time::sleep(Duration::from_millis(300)).await;
                        }
                    }
                    message.finish().await?;
                }
                "open" => voice.open_thought().write(&format!("{tag}:half a thou")).await?,
                "nap" => tokio::time::sleep(Duration::from_millis(number)).await,
                "remember" => {
                    let tag = format!(" [{tag}]");
                    // A refused edit, for example while the disk fails, is not remembered.
                    drop(
                        voice
                            .memory()
                            .edit("human", move |block| Ok(format!("{}{tag}", block.text)))
                            .await,
                    );
                }
                "status" => voice.status("busy").await?,
                "spent" => voice.spent(Usage { input_tokens: 1, ..Usage::default() }).await?,
                "history" => {
                    let records = self.turn.history(20).await?;
                    if records.windows(2).any(|two| two[1].seq != two[0].seq.next()) {
                        self.complain("an agent's history has a gap");
                    }
                }
                "flood" => {
                    for n in 0..number {
                        voice.assistant_message(format!("{tag}:{n}")).await?;
                    }
                }
                // Past what a tail keeps, so that readers fall behind it.
                "large" => {
                    for n in 0..5 {
                        voice
                            .assistant_message(format!("{tag}:{n}{}", "x".repeat(120_000)))
                            .await?;
                    }
                }
                "hang" => std::future::pending().await,
                // As a panic, without its line on the screen.
                "panic" => std::panic::resume_unwind(Box::new("as told")),
                "fail" => return Err(AgentError::new("told_to", "It was told to fail.")),
                "leave" => return Ok(()),
                "quiet" => {
                    while let Finish::Steered(_) = voice.finish(None, None).await? {}
                    return Ok(());
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
        }
        self.finish().await
    }

    /// After a restart: the calls that wait are waited for again, and nobody knows the outcome of
    /// those that were running.
    async fn go_on(&self) -> Result<(), AgentError> {
        for open in &self.turn.open_calls {
            match (open.approval, open.awaited) {
                (Some(until), _) => self.ask(&open.call, until).await?,
                (None, Some(until)) => {
                    drop(self.voice.tools().client_runs(&open.call, until).await?);
                }
                (None, None) => {
                    let (tools, status) = (self.voice.tools(), ToolStatus::Unknown);
                    tools.returned(&open.call, &open.name, status, "cut", None).await?;
                }
            }
        }
        self.finish().await
    }

    async fn finish(&self) -> Result<(), AgentError> {
        while let Finish::Steered(_) =
            self.voice.finish(Some(format!("{}:done", self.tag).into()), None).await?
        {}
        Ok(())
    }

    async fn ask(&self, call: &CallId, until: Timestamp) -> Result<(), AgentError> {
        let decision = self.voice.tools().approval(call, "risky", until).await?;
        if decision == Decision::Approved {
            self.use_tool(call, true).await?;
        }
        self.voice
            .tools()
            .returned(call, "risky", ToolStatus::Success, format!("{decision:?}"), None)
            .await?;
        Ok(())
    }

    /// Runs a tool. Its effect cannot be undone, so the log on disk must have the call first.
    async fn use_tool(&self, call: &CallId, approved: bool) -> Result<(), AgentError> {
        let before = Seq(self.turn.started().0 - 1);
        let records = self.turn.records_after(before, 10_000).await?;
        let called = |event: &Event| {
            matches!(
                event,
                Event::Turn(TurnEvent::ToolCalled { call: called, .. }) if called == call
            )
        };
        let settled = |event: &Event| {
            matches!(
                event,
                Event::Turn(TurnEvent::ApprovalSettled { call: settled, decision, .. })
                    if settled == call && *decision == Decision::Approved
            )
        };
        let missing = if !records.iter().any(|record| called(&record.event)) {
            Some("a tool ran whose call is not on disk")
        } else if approved && !records.iter().any(|record| settled(&record.event)) {
            Some("a tool ran whose approval is not on disk")
        } else {
            None
        };
        if let Some(missing) = missing {
            // The log may be gone with its session, of which this turn is told next.
            if !self.is_doomed() {
                self.complain(missing);
            }
        }
        self.ledger.lock().unwrap().ran(call);
        Ok(())
    }

    fn later(&self, millis: u64) -> Timestamp {
        Timestamp::from_millis(self.clock.now().as_millis() + i64::try_from(millis).unwrap())
    }

    fn is_doomed(&self) -> bool {
        let ledger = self.ledger.lock().unwrap();
        ledger.room_of(&self.turn.session).is_some_and(|room| ledger.is_doomed(room))
    }

    fn complain(&self, what: &str) {
        self.ledger.lock().unwrap().complain(format!("{what}: turn {}", self.turn.id));
    }
}
