//! Services that live sessions and the directory share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thoughtwire_proto::{
    Event, InputEvent, Record, Refusal, RefusalCode, SessionEvent, SessionId, Timestamp, TurnEvent,
    UserId,
};
use thoughtwire_session::Now;
use thoughtwire_store::Store;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::Agent;
use crate::clock::Clock;
use crate::cluster::{NodeConnector, SharedOffers};
use crate::memory::Memory;
use crate::metrics::HubMetrics;
use crate::turn_message::Replying;
use crate::workers::OfferRegistry;

/// Settings of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// How long an idle session without subscribers stays in memory.
    pub passivate_after: Duration,
    /// Number of inputs that may wait in one session.
    pub queued_inputs: usize,
    /// Number of calls of one turn that may wait for approval at once.
    pub open_approvals: usize,
    /// How long one turn may take, not counted while it waits for people or clients.
    pub turn_within: Duration,
    /// How long the turns of a worker wait for it when it goes away.
    pub offer_grace: Duration,
    /// Runs no turns: for an owner's commands on a store that no server runs on.
    pub resting: bool,
    /// For how long a closed connection's proven cursors count, in milliseconds.
    pub proven_for_ms: i64,
    /// The wall clock.
    pub clock: Clock,
    /// Opens connections to other nodes that share the store.
    pub nodes: Option<Arc<dyn NodeConnector>>,
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
            nodes: None,
        }
    }
}

/// Change of session listings, for those who follow a user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// One session.
    Session {
        /// Its user.
        user: UserId,
        /// The session.
        session: SessionId,
        /// Whether it is gone.
        gone: bool,
    },
    /// The list of any user: another node may have changed it.
    Lists,
}

/// Services of one hub, for its sessions, registry and directory.
pub(crate) struct Services {
    pub(crate) store: Arc<Store>,
    pub(crate) agent: Arc<dyn Agent>,
    pub(crate) options: HubOptions,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: HubMetrics,
    pub(crate) workers: Arc<OfferRegistry>,
    /// Offers of the workers that are connected here, for other nodes.
    pub(crate) shared_offers: SharedOffers,
    /// Tasks that a stop waits for.
    pub(crate) tasks: TaskTracker,
    /// Work of agents. A stop waits for it only for a moment: an agent may block its thread.
    pub(crate) agent_work: TaskTracker,
    /// Held by the task that erases what was deleted from the file.
    erasing: tokio::sync::Mutex<()>,
    /// A follower that lags is told so and lists again, so the channel may be small.
    changes: broadcast::Sender<Changed>,
    /// When turns that still run have to end, once the hub stops.
    stop_at: OnceLock<Instant>,
    /// Origin of elapsed time.
    origin: Instant,
    /// Whether the last hub on this store was stopped as planned.
    pub(crate) was_stopped: bool,
}

impl Services {
    pub(crate) fn new(
        store: Arc<Store>,
        agent: Arc<dyn Agent>,
        options: HubOptions,
        was_stopped: bool,
    ) -> Self {
        let tasks = TaskTracker::new();
        Self {
            memory: Arc::new(Memory::new(Arc::clone(&store))),
            metrics: HubMetrics::default(),
            workers: Arc::new(OfferRegistry::new(
                options.offer_grace,
                Arc::clone(&agent),
                options.clock.clone(),
                tasks.clone(),
            )),
            shared_offers: SharedOffers::default(),
            store,
            agent,
            options,
            was_stopped,
            tasks,
            agent_work: TaskTracker::new(),
            erasing: tokio::sync::Mutex::default(),
            changes: broadcast::Sender::new(256),
            stop_at: OnceLock::new(),
            origin: Instant::now(),
        }
    }

    /// Wall time by the hub's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// One reading of both clocks.
    pub(crate) fn clock(&self) -> Now {
        Now { wall: self.now(), elapsed: self.origin.elapsed() }
    }

    /// Elapsed time at an instant.
    pub(crate) fn elapsed_at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin)
    }

    /// Instant of an elapsed time.
    pub(crate) fn instant_at(&self, elapsed: Duration) -> Instant {
        self.origin + elapsed
    }

    /// When turns that still run have to end, once the hub stops.
    pub(crate) fn stopping(&self) -> Option<Instant> {
        self.stop_at.get().copied()
    }

    /// Begins the stop, unless it has begun. Returns when turns have to end.
    pub(crate) fn begin_stop(&self, grace: Duration) -> Instant {
        *self.stop_at.get_or_init(|| Instant::now() + grace)
    }

    /// Runs work on a task of its own. It goes on when the caller leaves.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Replying<T> {
        let work = self.tasks.spawn(work);
        Box::pin(async move { work.await.unwrap_or_else(|_| Err(task_ended())) })
    }

    /// Erases what was deleted from the file, a little at a time, so that other writes come in
    /// between.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn erase(&self) -> Result<(), Refusal> {
        // Several at once would make others wait for all of them.
        let _turn = self.erasing.lock().await;
        // The rest is erased after the next start if the server stops.
        while self.stopping().is_none() && self.store.upkeep().erase_deleted().await? {}
        Ok(())
    }

    /// Erases behind a deletion, which has taken effect for every reader already.
    pub(crate) fn erase_deleted(self: &Arc<Self>) {
        let services = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(refusal) = services.erase().await {
                tracing::warn!(
                    %refusal,
                    "deleted data could not be erased from the file; the next sweep tries again"
                );
            }
        });
    }

    /// Follows changes of session listings.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Counts committed records, and tells followers of the list if they change what it shows.
    pub(crate) fn committed(&self, user: &UserId, session: &SessionId, records: &[Record]) {
        self.metrics.committed(records);
        let shows = |record: &Record| {
            matches!(
                record.event,
                Event::Session(SessionEvent::Renamed { .. })
                    | Event::Input(InputEvent::UserMessage { .. })
                    | Event::Turn(
                        TurnEvent::Started { .. }
                            | TurnEvent::Resumed { .. }
                            | TurnEvent::ToolRetried { .. }
                            | TurnEvent::ApprovalAsked { .. }
                            | TurnEvent::ApprovalSettled { .. }
                            | TurnEvent::Ended { .. }
                    )
            )
        };
        let is_followed =
            self.changes.receiver_count() > 0 || self.store.changes().has_other_nodes();
        if is_followed && records.iter().any(shows) {
            self.tell(user, session);
        }
    }

    /// Tells followers of the list, on all nodes, that a session changed or is new.
    pub(crate) fn tell(&self, user: &UserId, session: &SessionId) {
        self.store.changes().announce_listing(user, session);
        self.tell_here(user, session, false);
    }

    /// Tells followers on this node that a session changed or is gone. The store itself tells other
    /// nodes of edited agents and of deletions.
    pub(crate) fn tell_here(&self, user: &UserId, session: &SessionId, gone: bool) {
        let (user, session) = (user.clone(), session.clone());
        // Nobody following is no error.
        drop(self.changes.send(Changed::Session { user, session, gone }));
    }

    /// Tells followers on this node that all lists may have changed.
    pub(crate) fn tell_lists(&self) {
        drop(self.changes.send(Changed::Lists));
    }
}

/// Refusal of a request whose task ended before it could answer.
pub(crate) fn task_ended() -> Refusal {
    Refusal::new(
        RefusalCode::Stopping,
        "the session's task ended before it could answer; send it again",
    )
}
