//! Frames on their way to a client.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::header::{HeaderBytes, OpCode};

/// The longest reason of a close frame, in bytes: a control frame has 125, and two are the code.
const MAX_CLOSE_REASON: usize = 123;

/// Frames that are not sent yet, in order. Payloads are shared and not copied.
#[derive(Debug, Default)]
pub struct SendQueue {
    frames: VecDeque<QueuedFrame>,
    /// Number of bytes of the first frame that are sent already.
    sent_of_first: usize,
    /// Number of bytes that are not sent yet.
    bytes: usize,
}

#[derive(Debug)]
struct QueuedFrame {
    /// Empty for the rest of a frame that was begun elsewhere.
    header: HeaderBytes,
    payload: Bytes,
}

impl QueuedFrame {
    fn len(&self) -> usize {
        self.header.as_slice().len() + self.payload.len()
    }
}

impl SendQueue {
    /// Number of bytes that are not sent yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Tells whether everything is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds a whole frame.
    pub fn push(&mut self, opcode: OpCode, payload: Bytes) {
        let frame = QueuedFrame { header: HeaderBytes::new(opcode, payload.len()), payload };
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Adds a close frame; without a code it is empty. A reason that is too long is cut.
    pub fn push_close(&mut self, code: Option<u16>, reason: &str) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            let end = reason.floor_char_boundary(MAX_CLOSE_REASON);
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
        }
        self.push(OpCode::Close, payload.into());
    }

    /// Puts the rest of a frame that was begun elsewhere in front of everything. The queue's own
    /// first frame must not have been begun.
    pub fn push_rest(&mut self, rest: Vec<u8>) {
        if !rest.is_empty() {
            debug_assert_eq!(self.sent_of_first, 0, "two frames were begun at once");
            self.bytes += rest.len();
            let header = HeaderBytes::default();
            self.frames.push_front(QueuedFrame { header, payload: rest.into() });
        }
    }

    /// Fills `slices` with what is sent next. The result is how many are filled.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut skip = self.sent_of_first;
        for frame in &self.frames {
            for part in [frame.header.as_slice(), &frame.payload] {
                let Some(part) = part.get(skip..).filter(|part| !part.is_empty()) else {
                    skip -= part.len();
                    continue;
                };
                skip = 0;
                let Some(slice) = slices.get_mut(filled) else { return filled };
                *slice = IoSlice::new(part);
                filled += 1;
            }
        }
        filled
    }

    /// Takes note that so many bytes were sent.
    pub fn advance(&mut self, sent: usize) {
        self.bytes = self.bytes.saturating_sub(sent);
        self.sent_of_first += sent;
        while let Some(first) = self.frames.front() {
            let len = first.len();
            if self.sent_of_first < len {
                return;
            }
            self.sent_of_first -= len;
            self.frames.pop_front();
        }
        // An idle connection keeps no room for frames.
        *self = Self::default();
    }
}
