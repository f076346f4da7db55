//! The REST interface, one file per noun. The routes and the helpers of all handlers are here.

mod agents;
mod backup;
mod calls;
mod events;
mod inputs;
mod keys;
mod memory;
mod nodes;
mod once;
mod openapi;
mod portable;
mod reply;
mod sessions;
mod sparky;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use thoughtwire_agent::{Archive, McpServers};
use thoughtwire_hub::Hub;
use thoughtwire_proto::rest::CommandDone;
use thoughtwire_proto::{
    AgentProfile, CommandId, Refusal, RefusalCode, SessionCommand, SessionId, SessionReply, UserId,
};
use thoughtwire_store::Scope;

use crate::access::{Access, KEY_NEEDED, too_many, unauthorized};
use crate::base_path::BasePath;
use crate::connection_permits::{ConnectionPermit, ConnectionPermits};
use crate::endpoint::SessionLocks;
use crate::metrics::ServerMetrics;

use reply::{Created, RestResult, WithCookie, refuse_idempotency_key};
pub(crate) use reply::{
    IdempotencyHeader, JsonBody, PathParams, QueryParams, RestRefusal, mark_refused, read, status,
};

/// Largest body of an import: an agent with its history, or a batch of notes.
const IMPORT_BYTES: usize = 256 << 20;

/// Parts of the server that handlers use.
#[derive(Clone)]
pub(crate) struct RestState {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
    pub(crate) archive: Archive,
    pub(crate) mcp: McpServers,
    pub(crate) metrics: ServerMetrics,
    /// Model of agents that name none.
    pub(crate) model: String,
    /// Places of all connections.
    pub(crate) open: ConnectionPermits<()>,
    /// Whether the server speaks TLS.
    pub(crate) secure: bool,
    pub(crate) base_path: BasePath,
    /// Time for which the session of a chat completion that names none is kept.
    pub(crate) keep_completions: Duration,
    /// Locks for requests that go on in a session only if nothing has happened there.
    pub(crate) locks: SessionLocks,
    /// Whether no server runs on the data directory, so that no turn does.
    pub(crate) is_at_rest: bool,
}

/// A connection's permits, for a request that holds its connection for long.
pub(crate) struct HeldPermits {
    _open: ConnectionPermit<()>,
    _user: ConnectionPermit<UserId>,
}

/// Permission that a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredScope {
    /// None, since the route authenticates callers or is public.
    Open,
    /// A credential of any scope.
    Known,
    /// The scope `chat`.
    Chat,
    /// The scope `agents`.
    Agents,
    /// The scope `agents`, or `chat` for the default agent with default settings.
    AgentsOrDefault,
    /// The scopes `agents` and `chat`, both.
    AgentsAndChat,
    /// The scope `admin`.
    Admin,
}

/// Makes the routes from a table of paths, methods, permissions and handlers. Tests go through the
/// same table, so a new route cannot lack a permission.
macro_rules! routes {
    ($(
        $path:literal $(within $limit:ident)? => $($method:ident $need:ident $handler:path),+;
    )+) => {
        /// Every route of REST with its method, its path and its permission.
        pub const ROUTES: &[(&str, &str, RequiredScope)] =
            &[$($((stringify!($method), $path, RequiredScope::$need)),+),+];

        /// Every route with the description of its handler.
        #[cfg(test)]
        fn handlers() -> Vec<openapi::describe::Route> {
            vec![$($((
                stringify!($method),
                $path,
                RequiredScope::$need,
                openapi::describe::describe($handler),
            )),+),+]
        }

        fn table() -> Router<Arc<RestState>> {
            Router::new()$(.route(
                $path,
                MethodRouter::new()
                    $(.$method($handler))+
                    $(.layer(DefaultBodyLimit::max($limit)))?,
            ))+
        }
    };
}

