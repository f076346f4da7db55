//! What is said to a session, what waits in it, and what is decided.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use thoughtwire_hub::AwaitedTurn;
use thoughtwire_proto::dialect::native::Verdict;
use thoughtwire_proto::{
    CallId, Event, InputEvent, ItemId, Policy, Seq, SessionCommand, SessionReply,
};

use crate::access::{Identity, unauthorized};

use super::{
    Answered, Path, Query, Shared, bad, done, idempotency_key, read, session_id, unexpected,
};

/// The longest a caller may wait for a turn's end.
const WAIT_AT_MOST: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
pub(super) struct InputBody {
    text: String,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    attachments: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct WaitQuery {
    #[serde(default, deserialize_with = "seconds")]
    wait: Option<Duration>,
}

/// Reads a number of seconds, so that nothing is sent where it is none.
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

pub(super) async fn input(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(session): Path<String>,
    Query(query): Query<WaitQuery>,
    body: Result<Json<InputBody>, JsonRejection>,
) -> Answered {
    let user = caller.user.clone();
    let session = session_id(session)?;
    let InputBody { text, policy, attachments } = read(body)?;
    let key = idempotency_key(&headers)?;
    let _held = query.wait.map(|_| rest.hold(&user)).transpose()?;
    let ended = caller.ended();
    let command = SessionCommand::Send { text, attachments, policy };
    let SessionReply::Input { seq, input, disposition, duplicate } =
        rest.execute(&user, key, session.clone(), command).await?
    else {
        return Err(unexpected());
    };
    let answer = json!({"session": session, "seq": seq, "input": input, "disposition": disposition, "duplicate": duplicate});
    let Some(wait) = query.wait else {
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    };
    let awaited = tokio::select! {
        awaited = tokio::time::timeout(
            wait,
            rest.hub.await_turn(&user, &session, seq, &input),
        ) => awaited,
        // The input is taken and its turn goes on, but this caller may not read it any more.
        reason = ended => return Err(unauthorized(reason).into()),
    };
    match awaited {
        Ok(awaited) => {
            let (events, trimmed) = match awaited? {
                AwaitedTurn::Ended(events) => (events, false),
                AwaitedTurn::Trimmed(events) => (events, true),
            };
            let mut answer = json!({"session": session, "seq": seq, "input": input, "disposition": disposition, "duplicate": duplicate, "events": events});
            if let (true, Value::Object(answer)) = (trimmed, &mut answer) {
                answer.insert("trimmed".to_owned(), Value::Bool(true));
            }
            Ok(Json(answer).into_response())
        }
        // It goes on; the answer says where to read from.
        Err(_) => Ok((StatusCode::ACCEPTED, Json(answer)).into_response()),
    }
}

#[derive(Deserialize, Default)]
pub(super) struct CancelBody {
    turn: Option<thoughtwire_proto::TurnId>,
}

pub(super) async fn cancel(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(session): Path<String>,
    body: Result<Option<Json<CancelBody>>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let CancelBody { turn } = body.transpose().map(read).transpose()?.unwrap_or_default();
    let answer = rest
        .execute(
            &user,
            idempotency_key(&headers)?,
            session_id(session)?,
            SessionCommand::Cancel { turn },
        )
        .await?;
    Ok(Json(done(&answer)).into_response())
}

/// The inputs that wait for their turn, in order.
pub(super) async fn queued(
    State(rest): Shared,
    caller: Identity,
    Path(session): Path<String>,
) -> Answered {
    let user = caller.user;
    let stored = rest.own(&user, &session_id(session)?).await?;
    let waiting = rest.hub.read(move |store| {
        let mut waiting: Vec<Value> = Vec::new();
        for queued in stored.state.queue() {
            for record in store.events(stored.num, Seq(queued.seq.0.saturating_sub(1)), 1)? {
                if let Event::Input(InputEvent::UserMessage { item, text, .. }) = &record.event {
                    waiting.push(
                        json!({"input": item, "seq": record.seq, "at": record.at, "text": text}),
                    );
                }
            }
        }
        Ok(waiting)
    });
    Ok(Json(json!({"inputs": waiting.await?})).into_response())
}

pub(super) async fn withdraw(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((session, input)): Path<(String, String)>,
) -> Answered {
    let user = caller.user;
    let input = ItemId::new(input).map_err(|error| bad(&format!("the input's id: {error}")))?;
    let (session, key) = (session_id(session)?, idempotency_key(&headers)?);
    let reply = rest.execute(&user, key, session, SessionCommand::Withdraw { input }).await?;
    Ok(Json(done(&reply)).into_response())
}

#[derive(Deserialize)]
pub(super) struct DecideBody {
    decision: Verdict,
}

pub(super) async fn decide(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path((session, call)): Path<(String, String)>,
    body: Result<Json<DecideBody>, JsonRejection>,
) -> Answered {
    let user = caller.user;
    let call = CallId::new(call).map_err(|error| bad(&format!("the call's id: {error}")))?;
    let DecideBody { decision } = read(body)?;
    let approve = matches!(decision, Verdict::Approved);
    let (session, key) = (session_id(session)?, idempotency_key(&headers)?);
    let command = SessionCommand::Decide { call, approve };
    Ok(Json(done(&rest.execute(&user, key, session, command).await?)).into_response())
}
