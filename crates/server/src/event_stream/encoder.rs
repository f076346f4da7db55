//! The interface between a stream and the format of its events.

use std::sync::Arc;

use thoughtwire_hub::TailEntry;
use thoughtwire_proto::rest::StreamClosed;

use super::SharedEvents;

/// The format of one reader's server-sent events, with the reader's state.
///
/// One encoder belongs to one reader and sees each entry of its session once, in order. It is
/// called with the reader's output locked, by a push run while the reader is parked and else by
/// the reader's own task. So it must not wait, and may keep state without locks.
///
/// Encoders decide what is shared:
///
/// - Text that is equal for many readers is kept with its entry ([`TailEntry::shared`]). It is
///   made, framed and compressed once, and sent without a copy.
/// - Text that depends on the reader's state, such as a sequence number of its own, is kept
///   nowhere. It is made, framed and compressed for this reader alone. The wake-up, the write and
///   the entry are still shared.
///
/// Everything else is the same for all encoders, and none of it is their concern: chunks, gzip,
/// keep-alives, slow readers, revoked keys, and the server's stop.
pub(crate) trait EventEncoder: Send {
    /// The events of the next entry, each of which ends with an empty line; `None` if the reader is
    /// not shown the entry.
    fn encode(&mut self, entry: &TailEntry) -> Option<Arc<SharedEvents>>;

    /// The last events, when the stream ends and the client still reads. Each ends with an empty
    /// line; empty text where the format has no word for an end.
    fn end(&mut self, closed: &StreamClosed) -> String;
}
