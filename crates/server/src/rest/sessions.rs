//! Sessions.

use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use serde::Deserialize;
use thoughtwire_hub::check_retention;
use thoughtwire_proto::rest::{
    CommandDone, SessionCreated, SessionDetails, SessionDraft, SessionList, SessionPatch,
};
use thoughtwire_proto::{SessionCommand, new_title};
use thoughtwire_store::{Retention, SessionFilter};

use super::{
    Created, IdempotencyHeader, JsonBody, PathParams, QueryParams, RestRefusal, RestResult,
    SharedRest, bad, done, no_session, read, session_id,
};
use crate::access::Identity;
use crate::listing;

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct SessionsQuery {
    /// Only sessions of this agent, by its name or id.
    agent: Option<String>,
    /// Most sessions of the answer.
    limit: Option<usize>,
}

pub(super) async fn list(
    State(rest): SharedRest,
    caller: Identity,
    QueryParams(query): QueryParams<SessionsQuery>,
) -> RestResult<Json<SessionList>> {
    let user = caller.user;
    let agent = match query.agent {
        Some(agent) => Some(rest.profile(&user, agent).await?.id),
        None => None,
    };
    let filter = SessionFilter { agent, limit: query.limit, ..SessionFilter::default() };
    let sessions = listing::some(&rest.hub, &user, filter).await?;
    Ok(Json(SessionList { sessions }))
}

pub(super) async fn create(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    body: JsonBody<SessionDraft>,
) -> RestResult<Created<SessionCreated>> {
    let user = caller.user;
    let SessionDraft { agent, title, instructions, history } = read(body)?;
    let key = key.read()?;
    let made = rest
        .hub
        .directory()
        .create_session(&user, key, agent, title, instructions, history)
        .await?;
    Ok(Created(SessionCreated { session: made.thing }))
}

pub(super) async fn show(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(session): PathParams<String>,
) -> RestResult<Json<SessionDetails>> {
    let user = caller.user;
    let session = session_id(session)?;
    let stored = rest.own(&user, &session).await?;
    // It may have been deleted since.
    let gone = || RestRefusal(no_session(&session));
    let listing = listing::one(&rest.hub, &user, &session).await?.ok_or_else(gone)?;
    let keep = rest.hub.store().upkeep().retention(&session).await?;
    Ok(Json(SessionDetails {
        session: listing,
        epoch: stored.epoch,
        first: stored.first,
        instructions: stored.state.instructions().map(str::to_owned),
        keep_days: keep.days,
        keep_events: keep.events,
    }))
}

pub(super) async fn delete(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams(session): PathParams<String>,
) -> RestResult<NoContent> {
    let user = caller.user;
    rest.execute(&user, key.read()?, session_id(session)?, SessionCommand::Delete).await?;
    Ok(NoContent)
}

pub(super) async fn edit(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams(session): PathParams<String>,
    body: JsonBody<SessionPatch>,
) -> RestResult<Json<CommandDone>> {
    let user = caller.user;
    let SessionPatch { title, keep_days, keep_events } = read(body)?;
    // Checked before anything changes.
    let title = title.as_deref().map(new_title).transpose();
    let title = title.map_err(|no| bad(&format!("the title: {no}")))?;
    let session = session_id(session)?;
    let key = key.read()?;
    let given = Retention { days: keep_days.flatten(), events: keep_events.flatten() };
    check_retention(given)?;
    rest.own(&user, &session).await?;
    // The title comes first, since it may be refused.
    let answer = match title {
        Some(title) => {
            let command = SessionCommand::Rename { title };
            done(&rest.execute(&user, key, session.clone(), command).await?)
        }
        None => CommandDone::default(),
    };
    if keep_days.is_some() || keep_events.is_some() {
        let now = rest.hub.store().upkeep().retention(&session).await?;
        let keep = Retention {
            days: keep_days.unwrap_or(now.days),
            events: keep_events.unwrap_or(now.events),
        };
        rest.hub.keep(&user, &session, keep).await?;
        rest.sweep();
    }
    Ok(Json(answer))
}
