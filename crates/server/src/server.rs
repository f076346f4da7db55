//! The server: binds, wires everything together, and drains.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use headers::HeaderMapExt as _;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thoughtwire_agent::{AgentOptions, MemoryAgent, check_model};
use thoughtwire_hub::{Hub, HubOptions, new_id, now};
use thoughtwire_proto::connection::Machine;
use thoughtwire_proto::dialect::memgpt::MemgptMachine;
use thoughtwire_proto::dialect::native::{Limits as NativeLimits, NativeMachine};
use thoughtwire_proto::dialect::sparky::SparkyMachine;
use thoughtwire_proto::{Refusal, RefusalCode, UserId};
use thoughtwire_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Entrant};
use crate::config::Config;
use crate::guard::{Guard, bearer};
use crate::page::PAGE;
use crate::rest::{Refused, Rest, router};
use crate::socket::{Context, Phase, drive};

/// The native sub-protocol.
const NATIVE: &str = "thoughtwire.v1";
/// What the server calls itself in `welcome`.
const SERVER: &str = concat!("thoughtwire/", env!("CARGO_PKG_VERSION"));

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The default model cannot be used.
    #[error("the model {model:?} cannot be used: {reason}")]
    Model {
        /// Its name.
        model: String,
        /// Why.
        reason: String,
    },
    /// The file with the owner's token cannot be written.
    #[error("cannot write {path}: {source}")]
    OwnerFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A task of the server broke off.
    #[error("the server broke off: {0}")]
    Broken(String),
}

/// A server that listens, but does not serve yet.
pub struct Server {
    config: Config,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    store: Arc<Store>,
    hub: Hub,
    token: String,
    owner_file: OwnerFile,
}

#[derive(Clone)]
struct Shared {
    hub: Hub,
    access: Access,
    phase: watch::Receiver<Phase>,
    connections: TaskTracker,
    open: Arc<AtomicUsize>,
    config: Arc<Config>,
}

impl Server {
    /// Opens the store, starts the hub and binds every address. Nothing is served before [`Server::run`].
    ///
    /// # Errors
    /// When one of these cannot be had.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        check_model(&config.model, &config.providers)
            .map_err(|error| ServeError::Model { model: config.model.clone(), reason: error.to_string() })?;
        let dir = config.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&dir, now())).await;
        let store = Arc::new(opened.map_err(|error| ServeError::Broken(error.to_string()))??);
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for &address in &config.listen {
            let refused = |source| ServeError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            addresses.push(listener.local_addr().map_err(refused)?);
            listeners.push(listener);
        }
        let options = AgentOptions::new(&config.model, config.providers.clone());
        let agent = Arc::new(MemoryAgent::new(Arc::clone(&store), options));
        let hub_options = HubOptions { queued_inputs: config.limits.queued_inputs, ..HubOptions::default() };
        let hub = Hub::new(Arc::clone(&store), agent, hub_options)?;
        let token = format!("tw_{}{}", new_id::<()>(), new_id::<()>());
        let url = addresses.first().map(url_of).unwrap_or_default();
        let owner_file = OwnerFile::write(&config.data_dir, &url, &token)?;
        Ok(Self { config, listeners, addresses, store, hub, token, owner_file })
    }

    /// The URL of the first address.
    #[must_use]
    pub fn url(&self) -> String {
        self.addresses.first().map(url_of).unwrap_or_default()
    }

    /// Serves until `stop` resolves, then drains: clients are told, running turns get their grace,
    /// every connection is closed with 1012.
    ///
    /// # Errors
    /// When a part of the server breaks off.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (phase, watched) = watch::channel(Phase::Serving);
        let guard = Guard {
            auth: self.config.auth,
            listen: self.addresses.clone(),
            allow_origin: self.config.allow_origin.clone(),
            allow_host: self.config.allow_host.clone(),
            token: self.token.clone(),
        };
        let local = UserId::new("local").map_err(|error| ServeError::Broken(error.to_string()))?;
        let shared = Shared {
            hub: self.hub.clone(),
            access: Access { guard: Arc::new(guard), local },
            phase: watched,
            connections: TaskTracker::new(),
            open: Arc::new(AtomicUsize::new(0)),
            config: Arc::new(self.config),
        };
        let connections = shared.connections.clone();
        let grace = shared.config.grace;
        let router = routes(shared);
        let mut serving = tokio::task::JoinSet::new();
        for listener in self.listeners {
            let (router, mut phase) = (router.clone(), phase.subscribe());
            serving.spawn(async move {
                let stopped = async move {
                    // Losing the sender is a stop as well.
                    drop(phase.wait_for(|phase| *phase != Phase::Serving).await);
                };
                axum::serve(listener, router).with_graceful_shutdown(stopped).await
            });
        }
        stop.await;
        tracing::info!("stopping");
        phase.send_replace(Phase::Leaving);
        self.hub.stop(grace).await;
        phase.send_replace(Phase::Stopped);
        connections.close();
        // A request that does not end by itself is left behind.
        drop(tokio::time::timeout(Duration::from_secs(5), connections.wait()).await);
        drop(tokio::time::timeout(Duration::from_secs(1), serving.join_all()).await);
        let store = self.store;
        drop(tokio::task::spawn_blocking(move || store.close()).await);
        drop(self.owner_file);
        Ok(())
    }
}

