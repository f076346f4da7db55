//! REST: agents, sessions, events and inputs, for scripts and tools.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use thoughtwire_hub::Hub;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Answer, Command, CommandId, Cursor, Emission, Event, ItemId, Policy, Record, Refusal, RefusalCode, Request,
    Retry, Seq, SessionId, Start, UserId,
};
use thoughtwire_store::SessionFilter;
use tokio::sync::Notify;

use crate::access::Access;
use crate::guard::bearer;
use crate::listing;

/// The most events in one page.
const PAGE: usize = 1000;
/// The longest a caller may wait for a turn's end.
const WAIT_AT_MOST: Duration = Duration::from_secs(600);

/// What REST needs of its server.
#[derive(Clone)]
pub(crate) struct Rest {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
}

/// A refusal as an HTTP answer: `{"error":{"code","reason"}}`.
pub(crate) struct Refused(pub(crate) Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        let mut response = (status(refusal.code), Json(json!({"error": {"code": refusal.code, "reason": refusal.reason}}))).into_response();
        if refusal.code.retry() == Retry::Later {
            response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}

fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::BadFrame | RefusalCode::UnknownType | RefusalCode::BadRequest | RefusalCode::EmptyText => StatusCode::BAD_REQUEST,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::Forbidden => StatusCode::FORBIDDEN,
        RefusalCode::UnknownAgent | RefusalCode::UnknownSession | RefusalCode::UnknownInput | RefusalCode::UnknownCall => {
            StatusCode::NOT_FOUND
        }
        RefusalCode::NameTaken | RefusalCode::TurnRunning | RefusalCode::NoTurn | RefusalCode::NotAttached => StatusCode::CONFLICT,
        RefusalCode::IdReused => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalCode::TooManySessions | RefusalCode::QueueFull | RefusalCode::TooFast => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::StoreFull => StatusCode::INSUFFICIENT_STORAGE,
        RefusalCode::StoreFailed | RefusalCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
    }
}

pub(crate) fn router(rest: Rest) -> Router {
    Router::new()
        .route("/v1/agents", get(agents).post(create_agent))
        .route("/v1/agents/{agent}", get(agent))
        .route("/v1/sessions", get(sessions).post(create_session))
        .route("/v1/sessions/{session}", get(session).delete(delete_session).patch(rename_session))
        .route("/v1/sessions/{session}/events", get(events))
        .route("/v1/sessions/{session}/inputs", post(input))
        .route("/v1/sessions/{session}/cancel", post(cancel))
        .with_state(Arc::new(rest))
}

type Shared = State<Arc<Rest>>;
type Answered = Result<Response, Refused>;

impl Rest {
    fn user(&self, headers: &HeaderMap) -> Result<UserId, Refused> {
        self.access.guard.authenticate(bearer(headers))?;
        Ok(self.access.local.clone())
    }

    async fn execute(&self, user: &UserId, id: Option<CommandId>, command: Command) -> Result<Answer, Refused> {
        Ok(self.hub.execute(user, Some("rest".to_owned()), Request { id, command }).await?)
    }

    async fn profile(&self, user: &UserId, agent: String) -> Result<AgentProfile, Refused> {
        let Answer::Agent(profile) = self.execute(user, None, Command::FindAgent { agent }).await? else {
            return Err(unexpected());
        };
        Ok(profile)
    }

    async fn own(&self, user: &UserId, session: &SessionId) -> Result<thoughtwire_store::StoredSession, Refused> {
        let (wanted, owner) = (session.clone(), user.clone());
        let found = self.hub.read(move |store| store.session(&wanted)).await?;
        found
            .filter(|stored| stored.user == owner)
            .ok_or_else(|| Refused(Refusal::new(RefusalCode::UnknownSession, format!("there is no session {session}"))))
    }
}

async fn agents(State(rest): Shared, headers: HeaderMap) -> Answered {
    let user = rest.user(&headers)?;
    let agents = rest.hub.read(move |store| store.agents(&user)).await?;
    Ok(Json(json!({"agents": agents})).into_response())
}

