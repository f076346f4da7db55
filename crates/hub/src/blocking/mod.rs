//! The interface for synchronous agents and programs: the verbs of [`crate::Interface`] and of its
//! handles, without `async`.
//!
//! ```text
//! agent's thread ──verbs (256)──▶ pump thread ──▶ async Interface
//! ```
//!
//! A verb without an answer from the session is queued, and the queue is carried out in order. If a
//! queued verb fails, every later call reports that error and does nothing; so does
//! [`Interface::close`]. A verb with an answer waits for the queued verbs, then for its answer.
//! Each verb says which of the two it does.
//!
//! The thread that calls a verb must not be one of the runtime's own: it would wait for itself.

mod agent;
mod core_memory;
mod embedded;
mod interface;
mod item_writer;
mod pump;
mod tool_calls;
mod turn_control;

pub use agent::{BlockingAgent as Agent, OnThreads};
pub use core_memory::BlockingCoreMemory as CoreMemory;
pub use embedded::{BlockingClient as Client, BlockingEmbedded as Embedded};
pub use interface::BlockingInterface as Interface;
pub use item_writer::BlockingItemWriter as ItemWriter;
pub use tool_calls::BlockingToolCalls as ToolCalls;
pub use turn_control::BlockingTurnControl as TurnControl;
