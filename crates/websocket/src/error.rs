//! Breaches of the protocol.

use thiserror::Error;

/// A breach of the protocol by a client. The connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A reserved bit is set, although no extension was agreed on.
    #[error("a frame has a reserved bit, but no extension was agreed on")]
    ReservedBit,
    /// The opcode means nothing.
    #[error("a frame has the unknown opcode {0}")]
    UnknownOpcode(u8),
    /// A frame of a client has no mask.
    #[error("a frame is not masked")]
    Unmasked,
    /// A control frame is one of several fragments.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame has more than 125 bytes.
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// A continuation frame comes although no message is open.
    #[error("a continuation frame comes without a message to continue")]
    NothingToContinue,
    /// A message begins before the one before it has ended.
    #[error("a message begins before the last one has ended")]
    UnfinishedMessage,
    /// A length is written in more bytes than it needs, or its first bit is set.
    #[error("a frame's length is not written as it must be")]
    LengthForm,
    /// The payload of a close frame is a single byte.
    #[error("a close frame has half a code")]
    CutCloseCode,
    /// The code of a close frame must not be sent.
    #[error("a close frame has the code {0}, which must not be sent")]
    CloseCode(u16),
    /// A text, or the reason of a close frame, is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A message has more bytes than allowed, in one frame or in several.
    #[error("a message has more than {limit} bytes")]
    TooLarge {
        /// The largest message that is taken, in bytes.
        limit: usize,
    },
}
