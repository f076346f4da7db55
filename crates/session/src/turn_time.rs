//! How long a turn may run.

use std::time::Duration;

/// The turn's remaining time. It stands still while the turn waits for people or clients.
pub(crate) struct TurnTime {
    left: Duration,
    /// When the time began to run; `None` while it stands still.
    since: Option<Duration>,
}

impl TurnTime {
    pub(crate) fn new(left: Duration) -> Self {
        Self { left, since: None }
    }

    /// Lets the time run or stand still from `elapsed` on.
    pub(crate) fn set_running(&mut self, is_running: bool, elapsed: Duration) {
        match self.since {
            None if is_running => self.since = Some(elapsed),
            Some(since) if !is_running => {
                self.left = self.left.saturating_sub(elapsed.saturating_sub(since));
                self.since = None;
            }
            None | Some(_) => {}
        }
    }

    /// When the time is up; `None` while it stands still.
    pub(crate) fn up_at(&self) -> Option<Duration> {
        self.since.map(|since| since.saturating_add(self.left))
    }
}
