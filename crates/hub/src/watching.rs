//! The list of a user's sessions for clients that watch it: read once per change and user, encoded
//! once, and told to each watcher at its own pace.
//!
//! ```text
//! sessions ──Changed──▶ feed (one per watched user) ──versions──▶ watchers (a cursor each)
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::dialect::native::ServerFrame;
use thoughtwire_proto::{Refusal, SessionId, SessionListing, UserId};
use thoughtwire_store::{SessionFilter, Store};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::services::Changed;
use crate::tail::Frames;

/// Time between two updates of a list; what changes meanwhile is told once, at its end.
const EVERY: Duration = Duration::from_millis(250);
/// Changed sessions from which on the whole list is read at once.
const MANY: usize = 32;
/// Entries of a feed. A watcher that is further behind is told the whole list instead.
const KEPT: usize = 4096;

/// One change of a list, encoded at most once.
pub struct ListEntry {
    change: ListChange,
    frames: Mutex<Option<(FrameLimit, Frames)>>,
}

/// What changed in a list.
#[derive(Debug, Clone, PartialEq)]
pub enum ListChange {
    /// A session is new or has changed.
    Changed(Box<SessionListing>),
    /// A session is gone.
    Gone(SessionId),
}

/// What a watcher is told.
pub enum ListNews {
    /// The newest state of each session that changed since it was last told, oldest change first.
    Entries(Vec<Arc<ListEntry>>),
    /// It is too far behind: the whole list has to be read.
    Everything,
}

/// A client's cursor in its user's list. It costs the same however far it is behind.
pub struct Watcher {
    feed: Arc<Feed>,
    seen: u64,
    changed: watch::Receiver<u64>,
}

/// The feeds of the users whose lists are watched.
pub(crate) type Feeds = Mutex<HashMap<UserId, Weak<Feed>>>;

/// The newest change of each session of one user.
pub(crate) struct Feed {
    latest: Mutex<Latest>,
    version: watch::Sender<u64>,
    /// Reads what changed; ends with the last watcher.
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Default)]
struct Latest {
    /// By version: each session stands here once.
    order: BTreeMap<u64, Arc<ListEntry>>,
    /// The version of each session that stands there.
    versions: HashMap<SessionId, u64>,
    /// Sessions as they were last read, and whether that was told.
    known: HashMap<SessionId, (SessionListing, bool)>,
    /// Watchers that have not seen this version have missed entries.
    floor: u64,
}

impl ListEntry {
    fn new(change: ListChange) -> Arc<Self> {
        Arc::new(Self { change, frames: Mutex::default() })
    }

    /// The change.
    #[must_use]
    pub fn change(&self) -> &ListChange {
        &self.change
    }

    /// Its frames on the native wire, each within the limit; shared by all watchers.
    #[must_use]
    pub fn frames(&self, limit: FrameLimit) -> Frames {
        let mut cache = self.frames.lock();
        if let Some((known, frames)) = &*cache
            && *known == limit
        {
            return Arc::clone(frames);
        }
        let frame = match &self.change {
            ListChange::Changed(listing) => ServerFrame::Session((**listing).clone()),
            ListChange::Gone(session) => ServerFrame::SessionGone { session: session.clone() },
        };
        let frames: Frames = frame.encode_within(limit).into_iter().map(Bytes::from).collect();
        *cache = Some((limit, Arc::clone(&frames)));
        frames
    }

    fn session(&self) -> &SessionId {
        match &self.change {
            ListChange::Changed(listing) => &listing.id,
            ListChange::Gone(session) => session,
        }
    }
}

impl Watcher {
    fn new(feed: Arc<Feed>) -> Self {
        let mut changed = feed.version.subscribe();
        let seen = *changed.borrow_and_update();
        Self { feed, seen, changed }
    }

    /// Waits until there is news. Can be dropped and called again.
    pub async fn changed(&mut self) {
        // The feed, which has the sender, lives as long as its watchers.
        drop(self.changed.wait_for(|version| *version > self.seen).await);
    }

