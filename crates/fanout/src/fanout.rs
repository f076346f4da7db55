//! The readers of one source, in groups that are pushed to side by side.

use std::sync::{Arc, Weak};

use crate::push::PushRun;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::{PushReader, SharedSink};

/// Readers of one group: few enough that all cores have some of a full room.
const GROUP_SIZE: usize = 32;

/// The readers of one source.
pub struct Fanout<R: PushReader> {
    /// Number of entries that were ever published, so that a reader sees without the source's lock
    /// whether there is anything new.
    published: AtomicU64,
    /// Whether any reader has ever parked. Until then all are only woken.
    has_parked: AtomicBool,
    groups: Mutex<Vec<Arc<PushGroup<R>>>>,
}

/// Some of the readers, served by one push run at a time.
pub(crate) struct PushGroup<R> {
    readers: Mutex<Vec<Weak<R>>>,
    is_pushing: AtomicBool,
}

impl<R: PushReader> Default for Fanout<R> {
    fn default() -> Self {
        Self {
            published: AtomicU64::new(0),
            has_parked: AtomicBool::new(false),
            groups: Mutex::new(Vec::new()),
        }
    }
}

impl<R: PushReader> Fanout<R> {
    /// Number of entries that were ever announced.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    /// Adds a reader, until it leaves or is dropped.
    pub fn join(&self, reader: &Arc<R>) {
        let mut groups = self.groups.lock();
        // Most often the newest group has room.
        if !groups.iter().rev().any(|group| group.join(reader)) {
            let group = Arc::<PushGroup<R>>::default();
            group.join(reader);
            groups.push(group);
        }
    }

    /// The readers that have not left.
    pub fn readers(&self) -> Vec<Arc<R>> {
        self.groups.lock().iter().flat_map(|group| group.readers()).collect()
    }

    /// Tells whether a reader has not left.
    pub fn has_readers(&self) -> bool {
        !self.groups.lock().iter().all(|group| group.is_empty())
    }

    /// Announces that so many entries can be read: wakes the readers, or returns the push runs that
    /// have to be driven now. Called in the order of publishing, with the source locked.
    #[must_use = "a reader that is parked waits for its push run"]
    pub fn announce(&self, published: u64) -> Vec<PushRun<R>> {
        self.published.store(published, Ordering::SeqCst);
        let mut groups = self.groups.lock();
        groups.retain(|group| !group.is_empty());
        if self.has_parked.load(Ordering::SeqCst) {
            groups.iter().filter_map(PushRun::begin).collect()
        } else {
            for group in &*groups {
                group.wake();
            }
            Vec::new()
        }
    }

    /// Parks a reader that has read everything up to a position. Until it is unparked, what is
    /// published goes to `sink`, and nobody but the sink may write where it writes.
    ///
    /// The reader has to sleep until it is woken, also if something is published meanwhile.
    pub fn park(&self, reader: &R, sink: SharedSink<R::Item>, position: u64) {
        reader.slot().park(sink, position);
        self.has_parked.store(true, Ordering::SeqCst);
    }
}

impl<R> Default for PushGroup<R> {
    fn default() -> Self {
        Self { readers: Mutex::new(Vec::new()), is_pushing: AtomicBool::new(false) }
    }
}

impl<R: PushReader> PushGroup<R> {
    /// Takes a reader in, if there is room.
    fn join(&self, reader: &Arc<R>) -> bool {
        let mut readers = self.readers.lock();
        let has_room = readers.len() < GROUP_SIZE;
        if has_room {
            readers.push(Arc::downgrade(reader));
        }
        has_room
    }

    /// The readers that have not left. Forgets the others.
    pub(crate) fn readers(&self) -> Vec<Arc<R>> {
        let mut there = Vec::new();
        self.readers.lock().retain(|reader| {
            let reader = reader.upgrade().filter(|reader| !reader.slot().has_left());
            let is_there = reader.is_some();
            there.extend(reader);
            is_there
        });
        there
    }

    fn is_empty(&self) -> bool {
        let readers = self.readers.lock();
        readers.iter().filter_map(Weak::upgrade).all(|reader| reader.slot().has_left())
    }

    pub(crate) fn wake(&self) {
        for reader in self.readers() {
            reader.wake();
        }
    }

    /// Claims the group for a push run. The result is false while another run has it.
    pub(crate) fn claim(&self) -> bool {
        !self.is_pushing.swap(true, Ordering::SeqCst)
    }

    /// Gives the claim up. Swapped and not stored: so it sees what publishers wrote before they
    /// found the group claimed.
    pub(crate) fn release(&self) {
        self.is_pushing.swap(false, Ordering::SeqCst);
    }
}
