//! REST: the owner's hands, for scripts and tools. A file per noun; what they share is here.

mod agents;
mod backup;
mod events;
mod inputs;
mod keys;
mod memory;
mod once;
mod openapi;
mod portable;
mod sessions;
mod sparky;

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thoughtwire_agent::{Archive, McpServers};
use thoughtwire_hub::Hub;
use thoughtwire_proto::{
    AgentProfile, CommandId, Emission, Record, Refusal, RefusalCode, Retry, SessionCommand,
    SessionId, SessionReply, UserId,
};
use thoughtwire_store::Scope;

use crate::access::{Access, KEY_NEEDED, too_many, unauthorized};
use crate::base_path::BasePath;
use crate::metrics::Metrics;
use crate::places::{Place, Places};

/// The largest body of what is taken in whole: an agent with its history, a batch of notes.
const IMPORT_BYTES: usize = 256 << 20;

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What REST needs of its server.
#[derive(Clone)]
pub(crate) struct Rest {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
    pub(crate) archive: Archive,
    pub(crate) mcp: McpServers,
    pub(crate) metrics: Metrics,
    /// The model of agents that name none.
    pub(crate) model: String,
    /// How many connections there may be in all.
    pub(crate) open: Places<()>,
    /// Whether the server speaks TLS.
    pub(crate) secure: bool,
    pub(crate) base_path: BasePath,
}

/// A connection's permits, for a request that holds its connection for long.
pub(crate) struct Held {
    _open: Place<()>,
    _user: Place<UserId>,
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
        let mut response = (
            status(refusal.code),
            Json(json!({"error": {"code": refusal.code, "reason": refusal.reason}})),
        )
            .into_response();
        // For those who count.
        response.extensions_mut().insert(refusal.code);
        if refusal.code.retry() == Retry::Later {
            response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}

fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::BadFrame
        | RefusalCode::UnknownType
        | RefusalCode::BadRequest
        | RefusalCode::EmptyText => StatusCode::BAD_REQUEST,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::Forbidden => StatusCode::FORBIDDEN,
        RefusalCode::UnknownAgent
        | RefusalCode::UnknownSession
        | RefusalCode::UnknownInput
        | RefusalCode::UnknownCall
        | RefusalCode::UnknownKey => StatusCode::NOT_FOUND,
        RefusalCode::NameTaken
        | RefusalCode::TurnRunning
        | RefusalCode::NoTurn
        | RefusalCode::NotAttached
        | RefusalCode::NotOffered => StatusCode::CONFLICT,
        RefusalCode::IdReused => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalCode::TooManySessions | RefusalCode::QueueFull | RefusalCode::TooFast => {
            StatusCode::TOO_MANY_REQUESTS
        }
        RefusalCode::StoreFull | RefusalCode::ArchivalFull => StatusCode::INSUFFICIENT_STORAGE,
        RefusalCode::StoreFailed | RefusalCode::StoreUnknown | RefusalCode::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
    }
}

/// What a route wants of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is how one becomes known.
    Open,
    /// A credential of any scope.
    Known,
    /// The scope `chat`.
    Chat,
    /// The scope `agents`.
    Agents,
    /// The scope `agents`, or `chat` for the default agent as it is by default.
    AgentsOrDefault,
    /// The scopes `agents` and `chat`, both.
    AgentsAndChat,
    /// The scope `admin`.
    Admin,
}

/// One table makes the routes, what each needs, and what the tests go through: who adds a route says who may take it.
macro_rules! routes {
    ($($path:literal $(within $limit:ident)? => $($method:ident $need:ident $handler:path),+;)+) => {
        /// Every route of REST: its method, its path, and what it needs.
        pub const ROUTES: &[(&str, &str, Need)] = &[$($((stringify!($method), $path, Need::$need)),+),+];

        fn table() -> Router<Arc<Rest>> {
            Router::new()$(.route($path, MethodRouter::new()$(.$method($handler))+$(.layer(DefaultBodyLimit::max($limit)))?))+
        }
    };
}

