//! Proof of delivery on wires that have no acknowledgement. A ping follows the frames, and its pong
//! proves that the client's WebSocket library has read everything before it.

use std::time::Duration;

use thoughtwire_proto::{Emission, Event, Seq, SessionId, TurnEvent};
use tokio::time::Instant;

/// Time between two pings that follow frames.
const PROVE_EVERY: Duration = Duration::from_secs(1);

/// Cursors in the sessions of one connection.
type Cursors = Vec<(SessionId, Seq)>;

/// The pings of one connection that are due, or not answered yet.
#[derive(Default)]
pub struct DeliveryProof {
    /// The number of the last ping.
    serial: u64,
    /// Pings without a pong: their number, and the cursors that the pong proves.
    waiting: Vec<(u64, Cursors)>,
    /// The time at which the next ping has to be sent.
    due: Option<Instant>,
    /// The time of the last ping that proves something.
    last: Option<Instant>,
}

impl DeliveryProof {
    /// The latest time at which a connection has to check whether a ping is due. It covers the
    /// frames that are pushed while the connection is parked. No push has to wake it for a ping.
    #[must_use]
    pub fn next_check(&self) -> Option<Instant> {
        self.due.or_else(|| {
            self.last.map(|last| last + PROVE_EVERY).filter(|next| *next > Instant::now())
        })
    }

    /// Tells whether a ping is due now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Takes note of an emission that was sent. The end of a turn makes a ping due at once, other
    /// records make one due within a second.
    pub fn note_sent(&mut self, emission: &Emission) {
        let Emission::Record(record) = emission else { return };
        let now = Instant::now();
        let due = if matches!(record.event, Event::Turn(TurnEvent::Ended { .. })) {
            now
        } else {
            self.last.map_or(now, |last| (last + PROVE_EVERY).max(now))
        };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// Makes the payload of a ping whose pong proves these cursors.
    pub fn ping_payload(&mut self, cursors: Cursors) -> Vec<u8> {
        self.due = None;
        self.serial += 1;
        if !cursors.is_empty() {
            self.last = Some(Instant::now());
            self.waiting.push((self.serial, cursors));
        }
        self.serial.to_be_bytes().to_vec()
    }

    /// Takes a pong. The result is the cursors that it proves: those of its ping, and of earlier
    /// pings without an answer.
    pub fn acknowledge(&mut self, payload: &[u8]) -> Cursors {
        let Ok(bytes) = <[u8; 8]>::try_from(payload) else { return Vec::new() };
        let serial = u64::from_be_bytes(bytes);
        // An unsolicited pong (RFC 6455, 5.5.3) proves nothing.
        if serial > self.serial {
            return Vec::new();
        }
        self.waiting
            .extract_if(.., |(waiting, _)| *waiting <= serial)
            .flat_map(|(_, cursors)| cursors)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sleeps_until_the_next_check_pings_in_time() {
        let said = |event| {
            Emission::Record(thoughtwire_proto::Record {
                seq: Seq(1),
                at: Default::default(),
                turn: None,
                event,
            })
        };
        let message = said(Event::Turn(TurnEvent::Message {
            item: "i".parse().unwrap(),
            text: String::new(),
            complete: true,
            continues: None,
        }));
        let ended = said(Event::Turn(TurnEvent::Ended {
            input: "i".parse().unwrap(),
            outcome: thoughtwire_proto::Outcome::Completed,
            code: None,
            reason: None,
        }));
        let mut proof = DeliveryProof::default();
        assert_eq!(proof.next_check(), None, "nothing was written yet");
        proof.note_sent(&message);
        assert!(proof.is_due());
        drop(proof.ping_payload(vec![("s-1".parse().unwrap(), Seq(1))]));
        let before = proof.next_check();
        assert_eq!(before, Some(Instant::now() + PROVE_EVERY));
        proof.note_sent(&message);
        assert_eq!((proof.next_check(), proof.is_due()), (before, false));
        tokio::time::advance(PROVE_EVERY).await;
        assert!(proof.is_due());
        drop(proof.ping_payload(vec![("s-1".parse().unwrap(), Seq(1))]));
        proof.note_sent(&ended);
        assert!(proof.is_due(), "the end of a turn does not wait");
        drop(proof.ping_payload(vec![("s-1".parse().unwrap(), Seq(1))]));
        tokio::time::advance(PROVE_EVERY).await;
        assert_eq!(proof.next_check(), None, "nothing was written since");
        drop(proof.ping_payload(Vec::new()));
        assert_eq!(proof.next_check(), None, "a ping that proves nothing");
    }

    #[test]
    fn a_pong_proves_its_ping_and_those_before_it() {
        let mut proof = DeliveryProof::default();
        let cursor = |seq| vec![("s-1".parse().unwrap(), Seq(seq))];
        let _first = proof.ping_payload(cursor(1));
        let second = proof.ping_payload(cursor(2));
        let third = proof.ping_payload(cursor(3));
        assert_eq!(proof.acknowledge(&second), [cursor(1), cursor(2)].concat());
        assert_eq!(proof.acknowledge(&second), []);
        assert_eq!(proof.acknowledge(b"not ours"), []);
        assert_eq!(proof.acknowledge(b"short"), []);
        assert_eq!(proof.acknowledge(&third), cursor(3));
    }
}
