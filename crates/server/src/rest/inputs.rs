//! Inputs of a session, and decisions in it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thoughtwire_hub::AwaitedTurn;
use thoughtwire_proto::rest::{
    CancelRequest, CommandDone, DecisionRequest, InputAccepted, InputDraft, InputList,
    InputListing, TurnResult,
};
use thoughtwire_proto::{CallId, Event, InputEvent, ItemId, SessionCommand, SessionReply};

use crate::access::{Identity, unauthorized};

use super::{
    IdempotencyHeader, JsonBody, PathParams, QueryParams, RestResult, SharedRest, bad, done, read,
    session_id, unexpected,
};

/// Longest wait for a turn's end.
const WAIT_AT_MOST: Duration = Duration::from_secs(600);

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
pub(super) struct WaitQuery {
    /// Seconds to wait for the end of the input's turn. The turn goes on when the time is over.
    /// Without it the answer comes at once.
    #[serde(default, deserialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "Option<f64>", range(min = 0, max = 600)))]
    wait: Option<Duration>,
}

/// Reads a number of seconds. A bad number is refused before the input is sent.
fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    let seconds = text.parse().ok().and_then(|wait| Duration::try_from_secs_f64(wait).ok());
    match seconds {
        Some(wait) => Ok(Some(wait.min(WAIT_AT_MOST))),
        None => Err(D::Error::custom(format!(
            "`wait` is {text:?}, which is not a number of seconds from 0 on"
        ))),
    }
}

/// The answer to an input.
pub(super) enum InputAnswer {
    /// The input is on disk. Its turn runs or waits.
    Accepted(InputAccepted),
    /// The turn has ended within the time that the caller waits.
    Ended(TurnResult),
}

impl IntoResponse for InputAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Accepted(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
            Self::Ended(result) => Json(result).into_response(),
        }
    }
}

pub(super) async fn input(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams(session): PathParams<String>,
    QueryParams(query): QueryParams<WaitQuery>,
    body: JsonBody<InputDraft>,
) -> RestResult<InputAnswer> {
    let user = caller.user.clone();
    let session = session_id(session)?;
    let InputDraft { text, policy, attachments } = read(body)?;
    let key = key.read()?;
    let _held = query.wait.map(|_| rest.hold(&user)).transpose()?;
    let ended = caller.ended();
    let command = SessionCommand::Send { text, attachments, policy };
    let SessionReply::Input { seq, input, disposition, duplicate } =
        rest.execute(&user, key, session.clone(), command).await?
    else {
        return Err(unexpected());
    };
    let accepted = InputAccepted { session, seq, input, disposition, duplicate };
    let Some(wait) = query.wait else { return Ok(InputAnswer::Accepted(accepted)) };
    let awaited = tokio::select! {
        awaited = tokio::time::timeout(
            wait,
            rest.hub.await_turn(&user, &accepted.session, seq, &accepted.input),
        ) => awaited,
        // The input is on disk and its turn goes on, but this caller may no longer read it.
        reason = ended => return Err(unauthorized(reason).into()),
    };
    // The turn goes on; the answer tells from which position to read it.
    let Ok(awaited) = awaited else { return Ok(InputAnswer::Accepted(accepted)) };
    let (events, trimmed) = match awaited? {
        AwaitedTurn::Ended(events) => (events, false),
        AwaitedTurn::Trimmed(events) => (events, true),
    };
    Ok(InputAnswer::Ended(TurnResult { input: accepted, events, trimmed }))
}

pub(super) async fn cancel(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams(session): PathParams<String>,
    body: Result<Option<Json<CancelRequest>>, JsonRejection>,
) -> RestResult<Json<CommandDone>> {
    let user = caller.user;
    let CancelRequest { turn } = body.transpose().map(read).transpose()?.unwrap_or_default();
    let answer = rest
        .execute(&user, key.read()?, session_id(session)?, SessionCommand::Cancel { turn })
        .await?;
    Ok(Json(done(&answer)))
}

/// Lists the inputs that wait for their turn, in order.
pub(super) async fn queued(
    State(rest): SharedRest,
    caller: Identity,
    PathParams(session): PathParams<String>,
) -> RestResult<Json<InputList>> {
    let user = caller.user;
    let stored = rest.own(&user, &session_id(session)?).await?;
    let logs = rest.hub.store().logs();
    let mut inputs = Vec::new();
    for queued in stored.state.queue() {
        let before = queued.seq.previous();
        for record in logs.records_after(&stored.id, before, 1).await? {
            if let Event::Input(InputEvent::UserMessage { item, text, .. }) = record.event {
                let (seq, at) = (record.seq, record.at);
                inputs.push(InputListing { input: item, seq, at, text });
            }
        }
    }
    Ok(Json(InputList { inputs }))
}

pub(super) async fn withdraw(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams((session, input)): PathParams<(String, String)>,
) -> RestResult<Json<CommandDone>> {
    let user = caller.user;
    let input = ItemId::new(input).map_err(|error| bad(&format!("the input's id: {error}")))?;
    let (session, key) = (session_id(session)?, key.read()?);
    let reply = rest.execute(&user, key, session, SessionCommand::Withdraw { input }).await?;
    Ok(Json(done(&reply)))
}

pub(super) async fn decide(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    PathParams((session, call)): PathParams<(String, String)>,
    body: JsonBody<DecisionRequest>,
) -> RestResult<Json<CommandDone>> {
    let user = caller.user;
    let call = CallId::new(call).map_err(|error| bad(&format!("the call's id: {error}")))?;
    let DecisionRequest { decision, result } = read(body)?;
    let (session, key) = (session_id(session)?, key.read()?);
    let command = SessionCommand::Decide { call, decision, result };
    Ok(Json(done(&rest.execute(&user, key, session, command).await?)))
}