routes! {
    "/v1/openapi.json" => get Open openapi::openapi;
    "/v1/backup" => get Admin backup::backup;
    "/metrics" => get Admin metrics;
    "/v1/whoami" => get Known keys::whoami;
    "/v1/login" => post Open keys::login;
    "/v1/logout" => post Open keys::logout;
    "/v1/tickets" => post Known keys::ticket;
    "/v1/keys" => get Admin keys::list, post Admin keys::add;
    "/v1/keys/rotate" => post Admin keys::rotate;
    "/v1/keys/{key}" => delete Admin keys::revoke;
    "/v1/agents" => get Chat agents::list, post AgentsOrDefault agents::create;
    "/v1/agents/{agent}" => get Chat agents::show, patch Agents agents::edit, delete Agents agents::delete;
    "/v1/agents/{agent}/export" => get Agents portable::export;
    "/v1/import" within IMPORT_BYTES => post Agents portable::import;
    "/v1/agents/{agent}/blocks" => get Agents memory::blocks;
    "/v1/agents/{agent}/blocks/{label}" => put Agents memory::edit, patch Agents memory::edit, delete Agents memory::delete;
    "/v1/agents/{agent}/recall" => get AgentsAndChat memory::recall;
    "/v1/agents/{agent}/archival" within IMPORT_BYTES => get Agents memory::archival, post Agents memory::add;
    "/v1/presets" => get Chat agents::presets;
    "/v1/sessions" => get Chat sessions::list, post Chat sessions::create;
    "/v1/sessions/{session}" => get Chat sessions::show, delete Chat sessions::delete, patch Chat sessions::edit;
    "/v1/sessions/{session}/events" => get Chat events::events;
    "/v1/sessions/{session}/inputs" => get Chat inputs::queued, post Chat inputs::input;
    "/v1/sessions/{session}/inputs/{input}" => delete Chat inputs::withdraw;
    "/v1/sessions/{session}/cancel" => post Chat inputs::cancel;
    "/v1/sessions/{session}/calls/{call}/decision" => post Chat inputs::decide;
    "/v1/sessions/{session}/calls/{call}/output" => get Chat events::output;
    "/health" => get Open sparky::health;
    "/api/auth/login" => post Open sparky::login;
    "/api/auth/register" => post Open sparky::register;
    "/api/auth/refresh" => post Open sparky::refresh;
    "/api/auth/logout" => post Open sparky::logout;
    "/api/auth/me" => get Known sparky::me;
    "/api/user/{user}/chats" => get Chat sparky::list;
    "/api/user/{user}/chats/{chat}" => put Chat sparky::rename, delete Chat sparky::delete;
    "/api/user/{user}/chats/{chat}/archive" => post Chat sparky::archive;
    "/api/user/{user}/chats/{chat}/unarchive" => post Chat sparky::unarchive;
    "/api/user/{user}/chats/{chat}/model" => put Chat sparky::model;
    "/api/chats/{chat}/messages" => get Chat sparky::messages;
    "/api/prompts" => get Open sparky::nothing;
    "/api/resources" => get Open sparky::nothing;
    "/api/models" => get Chat sparky::models;
    "/upload_file" => post Open sparky::upload;
}

pub(crate) fn router(rest: Rest) -> Router {
    let rest = Arc::new(rest);
    table().route_layer(middleware::from_fn_with_state(Arc::clone(&rest), let_in)).with_state(rest)
}

/// Figures of the whole server: nothing of them is one user's.
async fn metrics(State(rest): Shared) -> Answered {
    let text = rest
        .metrics
        .show()
        .map_err(|error| Refusal::new(RefusalCode::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text).into_response())
}

/// What every request to a route passes: who is it, and may they?
async fn let_in(
    State(rest): Shared,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let route = ROUTES.iter().find(|(name, route, _)| {
        name.eq_ignore_ascii_case(method.as_str()) && *route == path.as_str()
    });
    // A method that the route has not is refused by the router.
    let need = route.map_or(Need::Known, |(_, _, need)| *need);
    let refuse = |refusal| {
        if sparky::is_route(path.as_str()) {
            sparky::Detail(refusal).into_response()
        } else {
            Refused(refusal).into_response()
        }
    };
    if need != Need::Open {
        let identity = match rest.access.request(request.headers(), request.uri()) {
            Ok(Some(identity)) => identity,
            Ok(None) => return refuse(unauthorized(KEY_NEEDED)),
            Err(refusal) => return refuse(refusal),
        };
        let demanded = match need {
            Need::Open | Need::Known => Ok(()),
            Need::Chat => identity.demand(Scope::Chat),
            Need::Agents => identity.demand(Scope::Agents),
            // The handler asks for more where it is another agent.
            Need::AgentsOrDefault if identity.has(Scope::Chat) => Ok(()),
            Need::AgentsOrDefault => identity.demand(Scope::Agents),
            Need::AgentsAndChat => {
                identity.demand(Scope::Agents).and_then(|()| identity.demand(Scope::Chat))
            }
            Need::Admin => identity.demand(Scope::Admin),
        };
        if let Err(refusal) = demanded {
            return refuse(refusal);
        }
        request.extensions_mut().insert(identity);
    }
    if sparky::is_route(path.as_str())
        && request.method() == Method::POST
        && let Err(refusal) = once::refuse(request.headers(), "use one below /v1 instead")
    {
        return refuse(refusal);
    }
    next.run(request).await
}

