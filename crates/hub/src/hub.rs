//! The hub: sessions, the directory and the services behind them, as callers see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, ApprovalAbout, Attached, CallId, CommandId, OpenCall, PeerRef,
    Refusal, RefusalCode, SessionCommand, SessionId, SessionReply, Start, Timestamp,
    ToolDeclaration, UserId, Verdict, check_name,
};
use thoughtwire_session::{CommandRequest, IdempotencyKey, SessionRequest, unknown_session};
use thoughtwire_store::{Proven, Store, StoreError};
use tokio::sync::{broadcast, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::calendar::Calendar;
use crate::cluster::share_offers;
use crate::directory::{Directory, follow_other_nodes, session_title};
use crate::metrics::HubMetrics;
use crate::registry::SessionRegistry;
use crate::services::task_ended;
use crate::services::{Changed, HubOptions, Services};
use crate::session::{AttachRequest, MailUser, SessionMail};
use crate::tail::{TailReader, WakeSignal};
use crate::turn_message::Replying;
use crate::watching::{Feeds, Watcher, watch_list};
use crate::workers::is_offered;
use crate::{Agent, Interface, Subscription, ToolListing, ToolSource, receipts};

/// How long proven cursors wait for more, and how many go into one write. Other writes come
/// between.
const PROVEN_WITHIN: Duration = Duration::from_millis(250);
const PROVEN_AT_ONCE: usize = 64;
/// Name of the clock that a planned stop sets, and that the next start sets back.
const PLANNED_STOP: &str = "planned_stop";
/// Sessions of dead nodes that are found at once, and milliseconds between two looks for them.
const ORPHANS_AT_ONCE: usize = 100;
const ORPHANS_EVERY_MS: std::ops::RangeInclusive<u64> = 250..=750;
/// Milliseconds until the next look where there may be more. Those found before are taken by then.
const NEXT_ORPHANS_MS: u64 = 50;
/// How long a stop waits for the work of agents whose turns have ended.
const AGENTS_WITHIN: Duration = Duration::from_secs(1);
/// How long a stop waits until it is on disk that it was planned.
const NOTED_WITHIN: Duration = Duration::from_secs(1);

/// The running sessions of one store. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Services>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) state: Arc<HubState>,
    directory: Directory,
    /// Whether other nodes ask through it, which want the owner of a session.
    is_node: bool,
}

/// State of a hub that no session needs.
pub(crate) struct HubState {
    /// Time that retention goes by.
    pub(crate) calendar: Mutex<Calendar>,
    pub(crate) feeds: Feeds,
    /// Cursors that connections have proven and that are not stored yet. Ordered by connection,
    /// which is nearly the order of the rows in the file.
    proven: Mutex<BTreeMap<(String, SessionId), Proven>>,
    /// Follows the changes of other nodes. It ends with the store or the hub.
    following: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// How an attachment is counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Presence {
    /// A client: counted, and asked to run its tools.
    Client {
        /// The tools that it runs.
        tools: Vec<ToolDeclaration>,
    },
    /// Another node, which attaches for its clients.
    Node {
        /// Number of its clients.
        clients: u64,
        /// The tools that they run.
        tools: Vec<ToolDeclaration>,
    },
    /// Not counted: what the server itself reads.
    Unseen,
}

