//! Ends a connection whose caller may no longer read, even if its peer takes nothing.
//!
//! An answer without end is polled only while the socket takes bytes. Its permission to go on must
//! therefore be watched by the connection, beside the answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

/// Time that an answer has to end by itself, and to tell its reader why.
const GRACE: Duration = Duration::from_secs(1);

/// A connection's watch over the caller of its current answer. Requests carry a clone.
#[derive(Clone, Default)]
pub(crate) struct Eviction {
    due: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl Eviction {
    /// Ends the connection [`GRACE`] after `ended` resolves, unless the watch is dropped before.
    pub(crate) fn watch(&self, ended: BoxFuture<'static, &'static str>) -> Watched {
        *self.due.lock() = Some(Box::pin(async move {
            ended.await;
            tokio::time::sleep(GRACE).await;
        }));
        Watched { eviction: self.clone() }
    }

    /// Resolves when the connection is to end.
    ///
    /// The task that polls it must poll the connection first, since that may begin a watch.
    pub(crate) async fn due(&self) {
        poll_fn(|context| match self.due.lock().as_mut() {
            Some(due) => due.as_mut().poll(context),
            None => Poll::Pending,
        })
        .await;
    }
}

/// Keeps a watch for as long as the answer is written.
pub(crate) struct Watched {
    eviction: Eviction,
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.eviction.due.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_after_its_caller_and_not_after_its_answer() {
        let eviction = Eviction::default();
        let (revoke, revoked) = oneshot::channel();
        let ended = || Box::pin(async { revoked.await.map_or("dropped", |()| "revoked") });
        assert!(eviction.due().now_or_never().is_none());
        let watched = eviction.watch(ended());
        assert!(eviction.due().now_or_never().is_none());
        revoke.send(()).unwrap();
        tokio::time::timeout(GRACE * 2, eviction.due()).await.unwrap();
        drop(watched);
        drop(eviction.watch(Box::pin(async { "expired" })));
        let due = tokio::time::timeout(GRACE * 10, eviction.due()).await;
        assert!(due.is_err(), "an answer that has ended ends nothing");
    }
}
