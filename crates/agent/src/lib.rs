//! The built-in memory agent: an implementation of the hub's `Agent` trait.
//!
//! [`MemoryAgent`] runs a turn as a loop of steps. A step sends a prompt to a
//! [`LanguageModel`], streams the reply through the turn's `Interface`, and runs the tools that
//! the reply calls. The results are part of the next step's prompt.
//!
//! The design follows MemGPT (Packer et al., 2023, <https://arxiv.org/abs/2310.08560>). Core
//! memory blocks are always in the prompt. Recall memory is the searchable text of all
//! conversations. Archival memory is notes without limit. Eight tools work with them, and
//! heartbeats continue a turn.
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

mod history;
mod limits;
mod masking;
mod mcp;
mod message_text;
mod metrics;
mod model;
mod numbers;
mod past;
mod past_cache;
mod presets;
mod prompt;
mod reply;
mod resuming;

mod step;
mod time;
mod tool;
mod tools;

pub use agent::{AgentOptions, MemoryAgent};
pub use archive::Archive;
pub use embedding::{Embedder, EmbeddingPrefixes};
pub use mcp::{
    McpConfig, McpConfigError, McpError, McpOutput, McpPhase, McpServers, McpState, McpTool,
    McpTransport,
};
pub use metrics::ModelMetrics;
pub use model::{
    Endpoint, LanguageModel, ModelError, ModelWait, ProviderCall, ProviderReasoning, ProviderState,
    ProviderThought, Providers, ReplyEnd, ReplyPiece, Timeouts, check_model, try_model,
};
pub use presets::{HUMANS, PERSONAS, Preset};
pub use prompt::{Prompt, PromptEntry, Purpose};
pub use tool::{BuiltInTool, ToolSpec};
