//! The OpenAI-compatible endpoint: `/openai/v1/{models,chat/completions,responses}`.
//!
//! A model is an agent of the caller. PROTOCOL.md has the mapping.

mod body;
mod chat;
mod content;
mod error;
mod models;
mod responses;
mod session;
mod tools;
mod turn_request;
mod unsupported;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use thoughtwire_proto::{Refusal, RefusalCode};

pub(crate) use error::OpenAiRefusal;

use crate::endpoint::{RequestConversation, authorize, is_below};
use crate::rest::RestState;

/// Beginning of the endpoint's paths.
const PREFIX: &str = "/openai/v1";

/// Name of the endpoint as a client of sessions.
const CLIENT_NAME: &str = "openai";

/// Result of a handler.
type OpenAiResult<T> = Result<T, OpenAiRefusal>;

/// Whether a path is the endpoint's, so that its refusals have the form of OpenAI's API.
pub(crate) fn is_path(path: &str) -> bool {
    is_below(path, PREFIX)
}

/// The endpoint's routes. All of them need the scope `chat`.
pub(crate) fn router(rest: Arc<RestState>) -> Router {
    let routes = Router::new()
        .route("/models", get(models::list))
        .route("/models/{model}", get(models::show))
        .route("/chat/completions", post(chat::complete))
        .route("/responses", post(responses::create))
        .route("/responses/{response}", get(responses::show).delete(responses::delete))
        .route("/responses/{response}/input_items", get(responses::input_items))
        .route("/responses/{response}/cancel", post(responses::cancel))
        .method_not_allowed_fallback(no_method)
        .fallback(no_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&rest), authorize::<OpenAiRefusal>));
    Router::new().nest(PREFIX, routes).with_state(rest)
}

/// Checks that something in a request's messages is new. `param` is their place in it.
fn check_news(conversation: &RequestConversation, param: &str) -> OpenAiResult<()> {
    if conversation.has_news() {
        return Ok(());
    }
    if conversation.has_blank() {
        let refusal = Refusal::new(RefusalCode::EmptyText, "the user's message is empty");
        return Err(OpenAiRefusal::from(refusal).about(param));
    }
    let message = "the last message has to be the user's, or the result of a tool";
    Err(OpenAiRefusal::of_param(param, message))
}

async fn no_path(request: Request) -> OpenAiRefusal {
    let path = request.uri().path().to_owned();
    OpenAiRefusal::of_request(
        StatusCode::NOT_FOUND,
        "not_found",
        format!(
            "there is nothing at {PREFIX}{path}; this server has models, chat/completions and \
             responses"
        ),
    )
}

async fn no_method(request: Request) -> OpenAiRefusal {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    OpenAiRefusal::of_request(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} is not possible at {PREFIX}{path}"),
    )
}
