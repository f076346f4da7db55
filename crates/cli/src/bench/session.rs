//! One session of a run: its requested inputs and its running turns.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dialect::BenchSessionName;
use super::plan::InputLimit;

/// One session of a run. Its first reader sends its inputs.
pub(crate) struct BenchSession {
    pub(crate) place: BenchSessionName,
    /// Number of inputs that were sent.
    pub(crate) asked: Cell<u64>,
    /// Number of turns that ended, with any outcome.
    pub(crate) ended: Cell<u64>,
    /// Due times of the inputs that are not sent yet.
    due: RefCell<VecDeque<Instant>>,
    /// Due times of the inputs whose turns are running.
    running: RefCell<VecDeque<Instant>>,
    pub(crate) wake: Notify,
}

impl BenchSession {
    pub(crate) fn new(place: BenchSessionName) -> Self {
        Self {
            place,
            asked: Cell::new(0),
            ended: Cell::new(0),
            due: RefCell::default(),
            running: RefCell::default(),
            wake: Notify::new(),
        }
    }

    /// Requests an input that was due at this time; it is sent as soon as possible.
    pub(crate) fn ask(&self, due: Instant) {
        self.due.borrow_mut().push_back(due);
        self.wake.notify_one();
    }

    /// Returns the number of the next input to send, if there is one.
    pub(crate) fn next(&self) -> Option<u64> {
        let due = self.due.borrow_mut().pop_front()?;
        self.running.borrow_mut().push_back(due);
        self.asked.set(self.asked.get() + 1);
        Some(self.asked.get())
    }

    /// Ends the oldest turn; returns when its input was due.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.ended.set(self.ended.get() + 1);
        self.running.borrow_mut().pop_front()
    }

    /// Whether all requested inputs were sent and their turns have ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.due.borrow().is_empty() && self.ended.get() >= self.asked.get()
    }

    /// Whether a closed loop has further inputs.
    pub(crate) fn wants_more(&self, until: InputLimit, begun: Instant) -> bool {
        match until {
            InputLimit::Inputs(inputs) => self.asked.get() < inputs,
            InputLimit::Elapsed(time) => begun.elapsed() < time,
        }
    }
}
