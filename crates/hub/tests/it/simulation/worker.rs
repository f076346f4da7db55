//! A worker of the simulation: it offers an agent over one connection and runs turns by script.
//!
//! The id of a verb follows from its turn and its place in the script. So a worker that starts a
//! turn over says the same again, and the hub must give the same answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::Map;
use thoughtwire_hub::{Hub, Replying, WorkerConnection};
use thoughtwire_proto::{
    CallId, CommandId, ConnectionReply, Directive, Offer, Refusal, Run, SessionId, StreamKind,
    ToolStatus, TurnId, Usage, UserId, Verb, WorkerId,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::ledger::Ledger;

/// Name of the agent that workers run.
pub(crate) const OFFERED_AGENT: &str = "bob";

/// Most verbs that scripts may have handed in and the connection has not taken.
const VERBS: usize = 16;

/// A connected worker. Dropped, it crashes: its connection and its scripts are gone.
pub(crate) struct SimWorker {
    pub(crate) name: &'static str,
    task: JoinHandle<()>,
}

/// One verb on its way to the connection.
struct SpokenVerb {
    turn: TurnId,
    id: Option<CommandId>,
    verb: Verb,
    answer: oneshot::Sender<Result<ConnectionReply, Refusal>>,
}

impl SimWorker {
    /// Connects and offers to run so many turns. `seed` decides how its scripts go.
    pub(crate) fn connect(
        hub: &Hub,
        user: &UserId,
        name: &'static str,
        turns: u64,
        seed: u64,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Self {
        let connection = hub.worker_connection(user);
        let ledger = Arc::clone(ledger);
        // Most go on with turns that another one began.
        let resumable = Some(!seed.is_multiple_of(4));
        let offer = Offer {
            agent: OFFERED_AGENT.to_owned(),
            worker: Some(name.parse::<WorkerId>().unwrap()),
            turns: Some(turns),
            history: Some(10),
            memory: Some(true),
            tools: Vec::new(),
            cursors: None,
            resumable,
        };
        Self { name, task: tokio::spawn(serve(connection, offer, seed, ledger)) }
    }
}

impl Drop for SimWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A turn that the worker runs.
struct RunningScript {
    replies: mpsc::UnboundedSender<Directive>,
    task: JoinHandle<()>,
}

impl Drop for RunningScript {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut connection: WorkerConnection,
    offer: Offer,
    seed: u64,
    ledger: Arc<Mutex<Ledger>>,
) {
    while let Err(refusal) = connection.offer(offer.clone(), false).await {
        ledger.lock().unwrap().offer_refused(&refusal);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (verbs, mut spoken) = mpsc::channel::<SpokenVerb>(VERBS);
    let mut scripts: HashMap<TurnId, RunningScript> = HashMap::new();
    let mut answers = FuturesUnordered::new();
    let mut runs = 0;
    loop {
        tokio::select! {
            biased;
            Some(()) = answers.next() => {}
            directive = connection.next() => match directive {
                Directive::Run(run) => {
                    runs += 1;
                    ledger.lock().unwrap().handed_out(&run);
                    let (replies, inbox) = mpsc::unbounded_channel();
                    let turn = run.turn.clone();
                    let dice = Rng::with_seed(seed.wrapping_add(runs));
                    let script = WorkerScript::new(*run, dice, verbs.clone(), inbox, &ledger);
                    let task = tokio::spawn(script.play());
                    // A turn that comes again starts over.
                    scripts.insert(turn, RunningScript { replies, task });
                }
                Directive::Cancel { turn, .. } => drop(scripts.remove(&turn)),
                Directive::ApprovalSettled { ref turn, .. }
                | Directive::ToolReturned { ref turn, .. } => {
                    if let Some(script) = scripts.get(turn) {
                        // A script that has ended waits for no reply.
                        drop(script.replies.send(directive));
                    }
                }
                Directive::OfferEnded { .. } => return,
            },
            Some(SpokenVerb { turn, id, verb, answer }) = spoken.recv() => {
                let reply: Replying<_> = connection.say(&turn, id, verb).await;
                answers.push(async move { drop(answer.send(reply.await)) });
            }
        }
    }
}

/// One turn's script at a worker.
struct WorkerScript {
    run: Run,
    /// Stands in front of everything the script says.
    tag: String,
    dice: Rng,
    verbs: mpsc::Sender<SpokenVerb>,
    replies: mpsc::UnboundedReceiver<Directive>,
    ledger: Arc<Mutex<Ledger>>,
}

/// The turn is over for this script: a verb was refused, or the connection ended.
struct ScriptOver;

impl WorkerScript {
    fn new(
        run: Run,
        dice: Rng,
        verbs: mpsc::Sender<SpokenVerb>,
        replies: mpsc::UnboundedReceiver<Directive>,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Self {
        let tag = run.input.text.split(' ').next().unwrap_or_default().to_owned();
        Self { run, tag, dice, verbs, replies, ledger: Arc::clone(ledger) }
    }

    async fn play(mut self) {
        let text = self.run.input.text.clone();
        for (number, word) in text.split(' ').skip(1).enumerate() {
            if self.step(number, word).await.is_err() {
                return;
            }
        }
        drop(self.finish().await);
    }

    async fn step(&mut self, step: usize, word: &str) -> Result<(), ScriptOver> {
        let (verb, number) = word
            .split_once(':')
            .map_or((word, 0), |(verb, number)| (verb, number.parse().unwrap_or(0_u64)));
        let tag = self.tag.clone();
        match verb {
            "think" | "quiet" => {
                self.say_as(
                    step,
                    Verb::InternalMonologue { text: format!("{tag}:hm"), continues: None },
                )
                .await
            }
            "say" | "large" => {
                self.say_as(
                    step,
                    Verb::AssistantMessage { text: format!("{tag}:said"), continues: None },
                )
                .await
            }
            "tool" | "remember" => {
                let call = self.call(step, "lookup").await?;
                self.ledger.lock().unwrap().worker_ran(&call);
                self.return_call(step, call).await
            }
            // The server holds a call of the tool `risky` until it is approved.
            "ask" if number % 2 == 0 => {
                let call = self.call(step, "risky").await?;
                self.return_call(step, call).await
            }
            "ask" => {
                let call = self.call(step, "lookup").await?;
                let asked =
                    Verb::Approval { call: call.clone(), about: None, timeout_ms: Some(number) };
                self.settle(asked).await?;
                self.return_call(step, call).await
            }
            "client" => {
                let call = self.call(step, "outside").await?;
                self.settle(Verb::ClientRuns { call, timeout_ms: Some(number) }).await
            }
            "stream" | "drip" | "pour" => self.stream(step, number.min(20), verb == "drip").await,
            "open" => self.delta(step, 0, &format!("{tag}:half a thou")).await,
            "nap" => {
                tokio::time::sleep(Duration::from_millis(number)).await;
                Ok(())
            }
            "status" => self.speak(None, Verb::Status { text: "busy".to_owned() }).await,
            "spent" => {
                let usage = Usage { input_tokens: 1, ..Usage::default() };
                self.speak(None, Verb::Usage(usage)).await
            }
            "flood" => {
                for n in 0..number.min(100) {
                    let id = self.id(&format!("{step}-{n}"));
                    let text = format!("{tag}:{n}");
                    self.speak(Some(id), Verb::AssistantMessage { text, continues: None }).await?;
                }
                Ok(())
            }
            "hang" => std::future::pending().await,
            "panic" | "fail" | "leave" => {
                let reason = "It was told to fail.".to_owned();
                self.say_as(step, Verb::Fail { code: None, reason }).await?;
                Err(ScriptOver)
            }
            _ => Ok(()),
        }
    }

    async fn finish(&mut self) -> Result<(), ScriptOver> {
        for round in 0.. {
            let id = self.id(&format!("end-{round}"));
            let text = Some(format!("{}:done", self.tag));
            let reply = self.answered(Some(id), Verb::Finish { text }).await?;
            if !matches!(reply, ConnectionReply::Said { steered, .. } if !steered.is_empty()) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn call(&mut self, step: usize, tool: &str) -> Result<CallId, ScriptOver> {
        let id = self.id(&step.to_string());
        let call = CallId::new(id.as_str()).unwrap();
        self.speak(Some(id), Verb::ToolCalled { name: tool.to_owned(), args: Map::new() }).await?;
        Ok(call)
    }

    async fn return_call(&mut self, step: usize, call: CallId) -> Result<(), ScriptOver> {
        let id = self.id(&format!("{step}-back"));
        let (status, text) = (ToolStatus::Success, format!("{}:back", self.tag));
        self.speak(Some(id), Verb::ToolReturned { call, status, text, content: None }).await
    }

    /// Has a call wait, and waits for the reply.
    async fn settle(&mut self, verb: Verb) -> Result<(), ScriptOver> {
        let (Verb::Approval { call, .. } | Verb::ClientRuns { call, .. }) = &verb else {
            panic!("{verb:?} settles nothing")
        };
        let awaited = call.clone();
        // A worker that starts over asks only where no reply to the question is known.
        if !self.run.resumed {
            self.speak(None, verb).await?;
        }
        while let Some(reply) = self.replies.recv().await {
            match reply {
                Directive::ApprovalSettled { call, .. } | Directive::ToolReturned { call, .. }
                    if call == awaited =>
                {
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(ScriptOver)
    }

    async fn stream(&mut self, step: usize, pieces: u64, slow: bool) -> Result<(), ScriptOver> {
        let mut text = format!("{}:", self.tag);
        self.delta(step, 0, &text.clone()).await?;
        for piece in 0..pieces {
            let more = format!("{piece} ");
            self.delta(step, piece + 1, &more).await?;
            text.push_str(&more);
            if slow {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        self.say_as(step, Verb::AssistantMessage { text, continues: None }).await
    }

    async fn delta(&mut self, step: usize, n: u64, text: &str) -> Result<(), ScriptOver> {
        let item = self.id(&step.to_string()).as_str().parse().unwrap();
        let delta = Verb::Delta {
            item,
            n,
            kind: StreamKind::Message,
            text: text.to_owned(),
            continues: None,
        };
        self.speak(None, delta).await
    }

    fn id(&self, of: &str) -> CommandId {
        CommandId::new(format!("{}-{of}", self.run.turn)).unwrap()
    }

    async fn say_as(&mut self, step: usize, verb: Verb) -> Result<(), ScriptOver> {
        let id = self.id(&step.to_string());
        self.speak(Some(id), verb).await
    }

    async fn speak(&mut self, id: Option<CommandId>, verb: Verb) -> Result<(), ScriptOver> {
        self.answered(id, verb).await.map(drop)
    }

    /// Says a verb, now and then twice, at once or one after the other.
    async fn answered(
        &mut self,
        id: Option<CommandId>,
        verb: Verb,
    ) -> Result<ConnectionReply, ScriptOver> {
        let repeats = id.is_some() && self.dice.u8(0..6) == 0;
        let first = self.send(id.clone(), verb.clone()).await?;
        let second = if repeats && self.dice.bool() {
            Some(self.send(id.clone(), verb.clone()).await?)
        } else {
            None
        };
        let answer = self.hear(id.as_ref(), first).await?;
        match second {
            Some(second) => drop(self.hear(id.as_ref(), second).await?),
            None if repeats => {
                let again = self.send(id.clone(), verb).await?;
                // The turn may be over, and its answers forgotten.
                drop(self.hear(id.as_ref(), again).await);
            }
            None => {}
        }
        Ok(answer)
    }

    async fn send(
        &self,
        id: Option<CommandId>,
        verb: Verb,
    ) -> Result<oneshot::Receiver<Result<ConnectionReply, Refusal>>, ScriptOver> {
        let (answer, answered) = oneshot::channel();
        let spoken = SpokenVerb { turn: self.run.turn.clone(), id, verb, answer };
        self.verbs.send(spoken).await.map_err(|_| ScriptOver)?;
        Ok(answered)
    }

    async fn hear(
        &self,
        id: Option<&CommandId>,
        answered: oneshot::Receiver<Result<ConnectionReply, Refusal>>,
    ) -> Result<ConnectionReply, ScriptOver> {
        let answer = answered.await.map_err(|_| ScriptOver)?;
        let session: &SessionId = &self.run.session;
        self.ledger.lock().unwrap().verb_answered(session, id, &answer);
        answer.map_err(|_| ScriptOver)
    }
}
