//! Changes that nodes on one database tell each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{AgentId, SessionId, UserId};
use tokio::sync::{Notify, broadcast, watch};

use crate::Overlong;

/// Number of changes that a follower may be behind. One that is further behind is told that it
/// missed some.
const MAX_BEHIND: usize = 1024;

/// Number of sessions whose listings wait to be told. Beyond it, all listings count as changed.
const MAX_LISTINGS: usize = 10_000;

/// Number of other announcements that wait to be told. Further ones are dropped: the next sweep
/// repeats them, and a peer finds its chats when it reconnects.
const MAX_ANNOUNCED: usize = 10_000;

/// Number of sessions in one [`StoreChange::Listings`].
const LISTINGS_AT_ONCE: usize = 500;

/// A change that another node made. The same change may be told more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreChange {
    /// Keys were added or deleted, or a secret was replaced.
    Keys,
    /// An agent has other settings.
    Agent {
        /// The user it belongs to.
        user: UserId,
        /// The agent.
        agent: AgentId,
    },
    /// An agent was deleted with its sessions.
    AgentDeleted {
        /// The user it belonged to.
        user: UserId,
        /// The agent.
        agent: AgentId,
        /// Its sessions.
        sessions: Vec<SessionId>,
    },
    /// A session was deleted.
    SessionDeleted {
        /// The user it belonged to.
        user: UserId,
        /// The session.
        session: SessionId,
    },
    /// Listings of sessions changed, or sessions are new.
    Listings(Vec<(UserId, SessionId)>),
    /// The listing of any session may have changed.
    AllListings,
    /// A node has left or was declared dead: its sessions are no longer its own. It may not have
    /// told its last changes of listings.
    NodeGone {
        /// Where the others reached it.
        url: Option<String>,
    },
    /// A log of this node is longer than its retention.
    Overlong(Overlong),
    /// A connection of a peer opened a chat.
    ChatOpened {
        /// The peer's user.
        user: UserId,
        /// The chat, for the peer's connections.
        joined: Joined,
    },
}

impl StoreChange {
    /// The session whose node alone has to learn of the change; `None` if all nodes have to.
    pub(crate) fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Overlong(overlong) => Some(&overlong.session),
            Self::Keys
            | Self::Agent { .. }
            | Self::AgentDeleted { .. }
            | Self::SessionDeleted { .. }
            | Self::Listings(_)
            | Self::AllListings
            | Self::NodeGone { .. }
            | Self::ChatOpened { .. } => None,
        }
    }
}

/// The changes of other nodes, and those that other nodes are told of. Cheap to clone; all clones
/// are one. A store that no other process shares has no changes and tells none.
#[derive(Clone, Default)]
pub struct StoreChanges(Option<Arc<SharedChanges>>);

struct SharedChanges {
    /// `None` once the store is closed.
    followers: Mutex<Option<broadcast::Sender<StoreChange>>>,
    pending: Mutex<PendingChanges>,
    /// Wakes the task that tells the other nodes.
    wake: Notify,
    /// Whether the transaction under way has recorded a change.
    is_recording: AtomicBool,
    has_other_nodes: AtomicBool,
    /// Addresses of other nodes that live.
    addresses: watch::Sender<Vec<String>>,
}

/// Changes that other nodes are not told of yet.
#[derive(Default)]
pub(crate) struct PendingChanges {
    listings: HashSet<(UserId, SessionId)>,
    all_listings: bool,
    announced: Vec<StoreChange>,
    /// Whether transactions have recorded changes, which only have to be pointed out.
    has_recorded: bool,
}

impl StoreChanges {
    /// Changes of a store that several nodes share.
    pub(crate) fn shared() -> Self {
        Self(Some(Arc::new(SharedChanges {
            followers: Mutex::new(Some(broadcast::Sender::new(MAX_BEHIND))),
            pending: Mutex::default(),
            wake: Notify::new(),
            is_recording: AtomicBool::new(false),
            has_other_nodes: AtomicBool::new(false),
            addresses: watch::Sender::default(),
        })))
    }

    /// Follows what other nodes change from now on, until the store is closed. `None` if no other
    /// node can share the store.
    #[must_use]
    pub fn follow(&self) -> Option<broadcast::Receiver<StoreChange>> {
        let followers = self.0.as_ref()?.followers.lock();
        followers.as_ref().map(broadcast::Sender::subscribe)
    }

