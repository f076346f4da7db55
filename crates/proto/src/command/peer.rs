//! Clients of the older wires that are known again.

/// A client of an older wire that can be known again: Sparky's `session_id`, `MemGPT`'s `?client=`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerRef {
    /// Which wire.
    pub wire: PeerWire,
    /// The name space: Sparky's `user_id`; empty for `MemGPT`.
    pub space: String,
    /// The peer's name in it.
    pub name: String,
}

/// Chat of a peer that has not named one.
pub const DEFAULT_CHAT: &str = "default";

/// The wires that have peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerWire {
    /// `MemGPT`'s.
    Memgpt,
    /// Sparky's.
    Sparky,
}
