//! The time as the core is told it.

use std::time::Duration;

use thoughtwire_proto::Timestamp;

/// One reading of the driver's clock.
///
/// Deadlines of people and clients are wall time, since they outlive the process. Everything else
/// is measured by `elapsed`, so that a wall clock that jumps ends no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall time, for records and for deadlines that the log holds.
    pub wall: Timestamp,
    /// Monotonic time since an origin that the driver chose.
    pub elapsed: Duration,
}

impl Now {
    /// Monotonic time at which the wall clock will show `at`, if it does not jump.
    pub(crate) fn elapsed_at(self, at: Timestamp) -> Duration {
        let millis = at.as_millis().saturating_sub(self.wall.as_millis());
        self.elapsed.saturating_add(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}
