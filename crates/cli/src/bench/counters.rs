//! Counters and latency histograms that all readers of a run share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hdrhistogram::Histogram;
use tokio::time::{Duration, Instant};

use super::mark::now;

/// The longest latency that is recorded exactly.
const LONGEST: Duration = Duration::from_secs(3600);

/// Counters and histograms of a run, shared in one thread.
pub(crate) struct RunCounters {
    timed: RangeInclusive<u64>,
    /// Readers that are attached.
    pub(crate) ready: Cell<usize>,
    /// Pieces that arrived.
    pub(crate) delivered: Cell<u64>,
    /// Sum of the readers' positions, including pieces that did not arrive.
    pub(crate) passed: Cell<u64>,
    pub(crate) frames: Cell<u64>,
    pub(crate) bytes: Cell<u64>,
    pub(crate) failed: Cell<u64>,
    /// When the load began and when its last piece arrived, in microseconds since 1970.
    pub(crate) begun: Cell<u64>,
    pub(crate) last: Cell<u64>,
    /// The same time as `begun`.
    pub(crate) started: Cell<Instant>,
    pub(crate) pieces: RefCell<Histogram<u64>>,
    pub(crate) turns: RefCell<Histogram<u64>>,
    /// Error messages, and how often each occurred.
    pub(crate) complaints: RefCell<BTreeMap<String, u64>>,
    pub(crate) closed: Cell<u64>,
    pub(crate) reconnected: Cell<u64>,
}

impl RunCounters {
    /// Creates counters that record latencies in this part of the run (microseconds after its
    /// start).
    pub(crate) fn new(timed: RangeInclusive<u64>) -> anyhow::Result<Self> {
        let longest = u64::try_from(LONGEST.as_micros())?;
        Ok(Self {
            timed,
            ready: Cell::new(0),
            delivered: Cell::new(0),
            passed: Cell::new(0),
            frames: Cell::new(0),
            bytes: Cell::new(0),
            failed: Cell::new(0),
            begun: Cell::new(0),
            last: Cell::new(0),
            started: Cell::new(Instant::now()),
            pieces: RefCell::new(Histogram::new_with_bounds(1, longest, 3)?),
            turns: RefCell::new(Histogram::new_with_bounds(1, longest, 3)?),
            complaints: RefCell::default(),
            closed: Cell::new(0),
            reconnected: Cell::new(0),
        })
    }

    /// Marks the start of the load.
    pub(crate) fn begin(&self) {
        self.begun.set(now());
        self.last.set(now());
        self.started.set(Instant::now());
        self.frames.set(0);
        self.bytes.set(0);
    }

    /// Counts a frame.
    pub(crate) fn frame(&self, bytes: usize) {
        self.frames.set(self.frames.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    /// Adds a reader's progress in pieces, at this time.
    pub(crate) fn moved(&self, by: u64, at: u64) {
        self.passed.set(self.passed.get() + by);
        self.last.set(at);
    }

    /// Records a piece that arrived `late` microseconds after it was due.
    pub(crate) fn piece(&self, late: u64, at: u64) {
        self.delivered.set(self.delivered.get() + 1);
        if self.timed.contains(&at.saturating_sub(self.begun.get())) {
            self.pieces.borrow_mut().saturating_record(late.max(1));
        }
    }

    /// Records the duration of a turn.
    pub(crate) fn turn(&self, took: Duration) {
        self.turns
            .borrow_mut()
            .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Records an error message.
    pub(crate) fn complain(&self, what: &str) {
        // Long enough to recognise the cause.
        let what: String = what.chars().take(300).collect();
        let mut complaints = self.complaints.borrow_mut();
        if complaints.len() < 20 || complaints.contains_key(&what) {
            *complaints.entry(what).or_default() += 1;
        }
    }
}

pub(crate) fn increase(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