    /// Whether there are other nodes to tell.
    #[must_use]
    pub fn has_other_nodes(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.has_other_nodes.load(Ordering::Relaxed))
    }

    /// Addresses under which the other nodes that live are reached, as they change. `None` if no
    /// other node can share the store.
    #[must_use]
    pub fn addresses(&self) -> Option<watch::Receiver<Vec<String>>> {
        self.0.as_ref().map(|shared| shared.addresses.subscribe())
    }

    /// Tells other nodes that the listing of a session changed: soon, with others, and the same one
    /// once.
    pub fn announce_listing(&self, user: &UserId, session: &SessionId) {
        let Some(shared) = self.0.as_ref().filter(|_| self.has_other_nodes()) else { return };
        let mut pending = shared.pending.lock();
        if pending.listings.len() >= MAX_LISTINGS {
            pending.renew_listings();
        } else if !pending.all_listings {
            pending.listings.insert((user.clone(), session.clone()));
        }
        drop(pending);
        shared.wake.notify_one();
    }

    /// Tells the node of a session that its log is too long.
    pub fn announce_overlong(&self, overlong: Overlong) {
        self.announce(StoreChange::Overlong(overlong));
    }

    /// Tells a peer's connections to other nodes of a chat that it opened.
    pub fn announce_chat(&self, user: &UserId, joined: &Joined) {
        self.announce(StoreChange::ChatOpened { user: user.clone(), joined: joined.clone() });
    }

    fn announce(&self, change: StoreChange) {
        let Some(shared) = self.0.as_ref().filter(|_| self.has_other_nodes()) else { return };
        let mut pending = shared.pending.lock();
        if pending.announced.len() < MAX_ANNOUNCED {
            pending.announced.push(change);
        }
        drop(pending);
        shared.wake.notify_one();
    }

    /// Notes the other nodes by their addresses. New ones may have missed changes of listings.
    pub(crate) fn set_other_nodes(&self, nodes: Vec<Option<String>>) {
        let Some(shared) = &self.0 else { return };
        let has_other_nodes = !nodes.is_empty();
        let addresses: Vec<_> = nodes.into_iter().flatten().collect();
        shared.addresses.send_if_modified(|known| {
            let is_new = *known != addresses;
            *known = addresses;
            is_new
        });
        if !shared.has_other_nodes.swap(has_other_nodes, Ordering::Relaxed) && has_other_nodes {
            shared.pending.lock().renew_listings();
            shared.wake.notify_one();
        }
    }

    /// Notes that the transaction under way has recorded a change.
    pub(crate) fn note_recording(&self) {
        if let Some(shared) = &self.0 {
            shared.is_recording.store(true, Ordering::Relaxed);
        }
    }

    /// Has other nodes look at the changes that the ended transaction recorded, if any.
    pub(crate) fn tell_recorded(&self) {
        let Some(shared) = &self.0 else { return };
        if shared.is_recording.swap(false, Ordering::Relaxed) {
            shared.pending.lock().has_recorded = true;
            shared.wake.notify_one();
        }
    }

    /// Waits until there is something to tell. Can be dropped and called again.
    pub(crate) async fn woken(&self) {
        match &self.0 {
            Some(shared) => shared.wake.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Moves what other nodes have to be told to `pending`.
    pub(crate) fn take_pending(&self, pending: &mut PendingChanges) {
        if let Some(shared) = &self.0 {
            pending.take(&mut shared.pending.lock());
        }
    }

    /// Hands a change of another node to the followers.
    pub(crate) fn deliver(&self, change: StoreChange) {
        let Some(shared) = &self.0 else { return };
        if let Some(followers) = &*shared.followers.lock() {
            // Nobody following is no error.
            drop(followers.send(change));
        }
    }

    /// Ends the followers' streams.
    pub(crate) fn close(&self) {
        if let Some(shared) = &self.0 {
            drop(shared.followers.lock().take());
        }
    }
}

impl PendingChanges {
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_recorded
            && !self.all_listings
            && self.listings.is_empty()
            && self.announced.is_empty()
    }

    fn renew_listings(&mut self) {
        self.all_listings = true;
        self.listings.clear();
    }

    fn take(&mut self, other: &mut Self) {
        let PendingChanges { listings, all_listings, announced, has_recorded } =
            std::mem::take(other);
        self.listings.extend(listings);
        self.announced.extend(announced);
        self.has_recorded |= has_recorded;
        if all_listings || self.all_listings || self.listings.len() > MAX_LISTINGS {
            self.renew_listings();
        }
    }

    /// The changes that have to be saved for the other nodes.
    pub(crate) fn to_save(&self) -> Vec<StoreChange> {
        let listings: Vec<_> = self.listings.iter().cloned().collect();
        let listings = listings.chunks(LISTINGS_AT_ONCE);
        let listings = listings.map(|some| StoreChange::Listings(some.to_vec()));
        let all = self.all_listings.then_some(StoreChange::AllListings);
        self.announced.iter().cloned().chain(listings).chain(all).collect()
    }
}
