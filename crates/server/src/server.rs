//! The server: binds, wires everything together, and drains.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::{Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use thoughtwire_agent::{Archive, McpServers, MemoryAgent, check_model};
use thoughtwire_hub::{Hub, HubOptions, NodeConnector, new_id, now};
use thoughtwire_proto::{Refusal, UserId};
use thoughtwire_store::{NodeIdentity, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Jwt};
use crate::ag_ui;
use crate::ai_sdk;
use crate::cluster::cluster;
use crate::config::{Auth, Config, ServerLimits};
use crate::connection_permits::ConnectionPermits;
use crate::endpoint::SessionLocks;
use crate::front::front;
use crate::guard::Guard;
use crate::listener::{self, Doors};
use crate::metrics::ServerMetrics;
use crate::open_files;
use crate::openai;
use crate::owner_file::OwnerFile;
use crate::page;
use crate::phase::Phase;
use crate::rest::{RestState, router};
use crate::sweeping;
use crate::upgrade::{ConnectionState, SocketDialect, is_upgrade, offers_native, upgrade};

/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

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
    #[error("server.json cannot be written in {dir}: {source}", dir = .dir.display())]
    OwnerFile {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS cannot be spoken.
    #[error("the configuration's [tls] cannot be used: {0}")]
    Tls(String),
    /// Tokens of somebody else's login cannot be checked.
    #[error("the configuration's [jwt] cannot be used: {0}")]
    Jwt(String),
    /// Reachable from elsewhere, and nobody could come in.
    #[error(
        "{address} can be reached from other machines, so every client needs a key, and there is \
         none yet: make one with `thoughtwire keys add {place}`, or listen on 127.0.0.1, \
         or use `--auth none` if every client may act as the owner"
    )]
    NoKeys {
        /// The address.
        address: SocketAddr,
        /// The flags that name the data.
        place: String,
    },
    /// The clock shows no time that answers could bear.
    #[error(
        "the system's clock shows a time before 1970 or after 9999; set the clock and start the \
         server again"
    )]
    Clock,
    /// A task of the server broke off.
    #[error("the server broke off: {0}")]
    Broken(String),
}

/// Opens the store that the configuration names. A server with TLS has to be told under which URL
/// its certificate is valid.
async fn open_store(config: &Config, address: Option<&SocketAddr>) -> Result<Store, ServeError> {
    let dir = config.data_dir.clone();
    let Some(url) = &config.store else {
        let opened = tokio::task::spawn_blocking(move || Store::open(&dir, now())).await;
        return Ok(opened.map_err(|error| ServeError::Broken(error.to_string()))??);
    };
    let own = address.filter(|address| config.tls.is_none() && !address.ip().is_unspecified());
    let own = own.map(|address| url_of(address, false));
    let node = NodeIdentity::of_dir(&dir, config.advertise.clone().or(own))?;
    Ok(Store::connect(url, node, now()).await?)
}

/// The secret by which nodes that share a database know each other; `None` where none can.
async fn cluster_secret(store: &Store) -> Result<Option<String>, StoreError> {
    if store.lease().is_none() {
        return Ok(None);
    }
    let fresh = format!("{}{}", new_id::<()>(), new_id::<()>()).into_bytes();
    let secret = store.keys().secret("cluster", fresh).await?;
    Ok(Some(String::from_utf8_lossy(&secret).into_owned()))
}

/// Makes what connects to other nodes, with the secret by which they know each other.
pub type MakeConnector = fn(String) -> Arc<dyn NodeConnector>;

/// Why a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeEnd {
    /// It was told to stop.
    Stopped,
    /// It lost its lease in the database, so that other nodes take its sessions. A new server may
    /// be started at once.
    LeaseLost,
}

/// A server that listens, but does not serve yet.
pub struct Server {
    config: Config,
    listeners: Vec<TcpListener>,
    /// Where the owner's commands come in, where the others speak TLS.
    inner: Option<TcpListener>,
    tls: Option<TlsAcceptor>,
    addresses: Vec<SocketAddr>,
    store: Arc<Store>,
    hub: Hub,
    mcp: McpServers,
    archive: Archive,
    metrics: ServerMetrics,
    access: Access,
    owner_file: OwnerFile,
    cluster_secret: Option<String>,
}

