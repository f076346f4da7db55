//! MCP servers: tools that come from elsewhere.
//!
//! ```text
//! McpServers ── one per process, shared by all agents
//!   ├─ Server ── what is known of one server, and its calls        (no task)
//!   └─ keep() ── one task per server: start, watch, restart, end   (Keeper)
//!        ├─ session: rmcp's client
//!        ├─ pipe, http: its transports over stdio and streamable HTTP; `wire` reads for both
//!        └─ child: the process group, and a task that drains its stderr
//! ```
//!
//! Nothing queues here: a call goes straight to rmcp's peer, and a change is a number in a
//! `watch`, so whoever is slow sees the newest state and misses only what it replaced.

mod backoff;
mod child;
mod config;
mod error;
mod events;
mod http;
mod keeper;
mod output;
mod pipe;
mod server;
mod servers;
mod session;
mod state;
mod tool;
mod wire;

pub use config::{McpConfig, McpConfigError, McpTransport};
pub use error::McpError;
pub use output::McpOutput;
pub use servers::McpServers;
pub use state::{McpPhase, McpState};
pub use tool::McpTool;
