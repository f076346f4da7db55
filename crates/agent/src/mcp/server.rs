//! State of one MCP server, and calls to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rmcp::model::{CallToolRequestParams, CallToolResponse};
use rmcp::service::{Peer, RoleClient, ServiceError};
use serde_json::{Map, Value};
use thoughtwire_proto::CallId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::masking::masked;

use super::{McpConfig, McpError, McpOutput, McpPhase, McpState, McpTool, http, idempotency, wire};

/// Number of lines of stderr that are kept: enough for the end of a stack trace.
const STDERR_LINES: usize = 20;

/// One server. Its supervisor task writes the state; everyone else reads it.
pub(super) struct McpServer {
    pub(super) config: McpConfig,
    status: Mutex<ServerStatus>,
    changes: watch::Sender<u64>,
}

struct ServerStatus {
    condition: ServerCondition,
    restarts: u32,
    stderr: VecDeque<String>,
    pid: Option<u32>,
}

/// As [`McpPhase`], with the data that exists only while a server is ready.
enum ServerCondition {
    Starting,
    Ready { tools: Vec<McpTool>, link: McpLink, since: Instant },
    Failed(String),
    Stopped,
}

/// Connection to a server that is ready.
#[derive(Clone)]
pub(super) struct McpLink {
    pub(super) peer: Peer<RoleClient>,
    /// Wakes the session's ping task: a call found that the connection may be broken.
    pub(super) suspect: Arc<Notify>,
    // Invariant: cancelled exactly when the server leaves `Phase::Ready`, so no call outlasts its
    // link.
    gone: CancellationToken,
}

impl McpLink {
    pub(super) fn new(peer: Peer<RoleClient>) -> Self {
        Self { peer, suspect: Arc::new(Notify::new()), gone: CancellationToken::new() }
    }
}

impl McpServer {
    pub(super) fn new(config: McpConfig, changes: watch::Sender<u64>) -> Self {
        let status = ServerStatus {
            condition: ServerCondition::Starting,
            restarts: 0,
            stderr: VecDeque::new(),
            pid: None,
        };
        Self { config, status: Mutex::new(status), changes }
    }

    pub(super) fn state(&self) -> McpState {
        let status = self.status();
        let (phase, tools) = match &status.condition {
            ServerCondition::Starting => (McpPhase::Starting, Vec::new()),
            ServerCondition::Ready { tools, .. } => {
                (McpPhase::Ready, tools.iter().map(|tool| tool.name.clone()).collect())
            }
            ServerCondition::Failed(reason) => {
                (McpPhase::Failed { reason: reason.clone() }, Vec::new())
            }
            ServerCondition::Stopped => (McpPhase::Stopped, Vec::new()),
        };
        McpState {
            name: self.config.name.clone(),
            phase,
            tools,
            restarts: status.restarts,
            stderr: status.stderr.iter().cloned().collect(),
            pid: status.pid,
        }
    }

    pub(super) fn tools(&self) -> Vec<McpTool> {
        match &self.status().condition {
            ServerCondition::Ready { tools, .. } => tools.clone(),
            ServerCondition::Starting | ServerCondition::Failed(_) | ServerCondition::Stopped => {
                Vec::new()
            }
        }
    }

