//! Request bodies: each has to come in time, in pieces or whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Bytes a second that a body has to bring on average, once its first time is over.
const SLOWEST: u64 = 16 << 10;
/// The longest that any body may take.
const LONGEST: Duration = Duration::from_secs(3600);

/// A body that fails when it takes too long.
pub(crate) struct TimedBody<B> {
    body: B,
    begun: Instant,
    /// How long a body of any size may take.
    within: Duration,
    received: u64,
    /// Made at the first wait: most bodies are there with their head.
    timer: Option<Pin<Box<Sleep>>>,
    late: Late,
}

/// Whether a request's body took too long; shared by the body and by what answers the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Late(Arc<AtomicBool>);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError<E> {
    /// It took too long.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection's error.
    #[error(transparent)]
    Broken(E),
}

impl Late {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<B> TimedBody<B> {
    /// A body that has `within` to come, and as long as it brings [`SLOWEST`] beyond that.
    pub(crate) fn new(body: B, within: Duration, late: Late) -> Self {
        Self { body, begun: Instant::now(), within, received: 0, timer: None, late }
    }

    fn due(&self) -> Instant {
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / SLOWEST);
        self.begun + self.within + earned.min(LONGEST)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TimedBody<B> {
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(ended) => {
                return Poll::Ready(ended.map(|piece| piece.map_err(BodyError::Broken)));
            }
            Poll::Pending => {}
        }
        let due = self.due();
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(context));
        self.late.0.store(true, Ordering::Release);
        Poll::Ready(Some(Err(BodyError::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::StreamExt as _;

    use super::*;

    /// Brings pieces of so many bytes, with a pause in front of each.
    struct Dripping {
        pieces: u32,
        bytes: usize,
        pause: Duration,
        timer: Pin<Box<Sleep>>,
    }

    fn dripping(pieces: u32, bytes: usize, pause: Duration) -> Dripping {
        Dripping { pieces, bytes, pause, timer: Box::pin(tokio::time::sleep(pause)) }
    }

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.pieces == 0 {
                return Poll::Ready(None);
            }
            ready!(self.timer.as_mut().poll(context));
            let next = Instant::now() + self.pause;
            self.timer.as_mut().reset(next);
            self.pieces -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.bytes])))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_come_at_some_pace() {
        let second = Duration::from_secs(1);
        for (name, (pieces, bytes, pause), comes) in [
            ("at once", (1, 1 << 20, Duration::ZERO), true),
            ("within its time", (29, 1, second), true),
            ("a byte a second, without end", (u32::MAX, 1, second), false),
            ("nothing at all", (1, 1, Duration::from_secs(31)), false),
            ("large, at a modest pace", (600, 20 << 10, second), true),
            ("large, too slowly", (600, 10 << 10, second), false),
            ("without end, at a good pace", (u32::MAX, 1 << 20, second), false),
        ] {
            let dripping = dripping(pieces, bytes, pause);
            let late = Late::default();
            let within = Duration::from_secs(30);
            let body = axum::body::Body::new(TimedBody::new(dripping, within, late.clone()));
            let mut pieces = body.into_data_stream();
            let mut outcome = Ok(());
            while let Some(piece) = pieces.next().await {
                if let Err(error) = piece {
                    outcome = Err(error);
                    break;
                }
            }
            assert_eq!((outcome.is_ok(), late.is_set()), (comes, !comes), "{name}");
        }
    }
}