fn routes(shared: Shared) -> Router {
    let limit = shared.config.limits.frame_bytes;
    let rest = router(Rest { hub: shared.hub.clone(), access: shared.access.clone() });
    Router::new()
        .route("/", any(root))
        .route("/memgpt", any(memgpt))
        .route("/ws/chat", any(sparky))
        .route("/v1/ws", any(native))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .with_state(shared.clone())
        .merge(rest)
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(shared, admit))
}

/// What every request passes first.
async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match shared.access.guard.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Refused(refusal).into_response(),
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    let serving = *shared.phase.borrow() == Phase::Serving;
    let user = shared.access.local.clone();
    match shared.hub.read(move |store| store.agents(&user).map(drop)).await {
        Ok(()) if serving => "ready\n".into_response(),
        Ok(()) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        Err(refusal) => Refused(refusal).into_response(),
    }
}

async fn not_found(State(shared): State<Shared>, request: Request) -> Response {
    // Elsewhere than on its own path the sub-protocol chooses the native wire.
    if is_upgrade(request.headers()) && offers_native(request.headers()) {
        return upgrade(&shared, request, Dialect::Native);
    }
    let path = request.uri().path();
    let reason = format!("there is nothing at {path}; WebSockets are at /v1/ws, /memgpt and /ws/chat, REST below /v1/");
    (StatusCode::NOT_FOUND, axum::Json(serde_json::json!({"error": {"code": "not_found", "reason": reason}}))).into_response()
}