async fn agent(State(rest): Shared, headers: HeaderMap, Path(agent): Path<String>) -> Answered {
    let user = rest.user(&headers)?;
    let profile = rest.profile(&user, agent).await?;
    let id = profile.id.clone();
    let blocks = rest.hub.read(move |store| store.blocks(&id)).await?;
    let blocks: Vec<Value> = blocks
        .into_iter()
        .map(|block| json!({"label": block.label, "text": block.text, "limit": block.limit, "description": block.description}))
        .collect();
    Ok(Json(json!({"agent": profile, "blocks": blocks, "tools": rest.hub.tools()})).into_response())
}

async fn create_agent(State(rest): Shared, headers: HeaderMap, body: Result<Json<AgentSpec>, JsonRejection>) -> Answered {
    let user = rest.user(&headers)?;
    let spec = read(body)?;
    if spec.name.is_empty() {
        return Err(bad("an agent needs a name").into());
    }
    let (Answer::Agent(profile) | Answer::AgentAgain(profile)) =
        rest.execute(&user, idempotency_key(&headers)?, Command::CreateAgent(spec)).await?
    else {
        return Err(unexpected());
    };
    Ok((StatusCode::CREATED, Json(json!({"agent": profile}))).into_response())
}

#[derive(Deserialize)]
struct ListQuery {
    agent: Option<String>,
    limit: Option<usize>,
}

async fn sessions(State(rest): Shared, headers: HeaderMap, Query(query): Query<ListQuery>) -> Answered {
    let user = rest.user(&headers)?;
    let agent = match query.agent {
        Some(agent) => Some(rest.profile(&user, agent).await?.id),
        None => None,
    };
    let filter = SessionFilter { agent, limit: query.limit, ..SessionFilter::default() };
    let sessions = listing::some(&rest.hub, &user, filter).await?;
    Ok(Json(json!({"sessions": sessions})).into_response())
}

#[derive(Deserialize)]
struct NewSessionBody {
    agent: String,
    title: Option<String>,
    instructions: Option<String>,
    #[serde(default)]
    history: Vec<thoughtwire_proto::HistoryEntry>,
}

async fn create_session(State(rest): Shared, headers: HeaderMap, body: Result<Json<NewSessionBody>, JsonRejection>) -> Answered {
    let user = rest.user(&headers)?;
    let NewSessionBody { agent, title, instructions, history } = read(body)?;
    let (Answer::Session(session) | Answer::SessionAgain(session)) =
        rest.execute(&user, idempotency_key(&headers)?, Command::CreateSession { agent, title, instructions, history }).await?
    else {
        return Err(unexpected());
    };
    Ok((StatusCode::CREATED, Json(json!({"session": session}))).into_response())
}

async fn session(State(rest): Shared, headers: HeaderMap, Path(session): Path<String>) -> Answered {
    let user = rest.user(&headers)?;
    let session = session_id(session)?;
    let stored = rest.own(&user, &session).await?;
    let listing = listing::one(&rest.hub, &user, &session).await?;
    Ok(Json(json!({"session": listing, "epoch": stored.epoch, "first": stored.first, "instructions": stored.state.instructions()}))
        .into_response())
}