    /// Takes the news.
    pub fn take(&mut self) -> ListNews {
        let seen = std::mem::replace(&mut self.seen, *self.changed.borrow_and_update());
        let latest = self.feed.latest.lock();
        if seen < latest.floor {
            return ListNews::Everything;
        }
        let range = latest.order.range((Excluded(seen), Included(self.seen)));
        ListNews::Entries(range.map(|(_, entry)| Arc::clone(entry)).collect())
    }
}

impl Feed {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            latest: Mutex::default(),
            version: watch::Sender::new(0),
            task: Mutex::default(),
        })
    }

    /// Tells what was read of sessions that are said to have changed; of `Everything` only what was
    /// not told before.
    fn publish(&self, changes: Vec<ListChange>, is_everything: bool) {
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

impl Latest {
    fn is_told_gone(&self, session: &SessionId) -> bool {
        let entry = self.versions.get(session).and_then(|version| self.order.get(version));
        entry.is_some_and(|entry| matches!(entry.change, ListChange::Gone(_)))
    }

    fn put(&mut self, version: u64, entry: Arc<ListEntry>) {
        if let Some(before) = self.versions.insert(entry.session().clone(), version) {
            self.order.remove(&before);
        }
        self.order.insert(version, entry);
        if self.order.len() > KEPT
            && let Some((dropped, entry)) = self.order.pop_first()
        {
            self.versions.remove(entry.session());
            self.floor = dropped;
        }
    }
}

/// What has to be read.
enum Dirty {
    Sessions(BTreeSet<SessionId>),
    Everything,
}

impl Dirty {
    fn none() -> Self {
        Self::Sessions(BTreeSet::new())
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::Sessions(sessions) if sessions.is_empty())
    }

    fn note(
        &mut self,
        user: &UserId,
        changed: Result<Changed, broadcast::error::RecvError>,
    ) -> bool {
        match (changed, self) {
            (Ok(changed), Self::Sessions(sessions)) if changed.user == *user => {
                sessions.insert(changed.session);
            }
            (Ok(_), _) => {}
            (Err(broadcast::error::RecvError::Lagged(_)), dirty) => *dirty = Self::Everything,
            (Err(broadcast::error::RecvError::Closed), _) => return false,
        }
        true
    }
}

/// Reads listings: those of some sessions, or of all.
pub(crate) type ReadList = Box<
    dyn Fn(Option<Vec<SessionId>>) -> BoxFuture<'static, Result<Vec<SessionListing>, Refusal>>
        + Send
        + Sync,
>;

/// Follows the changes of one user's sessions until nobody watches or the hub is gone.
async fn follow(
    feed: Weak<Feed>,
    user: UserId,
    mut changes: broadcast::Receiver<Changed>,
    read: ReadList,
) {
    // What is there at first is known: only what differs from it is told.
    let mut dirty = Dirty::Everything;
    let mut has_begun = false;
    loop {
        while dirty.is_none() {
            let changed = changes.recv().await;
            if !dirty.note(&user, changed) {
                return;
            }
        }
        let named = match std::mem::replace(&mut dirty, Dirty::none()) {
            Dirty::Sessions(sessions) => Some(sessions),
            Dirty::Everything => None,
        };
        let few = named.as_ref().filter(|named| named.len() <= MANY);
        let list = read(few.map(|few| few.iter().cloned().collect())).await;
        let Some(feed) = feed.upgrade() else { return };
        match list {
            Ok(list) if has_begun => {
                let is_everything = named.is_none();
                feed.publish(differences(&feed, named, list), is_everything);
            }
            Ok(list) => {
                has_begun = true;
                feed.latest.lock().known = list
                    .into_iter()
                    .map(|listing| (listing.id.clone(), (listing, false)))
                    .collect();
            }
            // The next round reads all of it.
            Err(_) => dirty = Dirty::Everything,
        }
        drop(feed);
        let until = Instant::now() + EVERY;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => break,
                changed = changes.recv() => if !dirty.note(&user, changed) { return },
            }
        }
    }
}

