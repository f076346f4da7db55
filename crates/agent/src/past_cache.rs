//! Cache of pasts between turns, so that a turn reads only new records.

use std::collections::{BTreeMap, HashMap};

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_proto::SessionId;

use crate::past::Past;

/// The pasts of the most recent sessions, up to a size. A session that is not cached only takes
/// longer.
pub(crate) struct PastCache {
    max_bytes: usize,
    state: Mutex<PastCacheState>,
}

#[derive(Default)]
struct PastCacheState {
    entries: HashMap<SessionId, CachedPast>,
    /// Sessions by insertion order, oldest first.
    by_age: BTreeMap<u64, SessionId>,
    bytes: usize,
    newest: u64,
}

struct CachedPast {
    past: Past,
    bytes: usize,
    age: u64,
}

impl PastCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::default() }
    }

    /// Takes the cached past of a session for its next turn.
    pub(crate) fn take(&self, session: &SessionId) -> Option<Past> {
        self.state().take(session)
    }

    /// Caches a session's past, and evicts the oldest entries if the cache is full.
    pub(crate) fn keep(&self, session: &SessionId, past: Past) {
        let bytes = past.bytes();
        let mut state = self.state();
        state.take(session);
        state.newest += 1;
        let age = state.newest;
        state.bytes += bytes;
        state.by_age.insert(age, session.clone());
        state.entries.insert(session.clone(), CachedPast { past, bytes, age });
        while state.bytes > self.max_bytes {
            let Some((_, oldest)) = state.by_age.first_key_value() else { return };
            let oldest = oldest.clone();
            state.take(&oldest);
        }
    }

    fn state(&self) -> MutexGuard<'_, PastCacheState> {
        self.state.lock()
    }
}

impl PastCacheState {
    fn take(&mut self, session: &SessionId) -> Option<Past> {
        let CachedPast { past, bytes, age } = self.entries.remove(session)?;
        self.by_age.remove(&age);
        self.bytes -= bytes;
        Some(past)
    }
}
