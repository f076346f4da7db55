//! Clients of the older dialects that are recognised when they reconnect.

use serde::{Deserialize, Serialize};

/// A client of an older dialect that is recognised when it reconnects: Sparky's `session_id`,
/// `MemGPT`'s `?client=`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerRef {
    /// The dialect.
    pub wire: PeerWire,
    /// The name space: Sparky's `user_id`; empty for `MemGPT`.
    pub space: String,
    /// The peer's name in it.
    pub name: String,
}

impl PeerRef {
    /// The peer as the sender of inputs, by which its own are found again after a reconnect. Only
    /// `MemGPT`'s wire tells a client which turns are its own.
    #[must_use]
    pub fn sender(&self) -> Option<String> {
        match self.wire {
            PeerWire::Memgpt => Some(format!("memgpt:{}", self.name)),
            PeerWire::Sparky => None,
        }
    }
}

/// Name of a peer's chat if none was chosen.
pub const DEFAULT_CHAT: &str = "default";

/// Dialects that have peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerWire {
    /// `MemGPT`'s.
    Memgpt,
    /// Sparky's.
    Sparky,
}
