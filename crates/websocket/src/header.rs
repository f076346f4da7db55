//! The header of a frame (RFC 6455, section 5.2).

use crate::ProtocolError;

const FINAL_BIT: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASK_BIT: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
/// The largest length that the second byte holds itself.
const SHORT: u8 = 125;
/// The length stands in the two bytes that follow.
const IN_TWO_BYTES: u8 = 126;
/// The length stands in the eight bytes that follow.
const IN_EIGHT_BYTES: u8 = 127;
const MASK_BYTES: usize = 4;

/// Number of bytes of the longest header that a server sends.
pub const MAX_HEADER_BYTES: usize = 2 + 8;
/// Number of bytes of the longest header that a client sends.
pub(crate) const MAX_CLIENT_HEADER_BYTES: usize = MAX_HEADER_BYTES + MASK_BYTES;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpCode {
    /// A further fragment of a message.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// The last frame in a direction.
    Close,
    /// A question whether the peer lives.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl OpCode {
    /// The opcode that the first byte of a frame names.
    pub(crate) fn from_first_byte(first: u8) -> Result<Self, ProtocolError> {
        match first & OPCODE_BITS {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            unknown => Err(ProtocolError::UnknownOpcode(unknown)),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(crate) const fn is_control(self) -> bool {
        match self {
            Self::Continuation | Self::Text | Self::Binary => false,
            Self::Close | Self::Ping | Self::Pong => true,
        }
    }
}

/// The header of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientHeader {
    pub(crate) is_final: bool,
    pub(crate) opcode: OpCode,
    pub(crate) mask: [u8; 4],
    pub(crate) payload_len: u64,
}

impl ClientHeader {
    /// Checks the first two bytes of a header, which say how long it is.
    ///
    /// # Errors
    /// When no client may send a frame that begins so.
    pub(crate) fn check_start(first: u8, second: u8) -> Result<(), ProtocolError> {
        if first & RESERVED_BITS != 0 {
            return Err(ProtocolError::ReservedBit);
        }
        let opcode = OpCode::from_first_byte(first)?;
        if second & MASK_BIT == 0 {
            return Err(ProtocolError::Unmasked);
        }
        if opcode.is_control() {
            if first & FINAL_BIT == 0 {
                return Err(ProtocolError::FragmentedControl);
            }
            if second & LENGTH_BITS > SHORT {
                return Err(ProtocolError::LongControl);
            }
        }
        Ok(())
    }

    /// Number of bytes of the header whose second byte this is.
    pub(crate) fn len(second: u8) -> usize {
        let length = match second & LENGTH_BITS {
            IN_TWO_BYTES => 2,
            IN_EIGHT_BYTES => 8,
            _ => 0,
        };
        2 + length + MASK_BYTES
    }

    /// Reads a complete header, whose start was checked.
    ///
    /// # Errors
    /// When the length is not written in the shortest form.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let form = || ProtocolError::LengthForm;
        let ([first, second], rest) = bytes.split_first_chunk().ok_or_else(form)?;
        let (payload_len, rest) = match second & LENGTH_BITS {
            IN_TWO_BYTES => {
                let (length, rest) = rest.split_first_chunk().ok_or_else(form)?;
                let length = u16::from_be_bytes(*length);
                if length <= u16::from(SHORT) {
                    return Err(form());
                }
                (u64::from(length), rest)
            }
            IN_EIGHT_BYTES => {
                let (length, rest) = rest.split_first_chunk().ok_or_else(form)?;
                let length = u64::from_be_bytes(*length);
                if length <= u64::from(u16::MAX) || length > i64::MAX as u64 {
                    return Err(form());
                }
                (length, rest)
            }
            short => (u64::from(short), rest),
        };
        let mask = *rest.first_chunk().ok_or_else(form)?;
        let is_final = first & FINAL_BIT != 0;
        Ok(Self { is_final, opcode: OpCode::from_first_byte(*first)?, mask, payload_len })
    }
}

/// The header of one whole, unmasked frame, as a server sends it.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER_BYTES],
    len: u8,
}

impl HeaderBytes {
    /// Makes the header of a frame with a payload of so many bytes.
    #[must_use]
    pub fn new(opcode: OpCode, payload_len: usize) -> Self {
        let mut header = Self::default();
        let second = match (u8::try_from(payload_len), u16::try_from(payload_len)) {
            (Ok(length @ 0..=SHORT), _) => length,
            (_, Ok(_)) => IN_TWO_BYTES,
            (_, Err(_)) => IN_EIGHT_BYTES,
        };
        header.extend(&[FINAL_BIT | opcode.bits(), second]);
        match second {
            IN_TWO_BYTES => header.extend(&(payload_len as u16).to_be_bytes()),
            IN_EIGHT_BYTES => header.extend(&(payload_len as u64).to_be_bytes()),
            _ => {}
        }
        header
    }

    /// The header's bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn extend(&mut self, more: &[u8]) {
        let from = usize::from(self.len);
        if let Some(room) = self.bytes.get_mut(from..from + more.len()) {
            room.copy_from_slice(more);
            self.len += more.len() as u8;
        }
    }
}

/// Appends one whole frame to bytes that are sent later.
pub fn append_frame(opcode: OpCode, payload: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(HeaderBytes::new(opcode, payload.len()).as_slice());
    into.extend_from_slice(payload);
}
