//! How long a turn may go on.

use std::time::Duration;

use tokio::time::Instant;

/// What a turn has left of its time, which stands still while it waits for people or clients outside.
pub(super) struct TurnTime {
    left: Duration,
    /// Since when it runs.
    since: Option<Instant>,
}

impl TurnTime {
    pub(super) fn new(left: Duration) -> Self {
        Self { left, since: None }
    }

    /// Whether it runs from now on.
    pub(super) fn runs(&mut self, runs: bool) {
        match self.since {
            None if runs => self.since = Some(Instant::now()),
            Some(since) if !runs => {
                self.left = self.left.saturating_sub(since.elapsed());
                self.since = None;
            }
            None | Some(_) => {}
        }
    }

    /// When it is up.
    pub(super) fn up(&self) -> Option<Instant> {
        self.since.map(|since| since + self.left)
    }
}
