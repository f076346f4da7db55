//! The protocol under loom: each test runs in every order in which its threads can be scheduled,
//! with at most three preemptions. A lost wake shows as a deadlock.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use loom::model::Builder;
use loom::sync::Notify;
use loom::thread;

use crate::sync::Mutex as ModelMutex;
use crate::{
    DirectSink, EntrySource, Fanout, ParkSlot, PartialWrite, PushProgress, PushReader, PushRun,
};

fn check(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// A tail of numbers: the entry at position `n` is `n + 1`, and is its own sequence number.
#[derive(Default)]
struct NumberTail {
    entries: ModelMutex<Vec<u64>>,
    fanout: Fanout<ModelReader>,
}

#[derive(Default)]
struct ModelReader {
    slot: ParkSlot<u64>,
    signal: SignalOnce,
}

/// A stored wake, as tokio's `Notify` has.
struct SignalOnce(Notify);

impl Default for SignalOnce {
    fn default() -> Self {
        Self(Notify::new())
    }
}

impl PushReader for ModelReader {
    type Item = u64;

    fn slot(&self) -> &ParkSlot<u64> {
        &self.slot
    }

    fn wake(&self) {
        self.signal.0.notify();
    }
}

impl EntrySource for NumberTail {
    type Item = u64;

    fn published(&self) -> u64 {
        self.fanout.published()
    }

    fn entries_from(&self, position: u64, most: usize) -> Option<Vec<u64>> {
        let entries = self.entries.lock();
        Some(entries.iter().skip(position as usize).take(most).copied().collect())
    }

    fn seq_of(entry: &u64) -> Option<u64> {
        Some(*entry)
    }
}

impl NumberTail {
    fn with_reader() -> (Arc<Self>, Arc<ModelReader>) {
        let (tail, reader) = (Arc::new(Self::default()), Arc::new(ModelReader::default()));
        tail.fanout.join(&reader);
        (tail, reader)
    }

    /// Publishes the next number, and drives the push that this begins.
    fn publish(&self) {
        let runs = {
            let mut entries = self.entries.lock();
            let next = entries.len() as u64 + 1;
            entries.push(next);
            self.fanout.announce(next)
        };
        runs.into_iter().for_each(|run| self.drive(run));
    }

    fn drive(&self, mut run: PushRun<ModelReader>) {
        while run.step(self) == PushProgress::More {
            thread::yield_now();
        }
    }
}

/// A client's end: what arrived there, in order. Locked only for a moment that loom need not see.
#[derive(Default)]
struct DeliveredEntries(Mutex<Vec<u64>>);

impl DeliveredEntries {
    fn add(&self, entries: &[u64]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    fn arrived(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Accepts at most so many entries of each batch. The last of all wakes the reader, as whatever
/// else happens to a connection does.
struct CountingSink {
    wire: Arc<DeliveredEntries>,
    reader: Arc<ModelReader>,
    most: usize,
    last: u64,
}

impl DirectSink<u64> for CountingSink {
    fn accept(&self, entries: &[u64]) -> usize {
        let accepted = entries.get(..entries.len().min(self.most)).unwrap_or_default();
        self.wire.add(accepted);
        if accepted.contains(&self.last) {
            self.reader.wake();
        }
        accepted.len()
    }
}

/// Reads `last` entries: by itself while there are some, parked otherwise. `glances` times it
/// unparks at once, as a connection does to which something else happens.
fn read_all(
    tail: &NumberTail,
    reader: &Arc<ModelReader>,
    wire: &Arc<DeliveredEntries>,
    (most, last, mut glances): (usize, u64, usize),
) {
    let sink: Arc<dyn DirectSink<u64>> =
        Arc::new(CountingSink { wire: Arc::clone(wire), reader: Arc::clone(reader), most, last });
    let mut position = 0;
    loop {
        while tail.published() > position {
            let entries = tail.entries_from(position, 1).unwrap();
            wire.add(&entries);
            position += entries.len() as u64;
        }
        if position == last {
            return;
        }
        tail.fanout.park(reader, Arc::clone(&sink), position);
        if glances == 0 {
            reader.signal.0.wait();
        }
        glances = glances.saturating_sub(1);
        let unparked = reader.slot.unpark().unwrap();
        let expected = (unparked.position > position).then_some(unparked.position);
        assert_eq!(unparked.last_seq, expected);
        position = unparked.position;
    }
}

/// One reader and publishers of so many entries each, one thread per publisher.
fn check_delivery(publishers: &'static [u64], most: usize, glances: usize) {
    check(move || {
        let (tail, reader) = NumberTail::with_reader();
        let wire = Arc::new(DeliveredEntries::default());
        let threads: Vec<_> = publishers
            .iter()
            .map(|&count| {
                let tail = Arc::clone(&tail);
                thread::spawn(move || (0..count).for_each(|_| tail.publish()))
            })
            .collect();
        let last = publishers.iter().sum();
        read_all(&tail, &reader, &wire, (most, last, glances));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(wire.arrived(), (1..=last).collect::<Vec<_>>());
    });
}

#[test]
fn a_reader_that_parks_while_entries_are_published_gets_each_once_in_order() {
    check_delivery(&[2], usize::MAX, 0);
}

#[test]
fn an_entry_that_is_published_during_a_push_is_pushed_or_wakes_the_reader() {
    check_delivery(&[1, 1], usize::MAX, 0);
}

#[test]
fn a_reader_may_unpark_while_a_push_is_under_way() {
    check_delivery(&[2], usize::MAX, 1);
}

#[test]
fn a_sink_that_accepts_one_entry_at_a_time_is_pushed_to_again() {
    check_delivery(&[1, 1], 1, 0);
}

#[test]
fn a_sink_that_accepts_nothing_leaves_everything_to_its_reader() {
    check_delivery(&[2], 0, 0);
}

/// A stream that takes the first half of each push: one byte of the two that each entry has.
struct NarrowSink {
    wire: Arc<DeliveredEntries>,
    partial: Arc<PartialWrite>,
    reader: Arc<ModelReader>,
}

impl DirectSink<u64> for NarrowSink {
    fn accept(&self, entries: &[u64]) -> usize {
        let (Some(turn), Some(&first)) = (self.partial.begin(), entries.first()) else { return 0 };
        let byte = first as u8;
        let is_whole = turn.write(&[byte, byte], |bytes| -> io::Result<usize> {
            self.wire.add(&[u64::from(bytes[0])]);
            Ok(1)
        });
        assert!(!is_whole.unwrap());
        self.reader.wake();
        1
    }
}

#[test]
fn a_write_that_was_cut_is_resumed_before_anything_else_is_sent() {
    check(|| {
        let (tail, reader) = NumberTail::with_reader();
        let (wire, partial) =
            (Arc::new(DeliveredEntries::default()), Arc::new(PartialWrite::default()));
        let publisher = Arc::clone(&tail);
        let publisher = thread::spawn(move || (0..2).for_each(|_| publisher.publish()));
        let sink: Arc<dyn DirectSink<u64>> = Arc::new(NarrowSink {
            wire: Arc::clone(&wire),
            partial: Arc::clone(&partial),
            reader: Arc::clone(&reader),
        });
        let mut position = 0;
        while position < 2 {
            while tail.published() > position {
                for entry in tail.entries_from(position, 1).unwrap() {
                    wire.add(&[entry, entry]);
                    position += 1;
                }
            }
            if position < 2 {
                tail.fanout.park(&reader, Arc::clone(&sink), position);
                reader.signal.0.wait();
                position = reader.slot.unpark().unwrap().position;
                let rest: Vec<u64> = partial.take_rest().into_iter().map(u64::from).collect();
                wire.add(&rest);
            }
        }
        publisher.join().unwrap();
        assert_eq!(wire.arrived(), [1, 1, 2, 2]);
    });
}

/// Remembers whether its reader has left, and accepts nothing after that.
struct LeavingSink {
    has_left: Arc<std::sync::atomic::AtomicBool>,
}

impl DirectSink<u64> for LeavingSink {
    fn accept(&self, entries: &[u64]) -> usize {
        assert!(!self.has_left.load(std::sync::atomic::Ordering::SeqCst), "pushed after it left");
        entries.len()
    }
}

#[test]
fn nothing_is_pushed_to_a_reader_that_has_left() {
    check(|| {
        let (tail, reader) = NumberTail::with_reader();
        let has_left = Arc::new(std::sync::atomic::AtomicBool::new(false));
        tail.fanout.park(&reader, Arc::new(LeavingSink { has_left: Arc::clone(&has_left) }), 0);
        let publisher = Arc::clone(&tail);
        let publisher = thread::spawn(move || (0..2).for_each(|_| publisher.publish()));
        reader.slot.leave();
        has_left.store(true, std::sync::atomic::Ordering::SeqCst);
        publisher.join().unwrap();
        assert!(!tail.fanout.has_readers());
    });
}

#[test]
fn a_run_that_is_dropped_wakes_its_readers_and_the_next_one_goes_on() {
    check(|| {
        let (tail, reader) = NumberTail::with_reader();
        let wire = Arc::new(DeliveredEntries::default());
        let publisher = Arc::clone(&tail);
        let publisher = thread::spawn(move || {
            // As when a sink panics, or the runtime stops.
            let runs = {
                let mut entries = publisher.entries.lock();
                entries.push(1);
                publisher.fanout.announce(1)
            };
            drop(runs);
            publisher.publish();
        });
        read_all(&tail, &reader, &wire, (usize::MAX, 2, 0));
        publisher.join().unwrap();
        assert_eq!(wire.arrived(), [1, 2]);
    });
}
