//! Encoding of an attached session's emissions, once for all native connections.

use super::wire::{ServerWire, to_text};
use crate::{Delta, Emission, Partial, Record, SessionId};

/// Frame of an emission. It is the same for every connection of this dialect.
///
/// ```
/// use thoughtwire_proto::{Emission, dialect::native};
///
/// let frame = native::encode(&"s-1".parse()?, &Emission::Presence { clients: 2 });
/// assert_eq!(frame, r#"{"type":"presence","session":"s-1","clients":2}"#);
/// # Ok::<(), thoughtwire_proto::BadId>(())
/// ```
#[must_use]
pub fn encode(session: &SessionId, emission: &Emission) -> String {
    to_text(&self::emission(session, emission))
}

pub(super) fn emission<'a>(session: &'a SessionId, emission: &'a Emission) -> ServerWire<'a> {
    match emission {
        Emission::Record(Record { seq, at, turn, event }) => {
            ServerWire::Event { session, seq: *seq, at: *at, turn: turn.as_ref(), event }
        }
        Emission::Delta(Delta { turn, item, n, kind, text, continues }) => {
            let (n, kind, continues) = (*n, *kind, continues.as_ref());
            ServerWire::Delta { session, turn, item, n, kind, text, continues }
        }
        Emission::Partial(Partial { turn, item, n, kind, text, continues }) => {
            let (n, kind, continues) = (*n, *kind, continues.as_ref());
            ServerWire::Partial { session, turn, item, n, kind, text, continues }
        }
        Emission::Status { turn, text } => {
            ServerWire::Status { session, turn: turn.as_ref(), text }
        }
        Emission::Presence { clients } => ServerWire::Presence { session, clients: *clients },
    }
}
