//! The REST interface of Sparky's web pages, in the forms of both of their generations.
//!
//! A Sparky user is a name space of one of our users (see [`Access::space`]), and a chat is one of
//! our sessions. Requests for other name spaces are answered with 404.

mod auth;
mod chats;
mod messages;

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde::Serialize;
use thoughtwire_proto::rest::Auth;
use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_store::StoreError;

pub(super) use auth::{login, logout, me, refresh, register};
pub(super) use chats::{archive, delete, list, model, rename, unarchive};
pub(super) use messages::messages;

use super::{RestRefusal, RestState, SharedRest, status};
use crate::access::{Access, Identity};
use crate::guard::bearer;

/// Most bytes of an upload that are read and dropped before it is refused. A browser that is still
/// sending when the connection closes shows a network error in place of the answer.
const DROPPED_BYTES: usize = 16 << 20;

/// Tells whether a route answers in the form of these pages.
pub(super) fn is_route(path: &str) -> bool {
    path.starts_with("/api/") || matches!(path, "/upload_file" | "/health")
}

/// A refusal in FastAPI's form, which the pages show: `{"detail", "code"}`.
pub(super) struct SparkyRefused(pub(super) Refusal);

/// A refused request, in the form that Sparky's pages show.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(super) struct SparkyError {
    detail: String,
    code: RefusalCode,
}

/// A sentence about a request that was carried out.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(super) struct SparkyNotice {
    message: &'static str,
}

impl From<Refusal> for SparkyRefused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<StoreError> for SparkyRefused {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl From<RestRefusal> for SparkyRefused {
    fn from(RestRefusal(refusal): RestRefusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for SparkyRefused {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        let body = SparkyError { detail: refusal.reason, code: refusal.code };
        let mut response = (status(body.code), Json(&body)).into_response();
        // For the metrics.
        response.extensions_mut().insert(body.code);
        response
    }
}

/// The result of a handler.
pub(super) type SparkyResult<T> = Result<T, SparkyRefused>;

fn not_found(what: &str) -> SparkyRefused {
    SparkyRefused(Refusal::new(RefusalCode::UnknownSession, format!("{what} not found")))
}

/// Returns the caller's own name space.
fn own_space(access: &Access, caller: &Identity, headers: &HeaderMap) -> String {
    access.space(caller, bearer(headers), None)
}

/// Returns the only name space that the caller may see, if it is bound to one: without keys, the
/// token of a login names it.
fn bound_to(access: &Access, headers: &HeaderMap) -> Option<String> {
    let token = bearer(headers).filter(|_| access.guard.auth == Auth::None)?;
    crate::access::named_by(token).map(str::to_owned)
}

/// Checks that a name space is the caller's own, or one that a client of the caller has used.
async fn check_space(
    rest: &RestState,
    caller: &Identity,
    headers: &HeaderMap,
    space: &str,
) -> Result<(), SparkyRefused> {
    if own_space(&rest.access, caller, headers) == space {
        return Ok(());
    }
    let may_see = bound_to(&rest.access, headers).is_none()
        && rest.hub.store().peers().has_space(&caller.user, space).await?;
    if may_see { Ok(()) } else { Err(not_found(&format!("User '{space}'"))) }
}

/// The server's health.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(super) struct SparkyHealth {
    status: &'static str,
    service: &'static str,
    startup_error: Option<String>,
}

pub(super) async fn health() -> Json<SparkyHealth> {
    Json(SparkyHealth { status: "healthy", service: "sparky-server", startup_error: None })
}

/// Lists no prompts or resources: agents use only the tools of MCP servers.
pub(super) async fn nothing() -> Json<[(); 0]> {
    Json([])
}

/// A model that an agent may have.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(super) struct SparkyModel {
    id: String,
    display_name: String,
    description: &'static str,
    is_default: bool,
}

/// The models of a user.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Serialize)]
pub(super) struct SparkyModels {
    models: Vec<SparkyModel>,
    default: String,
}

/// Lists the server's default model and those of the caller's agents.
pub(super) async fn models(
    State(rest): SharedRest,
    caller: Identity,
) -> SparkyResult<Json<SparkyModels>> {
    let user = caller.user;
    let agents = rest.hub.store().directory().agents(&user).await?;
    let mut ids = vec![rest.model.clone()];
    for id in agents.into_iter().filter_map(|agent| agent.spec.model) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let models = ids
        .into_iter()
        .map(|id| SparkyModel {
            is_default: id == rest.model,
            display_name: id.clone(),
            description: "",
            id,
        })
        .collect();
    Ok(Json(SparkyModels { models, default: rest.model.clone() }))
}

/// Refuses a file: this server does not store any.
pub(super) async fn upload(body: Body) -> SparkyResult<Infallible> {
    let mut chunks = body.into_data_stream();
    let mut room = DROPPED_BYTES;
    while let Some(Ok(chunk)) = chunks.next().await {
        match room.checked_sub(chunk.len()) {
            Some(left) => room = left,
            None => break,
        }
    }
    let reason = "this server does not store files; paste the text of the file into the message";
    Err(Refusal::new(RefusalCode::Unsupported, reason).into())
}
