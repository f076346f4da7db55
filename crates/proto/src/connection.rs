//! The sans-io state machine that stands between one socket and the hub, one per dialect.
//!
//! Frames and answers go in, frames and commands come out; no clock, no socket, no await. The
//! driver owns the socket: it carries out what [`Machine::poll`] yields, in order, and answers each
//! [`Output::Request`] through [`Machine::answer`].

use std::collections::VecDeque;
use std::sync::Arc;

use crate::dialect::FrameLimit;
use crate::{
    CommandReply, Directive, Emission, Emitted, Event, InputEvent, PeerRef, Refusal, RefusalCode,
    Request, Retry, Seq, SessionId, SessionListing, TurnEvent,
};

/// One frame's text.
pub type Frame = String;

/// Names one request of a connection until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// What a machine wants done, in order.
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
        /// A name space of its own (Sparky's `user_id`).
        space: Option<String>,
    },
    /// Carry this out, then call [`Machine::answer`] with the tag.
    Request {
        /// Names it.
        tag: Tag,
        /// What is asked.
        request: Request,
    },
}

/// A chat that a connection of a peer opened, for the peer's other connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The peer.
    pub peer: PeerRef,
    /// The chat's name.
    pub chat: String,
    /// The session behind it.
    pub session: SessionId,
    /// Whether it was opened just now; if so, it is to be read from its beginning.
    pub is_new: bool,
}

/// Why the server closes a connection: the one table of close codes, shared by all dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client broke the WebSocket protocol (1002).
    Protocol,
    /// A text message is not UTF-8 (1007).
    NotText,
    /// The client did not say who it is in time (1008).
    Policy,
    /// A message has more bytes than allowed (1009).
    TooLarge,
    /// The server stops; come again (1012).
    Restart,
}

impl Close {
    /// Every reason, in the order of its codes.
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

    /// The reason behind a code that a client was given.
    #[must_use]
    pub fn of(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|close| close.code() == code)
    }

    /// Whether a client that comes again and says the same can fare better. When it may come is
    /// `goaway`'s to say, and else a back-off's of its own.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Restart => Retry::Later,
            Self::Protocol | Self::NotText | Self::Policy | Self::TooLarge => Retry::Never,
        }
    }

    /// The sentence in the close frame, of at most 123 bytes.
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

/// What a connection's emissions are encoded with. Equal encodings give equal frames, so the hub
/// encodes once for all connections that share one. Cheap to clone: it is looked up for every delivery.
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
        /// The chat this session is.
        chat_id: Arc<str>,
    },
}

impl Encoding {
    /// Whether a connection's own machine has to see an emission, since what its client said before
    /// decides whether it is shown, or since the machine waits for it.
    #[must_use]
    pub fn is_for_machine(&self, emission: &Emission) -> bool {
        match (self, emission) {
            (Self::Memgpt, Emission::Record(record)) => match record.event {
                Event::Turn(TurnEvent::Started { .. } | TurnEvent::Ended { .. })
                | Event::Input(InputEvent::Withdrawn { .. }) => true,
                Event::Session(_)
                | Event::Input(InputEvent::UserMessage { .. })
                | Event::Turn(
                    TurnEvent::Thought { .. }
                    | TurnEvent::ToolCalled { .. }
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

/// One dialect's side of a connection.
pub trait Machine: Send {
    /// Takes a text frame (or a binary one, read as text) from the client.
    fn frame(&mut self, text: &str);

    /// Takes a frame that cannot be parsed, and answers it with this refusal. A wire with ids looks
    /// for the frame's id, so that the refusal carries it.
    fn unreadable(&mut self, frame: &[u8], refusal: &Refusal);

    /// Takes the outcome of [`Output::Authenticate`].
    fn authenticated(&mut self, outcome: Result<(), Refusal>);

    /// Takes the outcome of a request.
    fn answer(&mut self, tag: Tag, outcome: Result<CommandReply, Refusal>);

    /// Says how emissions of a session that was just attached are encoded.
    fn encoding(&self, session: &SessionId) -> Encoding;

    /// Whether this connection is shown an emission; it drops frames and never edits them. All that is
    /// not [`Encoding::is_for_machine`] is shown, in as many frames as it has, and need not be asked about.
    fn shows(&mut self, _emitted: &Emitted) -> bool {
        true
    }

    /// Every event up to the head of the attachment was written.
    fn caught_up(&mut self, session: &SessionId, seq: Seq);

    /// The session ended under the connection (deleted).
    fn detached(&mut self, session: &SessionId, reason: &str);

    /// Whose connection it is, where its client can be known again: in whatever session it is then
    /// attached, what it has proven to have read is kept.
    fn peer(&self) -> Option<&PeerRef> {
        None
    }

    /// Whether the driver shall tell of chats that the peer's other connections open.
    fn has_chats(&self) -> bool {
        false
    }

    /// Another connection opened one of a peer's chats.
    fn joined(&mut self, _joined: &Joined) {}

    /// A session of the user's list is there, or changed. The older wires know no list.
    fn listed(&mut self, _listing: &SessionListing) {}

    /// Something for a program that offers an agent. The older wires know no offers.
    fn directed(&mut self, _directive: Directive) {}

    /// A session of the user's list is gone.
    fn unlisted(&mut self, _session: &SessionId) {}

    /// The server is about to stop.
    fn going_away(&mut self, reason: &str, retry_after_ms: u64);

    /// True while the machine has no room for further frames: the driver then stops reading.
    fn is_full(&self) -> bool;

    /// The client said who it is, so the handshake's time limit no longer holds.
    fn is_greeted(&self) -> bool;

    /// The next thing to do.
    fn poll(&mut self) -> Option<Output>;

    /// The next refusal that was answered, in whatever words, since this was last asked: for those who count them.
    fn refused(&mut self) -> Option<RefusalCode>;
}

/// How deep the arrays and objects of a JSON text are nested. Of a text that is no JSON it is what a
/// reader could come to at most.
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

/// Outputs in order and tags in sequence: what every machine keeps.
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

    /// The next output. `fit` makes a frame larger than the limit into frames within it.
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
