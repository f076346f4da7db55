//! Steps of a Sparky connection's state machine.

use super::payload::Payload;
use crate::SessionId;
use crate::connection::Joined;

/// A `connect` that is not answered yet.
pub(super) struct Connecting {
    pub(super) session_id: Option<String>,
    /// Empty if the driver decides.
    pub(super) user_id: String,
    pub(super) chat: Option<(String, Option<String>)>,
    /// Whether the peer was never seen before. Known once the peer is opened.
    pub(super) is_new: bool,
}

/// Something to carry out when earlier frames are done.
pub(super) enum PendingWork {
    Frame(Payload),
    /// Attach a chat that another connection opened.
    Join(Joined),
    /// Attach a chat again whose attachment was refused.
    Retry(Joined),
}

pub(super) enum SparkyStep {
    OpeningPeer,
    /// Attaching a chat that another connection of the session opened.
    Joining(Joined),
    /// Attaching the session's existing chats, of which `rest` remain.
    Rejoining {
        rest: Vec<(String, SessionId)>,
        session: SessionId,
    },
    OpeningChat {
        then: AfterOpen,
    },
    Attaching {
        chosen: ChosenChat,
        then: AfterOpen,
    },
    Instructing,
    /// Sending an input. `again` has its text and file if it may be sent once more.
    Sending {
        session: SessionId,
        again: Option<(String, Option<String>)>,
    },
    /// Answering an approval. `otherwise` is sent as a message if no approval waits for it.
    Deciding {
        otherwise: Option<(String, Option<String>)>,
    },
}

/// A chat that was opened.
pub(super) struct ChosenChat {
    pub(super) chat: String,
    pub(super) is_new: bool,
    pub(super) model: Option<String>,
}

/// Continuation once a chat is open and attached.
pub(super) enum AfterOpen {
    /// Send `chat_ready` for a chat that the client chose.
    Announce { started: bool },
    /// Send the message that came before a chat was chosen.
    Send { text: String, file_id: Option<String> },
    /// Set the instructions that came before a chat was chosen.
    Instruct { text: String },
    /// Send `ready`, because `connect` named a chat.
    Greet,
}