impl Hub {
    /// Makes a hub over an open store. Sessions with queued inputs start at once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(
        store: Arc<Store>,
        agent: Arc<dyn Agent>,
        options: HubOptions,
    ) -> Result<Self, StoreError> {
        // Before anything is read that they may change.
        let changes = store.changes().follow();
        let is_shared = store.lease().is_some();
        let waiting = if options.resting || is_shared {
            Vec::new()
        } else {
            store.logs().sessions_with_work().await?
        };
        // Before anything is written by a clock that may be wrong.
        let calendar = Calendar::open(&store, options.clock.now()).await?;
        // A store that is shared knows it of each session.
        let was_stopped = !options.resting && !is_shared && take_planned_stop(&store).await?;
        let picks_up = is_shared && !options.resting;
        let shared = Arc::new(Services::new(store, agent, options, was_stopped));
        let sessions = Arc::new(SessionRegistry::new(Arc::clone(&shared)));
        let state = Arc::new(HubState {
            calendar: Mutex::new(calendar),
            feeds: Feeds::default(),
            proven: Mutex::default(),
            following: Mutex::default(),
        });
        for session in waiting {
            drop(sessions.wake(&session));
        }
        if picks_up {
            shared.tasks.spawn(pick_up(Arc::clone(&shared), Arc::clone(&sessions)));
        }
        let addresses = shared.store.changes().addresses().filter(|_| picks_up);
        if let Some((connector, addresses)) = shared.options.nodes.clone().zip(addresses) {
            shared.tasks.spawn(share_offers(Arc::clone(&shared), connector, addresses));
        }
        let directory = Directory::new(&shared, &sessions);
        if let Some(changes) = changes {
            let following = tokio::spawn(follow_other_nodes(directory.clone(), changes));
            *state.following.lock() = Some(AbortOnDropHandle::new(following));
        }
        Ok(Self { is_node: false, shared, sessions, state, directory })
    }

    /// The same hub as other nodes use it: it refuses what concerns sessions that this node does
    /// not have with [`RefusalCode::Moved`].
    pub(crate) fn for_node(&self) -> Self {
        Self { is_node: true, ..self.clone() }
    }

    fn asking(&self, user: &UserId) -> MailUser {
        MailUser { user: user.clone(), is_node: self.is_node }
    }

    /// The agents, sessions, peers and chats.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Metrics of the hub.
    #[must_use]
    pub fn metrics(&self) -> &HubMetrics {
        &self.shared.metrics
    }

    /// Updates the metric of live sessions. Nothing else does.
    pub fn count_live(&self) {
        let live = i64::try_from(self.sessions.len()).unwrap_or(i64::MAX);
        self.shared.metrics.live.set(live);
    }

    /// The tools of an agent with these settings.
    #[must_use]
    pub fn tools(&self, spec: &AgentSpec) -> Vec<ToolListing> {
        self.shared.agent.tools(spec)
    }

    /// The tools of an agent: its own, or those that its workers declared.
    #[must_use]
    pub fn tools_of(&self, agent: &AgentProfile) -> Vec<ToolListing> {
        if !is_offered(agent) {
            return self.tools(&agent.spec);
        }
        let listed = |tool: ToolDeclaration| ToolListing {
            permission: self.shared.agent.permission(&agent.spec, &tool.name),
            replay: self.shared.agent.replay(&tool.name, tool.replay),
            name: tool.name,
            description: tool.description,
            source: ToolSource::Offered,
        };
        self.shared.workers.tools(&agent.id).into_iter().map(listed).collect()
    }

    /// Follows changes of session listings, of all users.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.shared.changes()
    }

    /// Watches a user's list of sessions: each change from now on, in its newest state, at most
    /// four times a second for each session. The list as it is now is the caller's to read.
    #[must_use]
    pub fn watch(&self, user: &UserId) -> Watcher {
        watch_list(&self.state.feeds, user, &self.shared.store, || self.changes())
    }

    /// Follows the chats that a peer opens.
    #[must_use]
    pub fn joined(&self, user: &UserId, peer: &PeerRef) -> broadcast::Receiver<Joined> {
        self.directory.joined(user, peer)
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
        wake: WakeSignal,
        presence: Presence,
    ) -> Result<(Attached, Subscription), Refusal> {
        let (reply, answer) = oneshot::channel();
        let (clients, tools) = match presence {
            Presence::Client { tools } => (1, tools),
            Presence::Node { clients, tools } => (clients, tools),
            Presence::Unseen => (0, Vec::new()),
        };
        for tool in &tools {
            check_tool(tool)?;
        }
        let reader = TailReader::new(wake, clients, tools);
        let request = AttachRequest { start, reader, reply };
        let mail = SessionMail::Attach { caller: self.asking(user), request };
        self.sessions.deliver(session, mail).await;
        answer.await.map_err(|_| task_ended())?
    }

    /// Has a session carry out a command and waits for its reply. `from` names the client.
    ///
    /// # Errors
    /// The refusal.
    pub async fn execute(
        &self,
        user: &UserId,
        from: Option<String>,
        id: Option<CommandId>,
        session: SessionId,
        command: SessionCommand,
    ) -> Result<SessionReply, Refusal> {
        self.submit(user, from, id, session, command).await.await
    }

    /// Hands a command to its session. When this returns, the command has its place in the
    /// session's order. The reply resolves when the effect is on disk.
    pub async fn submit(
        &self,
        user: &UserId,
        from: Option<String>,
        id: Option<CommandId>,
        session: SessionId,
        mut command: SessionCommand,
    ) -> Replying<SessionReply> {
        if let SessionCommand::Rename { title } = &mut command {
            match session_title(title) {
                Ok(normal) => *title = normal,
                Err(refusal) => return Box::pin(std::future::ready(Err(refusal))),
            }
        }
        let key = id.map(|id| {
            let digest = receipts::digest(command.name(), &command.digest_parts(&session));
            IdempotencyKey { id, digest }
        });
        // Followers of the list are told of a deletion also if the client leaves.
        if command == SessionCommand::Delete {
            return self.shared.begin(self.directory.clone().delete(user.clone(), session, key));
        }
        let (reply, answer) = oneshot::channel();
        let request = SessionRequest::Command(CommandRequest { command, from, key, reply });
        let mail = SessionMail::Request { caller: self.asking(user), request };
        self.sessions.deliver(&session, mail).await;
        Box::pin(async move { answer.await.map_err(|_| task_ended())? })
    }

    /// Saves the text of a session's open items, so that what a reader has of it outlives a crash.
    /// Returns when everything that was published before is on disk.
    ///
    /// # Errors
    /// When there is no such session of this user, the node that has it does not answer, or nothing
    /// can be saved.
    pub async fn save_open_text(&self, user: &UserId, session: &SessionId) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let request = SessionRequest::SaveOpenText { reply };
        let mail = SessionMail::Request { caller: self.asking(user), request };
        self.sessions.deliver(session, mail).await;
        answer.await.map_err(|_| task_ended())?.map(drop)
    }

    /// The call of a session whose approval has waited longest, of those that a verdict can answer.
    ///
    /// # Errors
    /// When there is no such session of this user, or no call in it waits for such an answer.
    pub async fn oldest_approval(
        &self,
        user: &UserId,
        session: &SessionId,
        verdict: Verdict,
    ) -> Result<CallId, Refusal> {
        let stored = self.store().directory().session(session).await?;
        let stored =
            stored.filter(|stored| stored.user == *user).ok_or_else(|| unknown_session(session))?;
        let calls = stored.state.turn().map_or(&[][..], |turn| &turn.calls);
        // Only a call whose outcome is unknown can be called done.
        let fits =
            |call: &&OpenCall| verdict != Verdict::Done || call.about == ApprovalAbout::Retry;
        let asked = calls.iter().filter(|call| call.approval.is_some()).find(fits);
        asked
            .map(|call| call.call.clone())
            .ok_or_else(|| Refusal::new(RefusalCode::UnknownCall, "no call waits for a decision"))
    }

    pub(crate) fn clients(
        &self,
        user: &UserId,
        session: &SessionId,
    ) -> Arc<crate::clients::Clients> {
        self.sessions.clients(user, session)
    }

    /// Starts a turn on `text` for a program that runs the agent itself. The turn ends with
    /// [`Interface::finish`].
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
        let mail = SessionMail::Request { caller: self.asking(user), request };
        self.sessions.deliver(session, mail).await;
        answer.await.map_err(|_| task_ended())?
    }

    /// Stores cursors that connections of a peer have proven. `closed_at` is set if the connection
    /// has ended.
    pub async fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) {
        // A cursor that is not stored causes a repetition on reconnect, never a loss.
        drop(self.shared.store.peers().prove(proof, closed_at).await);
    }

    /// Stores cursors that open connections have proven, after a short delay: thousands of
    /// connections share a few writes.
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
            self.shared.tasks.spawn(async move {
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

    /// Stops the hub. Running turns get up to `grace`; those that still run go on at the next
    /// start. Returns when all sessions' tasks have ended.
    pub async fn stop(&self, grace: Duration) {
        // Sessions that are loaded from now on end at once; a second stop changes nothing.
        let deadline = self.shared.begin_stop(grace);
        self.shared.workers.stop();
        self.sessions.stop(deadline).await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.agent_work.close();
        // An agent that blocks its thread is left to itself.
        drop(tokio::time::timeout(AGENTS_WITHIN, self.shared.agent_work.wait()).await);
        if !self.shared.options.resting && self.store().lease().is_none() {
            // Without it, the next start takes this stop for a crash. A disk that stands still is
            // not waited for.
            let stopped = vec![(PLANNED_STOP, self.shared.now())];
            let noted = self.store().upkeep().set_clocks(stopped);
            drop(tokio::time::timeout(NOTED_WITHIN, noted).await);
        }
    }
}

/// Loads sessions with work whose node has died or left, as long as this hub runs.
async fn pick_up(services: Arc<Services>, sessions: Arc<SessionRegistry>) {
    while services.stopping().is_none() {
        // Drawn, so that nodes that were started at once do not ask at once.
        let mut pause = fastrand::u64(ORPHANS_EVERY_MS);
        match services.store.logs().orphans(ORPHANS_AT_ONCE).await {
            Ok(orphans) => {
                if orphans.len() == ORPHANS_AT_ONCE {
                    pause = NEXT_ORPHANS_MS;
                }
                for session in orphans {
                    drop(sessions.wake(&session));
                }
            }
            Err(error) => tracing::debug!(%error, "sessions of dead nodes could not be looked for"),
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Whether the last hub on this store was stopped as planned. Forgets it, so that a crash of this
/// one is known: the write is in front of everything that the hub's turns write.
async fn take_planned_stop(store: &Store) -> Result<bool, StoreError> {
    let stopped = store.upkeep().clock(PLANNED_STOP).await?;
    let was_stopped = stopped.is_some_and(|at| at.as_millis() > 0);
    if was_stopped {
        drop(store.upkeep().set_clocks(vec![(PLANNED_STOP, Timestamp::from_millis(0))]));
    }
    Ok(was_stopped)
}

/// Checks the name of a tool that a client or a worker runs.
///
/// # Errors
/// The refusal, if model providers would not take it.
pub fn check_tool(tool: &ToolDeclaration) -> Result<(), Refusal> {
    let bad = |reason: String| Refusal::new(RefusalCode::BadRequest, reason);
    check_name(&tool.name).map_err(|no| bad(format!("a tool's name: {no}")))?;
    if tool.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return Ok(());
    }
    // Model providers take no others.
    Err(bad(format!(
        "the tool {:?} has a name with more than letters, digits, `_` and `-` in it",
        tool.name
    )))
}
