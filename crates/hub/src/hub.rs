//! The hub: finds or wakes the task of a session, and answers what needs no session.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Attached, CallId, CommandId, Event, InputEvent, PeerRef, Record,
    Refusal, RefusalCode, SessionCommand, SessionEvent, SessionId, SessionReply, Start, Timestamp,
    ToolDeclaration, TurnEvent, UserId, check_name,
};
use thoughtwire_store::{Proven, Store, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::calendar::Calendar;
use crate::clock::{Clock, new_id};
use crate::directory::session_title;
use crate::joins::Joins;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::session::{ASKS, Ask, Once, Task, What, unknown_session};
use crate::tail::{Reader, Wake};
use crate::turn_message::{Replying, Returned};
use crate::watching::Feeds;
use crate::workers::{OfferRegistry, is_offered};
use crate::{Agent, Interface, Subscription, ToolListing, ToolSource, receipts};

/// Settings of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// How long an idle session without subscribers stays in memory.
    pub passivate_after: Duration,
    /// The most inputs that may wait in one session.
    pub queued_inputs: usize,
    /// How many calls of one turn may wait for leave at once.
    pub open_approvals: usize,
    /// How long one turn may take, not counted while it waits for people or clients outside.
    pub turn_within: Duration,
    /// How long the turns of a program that offers an agent wait for it when it goes away.
    pub offer_grace: Duration,
    /// Runs no turns: for an owner's commands on a store that no server runs on.
    pub resting: bool,
    /// For how long a closed connection's proven cursors count, in milliseconds.
    pub proven_for_ms: i64,
    /// What time it is.
    pub clock: Clock,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            passivate_after: Duration::from_secs(60),
            queued_inputs: 256,
            open_approvals: 100,
            turn_within: Duration::from_secs(6 * 3600),
            offer_grace: Duration::from_secs(30),
            resting: false,
            proven_for_ms: 3_600_000,
            clock: Clock::default(),
        }
    }
}

/// How long what was proven waits for more of the same, and how much of it goes into one write, behind
/// which others have their turn.
const PROVEN_WITHIN: Duration = Duration::from_millis(250);
const PROVEN_AT_ONCE: usize = 64;

/// A session's listing changed; for those who follow a user's list.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// It is gone.
    pub gone: bool,
}

/// The running sessions of one store. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) agent: Arc<dyn Agent>,
    pub(crate) options: HubOptions,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: Metrics,
    pub(crate) workers: Arc<OfferRegistry>,
    live: Mutex<HashMap<SessionId, mpsc::Sender<Ask>>>,
    /// When what runs has to end, once the hub is to stop.
    stopping: OnceLock<tokio::time::Instant>,
    pub(crate) tasks: tokio_util::task::TaskTracker,
    /// Held by who takes what was deleted out of the file.
    pub(crate) erasing: tokio::sync::Mutex<()>,
    /// The time that retention goes by.
    pub(crate) calendar: Mutex<Calendar>,
    /// In whose name the hub itself asks.
    nobody: UserId,
    /// A lagging follower is told so and lists again, so this may be small.
    changes: broadcast::Sender<Changed>,
    pub(crate) joins: Joins,
    pub(crate) feeds: Feeds,
    /// What connections have proven in which session, and is not kept yet. Ordered by connection, which is
    /// nearly the order of the rows in the file.
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