/// The variable parts of a path; what cannot be read is refused as everything else is.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(bad(&rejection.body_text()).into()),
        }
    }
}

/// What stands behind the `?`; what cannot be read is refused as everything else is.
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refused> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(bad(&rejection.body_text()).into()),
        }
    }
}

pub(super) type Shared = State<Arc<Rest>>;
pub(super) type Answered = Result<Response, Refused>;

impl Rest {
    /// Has a session carry out a command in the name of the REST API.
    pub(super) async fn execute(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        session: SessionId,
        command: SessionCommand,
    ) -> Result<SessionReply, Refused> {
        Ok(self.hub.execute(user, Some("rest".to_owned()), id, session, command).await?)
    }

    /// Takes a permit for a request that holds its connection for long, as a WebSocket does.
    pub(super) fn hold(&self, user: &UserId) -> Result<Held, Refused> {
        let open = self.open.take(()).ok_or_else(|| {
            Refusal::new(
                RefusalCode::TooFast,
                "the server has as many connections as it may have; try again later",
            )
        })?;
        let user = self.access.users.take(user.clone()).ok_or_else(too_many)?;
        Ok(Held { _open: open, _user: user })
    }

    /// Has logs that are now longer than they are to be lose what is too much, behind the answer.
    pub(super) fn sweep(&self) {
        let hub = self.hub.clone();
        tokio::spawn(async move { crate::sweeping::once(&hub).await });
    }

    pub(super) async fn profile(
        &self,
        user: &UserId,
        agent: String,
    ) -> Result<AgentProfile, Refused> {
        Ok(self.hub.directory().find_agent(user, &agent).await?)
    }

    pub(super) async fn own(
        &self,
        user: &UserId,
        session: &SessionId,
    ) -> Result<thoughtwire_store::StoredSession, Refused> {
        let (wanted, owner) = (session.clone(), user.clone());
        let found = self.hub.read(move |store| store.session(&wanted)).await?;
        found.filter(|stored| stored.user == owner).ok_or_else(|| {
            Refused(Refusal::new(
                RefusalCode::UnknownSession,
                format!("there is no session {session}"),
            ))
        })
    }
}

pub(super) fn record_of(emission: &Emission) -> Option<Record> {
    match emission {
        Emission::Record(record) => Some(record.clone()),
        Emission::Delta(_)
        | Emission::Partial(_)
        | Emission::Status { .. }
        | Emission::Presence { .. } => None,
    }
}

pub(super) fn done(reply: &SessionReply) -> Value {
    match reply {
        SessionReply::Done { seq, duplicate } => json!({"seq": seq, "duplicate": duplicate}),
        SessionReply::Input { .. } => json!({}),
    }
}

pub(super) fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::new(RefusalCode::TooLarge, "the body is larger than a frame may be")
                .into())
        }
        Err(rejection) => Err(bad(&rejection.body_text()).into()),
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<CommandId>, Refused> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(bad("the request has more than one Idempotency-Key").into());
    }
    let key = key.to_str().map_err(|_| bad("Idempotency-Key is not readable text"))?;
    CommandId::new(key).map(Some).map_err(|error| bad(&format!("Idempotency-Key: {error}")).into())
}

/// A number that the store can hold.
pub(super) fn storable(name: &str, number: usize) -> Result<usize, Refusal> {
    match i64::try_from(number) {
        Ok(_) => Ok(number),
        Err(_) => Err(bad(&format!("`{name}` is {number}; the most is {}", i64::MAX))),
    }
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
