//! The built-in memory agent: an agent that remembers, behind the hub's `Agent` trait.
//!
//! [`MemoryAgent`] runs a turn as a loop of steps. A step asks a [`Model`] what to say or do next,
//! streams its words through the turn's `Interface`, and runs the tools it called; their results
//! are the next step's input. Its design follows MemGPT (Packer et al., 2023,
//! <https://arxiv.org/abs/2310.08560>): core memory blocks that are always in the prompt, recall
//! memory (everything that was said, searchable), archival memory (notes without limit), eight
//! tools to work with them, and heartbeats that continue a turn.
//!
//! ```no_run
//! use std::sync::Arc;
//! use thoughtwire_agent::{AgentOptions, Endpoint, MemoryAgent, Providers, check_model};
//! # fn store() -> Arc<thoughtwire_store::Store> { unimplemented!() }
//!
//! let providers = Providers {
//!     openai: Endpoint { api_key: Some("…".into()), base_url: None },
//!     ..Providers::default()
//! };
//! check_model("openai/gpt-5-mini", &providers)?;
//! let agent = MemoryAgent::new(store(), AgentOptions::new("openai/gpt-5-mini", providers));
//! # Ok::<(), thoughtwire_agent::ModelError>(())
//! ```
//!
//! Models are named `provider/name`; [`check_model`] lists what is known. The default, `offline`,
//! needs neither network nor weights.
//!
//! The crate does not know sockets, dialects, environment variables or other sessions. It speaks
//! through the `Interface` it is given, and configuration comes in as values.

mod agent;
mod archive;
mod call_args;
mod calls;
mod compaction;
mod context;
mod embedding;
mod figures;
mod history;
mod limits;
mod masking;
mod mcp;
mod metrics;
mod model;
mod past;
mod pasts;
mod presets;
mod prompt;
mod reply;
mod spoken;
mod step;
mod time;
mod tool;
mod tools;

pub use agent::{AgentOptions, MemoryAgent};
pub use archive::Archive;
pub use embedding::Embedder;
pub use mcp::{
    McpConfig, McpConfigError, McpError, McpOutput, McpPhase, McpServers, McpState, McpTool,
    McpTransport,
};
pub use metrics::Metrics;
pub use model::{
    Awaited, Done, Endpoint, Kept, KeptCall, KeptReasoning, KeptThought, Model, ModelError, Piece,
    Providers, Timeouts, check_model, try_model,
};
pub use presets::{HUMANS, PERSONAS, Preset};
pub use prompt::{Chat, Prompt, Purpose};
pub use tool::{Tool, ToolSpec};
