//! Events of a session: pages, streams, and whole outputs of calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use thoughtwire_hub::{Presence, Read, Subscription, WakeSignal};
use thoughtwire_proto::rest::{EventPage, StreamClosed, StreamEnd, StreamRestarted};
use thoughtwire_proto::{
    CallId, Cursor, Epoch, Record, Refusal, RefusalCode, Seq, SessionId, Start,
};
use tokio::sync::Notify;

use crate::access::Identity;
use crate::eviction::{Eviction, Watched};

use super::{
    HeldPermits, PathParams, QueryParams, RestRefusal, RestResult, RestState, SharedRest, bad,
    record_of, session_id,
};

/// Most events of one page.
const PAGE: usize = 1000;

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventsQuery {
    /// Position behind which events are read. Without it a page begins at the log's first event,
    /// and a stream at its head.
    after: Option<u64>,
    /// Most events of a page.
    #[cfg_attr(test, schemars(range(min = 1, max = 1000), extend("default" = 100)))]
    limit: Option<usize>,
    /// `Last-Event-ID`, for clients that cannot set a header.
    last_event_id: Option<String>,
}

/// The answer to a request for events.
pub(super) enum EventsAnswer {
    /// A page of them.
    Page(Box<EventPage>),
    /// Server-sent events without end.
    Stream(Response),
}

impl IntoResponse for EventsAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Page(page) => Json(page).into_response(),
            Self::Stream(stream) => stream,
        }
    }
}

pub(super) async fn events(
    State(rest): SharedRest,
    caller: Identity,
    headers: HeaderMap,
    PathParams(session): PathParams<String>,
    QueryParams(query): QueryParams<EventsQuery>,
    eviction: Option<Extension<Eviction>>,
) -> RestResult<EventsAnswer> {
    let session = session_id(session)?;
    let wants_stream = headers.get("accept").is_some_and(|accept| {
        accept.to_str().is_ok_and(|accept| accept.contains("text/event-stream"))
    });
    if wants_stream {
        let header = headers.get("last-event-id").map(HeaderValue::to_str).transpose();
        let header = header.map_err(|_| bad("Last-Event-ID is not readable text"))?;
        // Some clients repeat the query of their first request and update the header.
        let last = header.or(query.last_event_id.as_deref()).filter(|id| !id.is_empty());
        let cursor = match (last, query.after) {
            (Some(id), _) => Some(position(id)?),
            (None, after) => after.map(|seq| Cursor { epoch: None, seq: Seq(seq) }),
        };
        return stream(&rest, &caller, session, cursor, eviction).await.map(EventsAnswer::Stream);
    }
    let user = caller.user;
    let stored = rest.own(&user, &session).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE);
    // Trimmed events may still be in the file.
    let after = Seq(query.after.unwrap_or(0).max(stored.first.0.saturating_sub(1)));
    let store = rest.hub.store().for_user(user.as_str());
    let events = store.logs().records_after(&session, after, limit).await?;
    let (epoch, first, head) = (stored.epoch, stored.first, stored.state.head());
    Ok(EventsAnswer::Page(Box::new(EventPage { session, epoch, first, head, events })))
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

/// A stream of a session's events.
struct EventStream {
    subscription: Subscription,
    wake: WakeSignal,
    epoch: Epoch,
    ready: std::vec::IntoIter<Record>,
    /// Resolves when the caller may read no more.
    ended: BoxFuture<'static, &'static str>,
    /// Cuts the connection if the stream cannot end because its client takes nothing.
    _watched: Option<Watched>,
    /// Counts among its user's connections until the stream is dropped.
    _held: HeldPermits,
}

/// Streams server-sent events without end, from behind a cursor or from the head.
async fn stream(
    rest: &RestState,
    caller: &Identity,
    session: SessionId,
    cursor: Option<Cursor>,
    eviction: Option<Extension<Eviction>>,
) -> RestResult<Response> {
    let held = rest.hold(&caller.user)?;
    let start = cursor.map_or(Start::Head, Start::After);
    let wake = Arc::new(Notify::new());
    let presence = Presence::Client { tools: Vec::new() };
    let (attached, subscription) =
        rest.hub.attach(&caller.user, &session, start, Arc::clone(&wake), presence).await?;
    let events = EventStream {
        subscription,
        wake,
        epoch: attached.epoch.clone(),
        ready: Vec::new().into_iter(),
        ended: caller.ended(),
        _watched: eviction.map(|Extension(eviction)| eviction.watch(caller.ended())),
        _held: held,
    };
    let restarted = (!attached.recovered).then(|| {
        let restarted = StreamRestarted {
            reason: "the cursor is not of this log; it follows from where it begins".to_owned(),
            epoch: attached.epoch,
            first: attached.first,
            head: attached.head,
        };
        SseEvent::default().event("restarted").json_data(restarted)
    });
    let rest = futures::stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        match events.next().await {
            Ok(record) => Some((events.show(&record), Some(events))),
            Err(closed) => Some((SseEvent::default().event("closed").json_data(closed), None)),
        }
    });
    let all = futures::stream::iter(restarted).chain(rest);
    let headers = [
        // nginx buffers the answer otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (CACHE_CONTROL, "no-cache, no-transform"),
    ];
    Ok((headers, Sse::new(all).keep_alive(KeepAlive::default())).into_response())
}

impl EventStream {
    /// Waits for the next record.
    ///
    /// # Errors
    /// The end of the stream.
    async fn next(&mut self) -> Result<Record, StreamClosed> {
        loop {
            if let Some(reason) = (&mut self.ended).now_or_never() {
                return Err(closed(StreamEnd::Unauthorized, reason.to_owned()));
            }
            if let Some(record) = self.ready.next() {
                return Ok(record);
            }
            if !self.subscription.has_news() {
                tokio::select! {
                    () = self.wake.notified() => {}
                    reason = &mut self.ended => {
                        return Err(closed(StreamEnd::Unauthorized, reason.to_owned()));
                    }
                }
                continue;
            }
            let entries = match self.subscription.next().await {
                Ok(Read::Entries { entries, .. }) => entries,
                Ok(Read::CaughtUp(_)) => continue,
                Ok(Read::Trimmed) => {
                    let reason = "older events were deleted meanwhile; connect again";
                    return Err(closed(StreamEnd::Trimmed, reason.to_owned()));
                }
                Ok(Read::Closed(reason)) => return Err(closed(StreamEnd::Closed, reason)),
                Err(refusal) => return Err(closed(StreamEnd::StoreFailed, refusal.reason)),
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

fn closed(code: StreamEnd, reason: impl Into<String>) -> StreamClosed {
    StreamClosed { code, reason: reason.into() }
}

/// Returns the whole output of a call as text.
pub(super) async fn output(
    State(rest): SharedRest,
    caller: Identity,
    PathParams((session, call)): PathParams<(String, String)>,
) -> RestResult<String> {
    let user = caller.user;
    let session = session_id(session)?;
    let call = CallId::new(call).map_err(|error| bad(&format!("the call's id: {error}")))?;
    rest.own(&user, &session).await?;
    let store = rest.hub.store().for_user(user.as_str());
    match store.logs().tool_output(&session, &call).await? {
        Some(text) => Ok(text),
        None => Err(RestRefusal(Refusal::new(
            RefusalCode::UnknownCall,
            format!("no call {call} has come back in session {session}"),
        ))),
    }
}
