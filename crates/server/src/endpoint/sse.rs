//! Answers of server-sent events.

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
