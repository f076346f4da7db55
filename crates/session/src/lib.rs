//! Thoughtwire's session core: the state machine of one live session, without I/O.
//!
//! [`SessionCore::handle`] takes one input and the time, and returns the effects in the order in
//! which the driver carries them out. [`SessionCore::next_timeout`] says when the core wants
//! [`SessionInput::TimePassed`]. Ids, permits and the types of reply senders come from the driver's
//! [`SessionHost`]. The driver of `thoughtwire-hub` turns channel messages into inputs, and effects
//! into calls of the store, the tail and the agent.
//!
//! ```text
//! commands, agent messages, commit results, time ──▶ SessionCore ──▶ appends, replies, emissions
//! ```
//!
//! The core numbers events against its *accepted* state and does not wait for the disk. Replies and
//! emissions wait until the appends in front of them are committed.
//!
//! It refuses to know tokio, the store, sockets, clocks and randomness.

mod accepted_log;
mod agent_messages;
mod call_waiters;
mod commands;
mod core;
mod deadlines;
mod decisions;
mod effect;
mod host;
mod idempotency;
mod input;
mod interruption;
mod now;
mod open_items;
mod pipeline;
mod running_turn;
mod text_saves;
mod turn_error;
mod turn_time;
mod turn_verb;
mod turns;

pub use crate::accepted_log::whole_item;
pub use crate::core::SessionCore;
pub use effect::{
    CoreReply, Effect, EventBatch, OpenItemText, ReceiptDraft, Runner, SessionEnd, TurnStart,
};
pub use host::{Admission, AgentSenders, HandOver, SessionHost};
pub use idempotency::{IdempotencyKey, MAX_KEYS, SeenKeys, key_reused, repeated};
pub use input::{
    AgentExit, BlockChanged, CommandRequest, LoadedSession, SessionInput, SessionOptions,
    SessionRequest, StoredState, unknown_session,
};
pub use interruption::{resume_delay, time_spent};
pub use now::Now;
pub use pipeline::{MAX_APPENDS, MAX_STEPS};
pub use turn_error::{AgentError, TurnError};
pub use turn_verb::{CallQuestion, CallReply, ClientResult, Finish, TurnVerb};
