//! The park/push protocol between one publisher and its readers, without I/O and async.
//!
//! A reader is a cursor: it reads entries from a [`EntrySource`] at its own pace. To wake its task
//! for each entry costs more than to hand it the entry. So a reader with nothing to do *parks*: it
//! leaves its position and a [`DirectSink`] in its [`ParkSlot`] and sleeps. Entries that are
//! published then are *pushed* into the sinks of all parked readers, 32 of them by one task. A
//! reader that is not parked, and one whose sink accepts nothing, is woken and reads on by itself.
//!
//! ```text
//! publisher ──announce──▶ Fanout ──PushRun (one per 32 readers)──▶ sinks of parked readers
//!                            └──────────────wake────────────────▶ readers that are not parked
//! ```
//!
//! Three rules make it safe, and `src/model.rs` checks them in every order of the threads:
//!
//! - Whoever holds a slot's lock may move its position: the push while the reader is parked, the
//!   reader once it has unparked. Each entry is therefore delivered once and in order.
//! - A push run clears its flag before it looks whether more was published. A publisher that finds
//!   the flag set therefore knows that its entry will be seen.
//! - A run wakes every reader that it found unparked since the last announcement. A reader that
//!   parks too late to be pushed to is therefore woken.
//!
//! It refuses to know what an entry is, and how a reader sleeps.

mod fanout;
#[cfg(test)]
mod model;
mod park;
mod partial_write;
mod push;
mod sync;

use std::sync::Arc;

pub use fanout::Fanout;
pub use park::{DirectSink, ParkSlot, Unparked};
pub use partial_write::{PartialWrite, WriteTurn};
pub use push::{PushProgress, PushRun};

/// A reader as the fan-out knows it.
pub trait PushReader {
    /// An entry that it reads.
    type Item;

    /// The slot in which it parks.
    fn slot(&self) -> &ParkSlot<Self::Item>;

    /// Has it look for entries. A wake before it sleeps must not be lost.
    fn wake(&self);
}

/// The entries that were published, by position.
pub trait EntrySource {
    /// An entry that is published.
    type Item;

    /// Number of entries that were ever published. A source that ends counts its end as one.
    fn published(&self) -> u64;

    /// At most `most` entries from a position on. `None` when the reader has to go on by itself:
    /// they are no longer held, or the source has ended.
    fn entries_from(&self, position: u64, most: usize) -> Option<Vec<Self::Item>>;

    /// The sequence number of an entry, if it has one.
    fn seq_of(entry: &Self::Item) -> Option<u64>;
}

/// A parked reader's sink, shared between the reader and its slot.
pub type SharedSink<E> = Arc<dyn DirectSink<E>>;
