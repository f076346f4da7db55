//! The WebSocket codec: bytes of a client, however they are cut, and frames that are sent.
#![no_main]

use std::io::IoSlice;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use thoughtwire_websocket::{
    MessageDecoder, OpCode, ProtocolError, SendQueue, SocketEvent, append_frame,
};

/// The largest message, in bytes.
const LIMIT: usize = 2000;

#[derive(Debug, Arbitrary)]
struct Script {
    frames: Vec<ClientFrame>,
    /// Bytes behind the frames, in no order.
    tail: Vec<u8>,
    /// The sizes of the pieces in which everything comes, and is sent.
    pieces: Vec<u8>,
}

/// A masked frame whose length is right. Its first byte is anything.
#[derive(Debug, Arbitrary)]
struct ClientFrame {
    first: u8,
    mask: [u8; 4],
    payload: Vec<u8>,
}

impl ClientFrame {
    fn append(&self, into: &mut Vec<u8>) {
        into.push(self.first);
        match self.payload.len() {
            length @ 0..=125 => into.push(0x80 | length as u8),
            length => {
                into.push(0x80 | 126);
                into.extend_from_slice(&(length.min(0xffff) as u16).to_be_bytes());
            }
        }
        into.extend_from_slice(&self.mask);
        let payload = self.payload.iter().take(0xffff);
        into.extend(payload.zip(self.mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

type Decoded = (Vec<SocketEvent>, Option<ProtocolError>);

/// Decodes bytes in pieces of the given sizes; without sizes, in one.
fn decoded(mut bytes: &[u8], pieces: &[u8]) -> Decoded {
    let mut decoder = MessageDecoder::new(LIMIT);
    let mut sizes = pieces.iter().map(|size| usize::from(*size) + 1).cycle();
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let size = sizes.next().unwrap_or(bytes.len()).min(bytes.len());
        let (mut piece, rest) = bytes.split_at(size);
        bytes = rest;
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(piece.is_empty(), "everything is consumed without an event");
        assert!(decoder.buffered() <= 2 * LIMIT + 300, "{} bytes are held", decoder.buffered());
    }
    (events, None)
}

fuzz_target!(|script: Script| {
    let mut bytes = Vec::new();
    script.frames.iter().for_each(|frame| frame.append(&mut bytes));
    bytes.extend_from_slice(&script.tail);
    let whole = decoded(&bytes, &[]);
    assert_eq!(decoded(&bytes, &script.pieces), whole, "the pieces make a difference");

    // The events are sent back: the bytes are those of the frames, however little is taken at once.
    let (mut queue, mut expected) = (SendQueue::default(), Vec::new());
    for event in whole.0 {
        let (opcode, payload) = match event {
            SocketEvent::Text(text) => (OpCode::Text, text.into_bytes()),
            SocketEvent::Binary(bytes) => (OpCode::Binary, bytes),
            SocketEvent::Ping(payload) => (OpCode::Pong, payload),
            SocketEvent::Pong(payload) => (OpCode::Ping, payload),
            SocketEvent::Close(_) => continue,
        };
        assert!(payload.len() <= LIMIT, "{} bytes were taken", payload.len());
        append_frame(opcode, &payload, &mut expected);
        queue.push(opcode, payload.into());
    }
    let mut sizes = script.pieces.iter().map(|size| usize::from(*size) + 1).cycle();
    let mut sent = Vec::new();
    while !queue.is_empty() {
        let size = sizes.next().unwrap_or(usize::MAX);
        let mut slices = [IoSlice::new(&[]); 3];
        let filled = queue.fill(&mut slices);
        let shown = slices.iter().take(filled).flat_map(|slice| slice.iter().copied());
        let taken: Vec<u8> = shown.take(size).collect();
        queue.advance(taken.len());
        sent.extend(taken);
    }
    assert_eq!(sent, expected, "something else is sent");
});
