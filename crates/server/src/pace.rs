//! The rate limit for commands of one connection: so many in a second, and twice as many at once.

use tokio::time::Instant;

/// The rate limit of one connection's commands.
pub(crate) struct CommandPace {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl CommandPace {
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second * 2.0, at: Instant::now() }
    }

    /// Tells whether one more command is within the limit, and counts it.
    pub(crate) fn allows(&mut self) -> bool {
        let now = Instant::now();
        let grown = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + grown).min(self.per_second * 2.0);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_and_then_its_pace() {
        let mut pace = CommandPace::new(10);
        assert_eq!((0..50).filter(|_| pace.allows()).count(), 20);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!((0..50).filter(|_| pace.allows()).count(), 5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..50).filter(|_| pace.allows()).count(), 20);
    }
}
