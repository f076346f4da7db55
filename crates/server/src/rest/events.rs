//! A session's events: pages, a stream without end, and whole outputs.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use thoughtwire_hub::{Presence, Read};
use thoughtwire_proto::{CallId, Cursor, Record, Refusal, RefusalCode, Seq, SessionId, Start};
use tokio::sync::Notify;

use crate::access::Identity;

use super::{Answered, Query, Refused, Rest, Shared, bad, record_of, session_id};

/// The most events in one page.
const PAGE: usize = 1000;

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    after: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn events(
    State(rest): Shared,
    caller: Identity,
    headers: HeaderMap,
    Path(session): Path<String>,
    Query(query): Query<EventsQuery>,
) -> Answered {
    let session = session_id(session)?;
    let wants_stream = headers.get("accept").is_some_and(|accept| {
        accept.to_str().is_ok_and(|accept| accept.contains("text/event-stream"))
    });
    if wants_stream {
        return stream(&rest, &caller, session, &headers, query.after).await;
    }
    let user = caller.user;
    let stored = rest.own(&user, &session).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE);
    // What lies before the beginning may still be on its way out.
    let after = Seq(query.after.unwrap_or(0).max(stored.first.0.saturating_sub(1)));
    let events =
        rest.hub.read_for(&user, move |store| store.events(stored.num, after, limit)).await?;
    let page = json!({"session": session, "epoch": stored.epoch, "first": stored.first, "head": stored.state.head(), "events": events});
    Ok(Json(page).into_response())
}

/// The same events as server-sent events, from a position on and without end; `Last-Event-ID` resumes.
async fn stream(
    rest: &Rest,
    caller: &Identity,
    session: SessionId,
    headers: &HeaderMap,
    after: Option<u64>,
) -> Answered {
    let last = match headers.get("last-event-id") {
        Some(id) => Some(
            id.to_str()
                .ok()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| bad("Last-Event-ID is no position"))?,
        ),
        None => after,
    };
    let start = last.map_or(Start::Head, |seq| Start::After(Cursor { epoch: None, seq: Seq(seq) }));
    let wake = Arc::new(Notify::new());
    let (_, subscription) = rest
        .hub
        .attach(
            &caller.user,
            &session,
            start,
            Arc::clone(&wake),
            Presence::Client { tools: Vec::new() },
        )
        .await?;
    let records = futures::stream::unfold(
        (subscription, wake, Vec::<Record>::new().into_iter()),
        |(mut subscription, wake, mut ready)| async move {
            loop {
                if let Some(record) = ready.next() {
                    let event = SseEvent::default()
                        .id(record.seq.to_string())
                        .event("event")
                        .json_data(&record);
                    // Records always serialise; should one not, the stream ends and the client asks again.
                    return event
                        .ok()
                        .map(|event| (Ok::<_, Infallible>(event), (subscription, wake, ready)));
                }
                if !subscription.has_news() {
                    wake.notified().await;
                    continue;
                }
                let entries = match subscription.next().await.ok()? {
                    Read::Entries { entries, .. } => entries,
                    Read::CaughtUp(_) => continue,
                    Read::Trimmed | Read::Closed(_) => return None,
                };
                ready = entries
                    .iter()
                    .filter_map(|entry| record_of(&entry.emitted().emission))
                    .collect::<Vec<_>>()
                    .into_iter();
            }
        },
    );
    // Who may not be here any more is told nothing more.
    Ok(Sse::new(records.take_until(caller.ended()))
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// The whole output of a call, as text.
pub(super) async fn output(
    State(rest): Shared,
    caller: Identity,
    Path((session, call)): Path<(String, String)>,
) -> Answered {
    let user = caller.user;
    let session = session_id(session)?;
    let call = CallId::new(call).map_err(|error| bad(&format!("the call's id: {error}")))?;
    let stored = rest.own(&user, &session).await?;
    let wanted = call.clone();
    let found = rest.hub.read_for(&user, move |store| store.tool_output(stored.num, &wanted));
    match found.await? {
        Some(text) => Ok(text.into_response()),
        None => Err(Refused(Refusal::new(
            RefusalCode::UnknownCall,
            format!("no call {call} has come back in session {session}"),
        ))),
    }
}
