//! One MCP server: started, watched, started again.

use std::collections::{HashMap, VecDeque};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use rmcp::model::{CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{NotificationContext, Peer, QuitReason, RoleClient, RunningService, ServiceError};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ServiceExt as _};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStderr, Command};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{McpConfig, McpError, McpOutput, McpPhase, McpState, McpTool, McpTransport, naming};

/// How long a server may take to start and to tell its tools: package runners download first.
const START_WITHIN: Duration = Duration::from_secs(60);
/// The pause before the first new start, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A server that lived for so long is taken for a healthy one.
const HEALTHY: Duration = Duration::from_secs(60);
/// Lines of standard error that are kept, and how much of each.
const STDERR_LINES: usize = 20;
const STDERR_CHARS: usize = 500;

/// One server.
pub(super) struct Server {
    config: McpConfig,
    changes: watch::Sender<u64>,
    status: Mutex<Status>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    /// Its tools are others now.
    listed_anew: Arc<Notify>,
}

struct Status {
    phase: McpPhase,
    tools: Vec<McpTool>,
    restarts: u32,
    pid: Option<u32>,
    line: Option<Line>,
}

/// The connection of one life.
#[derive(Clone)]
struct Line {
    peer: Peer<RoleClient>,
    /// Set by a call that finds it broken.
    broken: CancellationToken,
}

/// Our side of the connection.
struct Client {
    listed_anew: Arc<Notify>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("thoughtwire", env!("CARGO_PKG_VERSION")))
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.listed_anew.notify_one();
    }
}

type Connection = RunningService<RoleClient, Client>;

/// Why a server's life ended.
enum End {
    Stopped,
    Died(String),
}

impl Server {
    pub(super) fn new(config: McpConfig, changes: watch::Sender<u64>) -> Self {
        let status = Status { phase: McpPhase::Starting, tools: Vec::new(), restarts: 0, pid: None, line: None };
        Self { config, changes, status: Mutex::new(status), stderr: Arc::default(), listed_anew: Arc::new(Notify::new()) }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn tools(&self) -> Vec<McpTool> {
        locked(&self.status).tools.clone()
    }

    pub(super) fn state(&self) -> McpState {
        let status = locked(&self.status);
        McpState {
            name: self.config.name.clone(),
            phase: status.phase.clone(),
            tools: status.tools.iter().map(|tool| tool.name.clone()).collect(),
            restarts: status.restarts,
            pid: status.pid,
            stderr: locked(&self.stderr).iter().cloned().collect(),
        }
    }

    /// Calls one of its tools.
    pub(super) async fn call(&self, name: &str, args: Map<String, Value>) -> Result<McpOutput, McpError> {
        let server = || self.config.name.clone();
        let (Line { peer, broken }, tool) = {
            let status = locked(&self.status);
            let Some(line) = status.line.clone() else {
                let reason = match &status.phase {
                    McpPhase::Failed { reason } => reason.clone(),
                    McpPhase::Starting | McpPhase::Ready => "it is still starting".to_owned(),
                    McpPhase::Stopped => "it was stopped".to_owned(),
                };
                return Err(McpError::NotReady { server: server(), reason });
            };
            let tool = status.tools.iter().find(|tool| tool.name == name).map(|tool| tool.tool.clone());
            (line, tool.ok_or_else(|| McpError::Unknown(name.to_owned()))?)
        };
        let within = self.config.call_timeout;
        // Dropped unanswered, the library tells the server that the call is given up.
        let calling = peer.call_tool_once(CallToolRequestParams::new(tool).with_arguments(args));
        let Ok(answer) = tokio::time::timeout(within, calling).await else {
            return Err(McpError::TimedOut { server: server(), seconds: within.as_secs() });
        };
        match answer {
            Ok(CallToolResponse::Complete(result)) => Ok(result.into()),
            Ok(_) => Err(McpError::Failed { server: server(), reason: "it asks for something that is not supported here".to_owned() }),
            Err(ServiceError::McpError(error)) => Err(McpError::Failed { server: server(), reason: error.message.into_owned() }),
            Err(error) => {
                tracing::debug!(server = self.config.name, %error, "a call found its MCP server gone");
                broken.cancel();
                Err(McpError::Gone(server()))
            }
        }
    }

    /// Keeps the server running until it is stopped.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            match self.live(&stop).await {
                End::Stopped => {
                    self.set(McpPhase::Stopped);
                    return;
                }
                End::Died(reason) => {
                    tracing::warn!(server = self.config.name, reason, "an MCP server is down; it is started again");
                    self.set(McpPhase::Failed { reason });
                }
            }
            if begun.elapsed() >= HEALTHY {
                pause = FIRST_PAUSE;
            }
            // Servers that fell together do not come back together.
            let wait = pause.mul_f64(0.5 + 0.5 * fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {
                    self.set(McpPhase::Stopped);
                    return;
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            locked(&self.status).restarts += 1;
            self.set(McpPhase::Starting);
        }
    }

