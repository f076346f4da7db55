//! Events of a session: pages, streams, and whole outputs of calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use thoughtwire_hub::{Presence, TailEntry};
use thoughtwire_proto::rest::{EventPage, StreamClosed, StreamRestarted};
use thoughtwire_proto::{
    CallId, Cursor, Emission, Epoch, Refusal, RefusalCode, Seq, SessionId, Start,
};
use tokio::sync::Notify;

use crate::access::Identity;
use crate::event_stream::{EventEncoder, EventStream, SharedEvents};
use crate::takeover::Takeover;

use super::{
    PathParams, QueryParams, RestRefusal, RestResult, RestState, SharedRest, bad, session_id,
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
    takeover: Option<Extension<Takeover>>,
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
        let Some(Extension(takeover)) = takeover else {
            return Err(bad("events are streamed by a running server; read a page of them").into());
        };
        let streamed = stream(&rest, &caller, session, cursor, (&headers, takeover)).await;
        return streamed.map(EventsAnswer::Stream);
    }
    let user = caller.user;
    let stored = rest.own(&user, &session).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE);
    // Trimmed events may still be in the file.
    let after = Seq(query.after.unwrap_or(0)).max(stored.first.previous());
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
    match (epoch, Seq::from_digits(seq)) {
        (Some(epoch), Some(seq)) => Ok(Cursor { epoch, seq }),
        _ => Err(bad(&format!(
            "{id:?} is not the id of an event, which is EPOCH:SEQ; leave it out to begin at the \
             head"
        ))),
    }
}

/// Records as server-sent events: `id` is `EPOCH:SEQ`, `event` is `event`, `data` a record.
///
/// Its only state is the log's epoch, so all readers of a session share its events.
struct RecordEncoder {
    epoch: Epoch,
}

/// One record's event, kept with its entry.
struct RecordEvent {
    epoch: Epoch,
    event: Arc<SharedEvents>,
}

impl EventEncoder for RecordEncoder {
    fn encode(&mut self, entry: &TailEntry) -> Option<Arc<SharedEvents>> {
        let record = match &entry.emitted().emission {
            Emission::Record(record) => record,
            Emission::Delta(_)
            | Emission::Partial(_)
            | Emission::Status { .. }
            | Emission::Presence { .. } => return None,
        };
        let shared = entry.shared(
            |made: &RecordEvent| made.epoch == self.epoch,
            |_| {
                let id = format!("id: {}:{}\n", self.epoch, record.seq);
                let event = Arc::new(SharedEvents::new(&(id + &event("event", record))));
                RecordEvent { epoch: self.epoch.clone(), event }
            },
        );
        Some(Arc::clone(&shared.event))
    }

    fn end(&mut self, closed: &StreamClosed) -> String {
        event("closed", closed)
    }
}

/// One server-sent event without an id.
fn event(name: &str, data: &impl Serialize) -> String {
    // Our own types have no map whose keys are not text, so this does not fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

/// Streams server-sent events without end, from behind a cursor or from the head.
async fn stream(
    rest: &RestState,
    caller: &Identity,
    session: SessionId,
    cursor: Option<Cursor>,
    (headers, takeover): (&HeaderMap, Takeover),
) -> RestResult<Response> {
    let held = rest.hold(&caller.user)?;
    let start = cursor.map_or(Start::Head, Start::After);
    let wake = Arc::new(Notify::new());
    let presence = Presence::Client { tools: Vec::new() };
    let (attached, subscription) =
        rest.hub.attach(&caller.user, &session, start, Arc::clone(&wake), presence).await?;
    let greeting = if attached.recovered {
        String::new()
    } else {
        let restarted = StreamRestarted {
            reason: "the cursor is not of this log; it follows from where it begins".to_owned(),
            epoch: attached.epoch.clone(),
            first: attached.first,
            head: attached.head,
        };
        event("restarted", &restarted)
    };
    let stream = EventStream {
        subscription,
        wake,
        encoder: Box::new(RecordEncoder { epoch: attached.epoch }),
        greeting,
        ended: caller.ended(),
        metrics: rest.metrics.clone(),
        held,
    };
    Ok(stream.answer(headers, takeover))
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
