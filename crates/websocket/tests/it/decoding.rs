//! The bytes of a client.

use proptest::collection::vec;
use proptest::prelude::*;
use thoughtwire_websocket::{MessageDecoder, ProtocolError, SocketEvent};

use crate::support::{LIMIT, client_frame, decoded, decoded_in_any_pieces};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

fn text(text: &str) -> SocketEvent {
    SocketEvent::Text(text.to_owned())
}

#[test]
fn messages_of_every_length_are_decoded() {
    for length in [0, 1, 7, 8, 125, 126, 127, 0xffff, 0x1_0000, LIMIT] {
        let payload = vec![b'x'; length];
        let bytes =
            [client_frame(FIN | TEXT, &payload), client_frame(FIN | BINARY, &payload)].concat();
        let expected = [text(&"x".repeat(length)), SocketEvent::Binary(payload)];
        assert_eq!(decoded(&bytes, usize::MAX), (expected.to_vec(), None), "{length} bytes");
        assert_eq!(decoded(&bytes, 4096), (expected.to_vec(), None), "{length} bytes in pieces");
    }
}

#[test]
fn fragments_are_joined_and_control_frames_come_between_them() {
    let bytes = [
        client_frame(TEXT, "Grü".as_bytes()),
        client_frame(FIN | PING, b"alive?"),
        // A character may be cut between two fragments.
        client_frame(CONTINUATION, &"ße, ".as_bytes()[..1]),
        client_frame(FIN | PONG, b""),
        client_frame(CONTINUATION, &"ße, ".as_bytes()[1..]),
        client_frame(FIN | CONTINUATION, "Welt".as_bytes()),
        client_frame(BINARY, b""),
        client_frame(FIN | CONTINUATION, b""),
        client_frame(FIN | TEXT, b"next"),
        client_frame(FIN | CLOSE, &[]),
    ]
    .concat();
    let expected = vec![
        SocketEvent::Ping(b"alive?".to_vec()),
        SocketEvent::Pong(Vec::new()),
        text("Grüße, Welt"),
        SocketEvent::Binary(Vec::new()),
        text("next"),
        SocketEvent::Close(None),
    ];
    assert_eq!(decoded_in_any_pieces(&bytes), (expected, None));
}

#[test]
fn every_breach_of_the_protocol_is_found() {
    use ProtocolError as E;
    let many = vec![b'x'; 126];
    let half = vec![b'x'; LIMIT / 2 + 1];
    let cut = [client_frame(TEXT, b"open"), client_frame(FIN | TEXT, b"another")].concat();
    let grown = [client_frame(BINARY, &half), client_frame(FIN | CONTINUATION, &half)].concat();
    let announced = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    let cases = [
        ("RSV1", client_frame(FIN | 0x40 | TEXT, b""), E::ReservedBit),
        ("RSV2", client_frame(FIN | 0x20 | TEXT, b""), E::ReservedBit),
        ("RSV3", client_frame(FIN | 0x10 | PING, b""), E::ReservedBit),
        ("opcode 3", client_frame(FIN | 0x3, b""), E::UnknownOpcode(3)),
        ("opcode 7", client_frame(FIN | 0x7, b""), E::UnknownOpcode(7)),
        ("opcode 11", client_frame(FIN | 0xb, b""), E::UnknownOpcode(11)),
        ("opcode 15", client_frame(FIN | 0xf, b""), E::UnknownOpcode(15)),
        ("no mask", vec![0x81, 0x01, b'x'], E::Unmasked),
        ("a ping in fragments", client_frame(PING, b""), E::FragmentedControl),
        ("a close in fragments", client_frame(CLOSE, b""), E::FragmentedControl),
        ("a ping of 126 bytes", client_frame(FIN | PING, &many), E::LongControl),
        ("a close of 126 bytes", client_frame(FIN | CLOSE, &many), E::LongControl),
        ("nothing to continue", client_frame(CONTINUATION, b""), E::NothingToContinue),
        ("nothing to end", client_frame(FIN | CONTINUATION, b""), E::NothingToContinue),
        ("an unfinished message", cut, E::UnfinishedMessage),
        ("125 in two bytes", vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], E::LengthForm),
        ("65535 in eight bytes", announced(0xffff), E::LengthForm),
        ("a length of 64 bits", announced(1 << 63), E::LengthForm),
        ("half a close code", client_frame(FIN | CLOSE, &[3]), E::CutCloseCode),
        ("a reason that is not UTF-8", client_frame(FIN | CLOSE, b"\x03\xe8\xff"), E::NotUtf8),
        ("too large by a byte", announced(LIMIT as u64 + 1), E::TooLarge { limit: LIMIT }),
        ("too large by far", announced(i64::MAX as u64), E::TooLarge { limit: LIMIT }),
        ("too large in fragments", grown, E::TooLarge { limit: LIMIT }),
    ];
    for (name, bytes, expected) in cases {
        let (events, error) = decoded_in_any_pieces(&bytes);
        assert_eq!(error, Some(expected), "{name}");
        assert_eq!(events, [], "{name}: nothing of it is handed on");
    }
}

