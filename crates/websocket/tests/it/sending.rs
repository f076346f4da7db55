//! The frames for a client.

use std::io::IoSlice;

use bytes::Bytes;
use proptest::prelude::*;
use thoughtwire_websocket::{HeaderBytes, MAX_HEADER_BYTES, OpCode, SendQueue, append_frame};

/// Sends everything of a queue, in writes that take at most `most` bytes.
fn sent(queue: &mut SendQueue, slices: usize, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        let mut filled = vec![IoSlice::new(&[]); slices];
        let count = queue.fill(&mut filled);
        assert!(count > 0, "{} bytes are left and none is shown", queue.len());
        let shown = filled.iter().take(count).flat_map(|slice| slice.iter().copied());
        let taken: Vec<u8> = shown.take(most).collect();
        queue.advance(taken.len());
        bytes.extend(taken);
    }
    bytes
}

#[test]
fn headers_have_the_bytes_of_the_rfc() {
    let cases: [(OpCode, usize, &[u8]); 8] = [
        (OpCode::Text, 0, &[0x81, 0]),
        (OpCode::Text, 125, &[0x81, 125]),
        (OpCode::Binary, 126, &[0x82, 126, 0, 126]),
        (OpCode::Text, 0xffff, &[0x81, 126, 0xff, 0xff]),
        (OpCode::Text, 0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (OpCode::Close, 2, &[0x88, 2]),
        (OpCode::Ping, 8, &[0x89, 8]),
        (OpCode::Pong, 0, &[0x8a, 0]),
    ];
    for (opcode, length, expected) in cases {
        let header = HeaderBytes::new(opcode, length);
        assert_eq!(header.as_slice(), expected, "{opcode:?} of {length} bytes");
        assert!(expected.len() <= MAX_HEADER_BYTES);
    }
}

#[test]
fn a_close_has_its_code_and_a_reason_that_fits() {
    let frames = |code, reason: &str| {
        let mut queue = SendQueue::default();
        queue.push_close(code, reason);
        sent(&mut queue, 4, usize::MAX)
    };
    assert_eq!(frames(None, "unsaid"), [0x88, 0]);
    assert_eq!(frames(Some(1001), "bye"), [&[0x88, 5, 3, 0xe9], "bye".as_bytes()].concat());
    let long = frames(Some(1012), &"é".repeat(100));
    assert_eq!(long[1], 124, "61 characters of two bytes each, behind the code");
    assert!(std::str::from_utf8(&long[4..]).is_ok());
}

#[test]
fn the_rest_of_a_frame_goes_first_and_an_empty_queue_holds_nothing() {
    let mut queue = SendQueue::default();
    queue.push(OpCode::Pong, Bytes::from_static(b"p"));
    queue.push_rest(b"the rest".to_vec());
    queue.push_rest(Vec::new());
    assert_eq!(queue.len(), 8 + 3);
    assert_eq!(sent(&mut queue, 1, 3), b"the rest\x8a\x01p");
    assert!(queue.is_empty());
    assert_eq!(queue.fill(&mut [IoSlice::new(&[])]), 0);
}

proptest! {
    /// However little is taken at a time, the bytes are those of the frames, one behind the other.
    #[test]
    fn partial_writes_resume_where_they_stopped(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..12),
        slices in 1..9_usize,
        most in 1..500_usize,
    ) {
        let (mut queue, mut expected) = (SendQueue::default(), Vec::new());
        for payload in payloads {
            append_frame(OpCode::Text, &payload, &mut expected);
            queue.push(OpCode::Text, payload.into());
        }
        prop_assert_eq!(queue.len(), expected.len());
        prop_assert_eq!(sent(&mut queue, slices, most), expected);
    }
}
