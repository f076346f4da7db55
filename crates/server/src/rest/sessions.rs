//! Sessions.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use thoughtwire_hub::check_retention;
use thoughtwire_proto::{SessionCommand, new_title};
use thoughtwire_store::{Retention, SessionFilter};

use super::{Answered, Path, Query, Shared, bad, done, idempotency_key, read, session_id};
use crate::access::Identity;
use crate::listing;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    agent: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(rest): Shared,
    caller: Identity,
    Query(query): Query<ListQuery>,
) -> Answered {
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
    let key = idempotency_key(&headers)?;
    let made = rest
        .hub
        .directory()
        .create_session(&user, key, agent, title, instructions, history)
        .await?;
    let session = made.thing;
    Ok((StatusCode::CREATED, Json(json!({"session": session}))).into_response())
}

pub(super) async fn show(
    State(rest): Shared,
    caller: Identity,
    Path(session): Path<String>,
) -> Answered {
    let user = caller.user;
    let session = session_id(session)?;
    let stored = rest.own(&user, &session).await?;
    let listing = listing::one(&rest.hub, &user, &session).await?;
    let keep = rest.hub.read(move |store| store.retention(stored.num)).await?;
    let page = json!({
        "session": listing,
        "epoch": stored.epoch,
        "first": stored.first,
        "instructions": stored.state.instructions(),
        "keep_days": keep.days,
        "keep_events": keep.events,
    });
    Ok(Json(page).into_response())
}

pub(super) async fn delete(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(session): Path<String>,
) -> Answered {
    let user = caller.user;
    rest.execute(&user, idempotency_key(&headers)?, session_id(session)?, SessionCommand::Delete)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What may be changed; what is absent stays, and `null` takes a limit away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditBody {
    title: Option<String>,
    #[serde(default, deserialize_with = "given")]
    keep_days: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    keep_events: Option<Option<u64>>,
}

/// Tells `null` from nothing.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(super) async fn edit(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(session): Path<String>,
    body: Result<Json<EditBody>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let EditBody { title, keep_days, keep_events } = read(body)?;
    // Before anything is changed.
    let title = title.as_deref().map(new_title).transpose();
    let title = title.map_err(|no| bad(&format!("the title: {no}")))?;
    let session = session_id(session)?;
    let key = idempotency_key(&headers)?;
    let given = Retention { days: keep_days.flatten(), events: keep_events.flatten() };
    check_retention(given)?;
    let num = rest.own(&user, &session).await?.num;
    // First, since it may still be refused.
    let answer = match title {
        Some(title) => {
            let command = SessionCommand::Rename { title };
            done(&rest.execute(&user, key, session.clone(), command).await?)
        }
        None => json!({}),
    };
    if keep_days.is_some() || keep_events.is_some() {
        let now = rest.hub.read(move |store| store.retention(num)).await?;
        let keep = Retention {
            days: keep_days.unwrap_or(now.days),
            events: keep_events.unwrap_or(now.events),
        };
        rest.hub.keep(&user, &session, keep).await?;
        rest.sweep();
    }
    Ok(Json(answer).into_response())
}
