//! Having logs lose what is kept no longer.

use std::time::Duration;

use thoughtwire_hub::Hub;
use tokio::sync::watch;

use crate::socket::Phase;

/// How often it is done. Ages are told in days.
const EVERY: Duration = Duration::from_secs(600);

/// At the start of a server, and every now and then while it serves.
pub(crate) async fn now_and_then(hub: Hub, mut phase: watch::Receiver<Phase>) {
    let mut due = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        }
        once(&hub).await;
    }
}

/// Now; what cannot be deleted goes another time.
pub(crate) async fn once(hub: &Hub) {
    match hub.sweep().await {
        Ok(0) => {}
        Ok(logs) => tracing::info!(logs, "deleted events that are kept no longer"),
        Err(refusal) => {
            tracing::warn!(%refusal, "events that are kept no longer could not be deleted; it is tried again")
        }
    }
}
