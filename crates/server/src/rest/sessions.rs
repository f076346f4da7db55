//! Sessions.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::json;
use thoughtwire_proto::{Answer, Command};
use thoughtwire_store::SessionFilter;

use super::{Answered, Shared, done, idempotency_key, read, session_id, unexpected};
use crate::access::Identity;
use crate::listing;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    agent: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(State(rest): Shared, caller: Identity, Query(query): Query<ListQuery>) -> Answered {
    let user = caller.user;
    let agent = match query.agent {
        Some(agent) => Some(rest.profile(&user, agent).await?.id),
        None => None,
    };
    let filter = SessionFilter { agent, limit: query.limit, ..SessionFilter::default() };
    let sessions = listing::some(&rest.hub, &user, filter).await?;
    Ok(Json(json!({"sessions": sessions})).into_response())
}

#[derive(Deserialize)]
pub(super) struct NewSessionBody {
    agent: String,
    title: Option<String>,
    instructions: Option<String>,
    #[serde(default)]
    history: Vec<thoughtwire_proto::HistoryEntry>,
}

pub(super) async fn create(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    body: Result<Json<NewSessionBody>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let NewSessionBody { agent, title, instructions, history } = read(body)?;
    let (Answer::Session(session) | Answer::SessionAgain(session)) =
        rest.execute(&user, idempotency_key(&headers)?, Command::CreateSession { agent, title, instructions, history }).await?
    else {
        return Err(unexpected());
    };
    Ok((StatusCode::CREATED, Json(json!({"session": session}))).into_response())
}

pub(super) async fn show(State(rest): Shared, caller: Identity, Path(session): Path<String>) -> Answered {
    let user = caller.user;
    let session = session_id(session)?;
    let stored = rest.own(&user, &session).await?;
    let listing = listing::one(&rest.hub, &user, &session).await?;
    Ok(Json(json!({"session": listing, "epoch": stored.epoch, "first": stored.first, "instructions": stored.state.instructions()}))
        .into_response())
}

pub(super) async fn delete(State(rest): Shared, caller: Identity, headers: HeaderMap, Path(session): Path<String>) -> Answered {
    let user = caller.user;
    rest.execute(&user, idempotency_key(&headers)?, Command::DeleteSession { session: session_id(session)? }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct RenameBody {
    title: String,
}

pub(super) async fn rename(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(session): Path<String>,
    body: Result<Json<RenameBody>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let RenameBody { title } = read(body)?;
    let answer = rest.execute(&user, idempotency_key(&headers)?, Command::Rename { session: session_id(session)?, title }).await?;
    Ok(Json(done(&answer)).into_response())
}
