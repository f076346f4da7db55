//! MCP servers: tools that other programs bring (Model Context Protocol, through the library rmcp).
//!
//! ```text
//! McpServers ──▶ one task per server: start, list tools, watch, start again after a pause
//!            ──▶ calls go straight to the server's connection; the task hears of broken ones
//! ```

mod naming;
mod output;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use server::Server;

/// How long a call waits for a server that is just starting.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long all servers together may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// One configured server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpConfig {
    /// Its name, which its tools' names begin with: at most 32 letters, digits, `-` and single `_`.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// How long one call may take.
    pub call_timeout: Duration,
}

impl McpConfig {
    /// A server whose calls may take a minute.
    #[must_use]
    pub fn new(name: impl Into<String>, transport: McpTransport) -> Self {
        Self { name: name.into(), transport, call_timeout: Duration::from_secs(60) }
    }
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub enum McpTransport {
    /// As a child process, over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables, besides those of this process.
        env: BTreeMap<String, String>,
    },
    /// Over streamable HTTP.
    Http {
        /// Its address.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, String>,
    },
}

/// Without the values of variables and headers: they are often secrets.
impl std::fmt::Debug for McpTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdio { command, args, env } => {
                let names: Vec<_> = env.keys().collect();
                f.debug_struct("Stdio").field("command", command).field("args", args).field("env", &names).finish()
            }
            Self::Http { url, headers } => {
                let names: Vec<_> = headers.keys().collect();
                f.debug_struct("Http").field("url", url).field("headers", &names).finish()
            }
        }
    }
}

/// A tool of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct McpTool {
    /// Its name here: `server__tool`.
    pub name: String,
    /// The server.
    pub server: String,
    /// Its name there.
    pub tool: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub schema: Value,
}

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpState {
    /// Its name.
    pub name: String,
    /// What it is about.
    #[serde(flatten)]
    pub phase: McpPhase,
    /// Its tools, by their names here.
    pub tools: Vec<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Its process, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The last lines that it wrote to standard error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<String>,
}

/// What a server is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum McpPhase {
    /// It is being started.
    Starting,
    /// It takes calls.
    Ready,
    /// It is down, and is started again after a pause.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was stopped.
    Stopped,
}

/// What a call came back with.
#[derive(Debug, Clone, PartialEq)]
pub struct McpOutput {
    /// The result as text.
    pub text: String,
    /// All of it, where it is more than text.
    pub content: Option<Value>,
    /// Whether the text says what went wrong.
    pub is_error: bool,
}

/// Why a call was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpError {
    /// No server has this tool.
    #[error("No MCP server has a tool `{0}`.")]
    Unknown(String),
    /// The server is down.
    #[error("The MCP server {server} is not running: {reason}. It is started again; try later.")]
    NotReady {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// The connection broke in the middle of the call.
    #[error("The MCP server {0} went away in the middle of the call, which may have been carried out. It is started again.")]
    Gone(String),
    /// It took too long.
    #[error("The MCP server {server} did not answer within {seconds} s, so the call was given up.")]
    TimedOut {
        /// The server.
        server: String,
        /// How long it had.
        seconds: u64,
    },
    /// It said no.
    #[error("The MCP server {server} refused the call: {reason}")]
    Failed {
        /// The server.
        server: String,
        /// What it said.
        reason: String,
    },
}

/// All MCP servers of a process. Cheap to clone.
#[derive(Clone)]
pub struct McpServers {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Vec<Arc<Server>>,
    /// Counts changes of phases and tools.
    changes: watch::Sender<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for McpServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.shared.servers.iter().map(|server| server.name())).finish()
    }
}

impl McpServers {
    /// Starts servers, each on a task of its own, without waiting for them. Needs a running tokio runtime.
    #[must_use]
    pub fn start(configs: Vec<McpConfig>) -> Self {
        let changes = watch::Sender::new(0);
        let servers = configs.into_iter().map(|config| Arc::new(Server::new(config, changes.clone()))).collect();
        let servers = Self { shared: Arc::new(Shared { servers, changes, stop: CancellationToken::new(), tasks: TaskTracker::new() }) };
        for server in &servers.shared.servers {
            servers.shared.tasks.spawn(Arc::clone(server).run(servers.shared.stop.clone()));
        }
        servers
    }

    /// No servers.
    #[must_use]
    pub fn none() -> Self {
        Self::start(Vec::new())
    }

    /// The tools of all servers that are ready.
    #[must_use]
    pub fn tools(&self) -> Vec<McpTool> {
        self.shared.servers.iter().flat_map(|server| server.tools()).collect()
    }

    /// How each server is.
    #[must_use]
    pub fn states(&self) -> Vec<McpState> {
        self.shared.servers.iter().map(|server| server.state()).collect()
    }

    /// Tells of every change of a server's phase or tools.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Calls a tool by its name here. Dropping the future cancels the call, and the server is told.
    ///
    /// # Errors
    /// When there is no such tool, its server is down or goes away, or takes too long.
    pub async fn call(&self, name: &str, args: Map<String, Value>) -> Result<McpOutput, McpError> {
        let prefix = name.split_once(naming::SEPARATOR).map_or(name, |(server, _)| server);
        let Some(server) = self.shared.servers.iter().find(|server| server.name() == prefix) else {
            return Err(McpError::Unknown(name.to_owned()));
        };
        // After a restart of ours a call may come before its server is up.
        let mut changes = self.changes();
        let settled = async {
            while server.state().phase == McpPhase::Starting {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(PATIENCE, settled).await);
        server.call(name, args).await
    }

    /// Ends all servers and waits for them, for a few seconds at most.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        drop(tokio::time::timeout(STOP_WITHIN, self.shared.tasks.wait()).await);
    }
}
