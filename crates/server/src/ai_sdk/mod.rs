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
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};

pub(crate) use error::AiSdkRefusal;

use crate::endpoint::{authorize, is_below};
use crate::rest::RestState;

/// Beginning of the endpoint's paths.
const PREFIX: &str = "/ai-sdk";

/// Name of the endpoint as a client of sessions.
const CLIENT_NAME: &str = "ai-sdk";

/// Result of a handler.
type AiSdkResult<T> = Result<T, AiSdkRefusal>;

/// Whether a path is the endpoint's, so that its refusals have the form of the SDK.
pub(crate) fn is_path(path: &str) -> bool {
    is_below(path, PREFIX)
}

/// The endpoint's routes. All of them need the scope `chat`.
pub(crate) fn router(rest: Arc<RestState>) -> Router {
    let routes = Router::new()
        .route("/{agent}", post(chat::send))
        .route("/{agent}/{chat}/stream", get(chat::resume))
        .route("/{agent}/{chat}/stop", post(chat::stop))
        .method_not_allowed_fallback(no_method)
        .fallback(no_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&rest), authorize::<AiSdkRefusal>));
    Router::new().nest(PREFIX, routes).with_state(rest)
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
