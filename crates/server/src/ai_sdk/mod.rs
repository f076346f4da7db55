//! The endpoint of the Vercel AI SDK: `/ai-sdk/{agent}` and its resume and stop routes.
//!
//! A chat of the SDK is a session, and an assistant message is a turn. PROTOCOL.md has the mapping.

mod chat;
mod encode;
mod error;
mod ids;
mod text_parts;
mod ui_chunk;
mod ui_message;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

pub(crate) use error::AiSdkRefusal;

use crate::endpoint::admit_caller;
use crate::rest::{RestState, SharedRest};

/// Beginning of the endpoint's paths.
const PREFIX: &str = "/ai-sdk";

/// Name of the endpoint as a client of sessions.
const CLIENT_NAME: &str = "ai-sdk";

/// Result of a handler.
type AiSdkResult<T> = Result<T, AiSdkRefusal>;

/// Whether a path is the endpoint's, so that its refusals have the form of the SDK.
pub(crate) fn is_path(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The endpoint's routes. All of them need the scope `chat`.
pub(crate) fn router(rest: Arc<RestState>) -> Router {
    let routes = Router::new()
        .route("/{agent}", post(chat::send))
        .route("/{agent}/{chat}/stream", get(chat::resume))
        .route("/{agent}/{chat}/stop", post(chat::stop))
        .method_not_allowed_fallback(no_method)
        .fallback(no_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&rest), authorize));
    Router::new().nest(PREFIX, routes).with_state(rest)
}

/// Authenticates the caller of every request and checks its permission.
async fn authorize(State(rest): SharedRest, mut request: Request, next: Next) -> Response {
    match admit_caller(&rest, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => AiSdkRefusal::from(refusal).into_response(),
    }
}

async fn no_path(request: Request) -> AiSdkRefusal {
    let path = request.uri().path().to_owned();
    AiSdkRefusal::of_request(
        StatusCode::NOT_FOUND,
        format!(
            "there is nothing at {PREFIX}{path}; this server has {PREFIX}/AGENT, \
             {PREFIX}/AGENT/CHAT/stream and {PREFIX}/AGENT/CHAT/stop"
        ),
    )
}

async fn no_method(request: Request) -> AiSdkRefusal {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    AiSdkRefusal::of_request(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not possible at {PREFIX}{path}"),
    )
}
