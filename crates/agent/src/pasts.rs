//! The pasts that are kept between turns, so that a turn reads only what is new.

use std::collections::{BTreeMap, HashMap};

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_proto::SessionId;

use crate::past::Past;

/// The pasts of the sessions that spoke last, as many as have room. Who is not among them only costs
/// more time.
pub(crate) struct Pasts {
    most_bytes: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    kept: HashMap<SessionId, Kept>,
    /// By when they were put here, the oldest first.
    by_age: BTreeMap<u64, SessionId>,
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

    /// Takes what was kept of a session, for its next turn to go on from.
    pub(crate) fn take(&self, session: &SessionId) -> Option<Past> {
        self.shelf().take(session)
    }

    /// Keeps a session's past; drops those that nobody asked for the longest.
    pub(crate) fn keep(&self, session: &SessionId, past: Past) {
        let bytes = past.bytes();
        let mut shelf = self.shelf();
        shelf.take(session);
        shelf.newest += 1;
        let age = shelf.newest;
        shelf.bytes += bytes;
        shelf.by_age.insert(age, session.clone());
        shelf.kept.insert(session.clone(), Kept { past, bytes, age });
        while shelf.bytes > self.most_bytes {
            let Some((_, oldest)) = shelf.by_age.first_key_value() else { return };
            let oldest = oldest.clone();
            shelf.take(&oldest);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }
}

impl Shelf {
    fn take(&mut self, session: &SessionId) -> Option<Past> {
        let Kept { past, bytes, age } = self.kept.remove(session)?;
        self.by_age.remove(&age);
        self.bytes -= bytes;
        Some(past)
    }
}
