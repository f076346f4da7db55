//! News for readers that sleep.
//!
//! To wake a reader's task for each event costs more than to hand it the event, so one that has
//! nothing else to do lends the tail its place and an [`Outlet`], and sleeps. What is published then
//! goes to all who lent theirs, some dozens in one task; a reader whose outlet takes no more, and one
//! that lent nothing, is woken and reads on by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thoughtwire_proto::Seq;

use super::{Entry, Found, MOST, Reader, Tail};

/// Readers that share a task: few enough that all cores have some of a full room.
const GROUP: usize = 32;
/// Readers served before others have their turn, the session itself among them: in a burst whoever is
/// served later then finds more, and takes it in one.
const AT_ONCE: usize = 4;

/// Where a reader's news go while it sleeps.
pub trait Outlet: Send + Sync {
    /// Takes the first of these entries, without waiting, and tells how many. The others are brought
    /// again soon; but when it takes none, nothing more is brought: the reader is woken, and finds them
    /// at its place. Called while the place is locked, so it must not ask anything of its subscription.
    fn take(&self, entries: &[Arc<Entry>]) -> usize;
}

/// A sleeping reader's place.
pub(crate) struct Lent {
    outlet: Arc<dyn Outlet>,
    /// In the tail.
    pub(crate) position: u64,
    /// The last record handed out.
    pub(crate) seen: Seq,
    /// Whether it can be brought more.
    is_open: bool,
}

impl Lent {
    pub(crate) fn new(outlet: Arc<dyn Outlet>, position: u64, seen: Seq) -> Self {
        Self { outlet, position, seen, is_open: true }
    }

    fn push(&mut self, tail: &Tail, batch: &mut Option<Batch>) {
        if !self.is_open || !tail.has_news(self.position) {
            return;
        }
        let entries = match batch {
            Some(batch) if batch.from == self.position => &batch.entries,
            Some(_) | None => match tail.take(self.position, MOST) {
                Found::Entries(entries, _) => {
                    &batch.insert(Batch { from: self.position, entries }).entries
                }
                Found::Behind | Found::Closed(_) => {
                    self.is_open = false;
                    return;
                }
            },
        };
        // Not open again should it panic.
        self.is_open = false;
        let taken = self.outlet.take(entries).min(entries.len());
        self.is_open = taken > 0;
        self.position += taken as u64;
        if let Some(seq) = entries.iter().take(taken).rev().find_map(|entry| entry.seq()) {
            self.seen = seq;
        }
    }
}

/// What lies behind a place at which several readers are.
struct Batch {
    from: u64,
    entries: Vec<Arc<Entry>>,
}

/// Some readers of a tail.
#[derive(Default)]
pub(crate) struct Group {
    readers: Mutex<Vec<Weak<Reader>>>,
    is_pushing: AtomicBool,
}

impl Group {
    /// Takes a reader in, if there is room.
    pub(crate) fn join(&self, reader: &Arc<Reader>) -> bool {
        let mut readers = self.readers.lock();
        let has_room = readers.len() < GROUP;
        if has_room {
            readers.push(Arc::downgrade(reader));
        }
        has_room
    }

    /// Those that are there. Forgets those that left.
    pub(crate) fn readers(&self) -> Vec<Arc<Reader>> {
        let mut there = Vec::new();
        self.readers.lock().retain(|reader| {
            let reader = reader.upgrade().filter(|reader| !reader.has_left());
            let is_there = reader.is_some();
            there.extend(reader);
            is_there
        });
        there
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.readers.lock().iter().filter_map(Weak::upgrade).all(|reader| reader.has_left())
    }

    pub(crate) fn wake(&self) {
        for reader in self.readers() {
            reader.wake.notify_one();
        }
    }

    /// Has a task bring all of them what is new, unless one is at it.
    pub(crate) fn push(self: &Arc<Self>, tail: &Arc<Tail>) {
        if !self.is_pushing.swap(true, Ordering::SeqCst) {
            tokio::spawn(Arc::clone(self).bring(Arc::clone(tail)));
        }
    }

    async fn bring(self: Arc<Self>, tail: Arc<Tail>) {
        let _guard = Guard(&self);
        let mut told = None;
        loop {
            let published = tail.published();
            let is_behind =
                self.bring_once(&tail, told.replace(published) != Some(published)).await;
            // In this order: what is published from here on finds nobody at it, or is seen below.
            self.is_pushing.store(false, Ordering::SeqCst);
            if (tail.published() == published && !is_behind)
                || self.is_pushing.swap(true, Ordering::SeqCst)
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Tells whether somebody who can be brought more is not there yet.
    async fn bring_once(&self, tail: &Tail, is_news: bool) -> bool {
        let mut is_behind = false;
        for (number, readers) in self.readers().chunks(AT_ONCE).enumerate() {
            if number > 0 {
                tokio::task::yield_now().await;
            }
            let mut batch = None;
            for reader in readers {
                let mut lent = reader.lent.lock();
                if let Some(lent) = &mut *lent {
                    lent.push(tail, &mut batch);
                }
                match &*lent {
                    Some(lent) if lent.is_open => is_behind |= tail.has_news(lent.position),
                    Some(_) => reader.wake.notify_one(),
                    None if is_news => reader.wake.notify_one(),
                    None => {}
                }
            }
        }
        is_behind
    }
}

/// A reader whose outlet panics takes nobody along: the others are woken, and brought what comes next.
struct Guard<'a>(&'a Group);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_pushing.store(false, Ordering::SeqCst);
            self.0.wake();
        }
    }
}
