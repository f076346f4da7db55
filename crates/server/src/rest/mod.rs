//! REST: the owner's hands, for scripts and tools. A file per noun; what they share is here.

mod agents;
mod events;
mod inputs;
mod memory;
mod portable;
mod sessions;

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use thoughtwire_agent::{Archive, McpServers};
use thoughtwire_hub::Hub;
use thoughtwire_proto::{
    AgentProfile, Answer, Command, CommandId, Emission, Record, Refusal, RefusalCode, Request, Retry, SessionId, UserId,
};

use crate::access::Access;
use crate::guard::bearer;

/// The largest body of what is taken in whole: an agent with its history, a batch of notes.
const IMPORT_BYTES: usize = 256 << 20;

/// What REST needs of its server.
#[derive(Clone)]
pub(crate) struct Rest {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
    pub(crate) archive: Archive,
    pub(crate) mcp: McpServers,
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
        .route("/v1/agents", get(agents::list).post(agents::create))
        .route("/v1/agents/{agent}", get(agents::show).patch(agents::edit).delete(agents::delete))
        .route("/v1/agents/{agent}/export", get(portable::export))
        .route("/v1/import", post(portable::import).layer(DefaultBodyLimit::max(IMPORT_BYTES)))
        .route("/v1/agents/{agent}/blocks", get(memory::blocks))
        .route("/v1/agents/{agent}/blocks/{label}", put(memory::edit).patch(memory::edit).delete(memory::delete))
        .route("/v1/agents/{agent}/recall", get(memory::recall))
        .route("/v1/agents/{agent}/archival", get(memory::archival).post(memory::add).layer(DefaultBodyLimit::max(IMPORT_BYTES)))
        .route("/v1/presets", get(agents::presets))
        .route("/v1/sessions", get(sessions::list).post(sessions::create))
        .route("/v1/sessions/{session}", get(sessions::show).delete(sessions::delete).patch(sessions::rename))
        .route("/v1/sessions/{session}/events", get(events::events))
        .route("/v1/sessions/{session}/inputs", get(inputs::queued).post(inputs::input))
        .route("/v1/sessions/{session}/inputs/{input}", delete(inputs::withdraw))
        .route("/v1/sessions/{session}/cancel", post(inputs::cancel))
        .route("/v1/sessions/{session}/calls/{call}/decision", post(inputs::decide))
        .route("/v1/sessions/{session}/calls/{call}/output", get(events::output))
        .with_state(Arc::new(rest))
}

pub(super) type Shared = State<Arc<Rest>>;
pub(super) type Answered = Result<Response, Refused>;

impl Rest {
    pub(super) fn user(&self, headers: &HeaderMap) -> Result<UserId, Refused> {
        self.access.guard.authenticate(bearer(headers))?;
        Ok(self.access.local.clone())
    }

    pub(super) async fn execute(&self, user: &UserId, id: Option<CommandId>, command: Command) -> Result<Answer, Refused> {
        Ok(self.hub.execute(user, Some("rest".to_owned()), Request { id, command }).await?)
    }

    pub(super) async fn profile(&self, user: &UserId, agent: String) -> Result<AgentProfile, Refused> {
        let Answer::Agent(profile) = self.execute(user, None, Command::FindAgent { agent }).await? else {
            return Err(unexpected());
        };
        Ok(profile)
    }

    pub(super) async fn own(&self, user: &UserId, session: &SessionId) -> Result<thoughtwire_store::StoredSession, Refused> {
        let (wanted, owner) = (session.clone(), user.clone());
        let found = self.hub.read(move |store| store.session(&wanted)).await?;
        found
            .filter(|stored| stored.user == owner)
            .ok_or_else(|| Refused(Refusal::new(RefusalCode::UnknownSession, format!("there is no session {session}"))))
    }
}

pub(super) fn record_of(emission: &Emission) -> Option<Record> {
    match emission {
        Emission::Record(record) => Some(record.clone()),
        Emission::Delta(_) | Emission::Partial(_) | Emission::Status { .. } | Emission::Presence { .. } => None,
    }
}

pub(super) fn done(answer: &Answer) -> Value {
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

pub(super) fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::new(RefusalCode::TooLarge, "the body is larger than a frame may be").into())
        }
        Err(rejection) => Err(bad(&rejection.body_text()).into()),
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<CommandId>, Refused> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().map_err(|_| bad("Idempotency-Key is not readable text"))?;
    CommandId::new(key).map(Some).map_err(|error| bad(&format!("Idempotency-Key: {error}")).into())
}

pub(super) fn session_id(text: String) -> Result<SessionId, Refused> {
    SessionId::new(text).map_err(|error| bad(&format!("the session's id: {error}")).into())
}

pub(super) fn bad(reason: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}

pub(super) fn unexpected() -> Refused {
    Refused(Refusal::new(RefusalCode::Internal, "the hub gave an answer to another question"))
}
