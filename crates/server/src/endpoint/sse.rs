//! Answers of server-sent events.

use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _};

use crate::access::Identity;
use crate::eviction::{Eviction, Watched};
use crate::rest::HeldPermits;

/// An answer that breaks off: its client sees a broken connection instead of an end.
#[derive(Debug, thiserror::Error)]
#[error("the stream cannot go on: {0}")]
pub(crate) struct StreamCut(pub(crate) String);

/// Belongings of a stream, which it gives back at its end.
pub(crate) struct StreamGuard {
    _held: HeldPermits,
    /// Cuts the connection if the stream cannot end because its client takes nothing.
    _watched: Option<Watched>,
}

impl StreamGuard {
    pub(crate) fn new(caller: &Identity, held: HeldPermits, eviction: Option<&Eviction>) -> Self {
        Self { _held: held, _watched: eviction.map(|eviction| eviction.watch(caller.ended())) }
    }
}

/// Answers with server-sent events. A client that reads slowly holds the stream back.
pub(crate) fn stream_events(
    events: impl Stream<Item = Result<SseEvent, StreamCut>> + Send + 'static,
    guard: StreamGuard,
) -> Response {
    let events = events.map(move |event| {
        let _kept = &guard;
        event
    });
    let headers = [
        // nginx buffers the answer otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (CACHE_CONTROL, "no-cache, no-transform"),
    ];
    (headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}
