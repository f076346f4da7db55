//! The list of a user's sessions for clients that watch it. It is read once per change and user,
//! encoded once, and each watcher reads it at its own pace.
//!
//! ```text
//! sessions ──Changed──▶ feed (one per watched user) ──versions──▶ watchers (a cursor each)
//! ```

mod entry;
mod feed;
mod follow;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thoughtwire_proto::UserId;
use thoughtwire_store::{SessionFilter, Store};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

pub use entry::{ListChange, ListEntry};
use feed::Feed;
use follow::{ReadList, follow};

use crate::services::Changed;

/// The news for one watcher.
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

impl Watcher {
    fn new(feed: Arc<Feed>) -> Self {
        let mut changed = feed.subscribe();
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
        match self.feed.between(seen, self.seen) {
            Some(entries) => ListNews::Entries(entries),
            None => ListNews::Everything,
        }
    }
}

/// Watches a user's list. The watcher is told of each change from now on, in its newest state and
/// at most four times a second for each session. The caller reads the list as it is now.
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
            let directory = store.directory();
            let Some(wanted) = wanted else {
                return Ok(directory.sessions(&owner, &SessionFilter::default()).await?);
            };
            let mut list = Vec::new();
            for id in wanted {
                let filter = SessionFilter { id: Some(id), ..SessionFilter::default() };
                list.extend(directory.sessions(&owner, &filter).await?);
            }
            Ok(list)
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
    feed.keep(AbortOnDropHandle::new(task));
    feeds.insert(user.clone(), Arc::downgrade(&feed));
    Watcher::new(feed)
}
