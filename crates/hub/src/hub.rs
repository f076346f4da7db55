//! The hub: finds or wakes the task of a session, and answers what needs no session.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Answer, Attached, Command, PeerRef, Refusal, RefusalCode, Request,
    SessionId, Start, Timestamp, ToolDeclaration, ToolStatus, UserId, check_name, new_title,
};
use thoughtwire_session::{CommandRequest, IdempotencyKey, SessionAction, SessionRequest};
use thoughtwire_store::{Proven, Store, StoreError};
use tokio::sync::{broadcast, oneshot};

use crate::calendar::Calendar;
use crate::clock::new_id;
use crate::joins::Joins;
use crate::metrics::Metrics;
use crate::offers::is_offered;
use crate::registry::{SessionRegistry, task_ended};
use crate::services::{Changed, HubOptions, Services};
use crate::session::{AttachRequest, Caller, SessionMail};
use crate::tail::{Reader, Wake};
use crate::turn_message::Returned;
use crate::watching::Feeds;
use crate::{Agent, Interface, Subscription, ToolListing, ToolSource, receipts};

/// How long what was proven waits for more of the same, and how much of it goes into one write, behind
/// which others have their turn.
const PROVEN_WITHIN: Duration = Duration::from_millis(250);
const PROVEN_AT_ONCE: usize = 64;
/// How long a stop waits for the work of agents whose turns have ended.
const AGENTS_WITHIN: Duration = Duration::from_secs(1);

/// The running sessions of one store. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Services>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) state: Arc<HubState>,
}

/// State of a hub that no session needs.
pub(crate) struct HubState {
    /// Held by the task that erases what was deleted from the file.
    pub(crate) erasing: tokio::sync::Mutex<()>,
    /// Time that retention goes by.
    pub(crate) calendar: Mutex<Calendar>,
    pub(crate) joins: Joins,
    pub(crate) feeds: Feeds,
    /// Cursors that connections have proven and that are not stored yet. Ordered by connection, which
    /// is nearly the order of the rows in the file.
    proven: Mutex<BTreeMap<(String, SessionId), Proven>>,
}

/// How an attachment counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Presence {
    /// A client: counted, and asked to run its tools.
    Client {
        /// The tools that it runs.
        tools: Vec<ToolDeclaration>,
    },
    /// Not counted: what the server itself reads.
    Unseen,
}

/// An answer under way; resolves when what was asked is on disk.
pub type Answering = BoxFuture<'static, Result<Answer, Refusal>>;

