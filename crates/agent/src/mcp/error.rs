//! Errors of MCP tool calls.

use std::time::Duration;

use thiserror::Error;

/// Reason why a call has no output. The sentences are written for a model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum McpError {
    /// No connected server has such a tool.
    #[error(
        "There is no MCP tool `{}`. Use one of the tools that are listed.",
        .name.escape_debug()
    )]
    Unknown {
        /// The full name that was asked for.
        name: String,
    },
    /// The tool's server is not connected; nothing was sent.
    #[error(
        "The MCP server `{server}` cannot be used now: {reason}. Nothing was called. Try again \
         later, or do without it."
    )]
    NotReady {
        /// The server's name.
        server: String,
        /// The reason it is not connected.
        reason: String,
    },
    /// The connection to the server was lost during the call.
    #[error(
        "The MCP server `{server}` went away while `{tool}` was called, so it is not known \
         whether the call did its work. The server restarts automatically: check what was done \
         before you call again."
    )]
    Gone {
        /// The server's name.
        server: String,
        /// The tool's own name.
        tool: String,
    },
    /// The server did not answer in time; the call was cancelled.
    #[error(
        "`{tool}` of the MCP server `{server}` did not answer within {} s and was cancelled. Ask \
         for less at once, or have its time-out raised.",
        limit.as_secs_f64()
    )]
    TimedOut {
        /// The server's name.
        server: String,
        /// The tool's own name.
        tool: String,
        /// The time limit of the call.
        limit: Duration,
    },
    /// The server answered the call, but its answer cannot be read.
    #[error(
        "`{tool}` of the MCP server `{server}` was called, but its answer cannot be read: \
         {reason}. The call may have done its work: look at what was done before you call again."
    )]
    Unread {
        /// The server's name.
        server: String,
        /// The tool's own name.
        tool: String,
        /// The reason the answer cannot be read.
        reason: String,
    },
    /// The server answered the call with an error, or with something that is not a result.
    #[error("`{tool}` of the MCP server `{server}` failed: {reason}.")]
    Failed {
        /// The server's name.
        server: String,
        /// The tool's own name.
        tool: String,
        /// The server's error text.
        reason: String,
    },
}
