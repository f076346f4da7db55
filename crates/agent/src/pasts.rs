//! Cache of pasts between turns, so that a turn reads only new records.

use std::collections::{BTreeMap, HashMap};

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_store::SessionNum;

use crate::past::Past;

/// The pasts of the most recent sessions, up to a size. A session that is not cached only takes
/// longer.
pub(crate) struct Pasts {
    most_bytes: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    kept: HashMap<SessionNum, Kept>,
    /// Sessions by insertion order, oldest first.
    by_age: BTreeMap<u64, SessionNum>,
    bytes: usize,
    newest: u64,
}

struct Kept {
    past: Past,
    bytes: usize,
    age: u64,
}

impl Pasts {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, shelf: Mutex::default() }
    }

    /// Takes the cached past of a session for its next turn.
    pub(crate) fn take(&self, log: SessionNum) -> Option<Past> {
        self.shelf().take(log)
    }

    /// Caches a session's past, and evicts the oldest entries if the cache is full.
    pub(crate) fn keep(&self, log: SessionNum, past: Past) {
        let bytes = past.bytes();
        let mut shelf = self.shelf();
        shelf.take(log);
        shelf.newest += 1;
        let age = shelf.newest;
        shelf.bytes += bytes;
        shelf.by_age.insert(age, log);
        shelf.kept.insert(log, Kept { past, bytes, age });
        while shelf.bytes > self.most_bytes {
            let Some((_, oldest)) = shelf.by_age.first_key_value() else { return };
            let oldest = *oldest;
            shelf.take(oldest);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }
}

impl Shelf {
    fn take(&mut self, log: SessionNum) -> Option<Past> {
        let Kept { past, bytes, age } = self.kept.remove(&log)?;
        self.by_age.remove(&age);
        self.bytes -= bytes;
        Some(past)
    }
}
