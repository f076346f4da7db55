//! State of MCP servers, for people to look at.

use serde::Serialize;

/// One server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpState {
    /// The server's name.
    pub name: String,
    /// The phase. Serialized into the same JSON object as `phase` and, if it failed, `reason`.
    #[serde(flatten)]
    pub phase: McpPhase,
    /// Full names of its tools. Empty unless it is ready.
    pub tools: Vec<String>,
    /// Number of restarts, successful or not.
    pub restarts: u32,
    /// The last 20 lines of its stderr over all its starts, oldest first.
    pub stderr: Vec<String>,
    /// Id of its process, while it runs.
    pub pid: Option<u32>,
}

/// Phase of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum McpPhase {
    /// It starts for the first time.
    Starting,
    /// Its tools can be called.
    Ready,
    /// It did not start, or its connection was lost. It is restarted after a delay, unless its
    /// configuration is invalid.
    Failed {
        /// The reason.
        reason: String,
    },
    /// It was stopped and is not restarted.
    Stopped,
}
