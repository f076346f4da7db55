//! Checks that every request passes first, and headers of every answer.

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use thoughtwire_proto::RefusalCode;

use crate::ag_ui::{self, AgUiRefusal};
use crate::ai_sdk::{self, AiSdkRefusal};
use crate::body::Late;
use crate::cors;
use crate::guard::Surface;
use crate::openai::{self, OpenAiRefusal};
use crate::page;
use crate::rest::RestRefusal;
use crate::upgrade::ConnectionState;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Checks a request, has it answered, and adds the headers that every answer has.
pub(crate) async fn front(
    State(shared): State<ConnectionState>,
    request: Request,
    next: Next,
) -> Response {
    let guard = &shared.access.guard;
    let surface = surface(request.extensions().get::<MatchedPath>());
    let reader = guard.allowed_origin(request.headers());
    let late = request.extensions().get::<Late>().cloned();
    let mut response = match guard.admit(&request, surface) {
        Err(refusal) if openai::is_path(request.uri().path()) => {
            OpenAiRefusal::from(refusal).into_response()
        }
        Err(refusal) if ag_ui::is_path(request.uri().path()) => {
            AgUiRefusal::from(refusal).into_response()
        }
        Err(refusal) if ai_sdk::is_path(request.uri().path()) => {
            AiSdkRefusal::from(refusal).into_response()
        }
        Err(refusal) => RestRefusal(refusal).into_response(),
        Ok(()) if reader.is_some() && cors::is_preflight(request.method(), request.headers()) => {
            cors::preflight(request.headers())
        }
        Ok(()) => next.run(request).await,
    };
    if late.is_some_and(|late| late.is_set()) {
        response = too_slow();
    }
    if let Some(&code) = response.extensions().get::<RefusalCode>() {
        shared.metrics.refused(code);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let headers = response.headers_mut();
    protect(headers, surface);
    if !guard.allow_origin.is_empty() {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = reader {
        cors::open_to(origin, headers);
    }
    response
}

/// Tells what a matched path is for. A new route is an API unless [`page::PATHS`] names it.
fn surface(matched: Option<&MatchedPath>) -> Surface {
    match matched {
        Some(path) if !page::PATHS.contains(&path.as_str()) => Surface::Api,
        Some(_) | None => Surface::Page,
    }
}

/// Keeps other origins' pages and caches away from an answer.
fn protect(headers: &mut HeaderMap, surface: Surface) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if surface == Surface::Api && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The answer to a request whose body did not come in time, on a connection that then ends.
fn too_slow() -> Response {
    let reason = "the request's body came too slowly; nothing was done: send it again";
    let body = json!({"error": {"code": "too_slow", "reason": reason}});
    let headers = [(CONNECTION, HeaderValue::from_static("close"))];
    (StatusCode::REQUEST_TIMEOUT, headers, axum::Json(body)).into_response()
}
