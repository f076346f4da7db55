//! One gzip member (RFC 1952) for the life of a stream, made of pieces that readers share.
//!
//! Each piece is one or more DEFLATE blocks that refer to nothing before them and end at a byte.
//! So a piece is equal for all readers, wherever they began, and no reader keeps a window: its
//! state is a checksum of 8 bytes. Members of their own for each piece would be simpler, but
//! browsers and some HTTP libraries read the first member only.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::shared_events::Chunk;

/// Texts below this many bytes are stored and not compressed: it would save little.
const LEAST_COMPRESSED: usize = 1 << 10;
/// Room for compressed bytes that is added at a time.
const ROOM: usize = 4 << 10;
/// Most bytes of a stored block.
const MOST_STORED: usize = 0xffff;

/// The header: DEFLATE, no name, no time, an unknown system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A text as blocks of any reader's member.
pub(super) struct GzipPiece {
    blocks: Chunk,
    crc: Crc,
}

/// The checksum and the length of what one reader was sent.
pub(super) struct GzipMember {
    crc: Crc,
}

impl GzipPiece {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(text);
        let blocks = if text.len() < LEAST_COMPRESSED { None } else { deflate(text) };
        let blocks = blocks.unwrap_or_else(|| stored(text));
        Self { blocks: Chunk::new(&blocks), crc }
    }

    pub(super) fn blocks(&self) -> &Chunk {
        &self.blocks
    }
}

impl GzipMember {
    pub(super) fn new() -> Self {
        Self { crc: Crc::new() }
    }

    /// Takes note that a piece was sent.
    pub(super) fn add(&mut self, piece: &GzipPiece) {
        self.crc.combine(&piece.crc);
    }

    /// The end of the member: an empty last block, the checksum and the length.
    pub(super) fn trailer(&self) -> [u8; 13] {
        let [a, b, c, d] = self.crc.sum().to_le_bytes();
        let [e, f, g, h] = self.crc.amount().to_le_bytes();
        [1, 0, 0, 0xff, 0xff, a, b, c, d, e, f, g, h]
    }
}

/// Compresses a text to blocks that end at a byte. `None` if the library fails.
fn deflate(text: &[u8]) -> Option<Vec<u8>> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut blocks = Vec::new();
    loop {
        blocks.reserve(ROOM);
        let taken = usize::try_from(compress.total_in()).ok()?;
        let rest = text.get(taken..)?;
        match compress.compress_vec(rest, &mut blocks, FlushCompress::Full) {
            Ok(Status::Ok) => {}
            Ok(Status::BufError | Status::StreamEnd) | Err(_) => return None,
        }
        // A flush is whole when it leaves room.
        if taken + rest.len() == usize::try_from(compress.total_in()).ok()?
            && blocks.len() < blocks.capacity()
        {
            return Some(blocks);
        }
    }
}

/// A text as stored blocks.
fn stored(text: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(text.len() + 5);
    for part in text.chunks(MOST_STORED) {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        blocks.push(0);
        blocks.extend_from_slice(&length.to_le_bytes());
        blocks.extend_from_slice(&(!length).to_le_bytes());
        blocks.extend_from_slice(part);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::takeover::BodyFraming;

    #[test]
    fn pieces_in_any_order_are_one_member_of_which_each_prefix_can_be_read() {
        let texts: Vec<String> = (0..40u64)
            .map(|n| {
                let mut random = fastrand::Rng::with_seed(n);
                let length = [0, 1, 1023, 1024, 5000, 65_535, 70_000, 300_000][n as usize % 8];
                // Some of it compresses well, some not at all.
                let most = if n % 3 == 0 { 2 } else { 26 };
                (0..length).map(|_| (b'a' + random.u8(..most)) as char).collect()
            })
            .filter(|text: &String| !text.is_empty())
            .collect();
        let pieces: Vec<_> = texts.iter().map(|text| GzipPiece::new(text.as_bytes())).collect();
        for seed in 0..4 {
            let mut order: Vec<_> = (0..texts.len()).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            let (mut member, mut bytes) = (GzipMember::new(), HEADER.to_vec());
            let mut inflate = flate2::Decompress::new(false);
            let mut expected = String::new();
            for n in order {
                let piece = &pieces[n];
                let blocks = piece.blocks().framed(BodyFraming::UntilClose);
                // A client that has this much has the whole text of it.
                let mut read = Vec::with_capacity(texts[n].len() + 16);
                let before = inflate.total_in();
                inflate.decompress_vec(&blocks, &mut read, flate2::FlushDecompress::Sync).unwrap();
                assert_eq!(read, texts[n].as_bytes());
                assert_eq!(inflate.total_in() - before, blocks.len() as u64);
                bytes.extend_from_slice(&blocks);
                member.add(piece);
                expected.push_str(&texts[n]);
            }
            bytes.extend_from_slice(&member.trailer());
            let mut whole = String::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut whole).unwrap();
            assert!(whole == expected);
        }
    }

    #[test]
    fn long_texts_are_compressed_and_short_ones_cost_five_bytes() {
        let size = |text: &str| {
            GzipPiece::new(text.as_bytes()).blocks().framed(BodyFraming::UntilClose).len()
        };
        assert_eq!(size(&"x".repeat(1023)), 1028);
        assert!(size(&"all work and no play ".repeat(1000)) < 500);
    }
}
