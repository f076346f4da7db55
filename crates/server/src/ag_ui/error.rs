//! Refusals in the form of AG-UI.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_store::StoreError;

use super::event::AgUiEvent;
use crate::rest::{RestRefusal, mark_refused, status};

/// A refusal as an HTTP answer, whose body is a `RUN_ERROR` event.
#[derive(Debug)]
pub(crate) struct AgUiRefusal {
    status: StatusCode,
    code: String,
    message: String,
    /// The refusal of the hub, for the metrics.
    refused: Option<RefusalCode>,
}

impl AgUiRefusal {
    /// A refusal because of a request itself.
    pub(super) fn of_request(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), refused: None }
    }

    /// An input that cannot be read.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Refusal::new(RefusalCode::BadRequest, message).into()
    }
}

impl From<Refusal> for AgUiRefusal {
    fn from(refusal: Refusal) -> Self {
        let (code, refused) = (refusal.code.as_str().to_owned(), Some(refusal.code));
        Self { status: status(refusal.code), code, message: refusal.reason, refused }
    }
}

impl From<StoreError> for AgUiRefusal {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<RestRefusal> for AgUiRefusal {
    fn from(RestRefusal(refusal): RestRefusal) -> Self {
        refusal.into()
    }
}

impl IntoResponse for AgUiRefusal {
    fn into_response(self) -> Response {
        let Self { status, code, message, refused } = self;
        let body = AgUiEvent::RunError { message, code: Some(code), usage: Vec::new() };
        let mut response = (status, axum::Json(body)).into_response();
        if let Some(code) = refused {
            mark_refused(&mut response, code);
        }
        response
    }
}