routes! {
    "/v1/openapi.json" => get Open openapi::openapi;
    "/v1/backup" => get Admin backup::backup;
    "/v1/nodes" => get Admin nodes::nodes;
    "/metrics" => get Admin metrics;
    "/v1/whoami" => get Known keys::whoami;
    "/v1/login" => post Open keys::login;
    "/v1/logout" => post Open keys::logout;
    "/v1/tickets" => post Known keys::ticket;
    "/v1/keys" => get Admin keys::list, post Admin keys::add;
    "/v1/keys/rotate" => post Admin keys::rotate;
    "/v1/keys/{key}" => delete Admin keys::revoke;
    "/v1/agents" => get Chat agents::list, post AgentsOrDefault agents::create;
    "/v1/agents/{agent}" =>
        get Chat agents::show, patch Agents agents::edit, delete Agents agents::delete;
    "/v1/agents/{agent}/export" => get Agents portable::export;
    "/v1/import" within IMPORT_BYTES => post Agents portable::import;
    "/v1/agents/{agent}/blocks" => get Agents memory::blocks;
    "/v1/agents/{agent}/blocks/{label}" =>
        put Agents memory::edit, patch Agents memory::edit, delete Agents memory::delete;
    "/v1/agents/{agent}/recall" => get AgentsAndChat memory::recall;
    "/v1/agents/{agent}/archival" within IMPORT_BYTES =>
        get Agents memory::archival, post Agents memory::add;
    "/v1/presets" => get Chat agents::presets;
    "/v1/sessions" => get Chat sessions::list, post Chat sessions::create;
    "/v1/sessions/{session}" =>
        get Chat sessions::show, delete Chat sessions::delete, patch Chat sessions::edit;
    "/v1/sessions/{session}/events" => get Chat events::events;
    "/v1/sessions/{session}/inputs" => get Chat inputs::queued, post Chat inputs::input;
    "/v1/sessions/{session}/inputs/{input}" => delete Chat inputs::withdraw;
    "/v1/sessions/{session}/cancel" => post Chat inputs::cancel;
    "/v1/sessions/{session}/calls" => get Chat calls::calls;
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

pub(crate) fn router(rest: Arc<RestState>) -> Router {
    table()
        .route_layer(middleware::from_fn_with_state(Arc::clone(&rest), authorize))
        .with_state(rest)
}

/// Returns metrics of the whole server. They tell nothing about a single user.
async fn metrics(State(rest): SharedRest) -> RestResult<([(HeaderName, &'static str); 1], String)> {
    let text = rest
        .metrics
        .show()
        .map_err(|error| Refusal::new(RefusalCode::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text))
}

/// Authenticates the caller of every request and checks its permission.
async fn authorize(
    State(rest): SharedRest,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let route = ROUTES.iter().find(|(name, route, _)| {
        name.eq_ignore_ascii_case(method.as_str()) && *route == path.as_str()
    });
    // The router refuses methods that the route does not have.
    let need = route.map_or(RequiredScope::Known, |(_, _, need)| *need);
    let refuse = |refusal| {
        if sparky::is_route(path.as_str()) {
            sparky::SparkyRefused(refusal).into_response()
        } else {
            RestRefusal(refusal).into_response()
        }
    };
    if need != RequiredScope::Open {
        let identity = match rest.access.request(request.headers(), request.uri()).await {
            Ok(Some(identity)) => identity,
            Ok(None) => return refuse(unauthorized(KEY_NEEDED)),
            Err(refusal) => return refuse(refusal),
        };
        let demanded = match need {
            RequiredScope::Open | RequiredScope::Known => Ok(()),
            RequiredScope::Chat => identity.demand(Scope::Chat),
            RequiredScope::Agents => identity.demand(Scope::Agents),
            // The handler checks that it is the default agent.
            RequiredScope::AgentsOrDefault if identity.has(Scope::Chat) => Ok(()),
            RequiredScope::AgentsOrDefault => identity.demand(Scope::Agents),
            RequiredScope::AgentsAndChat => {
                identity.demand(Scope::Agents).and_then(|()| identity.demand(Scope::Chat))
            }
            RequiredScope::Admin => identity.demand(Scope::Admin),
        };
        if let Err(refusal) = demanded {
            return refuse(refusal);
        }
        request.extensions_mut().insert(identity);
    }
    if sparky::is_route(path.as_str())
        && request.method() == Method::POST
        && let Err(refusal) = refuse_idempotency_key(request.headers(), "use one below /v1 instead")
    {
        return refuse(refusal);
    }
    next.run(request).await
}

pub(crate) type SharedRest = State<Arc<RestState>>;

impl RestState {
    /// Has a session carry out a command of a REST client.
    pub(super) async fn execute(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        session: SessionId,
        command: SessionCommand,
    ) -> Result<SessionReply, RestRefusal> {
        Ok(self.hub.execute(user, Some("rest".to_owned()), id, session, command).await?)
    }

    /// Takes a permit for a request that holds its connection for long, as a WebSocket does.
    pub(crate) fn hold(&self, user: &UserId) -> Result<HeldPermits, RestRefusal> {
        let open = self.open.take(()).ok_or_else(|| {
            Refusal::new(
                RefusalCode::TooFast,
                "the server has as many connections as it may have; try again later",
            )
        })?;
        let user = self.access.users.take(user.clone()).ok_or_else(too_many)?;
        Ok(HeldPermits { _open: open, _user: user })
    }

    /// Shortens logs that exceed their retention, after the answer.
    pub(super) fn sweep(&self) {
        let hub = self.hub.clone();
        tokio::spawn(async move { crate::sweeping::once(&hub).await });
    }

    pub(super) async fn profile(
        &self,
        user: &UserId,
        agent: String,
    ) -> Result<AgentProfile, RestRefusal> {
        Ok(self.hub.directory().find_agent(user, &agent).await?)
    }

    pub(crate) async fn own(
        &self,
        user: &UserId,
        session: &SessionId,
    ) -> Result<thoughtwire_store::StoredSession, RestRefusal> {
        let found = self.hub.store().directory().session(session).await?;
        found.filter(|stored| stored.user == *user).ok_or_else(|| RestRefusal(no_session(session)))
    }
}

/// Returns the answer to a command that may change the log.
pub(super) fn done(reply: &SessionReply) -> CommandDone {
    match reply {
        SessionReply::Done { seq, duplicate } => {
            CommandDone { seq: Some(*seq), duplicate: Some(*duplicate) }
        }
        SessionReply::Input { .. } => CommandDone::default(),
    }
}

/// Checks that the store can hold a number.
pub(super) fn storable(name: &str, number: usize) -> Result<usize, Refusal> {
    match i64::try_from(number) {
        Ok(_) => Ok(number),
        Err(_) => Err(bad(&format!("`{name}` is {number}; the most is {}", i64::MAX))),
    }
}

fn no_session(session: &SessionId) -> Refusal {
    Refusal::new(RefusalCode::UnknownSession, format!("there is no session {session}"))
}

pub(super) fn session_id(text: String) -> Result<SessionId, RestRefusal> {
    SessionId::new(text).map_err(|error| bad(&format!("the session's id: {error}")).into())
}

pub(super) fn bad(reason: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}

pub(super) fn unexpected() -> RestRefusal {
    RestRefusal(Refusal::new(RefusalCode::Internal, "the hub gave an answer to another question"))
}
