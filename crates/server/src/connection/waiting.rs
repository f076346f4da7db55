//! Futures for which a connection waits. Where there is nothing to follow, they wait for ever.

use futures::future::BoxFuture;
use thoughtwire_hub::{ListNews, Watcher, WorkerConnection};
use thoughtwire_proto::Directive;
use tokio::sync::{broadcast, watch};

use crate::phase::Phase;

/// Waits for a phase other than the one that this receiver has seen.
pub(super) fn next_phase(
    mut phase: watch::Receiver<Phase>,
) -> BoxFuture<'static, Result<(), watch::error::RecvError>> {
    Box::pin(async move { phase.changed().await })
}

/// Waits for a message to the connection's workers.
pub(super) async fn next_directive(workers: &mut Option<WorkerConnection>) -> Directive {
    match workers {
        Some(workers) => workers.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for news of the list of sessions.
pub(super) async fn list_news(watching: &mut Option<Watcher>) -> ListNews {
    match watching {
        Some(watcher) => {
            watcher.changed().await;
            watcher.take()
        }
        None => std::future::pending().await,
    }
}

/// Waits for the next value of a broadcast.
pub(super) async fn next_of<T: Clone>(
    followed: &mut Option<broadcast::Receiver<T>>,
) -> Result<T, broadcast::error::RecvError> {
    match followed {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}
