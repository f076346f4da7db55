//! Replies by the kind that a command expects, so that no dialect has to handle another kind.

use super::{
    AgentProfile, Attached, CommandReply, ConnectionReply, DirectoryReply, PeerRef, SessionReply,
};
use crate::{ItemId, Refusal, RefusalCode, SessionId};

/// Reply to the opening of a peer.
pub(crate) struct OpenedPeer {
    /// The peer.
    pub(crate) peer: PeerRef,
    /// Whether it was never seen before.
    pub(crate) is_new: bool,
    /// Its chats, as name and session.
    pub(crate) chats: Vec<(String, SessionId)>,
    /// The chat that it selected last.
    pub(crate) selected: Option<String>,
}

/// Reply to the opening of a chat.
pub(crate) struct OpenedChat {
    /// Name of the chat.
    pub(crate) chat: String,
    /// The chat's session.
    pub(crate) session: SessionId,
    /// Whether it was just created.
    pub(crate) is_new: bool,
    /// Model of its agent.
    pub(crate) model: Option<String>,
}

impl CommandReply {
    /// The agent that was created or found.
    ///
    /// # Errors
    /// The reply is of another kind, which is a defect in the driver.
    pub(crate) fn agent(self) -> Result<AgentProfile, Refusal> {
        if let Self::Directory(DirectoryReply::Agent { profile, .. }) = self {
            Ok(*profile)
        } else {
            Err(Self::mismatch())
        }
    }

    /// The peer that was opened.
    ///
    /// # Errors
    /// Those of [`CommandReply::agent`].
    pub(crate) fn peer(self) -> Result<OpenedPeer, Refusal> {
        if let Self::Directory(DirectoryReply::Peer { peer, is_new, chats, selected }) = self {
            Ok(OpenedPeer { peer, is_new, chats, selected })
        } else {
            Err(Self::mismatch())
        }
    }

    /// The chat that was opened.
    ///
    /// # Errors
    /// Those of [`CommandReply::agent`].
    pub(crate) fn chat(self) -> Result<OpenedChat, Refusal> {
        if let Self::Directory(DirectoryReply::Chat { chat, session, is_new, model }) = self {
            Ok(OpenedChat { chat, session, is_new, model })
        } else {
            Err(Self::mismatch())
        }
    }

    /// The attachment.
    ///
    /// # Errors
    /// Those of [`CommandReply::agent`].
    pub(crate) fn attached(self) -> Result<Attached, Refusal> {
        if let Self::Connection(ConnectionReply::Attached(attached)) = self {
            Ok(attached)
        } else {
            Err(Self::mismatch())
        }
    }

    /// The input that was accepted.
    ///
    /// # Errors
    /// Those of [`CommandReply::agent`].
    pub(crate) fn input(self) -> Result<ItemId, Refusal> {
        if let Self::Session(SessionReply::Input { input, .. }) = self {
            Ok(input)
        } else {
            Err(Self::mismatch())
        }
    }

    /// The refusal for a reply of another kind than its command has.
    pub(crate) fn mismatch() -> Refusal {
        Refusal::new(
            RefusalCode::Internal,
            "the server replied to another command; send this one again",
        )
    }
}
