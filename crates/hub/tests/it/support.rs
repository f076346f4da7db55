//! Shared by the tests: a hub over a store of its own, and an agent that follows a script.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use thoughtwire_hub::{
    Agent, AgentError, Finish, Hub, HubOptions, Read, Replying, Subscription, Turn, now,
};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Attached, Command, CommandId, CommandReply, Cursor, DirectoryCommand,
    DirectoryReply, Emission, Event, Policy, Refusal, Request, Seq, SessionCommand, SessionId,
    Start, ToolStatus, TurnEvent, UserId,
};
use thoughtwire_store::Store;
use tokio::sync::Notify;

/// An agent that does what its input says, word by word: see the match below.
pub(crate) struct Puppet;

impl Agent for Puppet {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            let voice = &turn.interface;
            for word in turn.input.text.split_whitespace() {
                match word {
                    "think" => drop(voice.internal_monologue("hm").await?),
                    "say" => drop(voice.assistant_message("said").await?),
                    "tool" => {
                        let call = voice.tools().called("lookup", Default::default()).await?;
                        voice
                            .tools()
                            .returned(&call, "lookup", ToolStatus::Success, "found", None)
                            .await?;
                    }
                    "call" => drop(voice.tools().called("slow", Default::default()).await?),
                    "stream" => {
                        let mut message = voice.open_message();
                        for piece in ["Once ", "upon ", "a "] {
                            message.write(piece).await?;
                        }
                        message.write("time").await?;
                        message.finish().await?;
                    }
                    "begin" => voice.open_message().write("Half a sen").await?,
                    "rest" => {
                        let cut = "m-0".parse().unwrap();
                        voice.open_message().continuing(cut).write("tence").await?;
                    }
                    "hang" => std::future::pending().await,
                    "panic" => panic!("as told"),
                    "fail" => return Err(AgentError::new("told_to", "It was told to fail.")),
                    "ask" => {
                        let call = voice.tools().called("risky", Default::default()).await?;
                        let decision = voice
                            .tools()
                            .approval(
                                &call,
                                "tool",
                                thoughtwire_proto::Timestamp::from_millis(
                                    now().as_millis() + 60_000,
                                ),
                            )
                            .await?;
                        voice
                            .tools()
                            .returned(
                                &call,
                                "risky",
                                ToolStatus::Success,
                                format!("{decision:?}"),
                                None,
                            )
                            .await?;
                    }
                    "history" => {
                        let count = turn.history(1000).await?.len();
                        voice.assistant_message(format!("{count} records")).await?;
                    }
                    "steps" => {
                        while let Finish::Steered(inputs) =
                            voice.finish(Some("step".into()), None).await?
                        {
                            for input in inputs {
                                voice.internal_monologue(format!("also: {}", input.text)).await?;
                            }
                        }
                        return Ok(());
                    }
                    number => {
                        for n in 0..number.parse::<usize>().unwrap_or(0) {
                            voice.assistant_message(n.to_string()).await?;
                        }
                    }
                }
            }
            voice.finish(Some("done".into()), None).await?;
            Ok(())
        })
    }
}

pub(crate) struct Room {
    pub(crate) hub: Hub,
    pub(crate) user: UserId,
    pub(crate) agent: AgentProfile,
    pub(crate) session: SessionId,
}

/// Hands in a request of a session or the directory, as a connection does.
pub(crate) async fn carry_out(
    hub: &Hub,
    user: &UserId,
    from: Option<String>,
    Request { id, command }: Request,
) -> Replying<CommandReply> {
    fn wrap<T: Into<CommandReply> + 'static>(reply: Replying<T>) -> Replying<CommandReply> {
        Box::pin(async move { reply.await.map(Into::into) })
    }
    match command {
        Command::Session { session, command } => {
            wrap(hub.submit(user, from, id, session, command).await)
        }
        Command::Directory(command) => wrap(hub.directory().direct(user, id, command)),
        Command::Connection(command) => panic!("{command:?} belongs to a connection"),
    }
}

impl Room {
    pub(crate) async fn open(dir: &Path) -> Self {
        Self::with(dir, Arc::new(Puppet), HubOptions::default()).await
    }

    pub(crate) async fn with(dir: &Path, agent: Arc<dyn Agent>, options: HubOptions) -> Self {
        Self::on(Store::open(dir, now()).unwrap(), agent, options).await
    }

    /// A room on an open store.
    pub(crate) async fn on(store: Store, agent: Arc<dyn Agent>, options: HubOptions) -> Self {
        let hub = Hub::new(Arc::new(store), agent, options).await.unwrap();
        let user: UserId = "local".parse().unwrap();
        let find = Request {
            id: None,
            command: Command::Directory(DirectoryCommand::FindAgent { agent: "ada".into() }),
        };
        let create = Command::Directory(DirectoryCommand::CreateAgent(Box::new(AgentSpec {
            name: "ada".into(),
            ..AgentSpec::default()
        })));
        let answer = match carry_out(&hub, &user, None, find).await.await {
            Ok(answer) => answer,
            Err(_) => {
                let create = Request { id: None, command: create };
                carry_out(&hub, &user, None, create).await.await.unwrap()
            }
        };
        let CommandReply::Directory(DirectoryReply::Agent { profile: agent, .. }) = answer else {
            panic!("{answer:?}")
        };
        Self { hub, user, session: agent.main_session.clone(), agent: *agent }
    }

