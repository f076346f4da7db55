//! Commands that the directory of agents, sessions and peers carries out.

use std::borrow::Cow;

use super::{AgentProfile, AgentSpec, Command, PeerRef, PeerWire};
use crate::{HistoryEntry, SessionId};

/// A command that the directory of agents, sessions and peers carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum DirectoryCommand {
    /// Create an agent and its main session.
    CreateAgent(Box<AgentSpec>),
    /// Find an agent by name or id.
    FindAgent {
        /// Its name or id.
        agent: String,
    },
    /// Open a session with an agent.
    CreateSession {
        /// The agent's name or id.
        agent: String,
        /// Title of the session.
        title: Option<String>,
        /// Instructions, which are added to the agent's persona.
        instructions: Option<String>,
        /// Messages from before the session.
        history: Vec<HistoryEntry>,
    },
    /// Recognise an older dialect's client, or give it a name.
    OpenPeer {
        /// The dialect.
        wire: PeerWire,
        /// The name space.
        space: String,
        /// The name that the client gave. If it is absent, a name is generated.
        name: Option<String>,
    },
    /// Find or open one of a peer's chats and select it.
    OpenChat {
        /// The peer.
        peer: PeerRef,
        /// The chat's own name. Absent for the chat that any client of the peer's name space
        /// selected last, or [`DEFAULT_CHAT`](super::DEFAULT_CHAT) if there is none.
        chat: Option<String>,
        /// Title for a new chat.
        title: Option<String>,
        /// Instructions for a new chat.
        instructions: Option<String>,
        /// Messages from before a new chat.
        history: Vec<HistoryEntry>,
    },
}

impl DirectoryCommand {
    /// Name of the command, the first part of its idempotency digest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateAgent(_) => "create_agent",
            Self::FindAgent { .. } => "find_agent",
            Self::CreateSession { .. } => "create_session",
            Self::OpenPeer { .. } => "open_peer",
            Self::OpenChat { .. } => "open_chat",
        }
    }

    /// Content of the command for its idempotency digest. Stored receipts depend on it.
    ///
    /// Empty for commands that may be repeated freely: they leave no receipt.
    #[must_use]
    pub fn digest_parts(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::CreateAgent(spec) => {
                vec![serde_json::to_string(spec).unwrap_or_default().into()]
            }
            Self::CreateSession { agent, title, instructions, history } => vec![
                agent.into(),
                title.as_deref().unwrap_or_default().into(),
                instructions.as_deref().unwrap_or_default().into(),
                serde_json::to_string(history).unwrap_or_default().into(),
            ],
            Self::FindAgent { .. } | Self::OpenPeer { .. } | Self::OpenChat { .. } => Vec::new(),
        }
    }
}

impl From<DirectoryCommand> for Command {
    fn from(command: DirectoryCommand) -> Self {
        Self::Directory(command)
    }
}

/// The directory's success reply.
#[derive(Debug, Clone, PartialEq)]
pub enum DirectoryReply {
    /// An agent was created or found.
    Agent {
        /// The agent.
        profile: Box<AgentProfile>,
        /// True if the first use of this command id created it.
        duplicate: bool,
    },
    /// A session was opened.
    Session {
        /// The session.
        session: SessionId,
        /// True if the first use of this command id opened it.
        duplicate: bool,
    },
    /// A client of an older dialect.
    Peer {
        /// The client.
        peer: PeerRef,
        /// True if it was never seen before.
        is_new: bool,
        /// Its chats, as name and session.
        chats: Vec<(String, SessionId)>,
        /// The chat it selected last.
        selected: Option<String>,
    },
    /// One of a peer's chats.
    Chat {
        /// Its name.
        chat: String,
        /// The chat's session.
        session: SessionId,
        /// True if it was just opened.
        is_new: bool,
        /// Model of its agent.
        model: Option<String>,
    },
}
