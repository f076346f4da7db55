//! Thoughtwire's running sessions: one task per live session, its tail, its subscribers, the turns
//! that belong to it, and the [`Interface`] through which an [`Agent`] speaks.
//!
//! An agent of one's own, with a durable session and no server:
//!
//! ```
//! use std::sync::Arc;
//! use futures::future::BoxFuture;
//! use thoughtwire_hub::{Agent, AgentError, Turn};
//!
//! struct Echo;
//!
//! impl Agent for Echo {
//!     fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
//!         Box::pin(async move {
//!             turn.interface.internal_monologue("I repeat what I hear.").await?;
//!             turn.interface.finish(Some(turn.input.text.clone().into()), None).await?;
//!             Ok(())
//!         })
//!     }
//! }
//! ```
//!
//! It refuses to know HTTP, models, and what is behind an agent.

mod agent;
mod await_turn;
pub mod blocking;
mod calendar;
mod clients;
mod clock;
mod cluster;
mod directory;
mod embedded;
mod function_message;
mod hub;
mod interface;
mod item_writer;
mod joins;
mod memory;
mod metrics;
mod proof;
mod read_back;
mod receipts;
mod registry;
mod retention;
mod retention_limits;
mod services;
mod session;
mod store_wait;
mod subscription;
mod tail;
mod tool_names;
mod turn_message;
mod watching;
mod worker_connection;
mod workers;

pub use agent::{Agent, Turn, unread_code};
pub use await_turn::AwaitedTurn;
pub use clients::{Client, ClientId};
pub use clock::{Clock, new_id, now};
pub use cluster::{NodeConnector, NodeLink, NodeSink, OwnerEnd};
pub use directory::{BlockChange, Directory, Imported, ImportedSession, Made, ThreadSeed, Threads};
pub use embedded::Embedded;
pub use hub::{Hub, Presence, check_tool};
pub use interface::{CoreMemory, Interface, ToolCalls, TurnControl};
pub use item_writer::{Final, ItemDraft, ItemWriter};
pub use memory::EditError;
pub use metrics::HubMetrics;
pub use proof::DeliveryProof;
pub use receipts::digest as command_digest;
pub use retention_limits::check as check_retention;
pub use services::{Changed, HubOptions};
pub use subscription::{Read, Subscription};
pub use tail::{Frames, TailEntry, WakeSignal};
pub use thoughtwire_fanout::{DirectSink, SharedSink};
pub use thoughtwire_proto as proto;
pub use thoughtwire_proto::Input;
pub use thoughtwire_proto::rest::{ToolListing, ToolSource};
pub use thoughtwire_session::key_reused as command_reused;
pub use thoughtwire_store as store;
pub use tool_names::most_specific;
pub use turn_message::{AgentError, Called, ClientResult, Finish, Replying, TurnError};
pub use watching::{ListChange, ListEntry, ListNews, Watcher};
pub use worker_connection::WorkerConnection;
