//! A copy of all data.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::IntoResponse as _;
use thoughtwire_proto::{Refusal, RefusalCode};
use tokio_util::io::ReaderStream;

use super::{Answered, Shared};

/// Everything that was on disk at one moment, as a file that `thoughtwire restore` takes. Its length
/// is told, so that a copy that is cut short shows.
pub(super) async fn backup(State(rest): Shared) -> Answered {
    let failed = |error: &dyn std::fmt::Display| Refusal::new(RefusalCode::StoreFailed, error.to_string());
    // It takes its time, and must not have that of the short reads.
    let store = Arc::clone(rest.hub.store());
    let copied = tokio::task::spawn_blocking(move || store.backup()).await.map_err(|error| failed(&error))?;
    let file = copied.map_err(|error| Refusal::from(&error))?;
    let length = file.metadata().map_err(|error| failed(&error))?.len();
    let body = Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 1 << 16));
    let headers = [(CONTENT_TYPE, "application/vnd.sqlite3".to_owned()), (CONTENT_LENGTH, length.to_string())];
    Ok((headers, body).into_response())
}
