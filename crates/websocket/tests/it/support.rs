//! Frames of a client, and how they are decoded.

use thoughtwire_websocket::{MessageDecoder, ProtocolError, SocketEvent};

/// The largest message of the tests, in bytes.
pub(crate) const LIMIT: usize = 70_000;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame, whatever its first byte says.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Decodes bytes that arrive in pieces of at most `piece` bytes: the events, and the error if one
/// ends them.
pub(crate) fn decoded(bytes: &[u8], piece: usize) -> (Vec<SocketEvent>, Option<ProtocolError>) {
    let mut decoder = MessageDecoder::new(LIMIT);
    let mut events = Vec::new();
    for mut input in bytes.chunks(piece) {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.is_empty(), "everything is consumed without an event");
        assert!(decoder.buffered() <= 2 * LIMIT, "{} bytes are held", decoder.buffered());
    }
    (events, None)
}

/// Decodes the same bytes in pieces of several sizes, with the same result.
pub(crate) fn decoded_in_any_pieces(bytes: &[u8]) -> (Vec<SocketEvent>, Option<ProtocolError>) {
    let whole = decoded(bytes, usize::MAX);
    for piece in [1, 2, 3, 7, 61] {
        assert_eq!(decoded(bytes, piece), whole, "in pieces of {piece} bytes");
    }
    whole
}