/// What was read of the named sessions, or of all; and those that are missing in it.
fn differences(
    feed: &Feed,
    named: Option<BTreeSet<SessionId>>,
    list: Vec<SessionListing>,
) -> Vec<ListChange> {
    let mut list: BTreeMap<_, _> =
        list.into_iter().map(|listing| (listing.id.clone(), listing)).collect();
    let wanted = named.unwrap_or_else(|| {
        let known = feed.latest.lock().known.keys().cloned().collect::<Vec<_>>();
        known.into_iter().chain(list.keys().cloned()).collect()
    });
    let change = |session: SessionId| match list.remove(&session) {
        Some(listing) => ListChange::Changed(Box::new(listing)),
        None => ListChange::Gone(session),
    };
    wanted.into_iter().map(change).collect()
}

/// Watches a user's list: each change from now on, in its newest state, at most four times a second
/// for each session. The list as it is now is the caller's to read.
pub(crate) fn watch_list(
    feeds: &Feeds,
    user: &UserId,
    store: &Arc<Store>,
    changes: impl FnOnce() -> broadcast::Receiver<Changed>,
) -> Watcher {
    let (store, owner) = (Arc::clone(store), user.clone());
    let read: ReadList = Box::new(move |wanted| {
        let (store, owner) = (Arc::clone(&store), owner.clone());
        Box::pin(async move {
            let read = store.reading(move |store| {
                let Some(wanted) = wanted else {
                    return store.sessions(&owner, &SessionFilter::default());
                };
                let mut list = Vec::new();
                for id in wanted {
                    let filter = SessionFilter { id: Some(id), ..SessionFilter::default() };
                    list.extend(store.sessions(&owner, &filter)?);
                }
                Ok(list)
            });
            read.await.map_err(|error| Refusal::from(&error))
        })
    });
    watch(feeds, user, changes, read)
}

