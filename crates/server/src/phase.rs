//! The phases of a server's life.

/// The phase of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It will stop: clients are told, running turns go on.
    Leaving,
    /// It stops now.
    Stopped,
}
