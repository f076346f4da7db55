//! Locks for requests that look at a session and then change it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use thoughtwire_proto::SessionId;
use tokio::sync::{Mutex, MutexGuard};

/// Number of locks. Sessions that share one only wait for each other.
const LOCKS: usize = 64;

/// Locks of the sessions of one node.
#[derive(Clone)]
pub(crate) struct SessionLocks(Arc<[Mutex<()>; LOCKS]>);

impl Default for SessionLocks {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl SessionLocks {
    /// Waits for a session's lock.
    pub(crate) async fn lock(&self, session: &SessionId) -> Option<MutexGuard<'_, ()>> {
        let mut hash = DefaultHasher::new();
        session.as_str().hash(&mut hash);
        let of_session = usize::try_from(hash.finish() % LOCKS as u64).unwrap_or_default();
        // Invariant: the remainder is below `LOCKS`, so there is a lock.
        match self.0.get(of_session) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }
}