impl Server {
    /// Opens the store, starts the hub and binds every address. Serving begins with
    /// [`Server::run`]. Without a `connector`, sessions of other nodes on the same database cannot
    /// be reached here.
    ///
    /// # Errors
    /// When one of these cannot be had.
    pub async fn bind(
        mut config: Config,
        connector: Option<MakeConnector>,
    ) -> Result<Self, ServeError> {
        // The HTTP library panics where it cannot write the time into an answer.
        if !(1..=LAST_MS).contains(&now().as_millis()) {
            return Err(ServeError::Clock);
        }
        config.limits.connections = open_files::connections(config.limits.connections);
        check_model(&config.model, &config.providers).map_err(|error| ServeError::Model {
            model: config.model.clone(),
            reason: error.to_string(),
        })?;
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for &address in &config.listen {
            let refused = |source| ServeError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            addresses.push(listener.local_addr().map_err(refused)?);
            listeners.push(listener);
        }
        let store = Arc::new(open_store(&config, addresses.first()).await?);
        let options = config.agent_options().map_err(|error| ServeError::Model {
            model: config.embedding.clone().unwrap_or_default(),
            reason: error.to_string(),
        })?;
        let mcp = options.mcp.clone();
        let agent = MemoryAgent::new(Arc::clone(&store), options);
        let archive = agent.archive().clone();
        let models = agent.metrics().clone();
        let cluster_secret = cluster_secret(&store).await?;
        let hub_options = HubOptions {
            nodes: connector.zip(cluster_secret.clone()).map(|(make, secret)| make(secret)),
            queued_inputs: config.limits.queued_inputs,
            open_approvals: config.limits.open_approvals,
            turn_within: config.limits.turn,
            ..HubOptions::default()
        };
        let hub = Hub::new(Arc::clone(&store), Arc::new(agent), hub_options).await?;
        let metrics = ServerMetrics::new(&hub, &models);
        let token = format!("tw_{}{}", new_id::<()>(), new_id::<()>());
        let guard = Guard {
            auth: config.auth,
            listen: addresses.clone(),
            allow_origin: config.allow_origin.clone(),
            allow_host: config.allow_host.clone(),
            trust_proxy: config.trust_proxy,
            token: token.clone(),
        };
        let local = UserId::new("local").map_err(|error| ServeError::Broken(error.to_string()))?;
        let jwt = config.jwt.as_ref().map(Jwt::open).transpose().map_err(ServeError::Jwt)?;
        let access =
            Access::open(guard, local, jwt, config.limits.connections_per_user, &store).await?;
        let exposed = addresses.iter().find(|address| !address.ip().is_loopback());
        if config.auth == Auth::Keys && !access.has_credentials() {
            // An owner who asked for keys knows that one has to be added; others may not.
            if let (Some(&address), false) = (exposed, config.auth_is_said) {
                let store = config.store.as_ref().map_or("", |_| " --store …");
                let place = format!("--data-dir {}{store}", config.data_dir.display());
                return Err(ServeError::NoKeys { address, place });
            }
            tracing::warn!(
                "there are no keys yet, so only the owner's own commands are accepted; make one \
                 with `thoughtwire keys add`"
            );
        }
        let tls = config.tls.as_ref().map(listener::tls).transpose().map_err(ServeError::Tls)?;
        // A certificate is of a name, and the owner's commands know an address.
        let (inner, url) = match &tls {
            None => {
                (None, addresses.first().map(|address| url_of(address, false)).unwrap_or_default())
            }
            Some(_) => {
                let address = SocketAddr::from(([127, 0, 0, 1], 0));
                let refused = |source| ServeError::Listen { address, source };
                let inner = TcpListener::bind(address).await.map_err(refused)?;
                let url = url_of(&inner.local_addr().map_err(refused)?, false);
                (Some(inner), url)
            }
        };
        let owner_file = OwnerFile::write(&config.data_dir, &url, &token)
            .map_err(|source| ServeError::OwnerFile { dir: config.data_dir.clone(), source })?;
        Ok(Self {
            config,
            listeners,
            inner,
            tls,
            addresses,
            store,
            hub,
            mcp,
            archive,
            metrics,
            access,
            owner_file,
            cluster_secret,
        })
    }

