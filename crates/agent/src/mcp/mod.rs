//! MCP servers: tools that external programs offer.
//!
//! ```text
//! McpServers ── one per process, shared by all agents
//!   ├─ McpServer ── state of one server, and its calls               (no task)
//!   └─ supervise() ── one task per server: start, watch, restart, end
//!        ├─ session: rmcp's client
//!        ├─ pipe, http: transports over stdio and streamable HTTP; `wire` reads for both
//!        └─ process: the process group, and a task that drains its stderr
//! ```
//!
//! Nothing queues here. A call goes straight to rmcp's peer. A change increments a number in a
//! `watch`, so a slow reader sees the newest state and misses only states that were replaced.

mod backoff;
mod config;
mod error;
mod http;
mod idempotency;
mod output;
mod pipe;
mod process;
mod server;
mod servers;
mod session;
mod sse;
mod state;
mod supervisor;
mod tool;
mod wire;

pub use config::{McpConfig, McpConfigError, McpTransport};
pub use error::McpError;
pub use output::McpOutput;
pub use servers::McpServers;
pub use state::{McpPhase, McpState};
pub use tool::McpTool;
