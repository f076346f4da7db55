//! The time that retention goes by. It follows the wall clock only as far as that can be believed, so
//! that a clock that jumps ahead deletes nothing by its age.
//!
//! A step of up to [`AHEAD`] is believed at once: a server may have been off, or its machine asleep. A
//! larger one is believed when the clock has run steadily for [`STEADY`] since, by the monotonic clock;
//! restarts do not count against that, further steps do. Until then the time of retention goes on at
//! the pace of the monotonic clock. Test: `calendar::tests`.

use std::time::Duration;

use thoughtwire_proto::Timestamp;
use thoughtwire_store::{Store, StoreError};
use tokio::time::Instant;

/// How far the wall clock may be ahead of what was agreed on.
const AHEAD: Duration = Duration::from_secs(36 * 3600);
/// How long a clock that is further ahead must run steadily before it is believed.
const STEADY: Duration = Duration::from_secs(24 * 3600);
/// How far the two clocks may move apart between two looks and still count as steady.
const DRIFT: Duration = Duration::from_secs(60);

/// Names of what outlives a restart.
const AGREED: &str = "retention_time";
const STEADY_FOR: &str = "retention_time_steady_for";

/// The time of retention.
pub(crate) struct Calendar {
    /// Milliseconds since 1970: how far the wall clock is believed to have come.
    agreed: i64,
    /// Milliseconds for which a clock that is too far ahead has run steadily.
    steady_for: i64,
    /// What both clocks showed at the last look.
    last: (i64, Instant),
    is_told: bool,
}

impl Calendar {
    /// The time as it was last saved; in data that never saved it, the newest time of its own logs.
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

    /// What is to be saved.
    pub(crate) fn saved(&self) -> Vec<(&'static str, Timestamp)> {
        vec![
            (AGREED, Timestamp::from_millis(self.agreed)),
            (STEADY_FOR, Timestamp::from_millis(self.steady_for)),
        ]
    }

    /// The time by which ages are told, given what the wall clock shows: never ahead of it.
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
                    "the clock is further ahead of the logs than it should be; nothing is deleted by \
                     its age until the clock has run steadily for a day"
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

    /// Lets both clocks run, with a look every ten minutes; gives the time of retention at the end.
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
        // Another step begins the day anew.
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