    /// The addresses that it listens on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL of the first address.
    #[must_use]
    pub fn url(&self) -> String {
        self.addresses
            .first()
            .map(|address| url_of(address, self.tls.is_some()))
            .unwrap_or_default()
    }

    /// Serves until `stop` resolves, then drains: clients are told, running turns get their grace,
    /// every connection is closed with 1012.
    ///
    /// # Errors
    /// When a part of the server breaks off.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<ServeEnd, ServeError> {
        let (phase, watched) = watch::channel(Phase::Serving);
        let (keyring, access) = (self.access.keyring.clone(), self.access.clone());
        let shared = ConnectionState {
            hub: self.hub.clone(),
            mcp: self.mcp.clone(),
            metrics: self.metrics,
            access: self.access,
            phase: watched,
            connections: TaskTracker::new(),
            open: ConnectionPermits::new(self.config.limits.connections),
            config: Arc::new(self.config),
            cluster_secret: self.cluster_secret,
        };
        let connections = shared.connections.clone();
        let mut grace = shared.config.grace;
        let (handshake, per_address) =
            (shared.config.limits.handshake, shared.config.limits.connections_per_address);
        let (base_path, keep_idle) =
            (shared.config.base_path.clone(), shared.config.keep_completions);
        let router = routes(shared, self.archive.clone());
        let serving = TaskTracker::new();
        serving.spawn(embed_missing(self.archive));
        let doors = Doors {
            router,
            tls: self.tls,
            phase: phase.subscribe(),
            tasks: serving.clone(),
            within: handshake,
            base_path,
            guests: ConnectionPermits::new(per_address.unwrap_or(ServerLimits::PER_ADDRESS)),
            counts_loopback: per_address.is_some(),
        };
        if let Some(inner) = self.inner {
            serving.spawn(Doors { tls: None, counts_loopback: false, ..doors.clone() }.keep(inner));
        }
        for listener in self.listeners {
            serving.spawn(doors.clone().keep(listener));
        }
        drop(doors);
        serving.spawn(sweeping::now_and_then(
            self.hub.clone(),
            keyring,
            keep_idle,
            phase.subscribe(),
        ));
        serving.spawn(access.follow_other_nodes(Arc::clone(&self.store), phase.subscribe()));
        serving.close();
        let end = tokio::select! {
            () = stop => ServeEnd::Stopped,
            () = lease_lost(&self.store) => {
                // Another node goes on with the turns.
                grace = Duration::ZERO;
                ServeEnd::LeaseLost
            }
        };
        tracing::info!(?end, "stopping");
        phase.send_replace(Phase::Leaving);
        self.hub.stop(grace).await;
        self.mcp.stop().await;
        phase.send_replace(Phase::Stopped);
        connections.close();
        // A request that does not end by itself is left behind.
        drop(tokio::time::timeout(Duration::from_secs(5), connections.wait()).await);
        drop(tokio::time::timeout(Duration::from_secs(1), serving.wait()).await);
        self.store.close().await;
        drop(self.owner_file);
        Ok(end)
    }
}

/// Queues texts that have no vector of the embedding model.
async fn embed_missing(archive: Archive) {
    match archive.embed_missing().await {
        Ok(0) => {}
        Ok(texts) => tracing::info!(texts, "making vectors of notes and messages"),
        Err(error) => {
            tracing::warn!(%error, "texts without vectors are not known; searches will find them");
        }
    }
}

/// Resolves when this process has lost its lease; never where there is none.
async fn lease_lost(store: &Store) {
    match store.lease() {
        // The sender lives as long as the store.
        Some(mut lease) => drop(lease.wait_for(|held| !held).await),
        None => std::future::pending().await,
    }
}

