//! The calendar of retention: a wall clock that jumps ahead deletes nothing by its age.
//!
//! The calendar accepts a step of up to [`AHEAD`] at once: a server may have been off, or its
//! machine asleep. It accepts a larger step when the clock has run steadily for [`STEADY`] since,
//! by the monotonic clock. Restarts do not interrupt that time; further steps do. Until then the
//! calendar runs at the pace of the monotonic clock. Test: `calendar::tests`.

use std::time::Duration;

use thoughtwire_proto::Timestamp;
use thoughtwire_store::{Store, StoreError};
use tokio::time::Instant;

/// How far the wall clock may be ahead of the calendar.
const AHEAD: Duration = Duration::from_secs(36 * 3600);
/// How long a clock that is further ahead must run steadily before the calendar follows it.
const STEADY: Duration = Duration::from_secs(24 * 3600);
/// How far the two clocks may drift apart between two readings and still count as steady.
const DRIFT: Duration = Duration::from_secs(60);

/// Names of the stored values.
const AGREED: &str = "retention_time";
const STEADY_FOR: &str = "retention_time_steady_for";

/// The calendar of retention.
pub(crate) struct Calendar {
    /// Calendar time in milliseconds since 1970.
    agreed: i64,
    /// Milliseconds for which a wall clock that is too far ahead has run steadily.
    steady_for: i64,
    /// Both clocks at the last reading.
    last: (i64, Instant),
    is_told: bool,
}

impl Calendar {
    /// Opens the calendar as it was last saved. Data without one takes the newest time of its logs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn open(store: &Store, wall: Timestamp) -> Result<Self, StoreError> {
        let upkeep = store.upkeep();
        let agreed = match upkeep.clock(AGREED).await? {
            Some(agreed) => Some(agreed),
            None => upkeep.newest_record_at().await?,
        };
        let steady_for = upkeep.clock(STEADY_FOR).await?.map_or(0, Timestamp::as_millis);
        Ok(Self::new(agreed.unwrap_or(wall), steady_for, wall))
    }

    fn new(agreed: Timestamp, steady_for: i64, wall: Timestamp) -> Self {
        let last = (wall.as_millis(), Instant::now());
        Self { agreed: agreed.as_millis(), steady_for, last, is_told: false }
    }

    /// Values to save.
    pub(crate) fn saved(&self) -> Vec<(&'static str, Timestamp)> {
        vec![
            (AGREED, Timestamp::from_millis(self.agreed)),
            (STEADY_FOR, Timestamp::from_millis(self.steady_for)),
        ]
    }

    /// Reads the calendar, given the wall clock. The result is never ahead of the wall clock.
    pub(crate) fn look(&mut self, wall: Timestamp) -> Timestamp {
        let (wall, now) = (wall.as_millis(), Instant::now());
        let ran = millis(now.saturating_duration_since(self.last.1));
        let moved = wall.saturating_sub(self.last.0);
        self.last = (wall, now);
        let expected = self.agreed.saturating_add(ran);
        let is_steady = moved.abs_diff(ran) <= DRIFT.as_millis() as u64;
        self.steady_for = if is_steady { self.steady_for.saturating_add(ran) } else { 0 };
        if wall <= expected.saturating_add(millis(AHEAD)) || self.steady_for >= millis(STEADY) {
            self.agreed = self.agreed.max(wall);
            (self.steady_for, self.is_told) = (0, false);
        } else {
            self.agreed = expected;
            if !std::mem::replace(&mut self.is_told, true) {
                let hours = wall.saturating_sub(expected) / 3_600_000;
                tracing::warn!(
                    hours,
                    "the clock is further ahead of the logs than it should be; nothing is deleted \
                     by its age until the clock has run steadily for a day"
                );
            }
        }
        Timestamp::from_millis(self.agreed.min(wall))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const START: i64 = 20_000 * DAY;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Lets both clocks run, with a reading every ten minutes. Returns the calendar at the end.
    async fn run(calendar: &mut Calendar, wall: &mut i64, for_millis: i64) -> i64 {
        let mut last = calendar.look(at(*wall)).as_millis();
        for _ in 0..for_millis / 600_000 {
            tokio::time::advance(Duration::from_secs(600)).await;
            *wall += 600_000;
            last = calendar.look(at(*wall)).as_millis();
        }
        last
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_a_clock_that_runs_and_one_that_was_asleep_for_a_night() {
        let mut wall = START;
        let mut calendar = Calendar::new(at(wall), 0, at(wall));
        assert_eq!(run(&mut calendar, &mut wall, 3 * DAY).await, wall);
        wall += 14 * HOUR;
        assert_eq!(calendar.look(at(wall)).as_millis(), wall);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_ahead_is_not_believed_before_a_steady_day() {
        let mut wall = START;
        let mut calendar = Calendar::new(at(wall), 0, at(wall));
        wall += 3650 * DAY;
        assert_eq!(calendar.look(at(wall)).as_millis(), START);
        // It goes on at the pace of the monotonic clock meanwhile.
        assert_eq!(run(&mut calendar, &mut wall, 23 * HOUR).await, START + 23 * HOUR);
        // Another step restarts the day.
        wall += 100 * DAY;
        assert_eq!(run(&mut calendar, &mut wall, 23 * HOUR).await, START + 46 * HOUR);
        assert_eq!(run(&mut calendar, &mut wall, 2 * HOUR).await, wall);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_ahead_and_back_leaves_no_trace() {
        let mut wall = START;
        let mut calendar = Calendar::new(at(wall), 0, at(wall));
        wall += 3650 * DAY;
        run(&mut calendar, &mut wall, 5 * HOUR).await;
        wall -= 3650 * DAY;
        assert_eq!(calendar.look(at(wall)).as_millis(), wall);
        assert_eq!(run(&mut calendar, &mut wall, 2 * DAY).await, wall);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_with_a_clock_far_ahead_waits_as_well_and_restarts_do_not_begin_anew() {
        let mut wall = START + 400 * DAY;
        let mut calendar = Calendar::new(at(START), 0, at(wall));
        assert_eq!(run(&mut calendar, &mut wall, 12 * HOUR).await, START + 12 * HOUR);
        let saved = calendar.saved();
        let mut calendar = Calendar::new(saved[0].1, saved[1].1.as_millis(), at(wall));
        assert!(run(&mut calendar, &mut wall, 11 * HOUR).await < START + DAY);
        assert_eq!(run(&mut calendar, &mut wall, 2 * HOUR).await, wall);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_never_ahead_of_the_wall_clock_also_before_1970() {
        let mut calendar = Calendar::new(at(START), 0, at(START));
        for wall in [0, -DAY, i64::MIN, START - DAY] {
            assert_eq!(calendar.look(at(wall)).as_millis(), wall);
        }
        assert!(calendar.look(at(i64::MAX)).as_millis() < START + DAY);
    }
}
