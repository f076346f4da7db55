//! A session's events: pages, a stream without end, and whole outputs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse as _;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thoughtwire_hub::{Presence, Read, Subscription, Wake};
use thoughtwire_proto::{
    CallId, Cursor, Epoch, Record, Refusal, RefusalCode, Seq, SessionId, Start,
};
use tokio::sync::Notify;

use crate::access::Identity;

use super::{Answered, Held, Path, Query, Refused, Rest, Shared, bad, record_of, session_id};

/// The most events in one page.
const PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventsQuery {
    after: Option<u64>,
    limit: Option<usize>,
    /// `Last-Event-ID`, from where no header can be set.
    last_event_id: Option<String>,
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
        let header = headers.get("last-event-id").map(HeaderValue::to_str).transpose();
        let header = header.map_err(|_| bad("Last-Event-ID is not readable text"))?;
        // A polyfill keeps the query of its first request and moves the header on.
        let last = header.or(query.last_event_id.as_deref()).filter(|id| !id.is_empty());
        let cursor = match (last, query.after) {
            (Some(id), _) => Some(position(id)?),
            (None, after) => after.map(|seq| Cursor { epoch: None, seq: Seq(seq) }),
        };
        return stream(&rest, &caller, session, cursor).await;
    }
    let user = caller.user;
    let stored = rest.own(&user, &session).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE);
    // What lies before the beginning may still be on its way out.
    let after = Seq(query.after.unwrap_or(0).max(stored.first.0.saturating_sub(1)));
    let store = rest.hub.store().for_user(user.as_str());
    let events = store.logs().records_after(&session, after, limit).await?;
    let page = json!({"session": session, "epoch": stored.epoch, "first": stored.first, "head": stored.state.head(), "events": events});
    Ok(Json(page).into_response())
}

/// Reads the id of a server-sent event: `EPOCH:SEQ`, or `SEQ` alone.
fn position(id: &str) -> Result<Cursor, Refusal> {
    let (epoch, seq) = match id.rsplit_once(':') {
        Some((epoch, seq)) => (Some(epoch), seq),
        None => (None, id),
    };
    let epoch = epoch.map(Epoch::new).transpose().ok();
    let seq = seq.parse().ok().filter(|_| seq.bytes().all(|byte| byte.is_ascii_digit()));
    match (epoch, seq) {
        (Some(epoch), Some(seq)) => Ok(Cursor { epoch, seq: Seq(seq) }),
        _ => Err(bad(&format!(
            "{id:?} is not the id of an event, which is EPOCH:SEQ; leave it out to begin at the \
             head"
        ))),
    }
}

/// The reason why a stream of events ended.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum EndCode {
    /// Events behind the cursor were deleted. The stream that follows begins where the log does.
    Trimmed,
    /// The session was deleted, or the server stops.
    Closed,
    /// The key was revoked, or it has expired.
    Unauthorized,
    /// The log could not be read.
    StoreFailed,
}

/// A stream of a session's events.
struct Events {
    subscription: Subscription,
    wake: Wake,
    epoch: Epoch,
    ready: std::vec::IntoIter<Record>,
    /// Resolves when the caller may read no more.
    ended: BoxFuture<'static, &'static str>,
    /// Counts among its user's connections until the stream is dropped.
    _held: Held,
}

/// The same events as server-sent events, from a cursor on, else from the head on, without end.
async fn stream(
    rest: &Rest,
    caller: &Identity,
    session: SessionId,
    cursor: Option<Cursor>,
) -> Answered {
    let held = rest.hold(&caller.user)?;
    let start = cursor.map_or(Start::Head, Start::After);
    let wake = Arc::new(Notify::new());
    let presence = Presence::Client { tools: Vec::new() };
    let (attached, subscription) =
        rest.hub.attach(&caller.user, &session, start, Arc::clone(&wake), presence).await?;
    let events = Events {
        subscription,
        wake,
        epoch: attached.epoch.clone(),
        ready: Vec::new().into_iter(),
        ended: caller.ended(),
        _held: held,
    };
    let restarted = (!attached.recovered).then(|| {
        let reason = "the cursor is not of this log; it follows from where it begins";
        let page = json!({
            "reason": reason,
            "epoch": attached.epoch,
            "first": attached.first,
            "head": attached.head,
        });
        SseEvent::default().event("restarted").json_data(page)
    });
    let rest = futures::stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        match events.next().await {
            Ok(record) => Some((events.show(&record), Some(events))),
            Err((code, reason)) => {
                let told = json!({"code": code, "reason": reason});
                Some((SseEvent::default().event("closed").json_data(told), None))
            }
        }
    });
    let all = futures::stream::iter(restarted).chain(rest);
    let headers = [
        // nginx holds an answer back otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (CACHE_CONTROL, "no-cache, no-transform"),
    ];
    Ok((headers, Sse::new(all).keep_alive(KeepAlive::default())).into_response())
}

impl Events {
    /// The next record, or why there is none.
    async fn next(&mut self) -> Result<Record, (EndCode, String)> {
        loop {
            if let Some(reason) = (&mut self.ended).now_or_never() {
                return Err((EndCode::Unauthorized, reason.to_owned()));
            }
            if let Some(record) = self.ready.next() {
                return Ok(record);
            }
            if !self.subscription.has_news() {
                tokio::select! {
                    () = self.wake.notified() => {}
                    reason = &mut self.ended => {
                        return Err((EndCode::Unauthorized, reason.to_owned()));
                    }
                }
                continue;
            }
            let entries = match self.subscription.next().await {
                Ok(Read::Entries { entries, .. }) => entries,
                Ok(Read::CaughtUp(_)) => continue,
                Ok(Read::Trimmed) => {
                    let reason = "older events were deleted meanwhile; connect again";
                    return Err((EndCode::Trimmed, reason.to_owned()));
                }
                Ok(Read::Closed(reason)) => return Err((EndCode::Closed, reason)),
                Err(refusal) => return Err((EndCode::StoreFailed, refusal.reason)),
            };
            self.ready = entries
                .iter()
                .filter_map(|entry| record_of(&entry.emitted().emission))
                .collect::<Vec<_>>()
                .into_iter();
        }
    }

    fn show(&self, record: &Record) -> Result<SseEvent, axum::Error> {
        let id = format!("{}:{}", self.epoch, record.seq);
        SseEvent::default().id(id).event("event").json_data(record)
    }
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
    rest.own(&user, &session).await?;
    let store = rest.hub.store().for_user(user.as_str());
    match store.logs().tool_output(&session, &call).await? {
        Some(text) => Ok(text.into_response()),
        None => Err(Refused(Refusal::new(
            RefusalCode::UnknownCall,
            format!("no call {call} has come back in session {session}"),
        ))),
    }
}
