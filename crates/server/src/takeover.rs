//! Takes a connection over from HTTP, once the head of an answer without end is sent.
//!
//! The HTTP library keeps two buffers for each connection, and wakes its task for each piece of an
//! answer. A stream of events that is idle for hours needs neither. So its answer is a body that
//! never yields: when the library asks for it, it leaves a driver here. When the head is flushed,
//! the listener takes the socket out of the library and gives it to the driver.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::Version;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use hyper::body::{Body, Bytes, Frame};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::phase::Phase;
use crate::upgraded_stream::UpgradedStream;

/// Writes the body of an answer to the socket until its end.
pub(crate) type StreamDriver =
    Box<dyn FnOnce(UpgradedStream, watch::Receiver<Phase>) -> BoxFuture<'static, ()> + Send>;

/// The form in which the library announced a body without a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// Chunked transfer coding (RFC 9112, 7.1).
    Chunked,
    /// Bytes up to the end of the connection: HTTP/1.0.
    UntilClose,
}

/// The possible takeover of one connection. The connection and its requests share it.
#[derive(Clone, Default)]
pub(crate) struct ConnectionTakeover(Arc<Mutex<TakeoverState>>);

#[derive(Default)]
enum TakeoverState {
    /// Nobody wants the connection.
    #[default]
    None,
    /// The head of the answer is in the library's buffer.
    HeadQueued(StreamDriver),
    /// The head of the answer is sent.
    HeadSent(StreamDriver),
}

/// The right of one request to take its connection over. Requests carry it.
#[derive(Clone)]
pub(crate) struct Takeover {
    connection: ConnectionTakeover,
    framing: BodyFraming,
}

impl ConnectionTakeover {
    /// The right of a request of this version.
    pub(crate) fn of_request(&self, version: Version) -> Takeover {
        let framing = if version >= Version::HTTP_11 {
            BodyFraming::Chunked
        } else {
            BodyFraming::UntilClose
        };
        Takeover { connection: self.clone(), framing }
    }

    /// Takes note that the library's buffer is empty and flushed.
    pub(crate) fn note_flushed(&self) {
        let mut state = self.0.lock();
        *state = match std::mem::take(&mut *state) {
            TakeoverState::HeadQueued(driver) => TakeoverState::HeadSent(driver),
            other @ (TakeoverState::None | TakeoverState::HeadSent(_)) => other,
        };
    }

    /// The driver that takes the connection over now, if there is one.
    pub(crate) fn driver(&self) -> Option<StreamDriver> {
        let mut state = self.0.lock();
        match std::mem::take(&mut *state) {
            TakeoverState::HeadSent(driver) => Some(driver),
            other @ (TakeoverState::None | TakeoverState::HeadQueued(_)) => {
                *state = other;
                None
            }
        }
    }
}

impl Takeover {
    /// The form in which the driver has to write the body.
    pub(crate) fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// The answer whose body `driver` writes. The driver is dropped if the body is not wanted.
    pub(crate) fn answer(self, driver: StreamDriver) -> Response {
        let body = TakenBody { connection: self.connection, driver: Some(driver) };
        // No further request is read from the connection.
        ([(CONNECTION, "close")], axum::body::Body::new(body)).into_response()
    }
}

/// A body that leaves its driver to the connection, and yields nothing.
struct TakenBody {
    connection: ConnectionTakeover,
    driver: Option<StreamDriver>,
}

impl Body for TakenBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // The library asks once the head is in its buffer, and flushes in the same poll.
        if let Some(driver) = self.driver.take() {
            *self.connection.0.lock() = TakeoverState::HeadQueued(driver);
        }
        Poll::Pending
    }
}
