//! A stream that several write to in turn, of which one write may be cut.

use std::io;

use crate::sync::{Mutex, MutexGuard};

/// The rest of a write that the stream took only in part. It has to be sent before anything else.
#[derive(Default)]
pub struct PartialWrite {
    rest: Mutex<Vec<u8>>,
}

/// The right to write to the stream now, where nothing else waits to be sent.
pub struct WriteTurn<'a> {
    rest: MutexGuard<'a, Vec<u8>>,
}

impl PartialWrite {
    /// Begins a write. `None` while the rest of another one waits.
    pub fn begin(&self) -> Option<WriteTurn<'_>> {
        let rest = self.rest.lock();
        rest.is_empty().then_some(WriteTurn { rest })
    }

    /// Takes the rest, to send it before anything else.
    pub fn take_rest(&self) -> Vec<u8> {
        std::mem::take(&mut self.rest.lock())
    }
}

impl WriteTurn<'_> {
    /// Writes bytes with `write`, which takes some of them and never waits. The result tells
    /// whether it took all; if not, the rest is kept.
    ///
    /// # Errors
    /// Those of `write`, which has then taken nothing.
    pub fn write(
        mut self,
        bytes: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        if !bytes.is_empty() {
            let written = write(bytes)?;
            self.rest.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
        Ok(self.rest.is_empty())
    }
}