impl Hub {
    /// A hub over an open store. Sessions whose queued inputs outlived a restart start at once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        store: Arc<Store>,
        agent: Arc<dyn Agent>,
        options: HubOptions,
    ) -> Result<Self, StoreError> {
        let waiting = if options.resting { Vec::new() } else { store.sessions_with_work()? };
        // Before anything is written by a clock that may be wrong.
        let calendar = Calendar::open(&store, options.clock.now())?;
        let shared = Arc::new(Services::new(store, agent, options));
        let sessions = Arc::new(SessionRegistry::new(Arc::clone(&shared)));
        let state = Arc::new(HubState {
            erasing: tokio::sync::Mutex::default(),
            calendar: Mutex::new(calendar),
            joins: Joins::default(),
            feeds: Feeds::default(),
            proven: Mutex::default(),
        });
        for session in waiting {
            drop(sessions.wake(&session));
        }
        Ok(Self { shared, sessions, state })
    }

    /// The store under it.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// What it counts of itself.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Brings the count of live sessions up to date, which nothing does by itself.
    pub fn count_live(&self) {
        let live = i64::try_from(self.sessions.len()).unwrap_or(i64::MAX);
        self.shared.metrics.live.set(live);
    }

    /// The tools that an agent of this making has.
    #[must_use]
    pub fn tools(&self, spec: &AgentSpec) -> Vec<ToolListing> {
        self.shared.agent.tools(spec)
    }

    /// The tools that an agent has: its own, or those that the programs which run it have declared.
    #[must_use]
    pub fn tools_of(&self, agent: &AgentProfile) -> Vec<ToolListing> {
        if !is_offered(agent) {
            return self.tools(&agent.spec);
        }
        let listed = |tool: ToolDeclaration| ToolListing {
            permission: self.shared.agent.permission(&agent.spec, &tool.name),
            name: tool.name,
            description: tool.description,
            source: ToolSource::Offered,
        };
        self.shared.offers.tools(&agent.id).into_iter().map(listed).collect()
    }

    /// Follows changes of session listings, of all users: filter by [`Changed::user`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.shared.changes()
    }

    /// Follows the chats that a peer opens.
    #[must_use]
    pub fn joined(&self, user: &UserId, peer: &PeerRef) -> broadcast::Receiver<Joined> {
        self.state.joins.follow(user, peer)
    }

    /// Runs a blocking read of the store.
    ///
    /// # Errors
    /// The store's, as a refusal.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.shared.read(read).await
    }

    /// Runs a blocking read that a user asked for: it takes a place of that user's share.
    ///
    /// # Errors
    /// The store's, as a refusal.
    pub async fn read_for<T: Send + 'static>(
        &self,
        user: &UserId,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.store().reading_for(user.as_str(), read).await.map_err(|error| Refusal::from(&error))
    }

    /// Copies all data, as [`Store::backup`] does. It takes its time, and none of the turns of short reads.
    ///
    /// # Errors
    /// The store's.
    pub async fn backup(&self) -> Result<File, StoreError> {
        let store = Arc::clone(&self.shared.store);
        // Only a runtime that is shutting down takes no more.
        tokio::task::spawn_blocking(move || store.backup())
            .await
            .unwrap_or(Err(StoreError::Stopped))
    }

    /// Attaches to a session.
    ///
    /// # Errors
    /// When there is no such session of this user, or the store cannot be read.
    pub async fn attach(
        &self,
        user: &UserId,
        session: &SessionId,
        start: Start,
        wake: Wake,
        presence: Presence,
    ) -> Result<(Attached, Subscription), Refusal> {
        let (reply, answer) = oneshot::channel();
        let (present, tools) = match presence {
            Presence::Client { tools } => (true, tools),
            Presence::Unseen => (false, Vec::new()),
        };
        for tool in &tools {
            check_tool(tool)?;
        }
        let reader = Reader::new(wake, present, tools);
        let request = AttachRequest { start, reader, reply };
        let mail = SessionMail::Attach { caller: Caller(user.clone()), request };
        self.sessions.deliver(session, mail).await;
        answer.await.map_err(|_| task_ended())?
    }

    /// Carries a request out and waits for its answer.
    ///
    /// # Errors
    /// The refusal.
    pub async fn execute(
        &self,
        user: &UserId,
        from: Option<String>,
        request: Request,
    ) -> Result<Answer, Refusal> {
        self.submit(user, from, request).await.await
    }

    /// Hands a request in. When this returns, its place in its session's order is taken; the answer
    /// resolves when it is on disk. `Attach`, `Detach` and `Watch` belong to connections and are refused here.
    pub async fn submit(&self, user: &UserId, from: Option<String>, request: Request) -> Answering {
        let Request { id, command } = request;
        let name = command_name(&command);
        let key = |parts: &[&str]| {
            id.clone().map(|id| IdempotencyKey { id, digest: receipts::digest(name, parts) })
        };
        let (reply, answer) = oneshot::channel();
        let (session, key, action) = match command {
            Command::Send { session, text, attachments, policy } => {
                let mut parts = vec![text.as_str(), policy_name(policy)];
                parts.extend(attachments.iter().map(String::as_str));
                let key = key(&parts);
                (session, key, SessionAction::Send { text, attachments, policy })
            }
            Command::Withdraw { session: Some(session), input } => {
                let key = key(&[input.as_str()]);
                (session, key, SessionAction::Withdraw { input })
            }
            Command::Cancel { session, turn } => {
                let key = key(&[turn.as_ref().map_or("", |turn| turn.as_str())]);
                (session, key, SessionAction::Cancel { turn })
            }
            Command::Decide { session: Some(session), call, approve } => {
                let key = key(&[
                    call.as_ref().map_or("", |call| call.as_str()),
                    if approve { "approved" } else { "denied" },
                ]);
                (session, key, SessionAction::Decide { call, approve })
            }
            Command::Rename { session, title } => {
                let title = match session_title(&title) {
                    Ok(title) => title,
                    Err(refusal) => return Box::pin(async move { Err(refusal) }),
                };
                let key = key(&[&title]);
                (session, key, SessionAction::Rename { title })
            }
            Command::Instruct { session, instructions } => {
                let key = key(&[&instructions]);
                (session, key, SessionAction::Instruct { instructions })
            }
            Command::DeleteSession { session } => {
                let key = key(&[session.as_str()]);
                return self.begin(self.clone().delete(user.clone(), session, key));
            }
            Command::CreateAgent(spec) => {
                let content = serde_json::to_string(&spec).unwrap_or_default();
                let key = key(&[&content]);
                return self.begin(self.clone().create_agent(user.clone(), *spec, key));
            }
            Command::FindAgent { agent } => {
                let (hub, user) = (self.clone(), user.clone());
                return Box::pin(
                    async move { hub.find_agent(&user, &agent).await.map(Answer::Agent) },
                );
            }
            Command::CreateSession { agent, title, instructions, history } => {
                let content = serde_json::to_string(&history).unwrap_or_default();
                let key = key(&[
                    &agent,
                    title.as_deref().unwrap_or_default(),
                    instructions.as_deref().unwrap_or_default(),
                    &content,
                ]);
                return self.begin(self.clone().create_session(
                    user.clone(),
                    agent,
                    title,
                    instructions,
                    history,
                    key,
                ));
            }
            Command::OpenPeer { wire, space, name } => {
                let name = name.unwrap_or_else(|| new_id::<()>().to_string());
                return self
                    .begin(self.clone().open_peer(user.clone(), PeerRef { wire, space, name }));
            }
            Command::OpenChat { peer, chat, title, instructions, history } => {
                return self.begin(self.clone().open_chat(
                    user.clone(),
                    peer,
                    chat,
                    title,
                    instructions,
                    history,
                ));
            }
            Command::ToolReturn { session: Some(session), call, status, text, content } => {
                let rich = content.as_ref().map(ToString::to_string).unwrap_or_default();
                let worked = if status == ToolStatus::Success { "success" } else { "error" };
                let key = key(&[call.as_str(), worked, &text, &rich]);
                let returned = Returned { status, text, content };
                (session, key, SessionAction::ToolReturn { call, returned })
            }
            Command::Withdraw { session: None, .. }
            | Command::Decide { session: None, .. }
            | Command::ToolReturn { session: None, .. } => {
                return refused(
                    RefusalCode::BadRequest,
                    "say which session is meant, or attach to it first",
                );
            }
            Command::Attach { .. }
            | Command::Detach { .. }
            | Command::Watch
            | Command::Offer(_)
            | Command::Say { .. } => {
                return refused(RefusalCode::Unsupported, "this belongs to a connection");
            }
        };
        let request = SessionRequest::Command(CommandRequest { action, from, key, reply });
        let mail = SessionMail::Request { caller: Caller(user.clone()), request };
        self.sessions.deliver(&session, mail).await;
        Box::pin(async move { answer.await.map_err(|_| task_ended())? })
    }

    /// Carries something out that is no session's, on a task of its own: who asked may leave, and those
    /// who follow the sessions are told all the same.
    fn begin(
        &self,
        work: impl Future<Output = Result<Answer, Refusal>> + Send + 'static,
    ) -> Answering {
        let work = self.shared.tasks.spawn(work);
        Box::pin(async move { work.await.unwrap_or_else(|_| Err(task_ended())) })
    }

    pub(crate) fn clients(
        &self,
        user: &UserId,
        session: &SessionId,
    ) -> Arc<crate::clients::Clients> {
        self.sessions.clients(user, session)
    }

    /// Opens an interface on a session for a program that speaks for the agent itself: a turn on
    /// `text` starts, and ends with [`Interface::finish`].
    ///
    /// # Errors
    /// When a turn runs already, or there is no such session.
    pub async fn user_message(
        &self,
        user: &UserId,
        session: &SessionId,
        text: impl Into<String>,
    ) -> Result<Interface, Refusal> {
        let (reply, answer) = oneshot::channel();
        let request = SessionRequest::Begin { text: text.into(), reply };
        let mail = SessionMail::Request { caller: Caller(user.clone()), request };
        self.sessions.deliver(session, mail).await;
        answer.await.map_err(|_| task_ended())?
    }

    /// Keeps what connections of a peer have proven to have read. `closed_at` when the connection ended.
    pub async fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) {
        // What is not kept is sent again on reconnect: a repetition, never a loss.
        drop(self.shared.store.prove(proof, closed_at).await);
    }

    /// Keeps what connections that go on have proven to have read, before long: thousands that prove
    /// something every second share a few writes.
    pub fn prove_soon(&self, proof: Vec<Proven>) {
        let mut waiting = self.state.proven.lock();
        let is_first = waiting.is_empty();
        for proven in proof {
            let known = waiting
                .entry((proven.connection.clone(), proven.session.clone()))
                .or_insert_with(|| proven.clone());
            known.seq = known.seq.max(proven.seq);
        }
        if is_first && !waiting.is_empty() {
            let hub = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PROVEN_WITHIN).await;
                let mut waiting = std::mem::take(&mut *hub.state.proven.lock()).into_values();
                loop {
                    let some: Vec<_> = waiting.by_ref().take(PROVEN_AT_ONCE).collect();
                    if some.is_empty() {
                        return;
                    }
                    hub.prove(some, None).await;
                }
            });
        }
    }

    /// Stops: running turns get up to `grace`, what still runs then ends as interrupted. Returns when
    /// every session's task has ended.
    pub async fn stop(&self, grace: Duration) {
        // Sessions that are loaded from now on end at once; a second stop changes nothing.
        let deadline = self.shared.begin_stop(grace);
        self.shared.offers.stop();
        self.sessions.stop(deadline).await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.agent_work.close();
        // An agent that blocks its thread is left to itself.
        drop(tokio::time::timeout(AGENTS_WITHIN, self.shared.agent_work.wait()).await);
    }
}

