//! A copy of all data.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use thoughtwire_proto::{Refusal, RefusalCode};
use tokio_util::io::ReaderStream;

use super::{RestResult, SharedRest};

/// Sends the data of one moment as a file for `thoughtwire restore`. Its length comes first, so
/// that a client notices a copy that breaks off.
pub(super) async fn backup(
    State(rest): SharedRest,
) -> RestResult<([(HeaderName, String); 2], Body)> {
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
    Ok((headers, body))
}