    pub(crate) async fn ask(
        &self,
        id: Option<&str>,
        command: Command,
    ) -> Result<CommandReply, Refusal> {
        let id = id.map(|id| id.parse::<CommandId>().unwrap());
        carry_out(&self.hub, &self.user, None, Request { id, command }).await.await
    }

    pub(crate) async fn send(&self, text: &str) -> Result<CommandReply, Refusal> {
        self.send_as(None, text, Policy::Queue).await
    }

    pub(crate) async fn send_as(
        &self,
        id: Option<&str>,
        text: &str,
        policy: Policy,
    ) -> Result<CommandReply, Refusal> {
        self.ask(
            id,
            SessionCommand::Send { text: text.into(), attachments: vec![], policy }
                .on(self.session.clone()),
        )
        .await
    }

    pub(crate) async fn cancel(&self) -> Result<CommandReply, Refusal> {
        self.ask(None, SessionCommand::Cancel { turn: None }.on(self.session.clone())).await
    }

    pub(crate) async fn attach(&self, start: Start) -> (Attached, Listener) {
        let wake = Arc::new(Notify::new());
        let (attached, subscription) = self
            .hub
            .attach(
                &self.user,
                &self.session,
                start,
                Arc::clone(&wake),
                thoughtwire_hub::Presence::Client { tools: Vec::new() },
            )
            .await
            .unwrap();
        (attached, Listener { subscription, wake, ready: Vec::new().into_iter(), caught_up: None })
    }

    pub(crate) async fn after(&self, seq: u64) -> (Attached, Listener) {
        self.attach(Start::After(Cursor { epoch: None, seq: Seq(seq) })).await
    }

    /// All events of the session.
    pub(crate) async fn log(&self) -> Vec<Event> {
        let logs = self.hub.store().logs();
        logs.records_after(&self.session, Seq::ZERO, 100_000)
            .await
            .unwrap()
            .into_iter()
            .map(|record| record.event)
            .collect()
    }
}

pub(crate) struct Listener {
    subscription: Subscription,
    wake: Arc<Notify>,
    ready: std::vec::IntoIter<Emission>,
    pub(crate) caught_up: Option<Seq>,
}

impl Listener {
    pub(crate) async fn next(&mut self) -> Option<Emission> {
        loop {
            if let Some(emission) = self.ready.next() {
                return Some(emission);
            }
            if !self.subscription.has_news() {
                self.wake.notified().await;
                continue;
            }
            let entries = match self.subscription.next().await.unwrap() {
                Read::Entries { entries, .. } => entries,
                Read::CaughtUp(seq) => {
                    assert_eq!(self.caught_up.replace(seq), None);
                    continue;
                }
                Read::Trimmed | Read::Closed(_) => return None,
            };
            self.ready = entries
                .iter()
                .map(|entry| entry.emitted().emission.clone())
                .collect::<Vec<_>>()
                .into_iter();
        }
    }

    /// Everything up to an emission of which `last` is true. A test that waits in vain fails after
    /// ten seconds.
    pub(crate) async fn until(&mut self, mut last: impl FnMut(&Emission) -> bool) -> Vec<Emission> {
        let mut seen = Vec::new();
        let listen = async {
            while let Some(emission) = self.next().await {
                let ends = last(&emission);
                seen.push(emission);
                if ends {
                    return;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), listen).await.is_err() {
            panic!("waited in vain; saw {seen:#?}");
        }
        seen
    }

    /// Everything up to an event. A test that waits in vain fails after ten seconds.
    pub(crate) async fn until_event(
        &mut self,
        mut last: impl FnMut(&Event) -> bool,
    ) -> Vec<Emission> {
        self.until(|emission| event(emission).is_some_and(&mut last)).await
    }

    /// Everything up to a status that begins like this.
    pub(crate) async fn until_status(&mut self, beginning: &str) -> Vec<Emission> {
        let is_it = |emission: &Emission| match emission {
            Emission::Status { text, .. } => text.starts_with(beginning),
            _ => false,
        };
        self.until(is_it).await
    }

    /// Everything up to the end of the next turn.
    pub(crate) async fn turn(&mut self) -> Vec<Emission> {
        self.until(|emission| matches!(event(emission), Some(Event::Turn(TurnEvent::Ended { .. }))))
            .await
    }
}

pub(crate) fn event(emission: &Emission) -> Option<&Event> {
    match emission {
        Emission::Record(record) => Some(&record.event),
        _ => None,
    }
}

pub(crate) fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::kind).collect()
}

pub(crate) fn events(emissions: &[Emission]) -> Vec<Event> {
    emissions.iter().filter_map(event).cloned().collect()
}
