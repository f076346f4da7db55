//! State machines without I/O between a socket and the hub, one per dialect.
//!
//! A machine takes frames and replies, and yields frames and requests. It has no clock, socket or
//! await. The driver owns the socket. It carries out what [`Machine::poll`] yields, in order, and
//! answers each [`Output::Request`] through [`Machine::answer`].

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::dialect::FrameLimit;
use crate::{
    CommandReply, Directive, Emission, Event, InputEvent, PeerRef, Refusal, RefusalCode, Request,
    Retry, Seq, SessionEmission, SessionId, SessionListing, TurnEvent,
};

/// Text of one frame.
pub type Frame = String;

/// Identifies a connection's request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// Action that a machine asks its driver for. Actions are carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write this frame.
    Frame(Frame),
    /// Check this credential, then call [`Machine::authenticated`].
    Authenticate {
        /// The secret.
        token: Option<String>,
        /// The client's name for itself.
        client: Option<String>,
        /// The client's name space (Sparky's `user_id`).
        space: Option<String>,
    },
    /// Carry out this request, then call [`Machine::answer`] with the tag.
    Request {
        /// Identifies the request.
        tag: Tag,
        /// The command and its id.
        request: Request,
    },
}

/// A chat that one connection of a peer opened, for the peer's other connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The peer.
    pub peer: PeerRef,
    /// The chat's name.
    pub chat: String,
    /// The session behind it.
    pub session: SessionId,
    /// Whether the chat was just created. If so, read it from its beginning.
    pub is_new: bool,
}

/// Reason for which the server closes a connection. This is the table of close codes for all
/// dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client broke the WebSocket protocol (1002).
    Protocol,
    /// A text message is not UTF-8 (1007).
    NotText,
    /// The client did not authenticate in time (1008).
    Policy,
    /// A message has more bytes than allowed (1009).
    TooLarge,
    /// The server stops; the client should reconnect (1012).
    Restart,
}

impl Close {
    /// Every reason, in the order of the codes.
    pub const ALL: [Self; 5] =
        [Self::Protocol, Self::NotText, Self::Policy, Self::TooLarge, Self::Restart];

    /// The WebSocket close code (RFC 6455, 7.4 and the IANA registry).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Restart => 1012,
        }
    }

    /// Finds the reason for a close code.
    #[must_use]
    pub fn of(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|close| close.code() == code)
    }

    /// Whether the same client may succeed with a new connection. The `goaway` frame says when to
    /// reconnect; without one the client backs off.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Restart => Retry::Later,
            Self::Protocol | Self::NotText | Self::Policy | Self::TooLarge => Retry::Never,
        }
    }

    /// Text of the close frame, at most 123 bytes.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "the WebSocket protocol was broken",
            Self::NotText => "a text frame is not UTF-8",
            Self::Policy => "the client did not say who it is in time",
            Self::TooLarge => "a message is larger than allowed",
            Self::Restart => "the server is stopping; come again",
        }
    }
}

/// Encoding of a connection's emissions. Connections with equal encodings get equal frames, so the
/// hub encodes once for all of them. Cheap to clone, because it is looked up for every delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `thoughtwire.v1`.
    Native,
    /// `MemGPT`.
    Memgpt,
    /// Sparky, with the labels that its frames carry.
    Sparky {
        /// Sparky's session id.
        session_id: Arc<str>,
        /// Sparky's user id.
        user_id: Arc<str>,
        /// The session's chat.
        chat_id: Arc<str>,
    },
}

