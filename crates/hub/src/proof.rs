//! Acks without acks: a ping goes out behind frames, and its pong proves that the peer's stack has
//! read everything before it.

use std::time::Duration;

use thoughtwire_proto::{Emission, Event, Seq, SessionId};
use tokio::time::Instant;

/// How often frames to a peer are followed by a ping.
const PROVE_EVERY: Duration = Duration::from_secs(1);

/// Cursors of a connection's sessions.
type Cursors = Vec<(SessionId, Seq)>;

/// What one connection was written and has not proven to have read.
#[derive(Default)]
pub struct Proof {
    serial: u64,
    waiting: Vec<(u64, Cursors)>,
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Proof {
    /// When the next ping is due for the sake of what was written.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is due now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Notes an emission that was written: at the end of a turn proof is wanted at once, else at most
    /// once a second.
    pub fn wants(&mut self, emission: &Emission) {
        let Emission::Record(record) = emission else { return };
        let now = Instant::now();
        let due =
            if matches!(record.event, Event::TurnEnded { .. }) { now } else { self.last.map_or(now, |last| (last + PROVE_EVERY).max(now)) };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// The payload of a ping that, answered, proves these cursors.
    pub fn ask(&mut self, cursors: Cursors) -> Vec<u8> {
        self.due = None;
        self.last = Some(Instant::now());
        self.serial += 1;
        if !cursors.is_empty() {
            self.waiting.push((self.serial, cursors));
        }
        self.serial.to_be_bytes().to_vec()
    }

    /// What a pong proves: all that its ping and earlier, unanswered ones asked for.
    pub fn proven(&mut self, payload: &[u8]) -> Cursors {
        let Ok(bytes) = <[u8; 8]>::try_from(payload) else { return Vec::new() };
        let serial = u64::from_be_bytes(bytes);
        // A pong that nobody asked for (RFC 6455, 5.5.3) proves nothing.
        if serial > self.serial {
            return Vec::new();
        }
        self.waiting.extract_if(.., |(waiting, _)| *waiting <= serial).flat_map(|(_, cursors)| cursors).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_proves_its_ping_and_those_before_it() {
        let mut proof = Proof::default();
        let cursor = |seq| vec![("s-1".parse().unwrap(), Seq(seq))];
        let _first = proof.ask(cursor(1));
        let second = proof.ask(cursor(2));
        let third = proof.ask(cursor(3));
        assert_eq!(proof.proven(&second), [cursor(1), cursor(2)].concat());
        assert_eq!(proof.proven(&second), []);
        assert_eq!(proof.proven(b"not ours"), []);
        assert_eq!(proof.proven(b"short"), []);
        assert_eq!(proof.proven(&third), cursor(3));
    }
}