fn watch(
    feeds: &Feeds,
    user: &UserId,
    changes: impl FnOnce() -> broadcast::Receiver<Changed>,
    read: ReadList,
) -> Watcher {
    let mut feeds = feeds.lock();
    feeds.retain(|_, feed| feed.strong_count() > 0);
    if let Some(feed) = feeds.get(user).and_then(Weak::upgrade) {
        return Watcher::new(feed);
    }
    let feed = Feed::new();
    let task = tokio::spawn(follow(Arc::downgrade(&feed), user.clone(), changes(), read));
    *feed.task.lock() = Some(AbortOnDropHandle::new(task));
    feeds.insert(user.clone(), Arc::downgrade(&feed));
    Watcher::new(feed)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Heads = Arc<Mutex<BTreeMap<SessionId, u64>>>;

    fn listing(id: &SessionId, head: u64) -> SessionListing {
        serde_json::from_value(serde_json::json!({
            "id": id, "agent": "a-1", "agent_name": "ada", "head": head, "running": false,
            "queued": 0, "main": false, "created_at": "2026-01-01T00:00:00.000Z",
            "updated_at": "2026-01-01T00:00:00.000Z",
        }))
        .unwrap()
    }

    /// Sessions that only have heads, and how often the list was read.
    fn sessions(count: usize) -> (Heads, Arc<Mutex<u64>>, impl Fn() -> ReadList) {
        let ids = (0..count).map(|n| (format!("s-{n}").parse().unwrap(), 0));
        let heads: Heads = Arc::new(Mutex::new(ids.collect()));
        let reads: Arc<Mutex<u64>> = Arc::default();
        let (read_heads, counted) = (Arc::clone(&heads), Arc::clone(&reads));
        let read = move || -> ReadList {
            let (heads, reads) = (Arc::clone(&read_heads), Arc::clone(&counted));
            Box::new(move |wanted| {
                *reads.lock() += 1;
                let heads = heads.lock();
                let is_wanted =
                    |id: &SessionId| wanted.as_ref().is_none_or(|wanted| wanted.contains(id));
                let list = heads.iter().filter(|(id, _)| is_wanted(id));
                let list = list.map(|(id, head)| listing(id, *head)).collect();
                Box::pin(std::future::ready(Ok(list)))
            })
        };
        (heads, reads, read)
    }

    struct Told {
        frames: usize,
        last: BTreeMap<SessionId, Option<u64>>,
        everything: usize,
    }

    fn listen(mut watcher: Watcher) -> Arc<Mutex<Told>> {
        let told = Arc::new(Mutex::new(Told { frames: 0, last: BTreeMap::new(), everything: 0 }));
        let heard = Arc::clone(&told);
        tokio::spawn(async move {
            loop {
                watcher.changed().await;
                let mut heard = heard.lock();
                match watcher.take() {
                    ListNews::Everything => heard.everything += 1,
                    ListNews::Entries(entries) => {
                        for entry in entries {
                            heard.frames += entry.frames(FrameLimit::default()).len();
                            match entry.change() {
                                ListChange::Changed(listing) => {
                                    heard.last.insert(listing.id.clone(), Some(listing.head.0))
                                }
                                ListChange::Gone(id) => heard.last.insert(id.clone(), None),
                            };
                        }
                    }
                }
            }
        });
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_costs_by_its_changes_and_its_last_state_is_always_told() {
        let (heads, reads, read) = sessions(500);
        let (feeds, changes) = (Feeds::default(), broadcast::Sender::new(256));
        let (ada, eve): (UserId, UserId) = ("ada".parse().unwrap(), "eve".parse().unwrap());
        let watchers: Vec<_> =
            (0..300).map(|_| listen(watch(&feeds, &ada, || changes.subscribe(), read()))).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*reads.lock(), 1, "one feed reads for all watchers");
        // 200 turns of four events within ten seconds, in ten of the sessions.
        for turn in 0..200_u64 {
            let id: SessionId = format!("s-{}", turn % 10).parse().unwrap();
            for _ in 0..4 {
                *heads.lock().get_mut(&id).unwrap() += 1;
                let (user, session) = (ada.clone(), id.clone());
                changes.send(Changed { user, session, gone: false }).unwrap();
            }
            // Another user's changes are nobody's here.
            let (user, session) = (eve.clone(), id.clone());
            changes.send(Changed { user, session, gone: false }).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let gone: SessionId = "s-499".parse().unwrap();
        heads.lock().remove(&gone);
        changes.send(Changed { user: ada.clone(), session: gone.clone(), gone: true }).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut expected: BTreeMap<_, _> =
            heads.lock().iter().map(|(id, head)| (id.clone(), Some(*head))).collect();
        expected.retain(|_, head| *head != Some(0));
        expected.insert(gone, None);
        for told in watchers {
            let told = told.lock();
            assert_eq!(told.last, expected);
            assert_eq!(told.everything, 0);
            // Ten seconds at most four times a second, five sessions in each; not 800.
            assert!(told.frames <= 220, "{} frames", told.frames);
        }
        assert!(*reads.lock() <= 50, "{} reads", reads.lock());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_is_behind_is_told_each_session_once_or_to_read_everything() {
        let (heads, _, read) = sessions(2);
        let (feeds, changes) = (Feeds::default(), broadcast::Sender::new(256));
        let ada: UserId = "ada".parse().unwrap();
        let mut slow = watch(&feeds, &ada, || changes.subscribe(), read());
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..20 {
            for (id, head) in heads.lock().iter_mut() {
                *head += 1;
                let (user, session) = (ada.clone(), id.clone());
                changes.send(Changed { user, session, gone: false }).unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let ListNews::Entries(entries) = slow.take() else { panic!("it is not too far behind") };
        let heads: Vec<_> = entries
            .iter()
            .map(|entry| match entry.change() {
                ListChange::Changed(listing) => listing.head.0,
                ListChange::Gone(_) => 0,
            })
            .collect();
        assert_eq!(heads, [20, 20]);
        let ListNews::Entries(entries) = slow.take() else { panic!("it is up to date") };
        assert!(entries.is_empty());
        let many = (0..=KEPT).map(|n| ListChange::Gone(format!("g-{n}").parse().unwrap()));
        slow.feed.publish(many.collect(), false);
        assert!(matches!(slow.take(), ListNews::Everything));
        assert!(matches!(slow.take(), ListNews::Entries(entries) if entries.is_empty()));
    }
}