    /// One life: from its start until it is stopped or dies.
    async fn live(&self, stop: &CancellationToken) -> End {
        let starting = async {
            let connection = self.connect().await?;
            self.list(connection.peer()).await?;
            Ok::<_, String>(connection)
        };
        let connection = tokio::select! {
            started = tokio::time::timeout(START_WITHIN, starting) => match started {
                Ok(Ok(connection)) => connection,
                Ok(Err(reason)) => return End::Died(reason),
                Err(_) => return End::Died(format!("it did not start within {} s", START_WITHIN.as_secs())),
            },
            () = stop.cancelled() => return End::Stopped,
        };
        let peer = connection.peer().clone();
        let broken = CancellationToken::new();
        locked(&self.status).line = Some(Line { peer: peer.clone(), broken: broken.clone() });
        self.set(McpPhase::Ready);
        let hang_up = connection.cancellation_token();
        let mut ended = std::pin::pin!(connection.waiting());
        loop {
            tokio::select! {
                reason = &mut ended => {
                    let reason = match reason {
                        Ok(QuitReason::Closed | QuitReason::Cancelled) => "it ended".to_owned(),
                        Ok(other) => format!("it broke off: {other:?}"),
                        Err(error) => format!("it broke off: {error}"),
                    };
                    return End::Died(self.with_last_words(reason));
                }
                () = stop.cancelled() => {
                    hang_up.cancel();
                    drop(ended.await);
                    return End::Stopped;
                }
                () = broken.cancelled() => {
                    hang_up.cancel();
                    drop(ended.await);
                    return End::Died(self.with_last_words("its connection broke".to_owned()));
                }
                () = self.listed_anew.notified() => {
                    if let Err(reason) = self.list(&peer).await {
                        tracing::warn!(server = self.config.name, reason, "an MCP server's new list of tools cannot be read");
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let client = Client { listed_anew: Arc::clone(&self.listed_anew) };
        match &self.config.transport {
            McpTransport::Stdio { command, args, env } => {
                let mut process = Command::new(command);
                process.args(args).envs(env).kill_on_drop(true);
                let spawned = TokioChildProcess::builder(process).stderr(Stdio::piped()).spawn();
                let (process, stderr) = spawned.map_err(|error| format!("{command:?} cannot be started: {error}"))?;
                locked(&self.status).pid = process.id();
                if let Some(stderr) = stderr {
                    tokio::spawn(read_stderr(self.config.name.clone(), stderr, Arc::clone(&self.stderr)));
                }
                client.serve(process).await.map_err(|error| self.with_last_words(format!("it does not speak MCP: {error}")))
            }
            McpTransport::Http { url, headers } => {
                // The process may have chosen a provider already; then that one is used.
                rustls::crypto::ring::default_provider().install_default().ok();
                let mut given = HashMap::new();
                for (name, value) in headers {
                    let header = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
                    let (name, mut value) = header.ok_or_else(|| format!("the header {name:?} cannot be sent"))?;
                    value.set_sensitive(true);
                    given.insert(name, value);
                }
                let config = StreamableHttpClientTransportConfig::with_uri(url.as_str()).custom_headers(given);
                let transport = StreamableHttpClientTransport::from_config(config);
                client.serve(transport).await.map_err(|error| format!("it cannot be reached: {error}"))
            }
        }
    }

    async fn list(&self, peer: &Peer<RoleClient>) -> Result<(), String> {
        let listed = peer.list_all_tools().await.map_err(|error| format!("its tools cannot be listed: {error}"))?;
        let (mut tools, mut taken) = (Vec::new(), Vec::new());
        for tool in listed {
            let Some(name) = naming::fit(&self.config.name, &tool.name, &taken) else {
                tracing::warn!(server = self.config.name, tool = %tool.name, "a tool is left out: its name cannot be told apart");
                continue;
            };
            taken.push(name.clone());
            tools.push(McpTool {
                name,
                server: self.config.name.clone(),
                tool: tool.name.clone().into_owned(),
                description: tool.description.clone().unwrap_or_default().into_owned(),
                schema: Value::Object((*tool.input_schema).clone()),
            });
        }
        locked(&self.status).tools = tools;
        self.changed();
        Ok(())
    }

    /// A reason, with what the server said last: it usually says more than a closed pipe.
    fn with_last_words(&self, reason: String) -> String {
        match locked(&self.stderr).back() {
            Some(line) => format!("{reason} (its last words: {line})"),
            None => reason,
        }
    }

    fn set(&self, phase: McpPhase) {
        {
            let mut status = locked(&self.status);
            if phase != McpPhase::Ready {
                status.line = None;
                status.tools.clear();
            }
            if matches!(phase, McpPhase::Failed { .. } | McpPhase::Stopped) {
                status.pid = None;
            }
            status.phase = phase;
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Reads a child's standard error to its end: a full pipe would stop the child.
async fn read_stderr(server: String, stderr: ChildStderr, kept: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line: String = String::from_utf8_lossy(&line).trim_end().chars().take(STDERR_CHARS).collect();
        if line.is_empty() {
            continue;
        }
        tracing::debug!(server, line, "an MCP server says");
        let mut kept = locked(&kept);
        if kept.len() == STDERR_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
