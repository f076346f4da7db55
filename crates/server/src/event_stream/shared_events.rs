//! Text that many readers are sent, in each form in which one of them wants it.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use super::gzip::GzipPiece;
use crate::takeover::BodyFraming;

/// Text that readers share. Each form of it is made at most once.
pub(crate) struct SharedEvents {
    plain: Chunk,
    gzip: OnceLock<GzipPiece>,
}

/// Bytes as one chunk of a body. The bytes alone are a slice of it.
pub(super) struct Chunk {
    chunk: Bytes,
    body: Range<usize>,
}

impl SharedEvents {
    pub(crate) fn new(text: &str) -> Self {
        Self { plain: Chunk::new(text.as_bytes()), gzip: OnceLock::new() }
    }

    pub(super) fn plain(&self) -> &Chunk {
        &self.plain
    }

    /// The text, compressed when the first reader wants it so.
    pub(super) fn gzip(&self) -> &GzipPiece {
        self.gzip.get_or_init(|| {
            let text = self.plain.framed(BodyFraming::UntilClose);
            GzipPiece::new(&text)
        })
    }
}

impl Chunk {
    /// Makes a chunk of at least one byte: an empty one would end the body.
    pub(super) fn new(body: &[u8]) -> Self {
        let head = format!("{:x}\r\n", body.len());
        let mut chunk = Vec::with_capacity(head.len() + body.len() + 2);
        chunk.extend_from_slice(head.as_bytes());
        chunk.extend_from_slice(body);
        chunk.extend_from_slice(b"\r\n");
        let begin = head.len();
        Self { chunk: chunk.into(), body: begin..begin + body.len() }
    }

    /// The bytes in a framing, shared and not copied.
    pub(super) fn framed(&self, framing: BodyFraming) -> Bytes {
        match framing {
            BodyFraming::Chunked => self.chunk.clone(),
            BodyFraming::UntilClose => self.chunk.slice(self.body.clone()),
        }
    }
}