/// Takes a text as a session's title.
pub(crate) fn session_title(text: &str) -> Result<String, Refusal> {
    new_title(text)
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the title: {bad}")))
}

pub(crate) fn check_tool(tool: &ToolDeclaration) -> Result<(), Refusal> {
    let bad = |reason: String| Refusal::new(RefusalCode::BadRequest, reason);
    check_name(&tool.name).map_err(|no| bad(format!("a tool's name: {no}")))?;
    if tool.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return Ok(());
    }
    // What model providers take.
    Err(bad(format!(
        "the tool {:?} has a name with more than letters, digits, `_` and `-` in it",
        tool.name
    )))
}

fn refused(code: RefusalCode, reason: &str) -> Answering {
    let refusal = Refusal::new(code, reason);
    Box::pin(std::future::ready(Err(refusal)))
}

fn policy_name(policy: thoughtwire_proto::Policy) -> &'static str {
    match policy {
        thoughtwire_proto::Policy::Queue => "queue",
        thoughtwire_proto::Policy::Interrupt => "interrupt",
        thoughtwire_proto::Policy::Reject => "reject",
        thoughtwire_proto::Policy::Steer => "steer",
    }
}

fn command_name(command: &Command) -> &'static str {
    match command {
        Command::CreateAgent(_) => "create_agent",
        Command::FindAgent { .. } => "find_agent",
        Command::CreateSession { .. } => "create_session",
        Command::DeleteSession { .. } => "delete_session",
        Command::Attach { .. } => "attach",
        Command::Detach { .. } => "detach",
        Command::Send { .. } => "send",
        Command::Withdraw { .. } => "withdraw",
        Command::Cancel { .. } => "cancel",
        Command::Decide { .. } => "decide",
        Command::ToolReturn { .. } => "tool_return",
        Command::Rename { .. } => "rename",
        Command::Instruct { .. } => "instruct",
        Command::Watch => "watch",
        Command::Offer(_) => "offer",
        Command::Say { .. } => "say",
        Command::OpenPeer { .. } => "open_peer",
        Command::OpenChat { .. } => "open_chat",
    }
}
