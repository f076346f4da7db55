//! What REST is, for programs.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;

use super::Answered;

/// Written by hand but for the shapes that `thoughtwire-proto` has; tests hold it to the routes and to what they answer.
const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

pub(super) async fn openapi() -> Answered {
    Ok(([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response())
}
