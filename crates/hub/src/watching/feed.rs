//! The newest change of each session of one user.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_proto::{SessionId, SessionListing};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::entry::{ListChange, ListEntry};

/// Entries of a feed. A watcher that is further behind has to read the whole list instead.
pub(super) const MAX_ENTRIES: usize = 4096;

/// The newest change of each session of one user.
pub(crate) struct Feed {
    latest: Mutex<LatestChanges>,
    /// The number of changes that were published.
    version: watch::Sender<u64>,
    /// Follows the changes. It ends with the last watcher.
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Default)]
struct LatestChanges {
    /// The newest change of each session, by version.
    order: BTreeMap<u64, Arc<ListEntry>>,
    /// The version of each session in `order`.
    versions: HashMap<SessionId, u64>,
    /// Sessions as they were last read, and whether watchers were told.
    known: HashMap<SessionId, (SessionListing, bool)>,
    /// Watchers that have not seen this version have missed entries.
    floor: u64,
}

impl Feed {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            latest: Mutex::default(),
            version: watch::Sender::new(0),
            task: Mutex::default(),
        })
    }

    /// Keeps the task that follows the changes for as long as the feed lives.
    pub(super) fn keep(&self, task: AbortOnDropHandle<()>) {
        *self.task.lock() = Some(task);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The changes behind one version up to another; `None` when some are no longer kept.
    pub(super) fn between(&self, seen: u64, version: u64) -> Option<Vec<Arc<ListEntry>>> {
        let latest = self.latest.lock();
        if seen < latest.floor {
            return None;
        }
        let range = latest.order.range((Excluded(seen), Included(version)));
        Some(range.map(|(_, entry)| Arc::clone(entry)).collect())
    }

    /// Takes note of the whole list as watchers know it at the start.
    pub(super) fn begin(&self, list: Vec<SessionListing>) {
        let known = list.into_iter().map(|listing| (listing.id.clone(), (listing, false)));
        self.latest.lock().known = known.collect();
    }

    /// The changes that follow from reading the named sessions, or all: those that are not in the
    /// list are gone.
    pub(super) fn differences(
        &self,
        named: Option<BTreeSet<SessionId>>,
        list: Vec<SessionListing>,
    ) -> Vec<ListChange> {
        let mut list: BTreeMap<_, _> =
            list.into_iter().map(|listing| (listing.id.clone(), listing)).collect();
        let wanted = named.unwrap_or_else(|| {
            let known = self.latest.lock().known.keys().cloned().collect::<Vec<_>>();
            known.into_iter().chain(list.keys().cloned()).collect()
        });
        let change = |session: SessionId| match list.remove(&session) {
            Some(listing) => ListChange::Changed(Box::new(listing)),
            None => ListChange::Gone(session),
        };
        wanted.into_iter().map(change).collect()
    }

    /// Publishes changes that were read. Of a whole list, only what was not told before counts.
    pub(super) fn publish(&self, changes: Vec<ListChange>, is_everything: bool) {
        let mut latest = self.latest.lock();
        let mut version = *self.version.borrow();
        for change in changes {
            let is_new = match &change {
                ListChange::Changed(listing) => {
                    let now = ((**listing).clone(), true);
                    let before = latest.known.insert(listing.id.clone(), now.clone());
                    !is_everything || before != Some(now)
                }
                ListChange::Gone(session) => {
                    latest.known.remove(session);
                    !latest.is_told_gone(session)
                }
            };
            if is_new {
                version += 1;
                latest.put(version, ListEntry::new(change));
            }
        }
        drop(latest);
        self.version.send_if_modified(|current| std::mem::replace(current, version) != version);
    }
}

impl LatestChanges {
    fn is_told_gone(&self, session: &SessionId) -> bool {
        let entry = self.versions.get(session).and_then(|version| self.order.get(version));
        entry.is_some_and(|entry| matches!(entry.change(), ListChange::Gone(_)))
    }

    fn put(&mut self, version: u64, entry: Arc<ListEntry>) {
        if let Some(before) = self.versions.insert(entry.session().clone(), version) {
            self.order.remove(&before);
        }
        self.order.insert(version, entry);
        if self.order.len() > MAX_ENTRIES
            && let Some((dropped, entry)) = self.order.pop_first()
        {
            self.versions.remove(entry.session());
            self.floor = dropped;
        }
    }
}
