//! Thoughtwire's vocabulary: ids, events, commands and refusals, the state fold, the transcript,
//! the bodies of REST, and the three dialects as codecs and connection machines without I/O.
//!
//! A client can be written with this crate alone:
//!
//! ```
//! use thoughtwire_proto::{Event, TurnEvent};
//! let event: Event = serde_json::from_str(
//!     r#"{"kind":"message","item":"i-1","text":"Hello","complete":true}"#,
//! )?;
//! assert!(matches!(event, Event::Turn(TurnEvent::Message { complete: true, .. })));
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! The crate has no clocks, I/O, async or logging.

pub mod cluster;
pub mod cluster_offers;
mod command;
pub mod connection;
pub mod dialect;
mod emission;
mod event;
mod id;
mod key;
mod ledger;
mod name;
mod offer;
mod refusal;
pub mod rest;
#[cfg(feature = "schema")]
pub mod schema;
mod state;
pub mod transcript;

pub use command::{
    AgentProfile, AgentSettings, AgentSpec, Attached, Command, CommandReply, ConnectionCommand,
    ConnectionReply, DEFAULT_CHAT, DirectoryCommand, DirectoryReply, Disposition, OnCrash, PeerRef,
    PeerWire, Permission, Policy, Replay, Request, SessionCommand, SessionListing, SessionReply,
    Start, Style, ToolDeclaration, Verdict,
};
pub use emission::{Delta, Emission, Partial, SessionEmission, StreamKind};
pub use event::{
    ApprovalAbout, Decision, Event, HistoryEntry, InputEvent, OtherEvent, Outcome, Record,
    ResumeReason, RetryReason, Role, SessionEvent, ToolStatus, TurnEvent, Usage,
};
pub use id::{
    AgentId, AgentKind, BadId, CallId, CallKind, CommandId, CommandKind, Cursor, Epoch, EpochKind,
    Id, ItemId, ItemKind, MAX_NAME_CHARS, Seq, SessionId, SessionKind, Timestamp, TurnId, TurnKind,
    UserId, UserKind, WorkerId, WorkerKind, check_name,
};
pub use key::{Key, KeyId, KeyKind, Scope};
pub use ledger::CallLedger;
pub use name::{new_name, new_title, nfc};
pub use offer::{Awaits, Directive, Input, MemoryBlock, OFFERED, Offer, Run, Verb, WaitingCall};
pub use refusal::{Refusal, RefusalCode, Retry};
pub use state::{Compaction, IllegalEvent, OpenCall, OpenTurn, QueuedInput, State};
pub use transcript::Transcript;

/// Tells a number that is left out where it is 0.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
