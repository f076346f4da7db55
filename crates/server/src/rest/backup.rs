//! A copy of all data.

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
    let file = rest.hub.store().backup().await?;
    let length = file
        .metadata()
        .map_err(|error| Refusal::new(RefusalCode::StoreFailed, error.to_string()))?
        .len();
    let body =
        Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 1 << 16));
    let headers = [
        (CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, body).into_response())
}
