//! REST as Sparky's web pages use it: below `/api`, in the shapes of both of their generations.
//!
//! A Sparky user is a name space of one of our users (see [`Access::space`]), and a chat is one of
//! our sessions. Whatever is not in a name space that the caller may see is answered with 404.

mod auth;
mod chats;
mod messages;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::json;
use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_store::StoreError;

pub(super) use auth::{login, logout, me, refresh, register};
pub(super) use chats::{archive, delete, list, model, rename, unarchive};
pub(super) use messages::messages;

use super::{Refused, Rest, Shared, status};
use crate::access::{Access, Identity};
use crate::config::Auth;
use crate::guard::bearer;

/// Bytes of an upload that are read and dropped before it is refused. A browser that is still
/// sending when the connection closes shows a network error in place of the answer.
const DROPPED_BYTES: usize = 16 << 20;

/// Whether the answers of a route have the shape of these pages.
pub(super) fn is_route(path: &str) -> bool {
    path.starts_with("/api/") || matches!(path, "/upload_file" | "/health")
}

/// A refusal in FastAPI's shape, which the pages show: `{"detail", "code"}`.
pub(super) struct Detail(pub(super) Refusal);

impl From<Refusal> for Detail {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<StoreError> for Detail {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl From<Refused> for Detail {
    fn from(Refused(refusal): Refused) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Detail {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        let body = json!({"detail": refusal.reason, "code": refusal.code});
        let mut response = (status(refusal.code), Json(body)).into_response();
        // For the metrics.
        response.extensions_mut().insert(refusal.code);
        response
    }
}

pub(super) type Told = Result<Response, Detail>;

fn not_found(what: &str) -> Detail {
    Detail(Refusal::new(RefusalCode::UnknownSession, format!("{what} not found")))
}

/// The name space that a caller has in these routes.
fn own_space(access: &Access, caller: &Identity, headers: &HeaderMap) -> String {
    access.space(caller, bearer(headers), None)
}

/// The only name space that a caller may see, if it is bound to one: without keys, by the token of
/// a login, which names it.
fn bound_to(access: &Access, headers: &HeaderMap) -> Option<String> {
    let token = bearer(headers).filter(|_| access.guard.auth == Auth::None)?;
    crate::access::named_by(token).map(str::to_owned)
}

/// Checks that a name space is the caller's: its own one, or one in which a client of it was seen.
async fn check_space(
    rest: &Rest,
    caller: &Identity,
    headers: &HeaderMap,
    space: &str,
) -> Result<(), Detail> {
    if own_space(&rest.access, caller, headers) == space {
        return Ok(());
    }
    let may_see = bound_to(&rest.access, headers).is_none()
        && rest.hub.store().peers().has_space(&caller.user, space).await?;
    if may_see { Ok(()) } else { Err(not_found(&format!("User '{space}'"))) }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    startup_error: Option<String>,
}

pub(super) async fn health() -> Response {
    let health = Health { status: "healthy", service: "sparky-server", startup_error: None };
    Json(health).into_response()
}

/// Prompts and resources of MCP servers: agents here use their tools only.
pub(super) async fn nothing() -> Response {
    Json(json!([])).into_response()
}

#[derive(Serialize)]
struct Model {
    id: String,
    display_name: String,
    description: &'static str,
    is_default: bool,
}

#[derive(Serialize)]
struct Models {
    models: Vec<Model>,
    default: String,
}

/// The server's default model and those of the caller's agents.
pub(super) async fn models(State(rest): Shared, caller: Identity) -> Told {
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
        .map(|id| Model {
            is_default: id == rest.model,
            display_name: id.clone(),
            description: "",
            id,
        })
        .collect();
    Ok(Json(Models { models, default: rest.model.clone() }).into_response())
}

/// Refuses a file: this server does not store any.
pub(super) async fn upload(body: Body) -> Told {
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
