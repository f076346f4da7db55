//! Test harness: a hub and a store in a directory of their own, and a scripted model.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::Value;
use thoughtwire_agent::{
    AgentOptions, LanguageModel, MemoryAgent, ModelError, Prompt, Providers, Purpose, ReplyEnd,
    ReplyPiece,
};
use thoughtwire_hub::{Hub, HubOptions, Presence, Read, Subscription, now};
use thoughtwire_proto::{
    AgentId, AgentSpec, Command, CommandReply, Delta, DirectoryCommand, DirectoryReply, Emission,
    Event, Partial, Policy, Record, SessionCommand, SessionId, Start, StreamKind, Style,
    ToolDeclaration, ToolStatus, TurnEvent, Usage, UserId,
};
use thoughtwire_store::{OpenItem, Store};
use tokio::sync::Notify;

/// Longer than any turn here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct AgentHarness {
    pub(crate) hub: Hub,
    pub(crate) user: UserId,
    _dir: Option<tempfile::TempDir>,
}

/// The emissions of a turn.
#[derive(Debug)]
pub(crate) struct TurnLog {
    pub(crate) records: Vec<Record>,
    pub(crate) deltas: Vec<(StreamKind, String)>,
    pub(crate) statuses: Vec<String>,
}

pub(crate) fn options(model: &str) -> AgentOptions {
    AgentOptions::new(model, Providers::default())
}