async fn delete_session(State(rest): Shared, headers: HeaderMap, Path(session): Path<String>) -> Answered {
    let user = rest.user(&headers)?;
    rest.execute(&user, idempotency_key(&headers)?, Command::DeleteSession { session: session_id(session)? }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct RenameBody {
    title: String,
}

async fn rename_session(
    State(rest): Shared,
    headers: HeaderMap,
    Path(session): Path<String>,
    body: Result<Json<RenameBody>, JsonRejection>,
) -> Answered {
    let user = rest.user(&headers)?;
    let RenameBody { title } = read(body)?;
    let answer = rest.execute(&user, idempotency_key(&headers)?, Command::Rename { session: session_id(session)?, title }).await?;
    Ok(Json(done(&answer)).into_response())
}

#[derive(Deserialize)]
struct EventsQuery {
    after: Option<u64>,
    limit: Option<usize>,
}

async fn events(State(rest): Shared, headers: HeaderMap, Path(session): Path<String>, Query(query): Query<EventsQuery>) -> Answered {
    let user = rest.user(&headers)?;
    let session = session_id(session)?;
    let wants_stream = headers.get("accept").is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/event-stream")));
    if wants_stream {
        return stream(&rest, &user, session, &headers, query.after).await;
    }
    let stored = rest.own(&user, &session).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE);
    let after = Seq(query.after.unwrap_or(0));
    let events = rest.hub.read(move |store| store.events(stored.num, after, limit)).await?;
    let page = json!({"session": session, "epoch": stored.epoch, "first": stored.first, "head": stored.state.head(), "events": events});
    Ok(Json(page).into_response())
}

/// The same events as server-sent events, from a position on and without end; `Last-Event-ID` resumes.
async fn stream(rest: &Arc<Rest>, user: &UserId, session: SessionId, headers: &HeaderMap, after: Option<u64>) -> Answered {
    let last = match headers.get("last-event-id") {
        Some(id) => Some(id.to_str().ok().and_then(|id| id.parse().ok()).ok_or_else(|| bad("Last-Event-ID is no position"))?),
        None => after,
    };
    let start = last.map_or(Start::Head, |seq| Start::After(Cursor { epoch: None, seq: Seq(seq) }));
    let wake = Arc::new(Notify::new());
    let (_, subscription) = rest.hub.attach(user, &session, start, Arc::clone(&wake), true).await?;
    let records =
        futures::stream::unfold((subscription, wake, Vec::<Record>::new().into_iter()), |(mut subscription, wake, mut ready)| async move {
            loop {
                if let Some(record) = ready.next() {
                    let event = SseEvent::default().id(record.seq.to_string()).event("event").json_data(&record);
                    // Records always serialise; should one not, the stream ends and the client asks again.
                    return event.ok().map(|event| (Ok::<_, Infallible>(event), (subscription, wake, ready)));
                }
                if !subscription.has_news() {
                    wake.notified().await;
                    continue;
                }
                let batch = subscription.next().await.ok()?;
                if batch.closed.is_some() {
                    return None;
                }
                ready = batch.entries.iter().filter_map(|entry| record_of(&entry.emitted().emission)).collect::<Vec<_>>().into_iter();
            }
        });
    Ok(Sse::new(records).keep_alive(KeepAlive::default()).into_response())
}

#[derive(Deserialize)]
struct InputBody {
    text: String,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    attachments: Vec<String>,
}

#[derive(Deserialize)]
struct WaitQuery {
    wait: Option<f64>,
}

async fn input(
    State(rest): Shared,
    headers: HeaderMap,
    Path(session): Path<String>,
    Query(query): Query<WaitQuery>,
    body: Result<Json<InputBody>, JsonRejection>,
) -> Answered {
    let user = rest.user(&headers)?;
    let session = session_id(session)?;
    let InputBody { text, policy, attachments } = read(body)?;
    let key = idempotency_key(&headers)?;
    let command = Command::Send { session: session.clone(), text, attachments, policy };
    let Answer::Input { seq, input, disposition, duplicate } = rest.execute(&user, key, command).await? else {
        return Err(unexpected());
    };
    let answer = json!({"session": session, "seq": seq, "input": input, "disposition": disposition, "duplicate": duplicate});
    let Some(wait) = query.wait else {
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    };
    let wait = Duration::try_from_secs_f64(wait).map_err(|_| bad("`wait` is a number of seconds"))?.min(WAIT_AT_MOST);
    let after = Seq(seq.0.saturating_sub(1));
    let ended = tokio::time::timeout(wait, turn_of(&rest.hub, &user, &session, after, &input)).await;
    match ended {
        Ok(events) => {
            let events = events?;
            Ok(Json(json!({"session": session, "seq": seq, "input": input, "disposition": disposition, "duplicate": duplicate, "events": events}))
                .into_response())
        }
        // It goes on; the answer says where to read from.
        Err(_) => Ok((StatusCode::ACCEPTED, Json(answer)).into_response()),
    }
}

/// The records of an input's turn, once it has ended.
async fn turn_of(hub: &Hub, user: &UserId, session: &SessionId, after: Seq, input: &ItemId) -> Result<Vec<Record>, Refusal> {
    let wake = Arc::new(Notify::new());
    let start = Start::After(Cursor { epoch: None, seq: after });
    let (_, mut subscription) = hub.attach(user, session, start, Arc::clone(&wake), false).await?;
    let mut turn = None;
    let mut records = Vec::new();
    loop {
        if !subscription.has_news() {
            wake.notified().await;
            continue;
        }
        let batch = subscription.next().await?;
        if let Some(reason) = batch.closed {
            return Err(Refusal::new(RefusalCode::Stopping, reason));
        }
        for record in batch.entries.iter().filter_map(|entry| record_of(&entry.emitted().emission)) {
            if matches!(&record.event, Event::TurnStarted { input: started } if started == input) {
                turn.clone_from(&record.turn);
            }
            // A steering input has its turn already.
            if matches!(&record.event, Event::UserMessage { item, .. } if item == input) && record.turn.is_some() {
                turn.clone_from(&record.turn);
            }
            let ours = turn.is_some() && record.turn == turn;
            let asked = matches!(&record.event, Event::UserMessage { item, .. } if item == input);
            let last = (ours && matches!(&record.event, Event::TurnEnded { .. }))
                || matches!(&record.event, Event::InputWithdrawn { input: withdrawn } if withdrawn == input);
            if ours || asked || last {
                records.push(record);
            }
            if last {
                return Ok(records);
            }
        }
    }
}

#[derive(Deserialize, Default)]
struct CancelBody {
    turn: Option<thoughtwire_proto::TurnId>,
}

async fn cancel(State(rest): Shared, headers: HeaderMap, Path(session): Path<String>, body: Option<Json<CancelBody>>) -> Answered {
    let user = rest.user(&headers)?;
    let CancelBody { turn } = body.map(|Json(body)| body).unwrap_or_default();
    let answer = rest.execute(&user, idempotency_key(&headers)?, Command::Cancel { session: session_id(session)?, turn }).await?;
    Ok(Json(done(&answer)).into_response())
}

fn record_of(emission: &Emission) -> Option<Record> {
    match emission {
        Emission::Record(record) => Some(record.clone()),
        Emission::Delta(_) | Emission::Partial(_) | Emission::Status { .. } | Emission::Presence { .. } => None,
    }
}

fn done(answer: &Answer) -> Value {
    match answer {
        Answer::Done { seq, duplicate } => json!({"seq": seq, "duplicate": duplicate}),
        Answer::Agent(_)
        | Answer::AgentAgain(_)
        | Answer::Session(_)
        | Answer::SessionAgain(_)
        | Answer::Attached(_)
        | Answer::Input { .. }
        | Answer::Peer { .. }
        | Answer::Chat { .. } => {
            json!({})
        }
    }
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::new(RefusalCode::TooLarge, "the body is larger than a frame may be").into())
        }
        Err(rejection) => Err(bad(&rejection.body_text()).into()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<CommandId>, Refused> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().map_err(|_| bad("Idempotency-Key is not readable text"))?;
    CommandId::new(key).map(Some).map_err(|error| bad(&format!("Idempotency-Key: {error}")).into())
}

fn session_id(text: String) -> Result<SessionId, Refused> {
    SessionId::new(text).map_err(|error| bad(&format!("the session's id: {error}")).into())
}

fn bad(reason: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}

fn unexpected() -> Refused {
    Refused(Refusal::new(RefusalCode::Internal, "the hub gave an answer to another question"))
}
