//! Interruptions of a turn: how often and how soon it goes on.

use std::time::Duration;

use thoughtwire_proto::{Event, OpenCall, Record, Timestamp, TurnEvent};

/// Pauses before a turn goes on, by its number of interruptions. A turn that is interrupted more
/// often ends, so that one that kills the server does not kill it forever.
const RESUME_DELAYS: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(30)];

/// A turn that waits to go on.
pub(crate) struct Interruption {
    /// Number of interruptions that count.
    pub(crate) attempt: u32,
    /// When it goes on, in elapsed time.
    pub(crate) due: Duration,
}

/// Pause before a turn goes on after this many interruptions, counted from 1; `None` if it was
/// interrupted too often to go on.
#[must_use]
pub fn resume_delay(attempt: u32) -> Option<Duration> {
    let at = usize::try_from(attempt.checked_sub(1)?).ok()?;
    RESUME_DELAYS.get(at).copied()
}

/// Longest time between two records of a turn that counts: longer ones are more likely a jump of
/// the wall clock, or a machine that slept, than a turn that said nothing.
const LONGEST_STEP: Duration = Duration::from_secs(600);

/// How long a turn has run before this process, by its records, oldest first from its
/// `turn_started` on. `limit` is the time that a turn may take.
///
/// A process measures its own part of a turn by the monotonic clock. What earlier processes
/// measured is gone with them, so that it is estimated here by the wall clock of the records:
///
/// - Time in which every open call waited for people or clients does not count. Nor does the time
///   from the last record before an interruption until the turn goes on: nobody knows how much of
///   it the turn ran.
/// - A step of the clock back does not count. A step ahead counts for at most ten minutes.
/// - A step that would use the limit up does not count at all. Its process would have ended the
///   turn before the next record, so the clock has jumped. The result is always below the limit:
///   no jump alone fails a turn.
#[must_use]
pub fn time_spent(records: &[Record], limit: Duration) -> Duration {
    let mut spent = Duration::ZERO;
    let mut before: Option<Timestamp> = None;
    let mut open: Vec<OpenCall> = Vec::new();
    for Record { at, event, .. } in records {
        let is_parked = OpenCall::all_wait(&open);
        if let Some(before) = before.replace(*at)
            && !is_parked
            && !is_behind_interruption(event)
        {
            let step = at.as_millis().saturating_sub(before.as_millis());
            let step = Duration::from_millis(u64::try_from(step).unwrap_or(0));
            if spent.saturating_add(step) < limit {
                spent += step.min(LONGEST_STEP);
            }
        }
        if let Event::Turn(event) = event {
            OpenCall::follow(&mut open, event);
        }
    }
    spent
}

/// Whether an event is the first after an interruption: an item that was cut, or `turn_resumed`.
fn is_behind_interruption(event: &Event) -> bool {
    matches!(
        event,
        Event::Turn(
            TurnEvent::Resumed { .. }
                | TurnEvent::Thought { complete: false, .. }
                | TurnEvent::Message { complete: false, .. }
        )
    )
}
