//! Refusals in the form of OpenAI's API.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use thoughtwire_proto::{Refusal, RefusalCode, Retry};
use thoughtwire_store::StoreError;

use crate::rest::{RestRefusal, mark_refused, status};

/// Header by which OpenAI's clients are told whether to send a request again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A refusal as an HTTP answer: `{"error":{"message","type","param","code"}}`.
#[derive(Debug)]
pub(crate) struct OpenAiRefusal {
    status: StatusCode,
    error: OpenAiError,
    /// The refusal of the hub, for the metrics.
    refused: Option<RefusalCode>,
}

/// The error of an answer or of a stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OpenAiError {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The parameter that is wrong.
    param: Option<String>,
    code: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OpenAiErrorBody<'a> {
    error: &'a OpenAiError,
}

impl OpenAiError {
    /// The error of a turn that failed or was cancelled.
    pub(super) fn of_turn(code: Option<String>, reason: Option<String>) -> Self {
        Self {
            message: reason.unwrap_or_else(|| "the turn did not complete".to_owned()),
            kind: "server_error",
            param: None,
            code,
        }
    }

    /// The error as a body.
    pub(super) fn body(&self) -> OpenAiErrorBody<'_> {
        OpenAiErrorBody { error: self }
    }
}

impl OpenAiRefusal {
    /// A refusal because of a request itself.
    pub(super) fn of_request(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = OpenAiError {
            message: message.into(),
            kind: kind(status),
            param: None,
            code: Some(code.to_owned()),
        };
        Self { status, error, refused: None }
    }

    /// A refusal because of one parameter.
    pub(super) fn of_param(param: &str, message: impl Into<String>) -> Self {
        Self::of_request(StatusCode::BAD_REQUEST, "bad_request", message).about(param)
    }

    /// A parameter whose meaning this server has no word for.
    pub(super) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self::of_request(StatusCode::BAD_REQUEST, "unsupported_parameter", message).about(param)
    }

    /// Names the parameter.
    pub(super) fn about(mut self, param: &str) -> Self {
        self.error.param = Some(param.to_owned());
        self
    }

    /// A turn that failed or was cancelled. Clients do not send its request again by themselves: it
    /// would run, and cost, once more.
    pub(super) fn of_turn(error: OpenAiError) -> Self {
        let is_cancelled = matches!(error.code.as_deref(), Some("cancelled" | "interrupted"));
        let status =
            if is_cancelled { StatusCode::CONFLICT } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self { status, error, refused: None }
    }

    /// The error without its status, for a stream that has begun.
    pub(super) fn into_error(self) -> OpenAiError {
        self.error
    }
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

impl From<Refusal> for OpenAiRefusal {
    fn from(refusal: Refusal) -> Self {
        let status = status(refusal.code);
        let code = if refusal.code == RefusalCode::UnknownAgent {
            "model_not_found"
        } else if refusal.code == RefusalCode::Unauthorized {
            "invalid_api_key"
        } else {
            refusal.code.as_str()
        };
        let refused = Some(refusal.code);
        Self { refused, ..Self::of_request(status, code, refusal.reason) }
    }
}

impl From<StoreError> for OpenAiRefusal {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<RestRefusal> for OpenAiRefusal {
    fn from(RestRefusal(refusal): RestRefusal) -> Self {
        refusal.into()
    }
}

impl IntoResponse for OpenAiRefusal {
    fn into_response(self) -> Response {
        let Self { status, error, refused } = self;
        let mut response = (status, axum::Json(error.body())).into_response();
        let is_worth_retrying = refused.is_some_and(|code| code.retry() == Retry::Later);
        if !is_worth_retrying {
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(code) = refused {
            mark_refused(&mut response, code);
        }
        response
    }
}
