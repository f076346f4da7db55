//! Commands of clients, in the vocabulary that all dialects map to.
//!
//! A command is typed by who carries it out: the connection, a session or the directory.

mod agent;
mod connection;
mod directory;
mod listing;
mod peer;
mod reply;
mod session;

use crate::{CommandId, SessionId};

pub use agent::{AgentProfile, AgentSettings, AgentSpec, OnCrash, Permission, Replay, Style};
pub use connection::{Attached, ConnectionCommand, ConnectionReply, Start, ToolDeclaration};
pub use directory::{DirectoryCommand, DirectoryReply};
pub use listing::SessionListing;
pub use peer::{DEFAULT_CHAT, PeerRef, PeerWire};
pub(crate) use reply::{OpenedChat, OpenedPeer};
pub use session::{Disposition, Policy, SessionCommand, SessionReply, Verdict};

/// A client's command. It may be refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The connection carries it out.
    Connection(ConnectionCommand),
    /// A session carries it out.
    Session {
        /// The session.
        session: SessionId,
        /// The command.
        command: SessionCommand,
    },
    /// The directory carries it out.
    Directory(DirectoryCommand),
}

/// A success reply, by who carried the command out.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandReply {
    /// Reply of the connection.
    Connection(ConnectionReply),
    /// Reply of a session.
    Session(SessionReply),
    /// Reply of the directory.
    Directory(DirectoryReply),
}

impl From<ConnectionReply> for CommandReply {
    fn from(reply: ConnectionReply) -> Self {
        Self::Connection(reply)
    }
}

impl From<SessionReply> for CommandReply {
    fn from(reply: SessionReply) -> Self {
        Self::Session(reply)
    }
}

impl From<DirectoryReply> for CommandReply {
    fn from(reply: DirectoryReply) -> Self {
        Self::Directory(reply)
    }
}

/// A command with its idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client's id for the command.
    pub id: Option<CommandId>,
    /// The command.
    pub command: Command,
}
