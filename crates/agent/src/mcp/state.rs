//! How a server is doing, for people to look at.

use serde::Serialize;

/// One server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpState {
    /// The server's name.
    pub name: String,
    /// What it is up to; written into the same JSON object as `phase` and, if it failed, `reason`.
    #[serde(flatten)]
    pub phase: McpPhase,
    /// The full names of its tools; none while it is not ready.
    pub tools: Vec<String>,
    /// How often it was started again, with or without success.
    pub restarts: u32,
    /// The last 20 lines of its stderr, oldest first, over all its starts.
    pub stderr: Vec<String>,
    /// Its process, while there is one.
    pub pid: Option<u32>,
}

/// What a server is up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum McpPhase {
    /// It is started for the first time.
    Starting,
    /// Its tools can be called.
    Ready,
    /// It did not start, or it went away; it is started again in a while, unless its
    /// configuration cannot be used at all.
    Failed {
        /// What is wrong with it.
        reason: String,
    },
    /// It was told to end and is not started again.
    Stopped,
}