#[test]
fn close_codes_are_those_that_may_be_sent() {
    for code in 0..=5_100_u16 {
        let is_allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if is_allowed {
            (vec![SocketEvent::Close(Some(code))], None)
        } else {
            (vec![], Some(ProtocolError::CloseCode(code)))
        };
        let bytes = client_frame(FIN | CLOSE, &code.to_be_bytes());
        assert_eq!(decoded(&bytes, usize::MAX), expected, "{code}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_as_soon_as_it_can_be_known() {
    let wrong: [&[u8]; 7] = [
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xce\xba\xff",
        b"\xe1\xa0\xc0",
    ];
    for bytes in wrong {
        let whole = client_frame(FIN | TEXT, bytes);
        assert_eq!(decoded_in_any_pieces(&whole).1, Some(ProtocolError::NotUtf8), "{bytes:x?}");
        // More is announced than comes: the error does not wait for the rest.
        let longer = [bytes, b"and much more"].concat();
        let begun = client_frame(FIN | TEXT, &longer);
        let header = begun.len() - longer.len();
        let (events, error) = decoded(&begun[..header + bytes.len()], usize::MAX);
        assert_eq!((events.len(), error), (0, Some(ProtocolError::NotUtf8)), "{bytes:x?}");
        let fragment = client_frame(TEXT, bytes);
        assert_eq!(decoded(&fragment, usize::MAX).1, Some(ProtocolError::NotUtf8), "{bytes:x?}");
    }
    // A character that is cut at the end of a fragment may go on, but not at the end of a message.
    let cut = "é".as_bytes()[..1].to_vec();
    assert_eq!(decoded(&client_frame(TEXT, &cut), usize::MAX), (vec![], None));
    let ended = decoded(&client_frame(FIN | TEXT, &cut), usize::MAX);
    assert_eq!(ended.1, Some(ProtocolError::NotUtf8));
}

#[test]
fn nothing_is_held_between_messages_and_little_for_what_is_only_announced() {
    let mut decoder = MessageDecoder::new(usize::MAX);
    for size in [0, 100, 60_000] {
        let bytes = client_frame(FIN | TEXT, &vec![b'x'; size]);
        assert!(decoder.decode(&mut &bytes[..]).unwrap().is_some());
        assert_eq!(decoder.buffered(), 0, "after {size} bytes");
    }
    let announced = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    assert_eq!(decoder.decode(&mut &announced[..]), Ok(None));
    assert!(decoder.buffered() <= 64 << 10, "{} bytes for a terabyte", decoder.buffered());
}

proptest! {
    /// Frames of any kind, also wrong ones, are decoded the same however the bytes are cut.
    #[test]
    fn the_pieces_in_which_bytes_come_make_no_difference(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 1..8),
        piece in 1..300_usize,
    ) {
        // Most first bytes at random are wrong: half of the cases have right ones.
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(first, payload)| {
                let first = if first & 1 == 0 { *first } else { first & 0x8b };
                client_frame(first, payload)
            })
            .collect();
        prop_assert_eq!(decoded(&bytes, piece), decoded(&bytes, usize::MAX));
    }

    /// Bytes without any order are decoded or refused, and nothing else.
    #[test]
    fn no_bytes_are_too_odd(bytes in vec(any::<u8>(), 0..500)) {
        prop_assert_eq!(decoded(&bytes, 1), decoded(&bytes, usize::MAX));
    }
}
