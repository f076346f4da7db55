//! Bodies of REST requests and answers, one file per noun.
//!
//! The server's handlers take and return these types, and the command line reads and writes them.
//! `docs/openapi.json` and the TypeScript types of `sdk/typescript` are generated from them, so a
//! body is described once.
//!
//! ```
//! use thoughtwire_proto::rest::InputDraft;
//!
//! let draft: InputDraft = serde_json::from_str(r#"{"text":"Hello"}"#)?;
//! assert_eq!(serde_json::to_string(&draft)?, r#"{"text":"Hello"}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! An optional key is absent rather than null, unless its documentation says what null means.

mod agent_file;
mod agents;
mod calls;
mod events;
mod inputs;
mod keys;
mod memory;
mod nodes;
mod sessions;
#[cfg(test)]
mod typescript;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Refusal;

pub use agent_file::{AgentFile, FileNote, FileSession};
pub use agents::{
    AgentBody, AgentDetails, AgentList, AgentPatch, McpServerListing, McpServerPhase, MemoryCounts,
    PresetList, PresetText, ToolListing, ToolSource,
};
pub use calls::{CallListing, CallPage, CallState, CallWait};
pub use events::{EventPage, StreamClosed, StreamEnd, StreamRestarted};
pub use inputs::{
    CancelRequest, CommandDone, DecisionRequest, InputAccepted, InputDraft, InputList,
    InputListing, TurnResult,
};
pub use keys::{
    Auth, CallerInfo, KeyCreated, KeyList, KeyLogin, LoginAnswer, NewKey, TicketCreated,
};
pub use memory::{
    ArchivalNote, BlockBody, BlockList, BlockPatch, CoreBlock, HitReasons, NewNotes, NoteDraft,
    NotePage, NotesAdded, RecallHit, RecallPage,
};
pub use nodes::{NodeInfo, NodeList};
pub use sessions::{SessionCreated, SessionDetails, SessionDraft, SessionList, SessionPatch};

/// A refused request.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The refusal.
    pub error: ErrorDetail,
}

/// Code and reason of a refusal.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One of the refusal codes. A newer server may send others.
    #[cfg_attr(feature = "schema", schemars(with = "crate::RefusalCode"))]
    pub code: String,
    /// A sentence for people.
    pub reason: String,
}

impl From<&Refusal> for ErrorBody {
    fn from(refusal: &Refusal) -> Self {
        Self {
            error: ErrorDetail {
                code: refusal.code.as_str().to_owned(),
                reason: refusal.reason.clone(),
            },
        }
    }
}

/// Reads a key that is present, so that `null` differs from absence.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}