fn routes(shared: ConnectionState, archive: Archive) -> Router {
    let limit = shared.config.limits.frame_bytes;
    let rest = Arc::new(RestState {
        hub: shared.hub.clone(),
        access: shared.access.clone(),
        archive,
        mcp: shared.mcp.clone(),
        metrics: shared.metrics.clone(),
        model: shared.config.model.clone(),
        open: shared.open.clone(),
        secure: shared.config.tls.is_some(),
        base_path: shared.config.base_path.clone(),
        keep_completions: shared.config.keep_completions,
        locks: SessionLocks::default(),
        is_at_rest: false,
    });
    Router::new()
        .route("/", any(root))
        .route("/memgpt", any(memgpt))
        .route("/ws/chat", any(sparky))
        .route("/v1/ws", any(native))
        .route("/v1/cluster", any(cluster))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(page::assets())
        .fallback(not_found)
        .with_state(shared.clone())
        .merge(ag_ui::router(Arc::clone(&rest)))
        .merge(ai_sdk::router(Arc::clone(&rest)))
        .merge(openai::router(Arc::clone(&rest)))
        .merge(router(rest))
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(shared, front))
}

async fn ready(State(shared): State<ConnectionState>) -> Response {
    let serving = *shared.phase.borrow() == Phase::Serving;
    if !serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let store = shared.hub.store();
    let outcome = match store.directory().agents(&shared.access.local).await {
        Ok(_) => store.check().await,
        Err(error) => Err(error),
    };
    match outcome.map_err(Refusal::from) {
        Ok(()) => "ready\n".into_response(),
        // One status for every cause, as those who ask expect it.
        Err(refusal) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", refusal.reason)).into_response()
        }
    }
}

async fn not_found(State(shared): State<ConnectionState>, request: Request) -> Response {
    // Elsewhere than on its own path the sub-protocol chooses the native wire.
    if is_upgrade(request.headers()) && offers_native(request.headers()) {
        return upgrade(&shared, request, SocketDialect::Native).await;
    }
    let base = &shared.config.base_path;
    if base.is_bare(request.uri()) {
        if is_upgrade(request.headers()) {
            return memgpt(State(shared), request).await;
        }
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let to = format!("{}{query}", base.root());
        return (StatusCode::PERMANENT_REDIRECT, [(LOCATION, to)]).into_response();
    }
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let accepts = request.headers().get_all(ACCEPT).iter().filter_map(|kinds| kinds.to_str().ok());
    if is_read && accepts.into_iter().any(|kinds| kinds.contains("text/html")) {
        return page::missing(path);
    }
    let reason = format!(
        "there is nothing at {path}; WebSockets are at /v1/ws, /memgpt and /ws/chat, REST below \
         /v1/"
    );
    (
        StatusCode::NOT_FOUND,
        axum::Json(serde_json::json!({"error": {"code": "not_found", "reason": reason}})),
    )
        .into_response()
}

async fn root(State(shared): State<ConnectionState>, request: Request) -> Response {
    if is_upgrade(request.headers()) {
        return memgpt(State(shared), request).await;
    }
    match *request.method() {
        Method::GET | Method::HEAD => page::index(&shared.config.base_path),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

async fn memgpt(State(shared): State<ConnectionState>, request: Request) -> Response {
    let native = offers_native(request.headers());
    upgrade(&shared, request, if native { SocketDialect::Native } else { SocketDialect::Memgpt })
        .await
}

async fn sparky(State(shared): State<ConnectionState>, request: Request) -> Response {
    let native = offers_native(request.headers());
    upgrade(&shared, request, if native { SocketDialect::Native } else { SocketDialect::Sparky })
        .await
}

async fn native(State(shared): State<ConnectionState>, request: Request) -> Response {
    upgrade(&shared, request, SocketDialect::Native).await
}

fn url_of(address: &SocketAddr, tls: bool) -> String {
    // An unspecified address is no address to call.
    let shown = if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        *address
    };
    format!("{}://{shown}", if tls { "https" } else { "http" })
}
