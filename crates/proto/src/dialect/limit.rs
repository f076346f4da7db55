//! Size limit of outgoing frames, and the cutting of longer texts.

/// Size limit of the frames that a server sends.
///
/// It is a little below the announced `frame_bytes`, and never above what PyPI's `websockets` reads
/// by default (1 MiB).
///
/// ```
/// use thoughtwire_proto::dialect::FrameLimit;
///
/// assert!(FrameLimit::default().bytes() < 1 << 20);
/// assert_eq!(FrameLimit::new(64 << 20), FrameLimit::default());
/// assert!(FrameLimit::new(4096).bytes() < 4096);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameLimit(usize);

impl FrameLimit {
    /// Largest frame that a client with default settings accepts.
    const MOST: usize = 1 << 20;
    /// Smallest limit. Lower ones are raised to it, because a part's own keys need room.
    const LEAST: usize = 1 << 10;

    /// The limit for an announced `frame_bytes`.
    #[must_use]
    pub const fn new(frame_bytes: usize) -> Self {
        let announced = if frame_bytes > Self::MOST {
            Self::MOST
        } else if frame_bytes < Self::LEAST {
            Self::LEAST
        } else {
            frame_bytes
        };
        Self(announced - announced / 64)
    }

    /// Maximum number of bytes of a frame.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl Default for FrameLimit {
    fn default() -> Self {
        Self::new(Self::MOST)
    }
}

/// Cuts a text into pieces that cost at most `room` each. A single character that costs more is a
/// piece of its own. An empty text is one empty piece.
pub(crate) fn pieces(text: &str, room: usize, cost: impl Fn(char) -> usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut rest, mut at, mut spent) = (text, 0, 0);
    for c in text.chars() {
        let next = cost(c);
        if spent + next > room && at > 0 {
            let (piece, behind) = rest.split_at(at);
            pieces.push(piece);
            (rest, at, spent) = (behind, 0, 0);
        }
        at += c.len_utf8();
        spent += next;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_the_text_and_the_room() {
        for text in ["", "a", "aé𝄞\n\"b", &"é".repeat(1000)] {
            for room in [1, 2, 3, 7, 10_000] {
                let pieces = pieces(text, room, char::len_utf8);
                assert_eq!(pieces.concat(), text);
                assert!(
                    pieces.iter().all(|piece| piece.len() <= room || piece.chars().count() == 1),
                    "{room}: {pieces:?}"
                );
            }
        }
    }
}
