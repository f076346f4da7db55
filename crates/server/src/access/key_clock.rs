//! The clock by which keys and logins expire.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use thoughtwire_hub::now;
use thoughtwire_proto::Timestamp;

/// Name of the latest time in the store.
pub(super) const MARK: &str = "key_time";

/// A clock that never goes back, so that expired keys stay expired when the wall clock is set back.
///
/// It shows the later one of two times: the wall clock's, and the latest time that was seen plus
/// the monotonic time since. The latest time is saved regularly and outlives a restart.
#[derive(Clone)]
pub(crate) struct KeyClock(Arc<Mutex<LatestTime>>);

struct LatestTime {
    millis: i64,
    at: Instant,
}

impl KeyClock {
    /// Starts a clock at the time that was last saved.
    pub(crate) fn from(mark: Option<Timestamp>) -> Self {
        let millis = mark.map_or(i64::MIN, Timestamp::as_millis);
        Self(Arc::new(Mutex::new(LatestTime { millis, at: Instant::now() })))
    }

    /// Returns the time by which keys expire.
    pub(crate) fn now(&self) -> Timestamp {
        self.at(now(), Instant::now())
    }

    /// Returns how far this clock is ahead of the wall clock, in milliseconds; not negative.
    pub(crate) fn ahead_ms(&self) -> i64 {
        let wall = now();
        self.at(wall, Instant::now()).as_millis().saturating_sub(wall.as_millis())
    }

    fn at(&self, wall: Timestamp, instant: Instant) -> Timestamp {
        let mut latest = self.0.lock();
        let ran = instant.saturating_duration_since(latest.at).as_millis();
        let ran = i64::try_from(ran).unwrap_or(i64::MAX);
        let millis = latest.millis.saturating_add(ran).max(wall.as_millis());
        *latest = LatestTime { millis, at: instant };
        Timestamp::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_follows_the_wall_clock_ahead_and_goes_on_by_itself_when_that_is_set_back() {
        let (clock, start) = (KeyClock::from(Some(Timestamp::from_millis(1_000))), Instant::now());
        let mut seen = Vec::new();
        for (wall, seconds) in [(5_000, 0), (7_000, 1), (2_000, 3), (-9_000, 4), (20_000, 5)] {
            let at = clock.at(Timestamp::from_millis(wall), start + Duration::from_secs(seconds));
            seen.push(at.as_millis());
        }
        assert_eq!(seen, [5_000, 7_000, 9_000, 10_000, 20_000]);
    }

    #[test]
    fn it_begins_where_it_was_saved() {
        let mark = Timestamp::from_millis(i64::MAX / 2);
        assert!(KeyClock::from(Some(mark)).now() >= mark);
    }
}
