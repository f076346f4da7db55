//! From the bytes of a client to its messages.

use crate::header::{ClientHeader, MAX_CLIENT_HEADER_BYTES, OpCode};
use crate::{ProtocolError, close_code, mask};

/// Bytes of a payload that room is made for at once. An announced length is only a claim, so the
/// room for the rest of a large payload is made as its bytes arrive.
const MAX_RESERVE: usize = 64 << 10;

/// One message or control frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketEvent {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A ping, which has to be answered with the same payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The client closes, with this status code if it gave one. Nothing that follows counts.
    Close(Option<u16>),
}

/// Decodes the frames of one client and joins the fragments of its messages.
///
/// It holds a part of a message only while that message is incomplete.
#[derive(Debug)]
pub struct MessageDecoder {
    /// The largest message that is taken, in bytes.
    max_message_bytes: usize,
    /// The bytes of a header that is not complete.
    header: [u8; MAX_CLIENT_HEADER_BYTES],
    header_len: usize,
    /// The frame whose payload is being read.
    frame: Option<OpenFrame>,
    /// The kind of the message whose fragments are being read.
    open: Option<MessageKind>,
    /// The payload of that message so far.
    message: Vec<u8>,
    /// Number of bytes of `message` that are known to be UTF-8.
    checked: usize,
    /// The payload of a control frame so far. Such a frame may come between fragments.
    control: Vec<u8>,
}

#[derive(Debug)]
struct OpenFrame {
    header: ClientHeader,
    remaining: usize,
    /// Number of bytes of the payload that were read.
    offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    Text,
    Binary,
}

impl MessageDecoder {
    /// Makes a decoder that takes messages of at most `max_message_bytes`.
    #[must_use]
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            header: [0; MAX_CLIENT_HEADER_BYTES],
            header_len: 0,
            frame: None,
            open: None,
            message: Vec::new(),
            checked: 0,
            control: Vec::new(),
        }
    }

    /// Decodes the next event from the front of `input`. Without one, all of `input` is consumed.
    ///
    /// # Errors
    /// When the client breaks the protocol. Nothing can be decoded after that.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<SocketEvent>, ProtocolError> {
        loop {
            if self.frame.is_none() {
                match self.read_header(input)? {
                    Some(header) => self.begin_frame(header)?,
                    None => return Ok(None),
                }
            }
            let Some(header) = self.read_payload(input)? else { return Ok(None) };
            self.frame = None;
            if let Some(event) = self.end_frame(header)? {
                return Ok(Some(event));
            }
        }
    }

    /// Number of bytes that the decoder holds of what is not complete yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.header_len + self.message.capacity() + self.control.capacity()
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<ClientHeader>, ProtocolError> {
        loop {
            let needed = match (self.header_len, self.header) {
                (0 | 1, _) => 2,
                (_, [_, second, ..]) => ClientHeader::len(second),
            };
            if self.header_len == needed {
                let bytes = self.header.get(..needed).unwrap_or_default();
                self.header_len = 0;
                return ClientHeader::parse(bytes).map(Some);
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            if let Some(place) = self.header.get_mut(self.header_len) {
                *place = byte;
            }
            self.header_len += 1;
            if let (2, [first, second, ..]) = (self.header_len, self.header) {
                ClientHeader::check_start(first, second)?;
                self.check_order(first)?;
            }
        }
    }

    /// Checks that a frame may come now, with or without an open message.
    fn check_order(&self, first: u8) -> Result<(), ProtocolError> {
        let opcode = OpCode::from_first_byte(first)?;
        match (opcode, self.open) {
            (OpCode::Continuation, None) => Err(ProtocolError::NothingToContinue),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(ProtocolError::UnfinishedMessage),
            (OpCode::Continuation, Some(_))
            | (OpCode::Text | OpCode::Binary, None)
            | (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => Ok(()),
        }
    }

    fn begin_frame(&mut self, header: ClientHeader) -> Result<(), ProtocolError> {
        let too_large = ProtocolError::TooLarge { limit: self.max_message_bytes };
        let remaining = usize::try_from(header.payload_len).map_err(|_| too_large)?;
        if !header.opcode.is_control() {
            let room = self.max_message_bytes.saturating_sub(self.message.len());
            if remaining > room {
                return Err(too_large);
            }
            self.message.reserve(remaining.min(MAX_RESERVE));
            match header.opcode {
                OpCode::Text => self.open = Some(MessageKind::Text),
                OpCode::Binary => self.open = Some(MessageKind::Binary),
                OpCode::Continuation | OpCode::Close | OpCode::Ping | OpCode::Pong => {}
            }
        }
        self.frame = Some(OpenFrame { header, remaining, offset: 0 });
        Ok(())
    }

    /// Reads on in the payload of the open frame. The result is its header once it is complete.
    fn read_payload(&mut self, input: &mut &[u8]) -> Result<Option<ClientHeader>, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let is_control = frame.header.opcode.is_control();
        let payload = if is_control { &mut self.control } else { &mut self.message };
        let (now, later) = input.split_at(frame.remaining.min(input.len()));
        *input = later;
        let from = payload.len();
        payload.extend_from_slice(now);
        mask::apply(payload.get_mut(from..).unwrap_or_default(), frame.header.mask, frame.offset);
        frame.remaining -= now.len();
        frame.offset += now.len();
        let (header, is_complete) = (frame.header, frame.remaining == 0);
        // A whole text is checked once, when it becomes a `String`. A part is checked at once, so
        // that the rest of a text that is wrong already is not waited for.
        if !is_control && self.open == Some(MessageKind::Text) && !(is_complete && header.is_final)
        {
            self.check_text_so_far()?;
        }
        Ok(is_complete.then_some(header))
    }

    fn check_text_so_far(&mut self) -> Result<(), ProtocolError> {
        match std::str::from_utf8(self.message.get(self.checked..).unwrap_or_default()) {
            Ok(_) => self.checked = self.message.len(),
            // The last character is cut.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::NotUtf8),
        }
        Ok(())
    }

    fn end_frame(&mut self, header: ClientHeader) -> Result<Option<SocketEvent>, ProtocolError> {
        let event = match header.opcode {
            OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                if !header.is_final {
                    return Ok(None);
                }
                let message = std::mem::take(&mut self.message);
                self.checked = 0;
                match self.open.take() {
                    Some(MessageKind::Text) => SocketEvent::Text(
                        String::from_utf8(message).map_err(|_| ProtocolError::NotUtf8)?,
                    ),
                    Some(MessageKind::Binary) => SocketEvent::Binary(message),
                    None => return Err(ProtocolError::NothingToContinue),
                }
            }
            OpCode::Ping => SocketEvent::Ping(std::mem::take(&mut self.control)),
            OpCode::Pong => SocketEvent::Pong(std::mem::take(&mut self.control)),
            OpCode::Close => {
                SocketEvent::Close(close_code::parse(&std::mem::take(&mut self.control))?)
            }
        };
        Ok(Some(event))
    }
}
