//! Marks: every piece of a load begins with `~NUMBER~DUE~`.
//!
//! They are searched in the bytes of a frame. A generator that parses frames would measure
//! itself.

use std::time::{SystemTime, UNIX_EPOCH};

/// The mark of one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The piece's number within its input, from 1.
    pub(crate) n: u64,
    /// When the piece was due, in microseconds since 1970.
    pub(crate) due: u64,
}

/// Iterates over the marks in `bytes`, in order.
pub(crate) fn marks(mut bytes: &[u8]) -> impl Iterator<Item = Mark> {
    std::iter::from_fn(move || {
        loop {
            bytes = bytes.get(memchr::memchr(b'~', bytes)? + 1..)?;
            let Some((n, rest)) = number(bytes) else { continue };
            let Some((due, rest)) = number(rest) else { continue };
            bytes = rest;
            return Some(Mark { n, due });
        }
    })
}

/// Parses a number that ends with `~`; returns it and the rest.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number: u64 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b'~' if at > 0 => return Some((number, bytes.get(at + 1..)?)),
            _ => return None,
        }
    }
    None
}

/// The current time in microseconds since 1970.
pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Mark, marks};

    #[test]
    fn marks_are_found_anywhere_in_a_frame() {
        let found: Vec<_> = marks(b"42[\"m\",\"~1~20~ xx\"] ~ ~x~ ~~ ~7~8 ~3~4~~5~6~").collect();
        assert_eq!(found, [Mark { n: 1, due: 20 }, Mark { n: 3, due: 4 }, Mark { n: 5, due: 6 }]);
        assert_eq!(marks(b"").count() + marks(b"~").count() + marks(b"~1~2").count(), 0);
    }
}