    /// Calls a tool by its full name.
    pub(super) async fn call(
        &self,
        call: &CallId,
        name: &str,
        args: Map<String, Value>,
    ) -> Result<McpOutput, McpError> {
        let (tool, link) = self.link(name)?;
        let mut request = CallToolRequestParams::new(tool.clone()).with_arguments(args);
        idempotency::add_key(&mut request, call);
        let server = self.config.name.clone();
        let limit = self.config.call_timeout;
        // rmcp cancels a request whose future is dropped, by the time-out or by our caller.
        let answer = tokio::select! {
            biased;
            answer = timeout(limit, link.peer.call_tool_once(request)) => answer,
            () = link.gone.cancelled() => return Err(McpError::Gone { server, tool }),
        };
        let failed = |reason: String| McpError::Failed {
            server: server.clone(),
            tool: tool.clone(),
            reason: self.masked(reason),
        };
        match answer {
            Err(_) => {
                link.suspect.notify_one();
                Err(McpError::TimedOut { server, tool, limit })
            }
            Ok(Ok(CallToolResponse::Complete(result))) => Ok(McpOutput::read(wire::whole(result))),
            Ok(Ok(CallToolResponse::InputRequired(_))) => {
                Err(failed("it asks for input, which Thoughtwire does not support".to_owned()))
            }
            Ok(Ok(CallToolResponse::Task(_))) => {
                Err(failed("it answers with a task, which Thoughtwire does not support".to_owned()))
            }
            Ok(Ok(_)) => Err(failed("its answer is of an unknown kind".to_owned())),
            Ok(Err(error)) if http::is_connection_lost(&error) => {
                link.suspect.notify_one();
                Err(McpError::Gone { server, tool })
            }
            Ok(Err(ServiceError::McpError(error))) => Err(match wire::unread_reason(&error) {
                Some(reason) => McpError::Unread { server, tool, reason: reason.to_owned() },
                None => failed(format!(
                    "{} (code {})",
                    error.message.trim_end_matches('.'),
                    error.code.0
                )),
            }),
            Ok(Err(ServiceError::TransportSend(error))) => Err(failed(http::reason(&error))),
            Ok(Err(error)) => Err(failed(error.to_string())),
        }
    }

    /// The tool's own name, and the connection to its server.
    fn link(&self, name: &str) -> Result<(String, McpLink), McpError> {
        let reason = match &self.status().condition {
            ServerCondition::Ready { tools, link, .. } => {
                let tool = tools.iter().find(|tool| tool.name == name);
                let tool = tool.ok_or_else(|| McpError::Unknown { name: name.to_owned() })?;
                return Ok((tool.tool.clone(), link.clone()));
            }
            ServerCondition::Starting => "it is still starting".to_owned(),
            ServerCondition::Failed(reason) => reason.clone(),
            ServerCondition::Stopped => "it was stopped".to_owned(),
        };
        Err(McpError::NotReady { server: self.config.name.clone(), reason })
    }

    pub(super) fn set_pid(&self, pid: Option<u32>) {
        self.status().pid = pid;
    }

    pub(super) fn count_restart(&self) {
        let mut status = self.status();
        status.restarts = status.restarts.saturating_add(1);
    }

    pub(super) fn ready(&self, tools: Vec<McpTool>, link: McpLink) {
        self.set_condition(ServerCondition::Ready { tools, link, since: Instant::now() });
    }

    /// Replaces the list of tools, if the server is still ready.
    pub(super) fn replace_tools(&self, listed: Vec<McpTool>) {
        let mut status = self.status();
        if let ServerCondition::Ready { tools, .. } = &mut status.condition
            && *tools != listed
        {
            *tools = listed;
            drop(status);
            self.notify_change();
        }
    }

    /// Marks the server as failed and returns how long it was ready.
    pub(super) fn failed(&self, reason: String) -> Duration {
        self.set_condition(ServerCondition::Failed(self.masked(reason)))
    }

    /// Masks our secrets in a text from the server.
    fn masked(&self, words: String) -> String {
        masked(words, self.config.transport.secrets())
    }

    pub(super) fn stopped(&self) {
        self.set_condition(ServerCondition::Stopped);
    }

    /// Keeps a line of stderr.
    pub(super) fn log_stderr(&self, line: String) {
        let line = self.masked(line);
        tracing::debug!(server = self.config.name, ?line, "stderr of an MCP server");
        let stderr = &mut self.status().stderr;
        if stderr.len() == STDERR_LINES {
            stderr.pop_front();
        }
        stderr.push_back(line);
    }

    fn set_condition(&self, next: ServerCondition) -> Duration {
        let last = std::mem::replace(&mut self.status().condition, next);
        let healthy = match last {
            ServerCondition::Ready { link, since, .. } => {
                link.gone.cancel();
                since.elapsed()
            }
            ServerCondition::Starting | ServerCondition::Failed(_) | ServerCondition::Stopped => {
                Duration::ZERO
            }
        };
        self.notify_change();
        healthy
    }

    fn notify_change(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn status(&self) -> MutexGuard<'_, ServerStatus> {
        self.status.lock()
    }
}
