//! Having logs lose what is kept no longer.

use std::time::Duration;

use thoughtwire_hub::Hub;
use tokio::sync::watch;

use crate::access::Keyring;
use crate::phase::Phase;

/// How often it is done. Ages are told in days.
const EVERY: Duration = Duration::from_secs(600);

/// Longest pause between two looks for sessions that are kept only for a time.
const LOOK_FOR_IDLE_EVERY: Duration = Duration::from_secs(600);

/// Pause between two saves of the time by which keys expire.
const LOOK_AT_KEYS_EVERY: Duration = Duration::from_secs(1);

/// Work that is due.
enum Upkeep {
    Sweep,
    DeleteIdle,
    SaveClock,
}

/// At the start of a server, and every now and then while it serves. Of several nodes, one does it.
/// `keep_idle` is how long such sessions are kept.
pub(crate) async fn now_and_then(
    hub: Hub,
    keyring: Keyring,
    keep_idle: Duration,
    mut phase: watch::Receiver<Phase>,
) {
    let look = keep_idle.clamp(Duration::from_secs(1), LOOK_FOR_IDLE_EVERY);
    let mut look_for_idle = tokio::time::interval(look);
    let mut due = tokio::time::interval(EVERY);
    let mut save_clock = tokio::time::interval(LOOK_AT_KEYS_EVERY);
    loop {
        // The value that is waited for borrows the phase, which must not be held any longer.
        let work = tokio::select! {
            _ = due.tick() => Upkeep::Sweep,
            _ = look_for_idle.tick() => Upkeep::DeleteIdle,
            _ = save_clock.tick() => Upkeep::SaveClock,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
        };
        match work {
            Upkeep::Sweep => match hub.claims_sweep().await {
                Ok(true) => once(&hub).await,
                Ok(false) => {}
                Err(refusal) => tracing::warn!(%refusal, "expired events are not deleted now"),
            },
            Upkeep::DeleteIdle => match hub.delete_idle().await {
                Ok(0) => {}
                Ok(sessions) => tracing::info!(sessions, "deleted sessions of single requests"),
                Err(refusal) => tracing::warn!(%refusal, "idle sessions are not deleted now"),
            },
            Upkeep::SaveClock => keyring.save_clock().await,
        }
    }
    keyring.save_clock().await;
}

/// Now; what cannot be deleted goes another time.
pub(crate) async fn once(hub: &Hub) {
    match hub.sweep().await {
        Ok(0) => {}
        Ok(logs) => tracing::info!(logs, "deleted events that are kept no longer"),
        Err(refusal) => {
            tracing::warn!(%refusal, "expired events could not be deleted; trying again later");
        }
    }
}
