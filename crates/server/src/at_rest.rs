//! Data opened for its owner's commands: a directory that no server runs on, or a database, beside
//! the servers on it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use thoughtwire_agent::{AgentOptions, McpServers, MemoryAgent, Providers};
use thoughtwire_hub::{Hub, HubOptions, new_id, now};
use thoughtwire_proto::UserId;
use thoughtwire_store::{NodeIdentity, Store};
use tower::ServiceExt as _;

use crate::access::Access;
use crate::base_path::BasePath;
use crate::config::Auth;
use crate::connection_permits::ConnectionPermits;
use crate::endpoint::SessionLocks;
use crate::guard::Guard;
use crate::metrics::ServerMetrics;
use crate::rest::{RestState, router};
use crate::server::ServeError;

/// The largest answer: an agent with all its history.
const ANSWER_BYTES: usize = 1 << 30;

/// A server's REST side without a server: nothing listens, no turn runs.
pub struct AtRest {
    store: Arc<Store>,
    hub: Hub,
    router: Router,
}

impl AtRest {
    /// Opens a data directory under its lock.
    ///
    /// # Errors
    /// When it cannot be opened, for example because a server has it.
    pub async fn open(dir: &Path) -> Result<Self, ServeError> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Store::open(&dir, now())).await;
        Self::with(opened.map_err(|error| ServeError::Broken(error.to_string()))??).await
    }

    /// Opens a database as a node of its own. With a directory it is the node of the directory,
    /// which is locked; without, a new one. Sessions of other live nodes stay theirs.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn connect(url: &str, dir: Option<&Path>) -> Result<Self, ServeError> {
        let node = match dir {
            Some(dir) => NodeIdentity::of_dir(dir, None)?,
            None => NodeIdentity::new(new_id::<()>().as_str(), None),
        };
        Self::with(Store::connect(url, node, now()).await?).await
    }

    async fn with(store: Store) -> Result<Self, ServeError> {
        let store = Arc::new(store);
        let agent = MemoryAgent::new(
            Arc::clone(&store),
            AgentOptions::new("offline", Providers::default()),
        );
        let (archive, models) = (agent.archive().clone(), agent.metrics().clone());
        let hub = Hub::new(
            Arc::clone(&store),
            Arc::new(agent),
            HubOptions { resting: true, ..HubOptions::default() },
        )
        .await?;
        let guard = Guard {
            auth: Auth::None,
            listen: Vec::new(),
            allow_origin: Vec::new(),
            allow_host: Vec::new(),
            trust_proxy: false,
            token: String::new(),
        };
        let local = UserId::new("local").map_err(|error| ServeError::Broken(error.to_string()))?;
        let access = Access::open(guard, local, None, usize::MAX, &store).await?;
        let metrics = ServerMetrics::new(&hub, &models);
        let router = router(Arc::new(RestState {
            hub: hub.clone(),
            access,
            archive,
            mcp: McpServers::none(),
            metrics,
            model: String::new(),
            open: ConnectionPermits::new(usize::MAX),
            secure: false,
            base_path: BasePath::default(),
            keep_completions: Duration::MAX,
            locks: SessionLocks::default(),
            is_at_rest: true,
        }));
        Ok(Self { store, hub, router })
    }

    /// Answers a request as a server would.
    ///
    /// # Errors
    /// When the answer cannot be read to its end.
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, axum::Error> {
        let response = match self.router.clone().oneshot(request.map(Body::from)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, ANSWER_BYTES).await?;
        Ok(Response::from_parts(parts, body))
    }

    /// Copies all data, as [`Store::backup`] does.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub async fn backup(&self) -> Result<File, ServeError> {
        Ok(self.store.backup().await?)
    }

    /// Saves what is under way and releases the data. In a database, others may then take the
    /// sessions that this process has.
    pub async fn close(&self) {
        self.hub.stop(std::time::Duration::ZERO).await;
        self.store.close().await;
    }
}
