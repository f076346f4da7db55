//! All MCP servers of a process.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use thoughtwire_proto::CallId;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::server::McpServer;
use super::{McpConfig, McpConfigError, McpError, McpOutput, McpState, McpTool, supervisor, tool};

/// Time limit of [`McpServers::stop`]. A process gets less than that before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The MCP servers of a process, shared by all its agents. Cheap to clone. Dropping the last clone
/// ends the servers.
#[derive(Clone)]
pub struct McpServers(Arc<ServerSet>);

struct ServerSet {
    servers: Vec<Arc<McpServer>>,
    changes: watch::Sender<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
    aborts: Vec<AbortHandle>,
}

impl McpServers {
    /// Starts a task for each server and returns without waiting for them. A server with an invalid
    /// or duplicate name is never started; its state says why.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime, unless there are no servers.
    #[must_use]
    pub fn start(configs: Vec<McpConfig>) -> Self {
        let changes = watch::Sender::new(0);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (mut servers, mut aborts, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        for config in configs {
            let fault = config.check().err();
            let fault = fault.or_else(|| {
                (!names.insert(config.name.clone()))
                    .then(|| McpConfigError::Twice(config.name.clone()))
            });
            let server = Arc::new(McpServer::new(config, changes.clone()));
            match fault {
                Some(fault) => {
                    tracing::warn!("an MCP server is not started: {fault}");
                    server.failed(fault.to_string());
                }
                None => aborts.push(
                    tasks
                        .spawn(supervisor::supervise(Arc::clone(&server), stop.clone()))
                        .abort_handle(),
                ),
            }
            servers.push(server);
        }
        Self(Arc::new(ServerSet { servers, changes, stop, tasks, aborts }))
    }

    /// Creates a set without servers.
    #[must_use]
    pub fn none() -> Self {
        Self::start(Vec::new())
    }

    /// The tools of all servers that are connected now, in the order of the configuration.
    #[must_use]
    pub fn tools(&self) -> Vec<McpTool> {
        self.0.servers.iter().flat_map(|server| server.tools()).collect()
    }

    /// State of each server, in the order of the configuration.
    #[must_use]
    pub fn states(&self) -> Vec<McpState> {
        self.0.servers.iter().map(|server| server.state()).collect()
    }

    /// Calls a tool by its full name. The server gets the call's id as idempotency key: the same id
    /// marks a repetition. Dropping the future cancels the request at the server.
    ///
    /// # Errors
    /// See [`McpError`]. An error that the tool itself reports is an output, not an error.
    pub async fn call(
        &self,
        call: &CallId,
        name: &str,
        args: Map<String, Value>,
    ) -> Result<McpOutput, McpError> {
        let server = tool::server_of(name)
            .and_then(|owner| self.0.servers.iter().find(|server| server.config.name == owner));
        match server {
            Some(server) => server.call(call, name, args).await,
            None => Err(McpError::Unknown { name: name.to_owned() }),
        }
    }

    /// A counter that increases whenever a server's phase or list of tools changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Ends all servers and waits at most 5 seconds for their tasks and processes. Running calls
    /// end with an error. May be called again.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(STOP_LIMIT, self.0.tasks.wait()).await.is_err() {
            tracing::warn!("MCP servers did not end within 5 s; their tasks are aborted");
            self.0.aborts.iter().for_each(AbortHandle::abort);
        }
    }
}

impl fmt::Debug for McpServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.servers.iter().map(|server| &server.config)).finish()
    }
}

impl Drop for ServerSet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
