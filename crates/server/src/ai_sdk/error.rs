//! Refusals in the form of the SDK: its client shows the body of such an answer as the error.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_store::StoreError;

use crate::rest::{RestRefusal, mark_refused, status};

/// A refusal as an HTTP answer. Its body is the reason as a sentence.
#[derive(Debug)]
pub(crate) struct AiSdkRefusal {
    status: StatusCode,
    reason: String,
    /// The refusal of the hub, for the metrics.
    refused: Option<RefusalCode>,
}

impl AiSdkRefusal {
    /// A refusal because of a request itself.
    pub(super) fn of_request(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), refused: None }
    }

    /// A request that cannot be understood.
    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Refusal::new(RefusalCode::BadRequest, reason).into()
    }
}

impl From<Refusal> for AiSdkRefusal {
    fn from(refusal: Refusal) -> Self {
        let refused = Some(refusal.code);
        Self { refused, ..Self::of_request(status(refusal.code), refusal.reason) }
    }
}

impl From<StoreError> for AiSdkRefusal {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<RestRefusal> for AiSdkRefusal {
    fn from(RestRefusal(refusal): RestRefusal) -> Self {
        refusal.into()
    }
}

impl IntoResponse for AiSdkRefusal {
    fn into_response(self) -> Response {
        let Self { status, reason, refused } = self;
        let mut response = (status, reason).into_response();
        if let Some(code) = refused {
            mark_refused(&mut response, code);
        }
        response
    }
}
