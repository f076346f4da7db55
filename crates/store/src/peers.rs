//! Peers: clients of the older wires that are known again, their proven positions, and the chats
//! of Sparky's users.

use thoughtwire_proto::{PeerRef, PeerWire, Seq, SessionId, Timestamp, UserId};

use crate::{Commit, NewSession, StoreRead};

/// The peers and chats of all users.
pub trait PeerStore: Send + Sync {
    /// Finds a peer, or creates it.
    fn open_peer(&self, user: &UserId, peer: &PeerRef, now: Timestamp) -> Commit<PeerOpening>;

    /// Saves how far connections have proven to have read; `closed_at` when they have ended.
    fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) -> Commit<()>;

    /// Finds the largest position that a connection of a peer has proven in a session: only what
    /// lies behind it has to be repeated. Counts connections that are open or were closed since
    /// `closed_since`.
    fn proven(
        &self,
        user: &UserId,
        peer: &PeerRef,
        session: &SessionId,
        closed_since: Timestamp,
    ) -> StoreRead<Option<Seq>>;

    /// Finds a chat of the peer's name space, or creates it as `new`. The peer then has the chat,
    /// and has it selected. Without a name, takes the chat that any peer of the name space
    /// selected last and that is not archived, else
    /// [`DEFAULT_CHAT`](thoughtwire_proto::DEFAULT_CHAT).
    fn open_chat(
        &self,
        user: &UserId,
        peer: &PeerRef,
        chat: Option<&str>,
        new: NewSession,
    ) -> Commit<ChatOpening>;

    /// Lists the chats of a name space, the newest activity first. Archived ones are included on
    /// request.
    fn chats(&self, user: &UserId, space: &str, with_archived: bool) -> StoreRead<Vec<StoredChat>>;

    /// Lists a user's chats of one name in all of its name spaces, the newest activity first.
    fn chats_named(&self, user: &UserId, chat: &str) -> StoreRead<Vec<StoredChat>>;

    /// Whether a client was ever seen in a name space of a user.
    fn has_space(&self, user: &UserId, space: &str) -> StoreRead<bool>;

    /// Archives a chat at an instant, or restores it with `None`. Its session does not change.
    fn archive_chat(
        &self,
        user: &UserId,
        space: &str,
        chat: &str,
        archived_at: Option<Timestamp>,
    ) -> Commit<()>;
}

/// A client of an older wire, found or created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOpening {
    /// Whether it was never seen before.
    pub is_new: bool,
    /// Its chats, as name and session.
    pub chats: Vec<(String, SessionId)>,
    /// The chat it selected last.
    pub selected: Option<String>,
}

/// A position that a connection has proven to have read.
#[derive(Debug, Clone)]
pub struct Proven {
    /// The connection's user.
    pub user: UserId,
    /// Its peer.
    pub peer: PeerRef,
    /// Its name among the peer's connections.
    pub connection: String,
    /// The session.
    pub session: SessionId,
    /// The position.
    pub seq: Seq,
}

/// A chat that was found or created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatOpening {
    /// Its name.
    pub chat: String,
    /// The session behind it.
    pub session: SessionId,
    /// Whether it was created just now.
    pub is_new: bool,
    /// Whether the peer did not have it before.
    pub is_new_to_peer: bool,
}

/// A chat as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChat {
    /// The name space: Sparky's `user_id`.
    pub space: String,
    /// Its name in the name space.
    pub chat: String,
    /// The session behind it.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its log last grew.
    pub updated_at: Timestamp,
    /// When it was archived, if it is.
    pub archived_at: Option<Timestamp>,
}

/// The stored name of a wire.
pub(crate) fn wire_name(wire: PeerWire) -> &'static str {
    match wire {
        PeerWire::Memgpt => "memgpt",
        PeerWire::Sparky => "sparky",
    }
}
