//! Answers of server-sent events.

use std::ops::ControlFlow;

use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _};

use crate::rest::HeldPermits;

/// An answer that breaks off: its client sees a broken connection instead of an end.
#[derive(Debug, thiserror::Error)]
#[error("the stream cannot go on: {0}")]
pub(crate) struct StreamCut(pub(crate) String);

/// Events in the order in which they are sent. Nothing is sent behind a [`StreamCut`].
pub(crate) type SseEvents = Vec<Result<SseEvent, StreamCut>>;

/// A turn that an endpoint follows.
pub(crate) trait TurnEvents: Send + Sized + 'static {
    /// Waits for what comes next, and returns its events, which may be none. Those of a
    /// [`ControlFlow::Break`] are the last ones.
    fn next_events(&mut self) -> impl Future<Output = ControlFlow<SseEvents, SseEvents>> + Send;
}

/// The events of a turn up to the last one, or up to where the stream breaks off.
pub(crate) fn turn_stream<T: TurnEvents>(
    turn: T,
) -> impl Stream<Item = Result<SseEvent, StreamCut>> + Send {
    let steps = futures::stream::unfold(Some(Box::new(turn)), |turn| async move {
        let mut turn = turn?;
        match turn.next_events().await {
            ControlFlow::Continue(events) => Some((events, Some(turn))),
            ControlFlow::Break(events) => Some((events, None)),
        }
    });
    steps.flat_map(futures::stream::iter)
}

/// Answers with server-sent events, which give their permits back at their end. A client that reads
/// slowly holds the stream back, and the listener leaves one that takes nothing.
pub(crate) fn stream_events(
    events: impl Stream<Item = Result<SseEvent, StreamCut>> + Send + 'static,
    held: HeldPermits,
) -> Response {
    let events = events.map(move |event| {
        let _kept = &held;
        event
    });
    let headers = [
        // nginx buffers the answer otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (CACHE_CONTROL, "no-cache, no-transform"),
    ];
    (headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}