impl Encoding {
    /// Whether the connection's machine must see an emission. It must if the client's earlier
    /// frames decide whether the emission is shown, or if the machine waits for it.
    #[must_use]
    pub fn is_for_machine(&self, emission: &Emission) -> bool {
        match (self, emission) {
            (Self::Memgpt, Emission::Record(record)) => match record.event {
                Event::Turn(TurnEvent::Started { .. } | TurnEvent::Ended { .. })
                | Event::Input(InputEvent::Withdrawn { .. }) => true,
                Event::Session(_)
                | Event::Input(InputEvent::UserMessage { .. })
                | Event::Turn(
                    TurnEvent::Resumed { .. }
                    | TurnEvent::Thought { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ToolRetried { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ToolReturned { .. }
                    | TurnEvent::Message { .. }
                    | TurnEvent::Usage(_),
                )
                | Event::Other(_) => false,
            },
            (Self::Native | Self::Sparky { .. }, Emission::Record(_))
            | (
                _,
                Emission::Delta(_)
                | Emission::Partial(_)
                | Emission::Status { .. }
                | Emission::Presence { .. },
            ) => false,
        }
    }
}

/// A connection's state machine for one dialect.
pub trait Machine: Send {
    /// Takes a text frame (or a binary one, read as text) from the client.
    fn frame(&mut self, text: &str);

    /// Answers a frame that cannot be parsed with a refusal. A dialect with ids searches the frame
    /// for its id, so that the refusal carries it.
    fn unreadable(&mut self, frame: &[u8], refusal: &Refusal);

    /// Takes the outcome of [`Output::Authenticate`].
    fn authenticated(&mut self, outcome: Result<(), Refusal>);

    /// Takes the outcome of a request.
    fn answer(&mut self, tag: Tag, outcome: Result<CommandReply, Refusal>);

    /// Encoding of the emissions of a session that was just attached.
    fn encoding(&self, session: &SessionId) -> Encoding;

    /// Whether this connection is shown an emission. The machine drops emissions and never edits
    /// them. Emissions that are not [`Encoding::is_for_machine`] are always shown, and the driver
    /// need not ask.
    fn shows(&mut self, _emitted: &SessionEmission) -> bool {
        true
    }

    /// Reports that every event up to the head of the attachment was written.
    fn caught_up(&mut self, session: &SessionId, seq: Seq);

    /// Reports that the attachment ended because the session was deleted.
    fn detached(&mut self, session: &SessionId, reason: &str);

    /// The peer, if the client can be recognised again. Its proven positions are then stored for
    /// each session that is attached.
    fn peer(&self) -> Option<&PeerRef> {
        None
    }

    /// Whether the driver reports chats that the peer's other connections open.
    fn has_chats(&self) -> bool {
        false
    }

    /// Reports that another connection of the peer opened a chat.
    fn joined(&mut self, _joined: &Joined) {}

    /// Reports that a session of the user's list is new or changed. The older dialects have no
    /// list.
    fn listed(&mut self, _listing: &SessionListing) {}

    /// Passes a directive to a worker. The older dialects have no workers.
    fn directed(&mut self, _directive: Directive) {}

    /// Reports that a session was removed from the user's list.
    fn unlisted(&mut self, _session: &SessionId) {}

    /// Reports that the server is about to stop.
    fn going_away(&mut self, reason: &str, retry_after_ms: u64);

    /// Whether the machine has no room for further frames. The driver then stops reading.
    fn is_full(&self) -> bool;

    /// Whether the client has authenticated. The handshake's time limit then no longer applies.
    fn is_greeted(&self) -> bool;

    /// The next action, if there is one.
    fn poll(&mut self) -> Option<Output>;

    /// Code of the next refusal that was answered since the last call, for metrics.
    fn refused(&mut self) -> Option<RefusalCode>;
}

/// Nesting depth of the arrays and objects in a JSON text. For invalid JSON it is an upper bound of
/// the depth that a parser can reach.
///
/// ```
/// assert_eq!(thoughtwire_proto::connection::depth(r#"{"a": [1, "[[["]}"#), 2);
/// ```
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Queue of actions, sequence of tags, and refusals to count: the part that all machines share.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Output>,
    next_tag: u64,
    refusals: VecDeque<RefusalCode>,
    limit: FrameLimit,
}

impl Outbox {
    pub(crate) fn within(limit: FrameLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn set_limit(&mut self, limit: FrameLimit) {
        self.limit = limit;
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub(crate) fn frame(&mut self, frame: Frame) {
        self.push(Output::Frame(frame));
    }

    pub(crate) fn request(&mut self, request: Request) -> Tag {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        self.push(Output::Request { tag, request });
        tag
    }

    /// The next action. `fit` splits a frame that is larger than the limit into frames within it.
    pub(crate) fn poll(
        &mut self,
        fit: impl FnOnce(Frame, FrameLimit) -> Vec<Frame>,
    ) -> Option<Output> {
        match self.queue.pop_front()? {
            Output::Frame(frame) if frame.len() > self.limit.bytes() => {
                for frame in fit(frame, self.limit).into_iter().rev() {
                    self.queue.push_front(Output::Frame(frame));
                }
                self.queue.pop_front()
            }
            output @ (Output::Frame(_) | Output::Authenticate { .. } | Output::Request { .. }) => {
                Some(output)
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn note(&mut self, refused: RefusalCode) {
        self.refusals.push_back(refused);
    }

    pub(crate) fn refused(&mut self) -> Option<RefusalCode> {
        self.refusals.pop_front()
    }
}