impl Hub {
    /// Starts a hub over an open store. Loads the sessions with queued inputs or a turn, which
    /// recovers those whose turn a crash cut; does not wait for it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(
        store: Arc<Store>,
        agent: Arc<dyn Agent>,
        options: HubOptions,
    ) -> Result<Self, StoreError> {
        let waiting =
            if options.resting { Vec::new() } else { store.logs().sessions_with_work().await? };
        // Before anything is written by a clock that may be wrong.
        let calendar = Calendar::open(&store, options.clock.now()).await?;
        let tasks = tokio_util::task::TaskTracker::new();
        let shared = Arc::new(Shared {
            memory: Arc::new(Memory::new(Arc::clone(&store))),
            metrics: Metrics::default(),
            workers: Arc::new(OfferRegistry::new(
                options.offer_grace,
                Arc::clone(&agent),
                tasks.clone(),
            )),
            store,
            agent,
            options,
            live: Mutex::new(HashMap::new()),
            stopping: OnceLock::new(),
            nobody: new_id(),
            tasks,
            erasing: tokio::sync::Mutex::default(),
            calendar: Mutex::new(calendar),
            changes: broadcast::Sender::new(256),
            joins: Joins::default(),
            feeds: Feeds::default(),
            proven: Mutex::default(),
        });
        for session in waiting {
            shared.wake(&session);
        }
        Ok(Self { shared })
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
        self.shared
            .metrics
            .live
            .set(i64::try_from(self.shared.live.lock().len()).unwrap_or(i64::MAX));
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
        self.shared.workers.tools(&agent.id).into_iter().map(listed).collect()
    }

    /// Follows changes of session listings, of all users: filter by [`Changed::user`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.shared.changes.subscribe()
    }

    /// Follows the chats that a peer opens.
    #[must_use]
    pub fn joined(&self, user: &UserId, peer: &PeerRef) -> broadcast::Receiver<Joined> {
        self.shared.joins.follow(user, peer)
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
        self.shared.ask(user, session, What::Attach { start, reader, reply }).await;
        answer.await.map_err(|_| lost())?
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
        let once = id.map(|id| {
            let digest = receipts::digest(command.name(), &command.digest_parts(&session));
            Once { id, digest }
        });
        let (reply, answer) = oneshot::channel();
        let what = match command {
            SessionCommand::Send { text, attachments, policy } => {
                What::Send { once, text, attachments, from, policy, reply }
            }
            SessionCommand::Withdraw { input } => What::Withdraw { input, once, reply },
            SessionCommand::Cancel { turn } => What::Cancel { turn, once, reply },
            SessionCommand::Decide { call, approve } => {
                What::Decide { call, approve, by: from, once, reply }
            }
            SessionCommand::ToolReturn { call, status, text, content } => {
                let returned = Returned { status, text, content };
                What::ToolReturn { call, returned, once, reply }
            }
            SessionCommand::Rename { title } => What::Rename { title, once, reply },
            SessionCommand::Instruct { instructions } => {
                What::Instruct { instructions, once, reply }
            }
            SessionCommand::Delete => {
                return self.begin(self.clone().delete(user.clone(), session, once));
            }
        };
        self.shared.ask(user, &session, what).await;
        Box::pin(async move { answer.await.map_err(|_| lost())? })
    }

    /// The call of a session whose approval has waited longest.
    ///
    /// # Errors
    /// When there is no such session of this user, or no call in it waits for an approval.
    pub async fn oldest_approval(
        &self,
        user: &UserId,
        session: &SessionId,
    ) -> Result<CallId, Refusal> {
        let stored = self.store().directory().session(session).await?;
        let stored =
            stored.filter(|stored| stored.user == *user).ok_or_else(|| unknown_session(session))?;
        let calls = stored.state.turn().map_or(&[][..], |turn| &turn.calls);
        let asked = calls.iter().find(|call| call.approval.is_some());
        asked
            .map(|call| call.call.clone())
            .ok_or_else(|| Refusal::new(RefusalCode::UnknownCall, "no call waits for a decision"))
    }

    /// Runs work of the directory on a task of its own. It goes on when the client leaves, and
    /// followers of the session list are told all the same.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Replying<T> {
        let work = self.shared.tasks.spawn(work);
        Box::pin(async move { work.await.unwrap_or_else(|_| Err(lost())) })
    }

    pub(crate) fn clients(
        &self,
        user: &UserId,
        session: &SessionId,
    ) -> Arc<crate::clients::Clients> {
        crate::clients::Clients::new(&self.shared, user, session)
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
        self.shared.ask(user, session, What::Begin { text: text.into(), reply }).await;
        answer.await.map_err(|_| lost())?
    }

    /// Keeps what connections of a peer have proven to have read. `closed_at` when the connection ended.
    pub async fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) {
        // What is not kept is sent again on reconnect: a repetition, never a loss.
        drop(self.shared.store.peers().prove(proof, closed_at).await);
    }

    /// Keeps what connections that go on have proven to have read, before long: thousands that prove
    /// something every second share a few writes.
    pub fn prove_soon(&self, proof: Vec<Proven>) {
        let mut waiting = self.shared.proven.lock();
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
                let mut waiting = std::mem::take(&mut *hub.shared.proven.lock()).into_values();
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
        // Who is woken from now on ends at once: a second stop changes nothing.
        let deadline = *self.shared.stopping.get_or_init(|| tokio::time::Instant::now() + grace);
        self.shared.workers.stop();
        let live: Vec<_> = self.shared.live.lock().values().cloned().collect();
        for asks in live {
            // A mailbox that is closed belongs to a task that ends anyway.
            drop(
                asks.send(Ask { user: self.shared.nobody.clone(), what: What::Stop { deadline } })
                    .await,
            );
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    /// When what runs has to end, once the hub is to stop.
    pub(crate) fn stopping(&self) -> Option<tokio::time::Instant> {
        self.stopping.get().copied()
    }

    /// Hands an ask to a session's task, waking the session if need be.
    pub(crate) async fn ask(self: &Arc<Self>, user: &UserId, session: &SessionId, what: What) {
        self.deliver(session, Ask { user: user.clone(), what }).await;
    }

    /// Asks in the hub's own name.
    pub(crate) async fn deliver_own(self: &Arc<Self>, session: &SessionId, what: What) {
        self.deliver(session, Ask { user: self.nobody.clone(), what }).await;
    }

    pub(crate) async fn deliver(self: &Arc<Self>, session: &SessionId, mut ask: Ask) {
        loop {
            let asks = self.wake(session);
            match asks.send(ask).await {
                Ok(()) => return,
                // The task ended between our look and our knock: look again.
                Err(mpsc::error::SendError(back)) => {
                    ask = back;
                    let mut live = self.live.lock();
                    if live.get(session).is_some_and(mpsc::Sender::is_closed) {
                        live.remove(session);
                    }
                }
            }
        }
    }

    fn wake(self: &Arc<Self>, session: &SessionId) -> mpsc::Sender<Ask> {
        match self.live.lock().entry(session.clone()) {
            Slot::Occupied(slot) => slot.get().clone(),
            Slot::Vacant(slot) => {
                let (asks, inbox) = mpsc::channel(ASKS);
                slot.insert(asks.clone());
                self.tasks.spawn(Task::run(Arc::clone(self), session.clone(), inbox));
                asks
            }
        }
    }

    /// Asks something of those of these sessions that are live; the others learn of it when they wake.
    pub(crate) async fn ask_live(&self, sessions: &[SessionId], what: impl Fn() -> What) {
        let live: Vec<_> = {
            let live = self.live.lock();
            sessions.iter().filter_map(|session| live.get(session).cloned()).collect()
        };
        for asks in live {
            // A mailbox that is closed belongs to a task that ends anyway.
            drop(asks.send(Ask { user: self.nobody.clone(), what: what() }).await);
        }
    }

    /// Takes a session out of the registry, if nobody has asked anything meanwhile.
    pub(crate) fn passivate(&self, session: &SessionId, asks: &mut mpsc::Receiver<Ask>) -> bool {
        let mut live = self.live.lock();
        if !asks.is_empty() {
            return false;
        }
        live.remove(session);
        asks.close();
        true
    }

    /// Takes a session out of the registry, whatever was asked.
    pub(crate) fn forget(&self, session: &SessionId, asks: &mut mpsc::Receiver<Ask>) {
        let mut live = self.live.lock();
        live.remove(session);
        asks.close();
    }

    /// The time, by the hub's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// Tells followers of the session list, where records change what it shows.
    pub(crate) fn changed(&self, user: &UserId, session: &SessionId, records: &[Record]) {
        let shows = |record: &Record| {
            matches!(
                record.event,
                Event::Session(SessionEvent::Renamed { .. })
                    | Event::Input(InputEvent::UserMessage { .. })
                    | Event::Turn(
                        TurnEvent::Started { .. }
                            | TurnEvent::ApprovalAsked { .. }
                            | TurnEvent::ApprovalSettled { .. }
                            | TurnEvent::Ended { .. }
                    )
            )
        };
        if self.changes.receiver_count() > 0 && records.iter().any(shows) {
            self.tell(user, session, false);
        }
    }

    pub(crate) fn tell(&self, user: &UserId, session: &SessionId, gone: bool) {
        // Nobody following is no error.
        drop(self.changes.send(Changed { user: user.clone(), session: session.clone(), gone }));
    }
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

pub(crate) fn lost() -> Refusal {
    Refusal::new(
        RefusalCode::Stopping,
        "the session's task ended before it could answer; send it again",
    )
}
