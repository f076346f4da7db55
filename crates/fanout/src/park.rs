//! A reader's slot, and its state while it is parked in it.

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use crate::{EntrySource, SharedSink};

/// Entries that are pushed to a reader at a time.
const MAX_BATCH: usize = 256;

/// Receives a reader's entries while the reader is parked.
pub trait DirectSink<E>: Send + Sync {
    /// Accepts the first of these entries, without waiting. The result is how many it accepted.
    ///
    /// The others are pushed again soon. After 0 nothing more is pushed: the reader is woken and
    /// finds them at its position. Called while the reader's slot is locked, so it must not use it.
    fn accept(&self, entries: &[E]) -> usize;
}

/// The place in which one reader parks.
pub struct ParkSlot<E> {
    parked: Mutex<Option<ParkedReader<E>>>,
    /// Set before the fan-out forgets the reader: a push may know it a little longer.
    has_left: AtomicBool,
}

/// The state of a parked reader when it takes over again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unparked {
    /// Its position behind what its sink accepted.
    pub position: u64,
    /// The sequence number of the last numbered entry that its sink accepted.
    pub last_seq: Option<u64>,
}

/// A reader that sleeps while entries are pushed into its sink.
pub(crate) struct ParkedReader<E> {
    sink: SharedSink<E>,
    position: u64,
    last_seq: Option<u64>,
    /// Whether more can be pushed.
    is_open: bool,
}

/// The entries behind a position at which several readers are.
pub(crate) struct PushBatch<E> {
    from: u64,
    entries: Vec<E>,
}

impl<E> Default for ParkSlot<E> {
    fn default() -> Self {
        Self { parked: Mutex::new(None), has_left: AtomicBool::new(false) }
    }
}

impl<E> ParkSlot<E> {
    /// Takes the reader out of its slot. From here on nothing is pushed to it.
    pub fn unpark(&self) -> Option<Unparked> {
        let parked = self.parked.lock().take()?;
        Some(Unparked { position: parked.position, last_seq: parked.last_seq })
    }

    /// Takes the reader out of its slot for good.
    pub fn leave(&self) {
        drop(self.parked.lock().take());
        self.has_left.store(true, Ordering::Release);
    }

    /// Tells whether the reader has left for good.
    pub fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    pub(crate) fn park(&self, sink: SharedSink<E>, position: u64) {
        let parked = ParkedReader { sink, position, last_seq: None, is_open: true };
        *self.parked.lock() = Some(parked);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<ParkedReader<E>>> {
        self.parked.lock()
    }
}

impl<E> ParkedReader<E> {
    /// Pushes what lies behind the reader's position, at most a batch of it.
    pub(crate) fn push<S>(&mut self, source: &S, batch: &mut Option<PushBatch<E>>)
    where
        S: EntrySource<Item = E>,
    {
        if !self.is_open || source.published() <= self.position {
            return;
        }
        let entries = match batch {
            Some(batch) if batch.from == self.position => &batch.entries,
            Some(_) | None => match source.entries_from(self.position, MAX_BATCH) {
                Some(entries) => &batch.insert(PushBatch { from: self.position, entries }).entries,
                None => {
                    self.is_open = false;
                    return;
                }
            },
        };
        // Not open again should the sink panic.
        self.is_open = false;
        let accepted = self.sink.accept(entries).min(entries.len());
        self.is_open = accepted > 0;
        self.position += accepted as u64;
        self.last_seq = entries.iter().take(accepted).rev().find_map(S::seq_of).or(self.last_seq);
    }

    /// Tells whether more can be pushed.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }
}