async fn root(State(shared): State<Shared>, request: Request) -> Response {
    if is_upgrade(request.headers()) {
        return memgpt(State(shared), request).await;
    }
    match *request.method() {
        Method::GET | Method::HEAD => Html(PAGE).into_response(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

async fn memgpt(State(shared): State<Shared>, request: Request) -> Response {
    let native = offers_native(request.headers());
    upgrade(&shared, request, if native { Dialect::Native } else { Dialect::Memgpt })
}

async fn sparky(State(shared): State<Shared>, request: Request) -> Response {
    let native = offers_native(request.headers());
    upgrade(&shared, request, if native { Dialect::Native } else { Dialect::Sparky })
}

async fn native(State(shared): State<Shared>, request: Request) -> Response {
    upgrade(&shared, request, Dialect::Native)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Native,
    Memgpt,
    Sparky,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Memgpt => "memgpt",
            Self::Sparky => "sparky",
        }
    }
}

#[derive(Deserialize)]
struct UpgradeQuery {
    client: Option<String>,
}

/// Answers an upgrade and hands the socket to its driver.
fn upgrade(shared: &Shared, mut request: Request, dialect: Dialect) -> Response {
    let headers = request.headers();
    let key: Option<headers::SecWebsocketKey> = headers.typed_get();
    let (Some(key), true) = (key, is_upgrade(headers) && request.method() == Method::GET) else {
        let reason = "this path speaks WebSocket; connect with a WebSocket client";
        let mut response = (StatusCode::UPGRADE_REQUIRED, format!("{reason}\n")).into_response();
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    if headers.get("sec-websocket-version").is_none_or(|version| version != "13") {
        let mut response = (StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here\n").into_response();
        response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        return response;
    }
    if *shared.phase.borrow() != Phase::Serving {
        return Refused(Refusal::new(RefusalCode::Stopping, "the server is stopping; come again")).into_response();
    }
    let token = bearer(headers).map(str::to_owned);
    let needs_token = shared.access.needs_token(token.as_deref());
    // MemGPT's wire has no place for a credential but the request itself.
    if needs_token && (dialect == Dialect::Memgpt || token.is_some()) {
        let refusal = Refusal::new(RefusalCode::Unauthorized, "a key is needed: send it as `Authorization: Bearer …`");
        return Refused(refusal).into_response();
    }
    let permit = match Permit::take(&shared.open, shared.config.limits.connections) {
        Some(permit) => permit,
        None => return Refused(Refusal::new(RefusalCode::TooFast, "the server has as many connections as it may have")).into_response(),
    };
    let client =
        Query::<UpgradeQuery>::try_from_uri(request.uri()).ok().and_then(|Query(query)| query.client).filter(|name| !name.is_empty());
    let offered = offers_native(headers) && dialect == Dialect::Native;
    let machine = machine(shared, dialect, client, needs_token);
    let Some(on_upgrade) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let context = Context {
        hub: shared.hub.clone(),
        access: shared.access.clone(),
        entrant: Entrant { user: shared.access.local.clone(), trusted: !needs_token },
        from: dialect.name().to_owned(),
        phase: shared.phase.clone(),
        handshake_within: shared.config.limits.handshake,
    };
    let frame_bytes = shared.config.limits.frame_bytes;
    shared.connections.spawn(async move {
        if let Ok(upgraded) = on_upgrade.await {
            let limits = tokio_websockets::Limits::default().max_payload_len(Some(frame_bytes));
            let socket = tokio_websockets::ServerBuilder::new().limits(limits).serve(TokioIo::new(upgraded));
            drive(socket, machine, context).await;
        }
        drop(permit);
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.typed_insert(headers::SecWebsocketAccept::from(key));
    answer.remove(CONTENT_TYPE);
    if offered {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(NATIVE));
    }
    response
}

fn machine(shared: &Shared, dialect: Dialect, client: Option<String>, needs_token: bool) -> Box<dyn Machine> {
    match dialect {
        Dialect::Native => {
            let limits = NativeLimits {
                frame_bytes: Some(shared.config.limits.frame_bytes as u64),
                attached_sessions: Some(shared.config.limits.attached_sessions as u64),
                queued_inputs: Some(shared.config.limits.queued_inputs as u64),
            };
            Box::new(NativeMachine::new(limits, SERVER.to_owned(), needs_token))
        }
        Dialect::Memgpt => Box::new(MemgptMachine::new(client)),
        Dialect::Sparky => Box::new(SparkyMachine::new(shared.hub.tools())),
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn offers_native(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|offer| offer.trim() == NATIVE)
}

fn url_of(address: &SocketAddr) -> String {
    // An unspecified address is no address to call.
    let shown = if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { *address };
    format!("http://{shown}")
}

/// One of the connections that there may be.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(open: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let taken = open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < most).then_some(open + 1));
        taken.ok().map(|_| Self(Arc::clone(open)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// `server.json` in the data directory: how owner commands on this machine reach the server.
/// Removed when the server stops.
struct OwnerFile(PathBuf);

impl OwnerFile {
    fn write(dir: &Path, url: &str, token: &str) -> Result<Self, ServeError> {
        let path = dir.join("server.json");
        let failed = |source| ServeError::OwnerFile { path: path.clone(), source };
        let content = serde_json::json!({"url": url, "token": token}).to_string();
        // A file from a server that was killed is of no use.
        drop(fs::remove_file(&path));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for OwnerFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
