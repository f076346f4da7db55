//! Reads the sessions that changed and publishes them in their user's feed.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use futures::future::BoxFuture;
use thoughtwire_proto::{Refusal, SessionId, SessionListing, UserId};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::feed::Feed;
use crate::services::Changed;

/// Time between two updates of a list. All changes in between are told once, at its end.
const UPDATE_EVERY: Duration = Duration::from_millis(250);
/// Number of changed sessions above which the whole list is read at once.
const MAX_READ_SINGLY: usize = 32;

/// The sessions that have to be read.
enum Dirty {
    /// These sessions.
    Sessions(BTreeSet<SessionId>),
    /// All of the user's sessions: changes were missed.
    Everything,
}

impl Dirty {
    fn none() -> Self {
        Self::Sessions(BTreeSet::new())
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::Sessions(sessions) if sessions.is_empty())
    }

    /// Takes note of a change. The result is false when no more can come.
    fn note(
        &mut self,
        user: &UserId,
        changed: Result<Changed, broadcast::error::RecvError>,
    ) -> bool {
        match (changed, self) {
            (Ok(Changed::Session { user: of, session, .. }), Self::Sessions(sessions))
                if of == *user =>
            {
                sessions.insert(session);
            }
            (Ok(Changed::Session { .. }), _) => {}
            (Ok(Changed::Lists) | Err(broadcast::error::RecvError::Lagged(_)), dirty) => {
                *dirty = Self::Everything;
            }
            (Err(broadcast::error::RecvError::Closed), _) => return false,
        }
        true
    }
}

/// Reads the listings of some sessions, or of all.
pub(super) type ReadList = Box<
    dyn Fn(Option<Vec<SessionId>>) -> BoxFuture<'static, Result<Vec<SessionListing>, Refusal>>
        + Send
        + Sync,
>;

/// Follows the changes of one user's sessions until nobody watches or the hub is gone.
pub(super) async fn follow(
    feed: Weak<Feed>,
    user: UserId,
    mut changes: broadcast::Receiver<Changed>,
    read: ReadList,
) {
    // The list at the start is known to watchers: only what differs from it is told.
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
        let few = named.as_ref().filter(|named| named.len() <= MAX_READ_SINGLY);
        let list = read(few.map(|few| few.iter().cloned().collect())).await;
        let Some(feed) = feed.upgrade() else { return };
        match list {
            Ok(list) if has_begun => {
                let is_everything = named.is_none();
                feed.publish(feed.differences(named, list), is_everything);
            }
            Ok(list) => {
                has_begun = true;
                feed.begin(list);
            }
            // The next round reads all of it.
            Err(_) => dirty = Dirty::Everything,
        }
        drop(feed);
        let until = Instant::now() + UPDATE_EVERY;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => break,
                changed = changes.recv() => if !dirty.note(&user, changed) { return },
            }
        }
    }
}
