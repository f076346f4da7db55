//! A write under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::StoreError;

/// A write under way; resolves when it is on disk. Dropping it does not undo the write.
#[derive(Debug)]
pub struct Commit<T>(oneshot::Receiver<Result<T, StoreError>>);

/// The end of a write that tells its outcome. Dropped unused, it tells that the store is closed.
pub(crate) type CommitSender<T> = oneshot::Sender<Result<T, StoreError>>;

impl<T> Commit<T> {
    /// A write that failed before it began.
    #[must_use]
    pub fn failed(error: StoreError) -> Self {
        let (sender, commit) = Self::channel();
        // The receiver is at hand, so that sending cannot fail.
        drop(sender.send(Err(error)));
        commit
    }

    /// A write that has nothing to save.
    pub(crate) fn done(value: T) -> Self {
        let (sender, commit) = Self::channel();
        // The receiver is at hand, so that sending cannot fail.
        drop(sender.send(Ok(value)));
        commit
    }

    pub(crate) fn channel() -> (CommitSender<T>, Self) {
        let (sender, outcome) = oneshot::channel();
        (sender, Self(outcome))
    }
}

impl<T> Future for Commit<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Err(StoreError::Stopped)))
    }
}

/// The outcome of a write that ran as a part of a transaction, from its own and the transaction's.
pub(crate) fn settled<T>(
    own: Option<Result<T, StoreError>>,
    committed: Result<(), StoreError>,
) -> Result<T, StoreError> {
    match (own, committed) {
        // Its own failure tells more than the transaction's.
        (Some(Err(own)), _) => Err(own),
        (Some(Ok(_)) | None, Err(error)) => Err(error),
        (Some(Ok(value)), Ok(())) => Ok(value),
        (None, Ok(())) => Err(StoreError::Stopped),
    }
}
