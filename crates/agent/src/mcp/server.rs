//! What is known of one server, and calls to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rmcp::model::{CallToolRequestParams, CallToolResponse};
use rmcp::service::{Peer, RoleClient, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::masking::masked;

use super::{McpConfig, McpError, McpOutput, McpPhase, McpState, McpTool, http, wire};

/// How many lines of stderr are kept: enough for a stack trace's end.
const STDERR_LINES: usize = 20;

/// One server: its keeper writes here what it finds, and everyone else reads.
pub(super) struct Server {
    pub(super) config: McpConfig,
    board: Mutex<Board>,
    changes: watch::Sender<u64>,
}

struct Board {
    condition: Condition,
    restarts: u32,
    stderr: VecDeque<String>,
    pid: Option<u32>,
}

/// As [`McpPhase`], with what belongs to a server that is ready and ends with it.
enum Condition {
    Starting,
    Ready { tools: Vec<McpTool>, link: Link, since: Instant },
    Failed(String),
    Stopped,
}

/// The way to a server that is ready.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) peer: Peer<RoleClient>,
    /// Wakes whoever looks after the session: a call found that it may be broken.
    pub(super) suspect: Arc<Notify>,
    // Invariant: cancelled exactly when the server leaves `Condition::Ready`, so no call outlasts its link.
    gone: CancellationToken,
}

impl Link {
    pub(super) fn new(peer: Peer<RoleClient>) -> Self {
        Self { peer, suspect: Arc::new(Notify::new()), gone: CancellationToken::new() }
    }
}

impl Server {
    pub(super) fn new(config: McpConfig, changes: watch::Sender<u64>) -> Self {
        let board = Board {
            condition: Condition::Starting,
            restarts: 0,
            stderr: VecDeque::new(),
            pid: None,
        };
        Self { config, board: Mutex::new(board), changes }
    }

    pub(super) fn state(&self) -> McpState {
        let board = self.board();
        let (phase, tools) = match &board.condition {
            Condition::Starting => (McpPhase::Starting, Vec::new()),
            Condition::Ready { tools, .. } => {
                (McpPhase::Ready, tools.iter().map(|tool| tool.name.clone()).collect())
            }
            Condition::Failed(reason) => (McpPhase::Failed { reason: reason.clone() }, Vec::new()),
            Condition::Stopped => (McpPhase::Stopped, Vec::new()),
        };
        McpState {
            name: self.config.name.clone(),
            phase,
            tools,
            restarts: board.restarts,
            stderr: board.stderr.iter().cloned().collect(),
            pid: board.pid,
        }
    }

    pub(super) fn tools(&self) -> Vec<McpTool> {
        match &self.board().condition {
            Condition::Ready { tools, .. } => tools.clone(),
            Condition::Starting | Condition::Failed(_) | Condition::Stopped => Vec::new(),
        }
    }

    /// Calls a tool by its full name.
    pub(super) async fn call(
        &self,
        name: &str,
        args: Map<String, Value>,
    ) -> Result<McpOutput, McpError> {
        let (tool, link) = self.link(name)?;
        let request = CallToolRequestParams::new(tool.clone()).with_arguments(args);
        let server = self.config.name.clone();
        let limit = self.config.call_timeout;
        // rmcp cancels a request whose future is dropped, be it by the time-out or by our caller.
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
                Err(failed("it asks for input, which cannot be given here".to_owned()))
            }
            Ok(Ok(CallToolResponse::Task(_))) => {
                Err(failed("it answers with a task, which is not understood here".to_owned()))
            }
            Ok(Ok(_)) => Err(failed("its answer is not understood here".to_owned())),
            Ok(Err(error)) if http::lost(&error) => {
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

    /// The tool's own name, and the way to it.
    fn link(&self, name: &str) -> Result<(String, Link), McpError> {
        let reason = match &self.board().condition {
            Condition::Ready { tools, link, .. } => {
                let tool = tools.iter().find(|tool| tool.name == name);
                let tool = tool.ok_or_else(|| McpError::Unknown { name: name.to_owned() })?;
                return Ok((tool.tool.clone(), link.clone()));
            }
            Condition::Starting => "it is still starting".to_owned(),
            Condition::Failed(reason) => reason.clone(),
            Condition::Stopped => "it was stopped".to_owned(),
        };
        Err(McpError::NotReady { server: self.config.name.clone(), reason })
    }

    pub(super) fn spawned(&self, pid: Option<u32>) {
        self.board().pid = pid;
    }

    pub(super) fn restarting(&self) {
        let mut board = self.board();
        board.restarts = board.restarts.saturating_add(1);
    }

    pub(super) fn ready(&self, tools: Vec<McpTool>, link: Link) {
        self.turn(Condition::Ready { tools, link, since: Instant::now() });
    }

    /// Takes a new list of tools, if the server is still there.
    pub(super) fn relisted(&self, listed: Vec<McpTool>) {
        let mut board = self.board();
        if let Condition::Ready { tools, .. } = &mut board.condition
            && *tools != listed
        {
            *tools = listed;
            drop(board);
            self.changed();
        }
    }

    /// Notes that the server is not there, and tells for how long it was ready.
    pub(super) fn failed(&self, reason: String) -> Duration {
        self.turn(Condition::Failed(self.masked(reason)))
    }

    /// A server's own words without what it is let in with.
    fn masked(&self, words: String) -> String {
        masked(words, self.config.transport.secrets())
    }

    pub(super) fn stopped(&self) {
        self.turn(Condition::Stopped);
    }

    /// Keeps a line of stderr.
    pub(super) fn heard(&self, line: String) {
        let line = self.masked(line);
        tracing::debug!(server = self.config.name, ?line, "stderr of an MCP server");
        let stderr = &mut self.board().stderr;
        if stderr.len() == STDERR_LINES {
            stderr.pop_front();
        }
        stderr.push_back(line);
    }

    fn turn(&self, next: Condition) -> Duration {
        let last = std::mem::replace(&mut self.board().condition, next);
        let healthy = match last {
            Condition::Ready { link, since, .. } => {
                link.gone.cancel();
                since.elapsed()
            }
            Condition::Starting | Condition::Failed(_) | Condition::Stopped => Duration::ZERO,
        };
        self.changed();
        healthy
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock()
    }
}
