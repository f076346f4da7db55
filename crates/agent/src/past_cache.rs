//! Cache of pasts between turns, so that a turn reads only new records.

use std::collections::{BTreeMap, HashMap};

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_store::SessionNum;

use crate::past::Past;

/// The pasts of the most recent sessions, up to a size. A session that is not cached only takes
/// longer.
pub(crate) struct PastCache {
    max_bytes: usize,
    state: Mutex<PastCacheState>,
}

#[derive(Default)]
struct PastCacheState {
    entries: HashMap<SessionNum, CachedPast>,
    /// Sessions by insertion order, oldest first.
    by_age: BTreeMap<u64, SessionNum>,
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
    pub(crate) fn take(&self, log: SessionNum) -> Option<Past> {
        self.state().take(log)
    }

    /// Caches a session's past, and evicts the oldest entries if the cache is full.
    pub(crate) fn keep(&self, log: SessionNum, past: Past) {
        let bytes = past.bytes();
        let mut state = self.state();
        state.take(log);
        state.newest += 1;
        let age = state.newest;
        state.bytes += bytes;
        state.by_age.insert(age, log);
        state.entries.insert(log, CachedPast { past, bytes, age });
        while state.bytes > self.max_bytes {
            let Some((_, oldest)) = state.by_age.first_key_value() else { return };
            let oldest = *oldest;
            state.take(oldest);
        }
    }

    fn state(&self) -> MutexGuard<'_, PastCacheState> {
        self.state.lock()
    }
}

impl PastCacheState {
    fn take(&mut self, log: SessionNum) -> Option<Past> {
        let CachedPast { past, bytes, age } = self.entries.remove(&log)?;
        self.by_age.remove(&age);
        self.bytes -= bytes;
        Some(past)
    }
}
