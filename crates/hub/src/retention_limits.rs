//! Limits of retention: how much of a log may be kept.

use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_store::Retention;

/// Checks the limits of a log.
///
/// # Errors
/// When a number is 0, or larger than the store's.
pub fn check(keep: Retention) -> Result<(), Refusal> {
    let refused = |reason| Err(Refusal::new(RefusalCode::BadRequest, reason));
    if keep.days == Some(0) || keep.events == Some(0) {
        return refused("keep_days and keep_events are at least 1; absent, everything is kept");
    }
    // The store's numbers are signed, and one that it cannot read would stop every sweep.
    if keep.events.is_some_and(|events| i64::try_from(events).is_err()) {
        return refused("keep_events is at most 9223372036854775807");
    }
    Ok(())
}