/// Copies the files of a store, as a crash would leave them.
pub(crate) fn copy_store(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "lock" {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The item that a delta or a partial is about, as the session saves it once a second.
pub(crate) fn open_item(emission: &Emission) -> Option<OpenItem> {
    match emission.clone() {
        Emission::Delta(Delta { turn, item, kind, text, continues, .. })
        | Emission::Partial(Partial { turn, item, kind, text, continues, .. }) => {
            Some(OpenItem { item, turn, kind, text, continues })
        }
        Emission::Record(_) | Emission::Status { .. } | Emission::Presence { .. } => None,
    }
}

impl AgentHarness {
    pub(crate) async fn new(options: AgentOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut harness = Self::open(dir.path(), options).await;
        harness._dir = Some(dir);
        harness
    }

    pub(crate) async fn open(dir: &Path, options: AgentOptions) -> Self {
        let store = Arc::new(Store::open(dir, now()).unwrap());
        let agent = MemoryAgent::new(Arc::clone(&store), options);
        Self {
            hub: Hub::new(store, Arc::new(agent), HubOptions::default()).await.unwrap(),
            user: "ada".parse().unwrap(),
            _dir: None,
        }
    }

    pub(crate) async fn scripted(script: &Arc<ScriptedModel>, options: AgentOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let harness = Self::scripted_in(dir.path(), script, options).await;
        Self { _dir: Some(dir), ..harness }
    }

    pub(crate) async fn scripted_in(
        dir: &Path,
        script: &Arc<ScriptedModel>,
        options: AgentOptions,
    ) -> Self {
        Self::scripted_within(dir, script, options, HubOptions::default()).await
    }

    pub(crate) async fn scripted_within(
        dir: &Path,
        script: &Arc<ScriptedModel>,
        options: AgentOptions,
        hub: HubOptions,
    ) -> Self {
        let store = Arc::new(Store::open(dir, now()).unwrap());
        let agent = MemoryAgent::with_model(
            Arc::clone(&store),
            options,
            Arc::clone(script) as Arc<dyn LanguageModel>,
        );
        Self {
            hub: Hub::new(store, Arc::new(agent), hub).await.unwrap(),
            user: "ada".parse().unwrap(),
            _dir: None,
        }
    }

    /// Stops the hub and closes the store, as a planned stop does.
    pub(crate) async fn close(self) {
        self.hub.stop(Duration::from_secs(5)).await;
        self.hub.store().close().await;
    }

    pub(crate) async fn agent(&self, name: &str, style: Style) -> (AgentId, SessionId) {
        self.create(AgentSpec { name: name.to_owned(), style: Some(style), ..AgentSpec::default() })
            .await
    }

    pub(crate) async fn create(&self, spec: AgentSpec) -> (AgentId, SessionId) {
        let CommandReply::Directory(DirectoryReply::Agent { profile, .. }) =
            self.execute(Command::Directory(DirectoryCommand::CreateAgent(Box::new(spec)))).await
        else {
            panic!("no agent")
        };
        (profile.id, profile.main_session)
    }

    pub(crate) async fn session(&self, agent: &str) -> SessionId {
        let command = Command::Directory(DirectoryCommand::CreateSession {
            agent: agent.to_owned(),
            title: None,
            instructions: None,
            history: Vec::new(),
        });
        let CommandReply::Directory(DirectoryReply::Session { session, .. }) =
            self.execute(command).await
        else {
            panic!("no session")
        };
        session
    }

    pub(crate) async fn execute(&self, command: Command) -> CommandReply {
        match command {
            Command::Session { session, command } => {
                let reply = self.hub.execute(&self.user, None, None, session, command).await;
                CommandReply::Session(reply.unwrap())
            }
            Command::Directory(command) => CommandReply::Directory(
                self.hub.directory().direct(&self.user, None, command).await.unwrap(),
            ),
            Command::Connection(command) => panic!("{command:?} belongs to a connection"),
        }
    }

    pub(crate) async fn send(&self, session: &SessionId, text: &str, policy: Policy) {
        self.execute(
            SessionCommand::Send { text: text.to_owned(), attachments: Vec::new(), policy }
                .on(session.clone()),
        )
        .await;
    }

    /// Sends an input and collects emissions until the turn has ended.
    pub(crate) async fn run_turn(&self, session: &SessionId, text: &str) -> TurnLog {
        self.collect(session, |_| false, self.send(session, text, Policy::Queue)).await
    }

    /// Acts while collecting emissions, until a turn has ended or `until` holds.
    pub(crate) async fn collect(
        &self,
        session: &SessionId,
        until: impl Fn(&Emission) -> bool,
        act: impl Future<Output = ()>,
    ) -> TurnLog {
        self.collect_with_tools(session, Vec::new(), until, act).await
    }

    /// Does the same as a client that runs tools.
    pub(crate) async fn collect_with_tools(
        &self,
        session: &SessionId,
        tools: Vec<ToolDeclaration>,
        until: impl Fn(&Emission) -> bool,
        act: impl Future<Output = ()>,
    ) -> TurnLog {
        let wake = Arc::new(Notify::new());
        let presence = Presence::Client { tools };
        let (_, mut subscription) = self
            .hub
            .attach(&self.user, session, Start::Head, Arc::clone(&wake), presence)
            .await
            .unwrap();
        // Only a subscriber that has caught up is sure to see every delta.
        while subscription.has_news() {
            let _ = subscription.next().await.unwrap();
        }
        act.await;
        listen(subscription, &wake, until, TurnEnds::Stop).await
    }

    /// The log of a session from its beginning, and the text of open items, until an emission.
    pub(crate) async fn log_until(
        &self,
        session: &SessionId,
        until: impl Fn(&Emission) -> bool,
    ) -> TurnLog {
        let wake = Arc::new(Notify::new());
        let (presence, start) = (Presence::Client { tools: Vec::new() }, Start::Last(u64::MAX));
        let (_, subscription) =
            self.hub.attach(&self.user, session, start, Arc::clone(&wake), presence).await.unwrap();
        listen(subscription, &wake, until, TurnEnds::Pass).await
    }

    pub(crate) async fn block(&self, agent: &AgentId, label: &str) -> String {
        let blocks = self.hub.store().memory().blocks(agent).await.unwrap();
        blocks.into_iter().find(|block| block.label == label).unwrap().text
    }
}

/// Effect of a turn's end on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnEnds {
    Stop,
    Pass,
}

/// Collects emissions until one is the last, or a turn ends.
async fn listen(
    mut subscription: Subscription,
    wake: &Notify,
    until: impl Fn(&Emission) -> bool,
    ends: TurnEnds,
) -> TurnLog {
    let mut log = TurnLog { records: Vec::new(), deltas: Vec::new(), statuses: Vec::new() };
    let listening = async {
        loop {
            while subscription.has_news() {
                let Read::Entries { entries, .. } = subscription.next().await.unwrap() else {
                    continue;
                };
                for entry in entries {
                    let emission = &entry.emitted().emission;
                    let done = until(emission);
                    if (log.take(emission) && ends == TurnEnds::Stop) || done {
                        return;
                    }
                }
            }
            wake.notified().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, listening).await;
    assert!(waited.is_ok(), "what was awaited does not come: {log:?}");
    log
}

impl TurnLog {
    /// Adds an emission. Returns true when the turn has ended.
    fn take(&mut self, emission: &Emission) -> bool {
        match emission {
            Emission::Record(record) => {
                self.records.push(record.clone());
                matches!(record.event, Event::Turn(TurnEvent::Ended { .. }))
            }
            Emission::Delta(delta) => {
                self.deltas.push((delta.kind, delta.text.clone()));
                false
            }
            Emission::Status { text, .. } => {
                self.statuses.push(text.clone());
                false
            }
            Emission::Partial(_) | Emission::Presence { .. } => false,
        }
    }

    pub(crate) fn kinds(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.event.kind()).collect()
    }

    /// All messages as one text.
    pub(crate) fn message(&self) -> String {
        let texts = self.records.iter().filter_map(|record| {
            if let Event::Turn(TurnEvent::Message { text, .. }) = &record.event {
                Some(text.as_str())
            } else {
                None
            }
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn thought(&self) -> String {
        let texts = self.records.iter().filter_map(|record| {
            if let Event::Turn(TurnEvent::Thought { text, .. }) = &record.event {
                Some(text.as_str())
            } else {
                None
            }
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The names of the tools that were called.
    pub(crate) fn called(&self) -> Vec<&str> {
        let names = self.records.iter().filter_map(|record| {
            if let Event::Turn(TurnEvent::ToolCalled { name, .. }) = &record.event {
                Some(name.as_str())
            } else {
                None
            }
        });
        names.collect()
    }

    /// The results of the calls.
    pub(crate) fn returned(&self) -> Vec<(ToolStatus, &str)> {
        let results = self.records.iter().filter_map(|record| {
            if let Event::Turn(TurnEvent::ToolReturned { status, text, .. }) = &record.event {
                Some((*status, text.as_str()))
            } else {
                None
            }
        });
        results.collect()
    }

    pub(crate) fn streamed(&self, kind: StreamKind) -> Vec<&str> {
        self.deltas.iter().filter(|(of, _)| *of == kind).map(|(_, text)| text.as_str()).collect()
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.records.iter().find_map(|record| {
            if let Event::Turn(TurnEvent::Usage(usage)) = record.event { Some(usage) } else { None }
        })
    }

    /// The end of the turn: outcome, code and reason.
    pub(crate) fn end(&self) -> (String, String, String) {
        let Event::Turn(TurnEvent::Ended { outcome, code, reason, .. }) =
            &self.records.last().unwrap().event
        else {
            panic!("no end")
        };
        (
            format!("{outcome:?}"),
            code.clone().unwrap_or_default(),
            reason.clone().unwrap_or_default(),
        )
    }
}

type ScriptedPieces = Vec<Result<ReplyPiece, ModelError>>;

/// A model with scripted replies, which records its prompts.
#[derive(Default)]
pub(crate) struct ScriptedModel {
    replies: Mutex<VecDeque<ScriptedPieces>>,
    prompts: Mutex<Vec<Arc<Prompt>>>,
    /// Whether a reply goes on for ever behind its pieces.
    stalls: bool,
    /// Its reply to a prompt for a summary.
    summary: Option<Box<dyn Fn() -> ScriptedPieces + Send + Sync>>,
}

impl ScriptedModel {
    pub(crate) fn new(replies: impl IntoIterator<Item = Vec<ReplyPiece>>) -> Arc<Self> {
        let replies =
            replies.into_iter().map(|pieces| pieces.into_iter().map(Ok).collect()).collect();
        Arc::new(Self { replies: Mutex::new(replies), ..Self::default() })
    }

    /// A model whose replies never end.
    pub(crate) fn stalling(pieces: Vec<ReplyPiece>) -> Arc<Self> {
        let replies = VecDeque::from([pieces.into_iter().map(Ok).collect()]);
        Arc::new(Self { replies: Mutex::new(replies), stalls: true, ..Self::default() })
    }

    pub(crate) fn summing(
        replies: impl IntoIterator<Item = Vec<ReplyPiece>>,
        summary: &'static str,
    ) -> Arc<Self> {
        let script = Self::of_results(
            replies.into_iter().map(|pieces| pieces.into_iter().map(Ok).collect()),
        );
        script.with_summaries(move || text(summary).into_iter().map(Ok).collect())
    }

    /// Sets the reply to prompts for a summary.
    pub(crate) fn with_summaries(
        self: Arc<Self>,
        summary: impl Fn() -> ScriptedPieces + Send + Sync + 'static,
    ) -> Arc<Self> {
        let mut script = Arc::into_inner(self).expect("the script is not shared yet");
        script.summary = Some(Box::new(summary));
        Arc::new(script)
    }

    pub(crate) fn of_results(
        replies: impl IntoIterator<Item = Vec<Result<ReplyPiece, ModelError>>>,
    ) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), ..Self::default() })
    }

    pub(crate) fn prompts(&self) -> Vec<Arc<Prompt>> {
        self.prompts.lock().unwrap().clone()
    }
}

impl LanguageModel for ScriptedModel {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<ReplyPiece, ModelError>> {
        let purpose = prompt.purpose;
        self.prompts.lock().unwrap().push(prompt);
        if let (Purpose::Summary, Some(summary)) = (purpose, &self.summary) {
            return stream::iter(summary()).boxed();
        }
        let pieces = self.replies.lock().unwrap().pop_front().unwrap_or_default();
        let pieces = stream::iter(pieces);
        if self.stalls { pieces.chain(stream::pending()).boxed() } else { pieces.boxed() }
    }
}

pub(crate) fn done() -> ReplyPiece {
    ReplyPiece::End(ReplyEnd {
        usage: Usage { input_tokens: 10, output_tokens: 2, cached_tokens: None },
        ..ReplyEnd::default()
    })
}

pub(crate) fn text(words: &str) -> Vec<ReplyPiece> {
    vec![ReplyPiece::Message(words.to_owned()), done()]
}

pub(crate) fn call(name: &str, args: &Value) -> Vec<ReplyPiece> {
    vec![
        ReplyPiece::Call { index: 0, name: name.to_owned(), provider_id: None },
        ReplyPiece::Args { index: 0, json: args.to_string() },
        done(),
    ]
}
