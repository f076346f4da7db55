//! One session of a run: the inputs it is to get, and those that are under way.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dialect::SessionName;
use super::plan::InputLimit;

/// One session of a run. Its first reader says its inputs.
pub(crate) struct BenchSession {
    pub(crate) place: SessionName,
    /// Inputs that were said.
    pub(crate) asked: Cell<u64>,
    /// TurnFigures that ended, however.
    pub(crate) ended: Cell<u64>,
    /// When those were due that are not said yet.
    due: RefCell<VecDeque<Instant>>,
    /// When those were due that are said and whose turns have not ended.
    running: RefCell<VecDeque<Instant>>,
    pub(crate) wake: Notify,
}

impl BenchSession {
    pub(crate) fn new(place: SessionName) -> Self {
        Self {
            place,
            asked: Cell::new(0),
            ended: Cell::new(0),
            due: RefCell::default(),
            running: RefCell::default(),
            wake: Notify::new(),
        }
    }

    /// Has an input said as soon as possible, although it was due at this moment.
    pub(crate) fn ask(&self, due: Instant) {
        self.due.borrow_mut().push_back(due);
        self.wake.notify_one();
    }

    /// The next input to say: its number, if there is one.
    pub(crate) fn next(&self) -> Option<u64> {
        let due = self.due.borrow_mut().pop_front()?;
        self.running.borrow_mut().push_back(due);
        self.asked.set(self.asked.get() + 1);
        Some(self.asked.get())
    }

    /// The oldest turn ended: when its input was due.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.ended.set(self.ended.get() + 1);
        self.running.borrow_mut().pop_front()
    }

    /// Whether all that was asked for was said, and has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.due.borrow().is_empty() && self.ended.get() >= self.asked.get()
    }

    /// Whether a closed loop has more for it.
    pub(crate) fn wants_more(&self, until: InputLimit, begun: Instant) -> bool {
        match until {
            InputLimit::Inputs(inputs) => self.asked.get() < inputs,
            InputLimit::Elapsed(time) => begun.elapsed() < time,
        }
    }
}
