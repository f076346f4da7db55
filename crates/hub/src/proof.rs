//! Acks without acks: a ping goes out behind frames, and its pong proves that the peer's stack has
//! read everything before it.

use std::time::Duration;

use thoughtwire_proto::{Emission, Event, Seq, SessionId, TurnEvent};
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
    /// When whoever sleeps has to look at it again: when the next ping is due, or may be due for what is
    /// written meanwhile. So nobody needs to be woken to be told that it will be.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        self.due.or_else(|| {
            self.last.map(|last| last + PROVE_EVERY).filter(|next| *next > Instant::now())
        })
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
        let due = if matches!(record.event, Event::Turn(TurnEvent::Ended { .. })) {
            now
        } else {
            self.last.map_or(now, |last| (last + PROVE_EVERY).max(now))
        };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// The payload of a ping that, answered, proves these cursors.
    pub fn ask(&mut self, cursors: Cursors) -> Vec<u8> {
        self.due = None;
        self.serial += 1;
        if !cursors.is_empty() {
            self.last = Some(Instant::now());
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
    async fn who_sleeps_until_it_is_to_look_again_asks_in_time() {
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
        }));
        let ended = said(Event::Turn(TurnEvent::Ended {
            input: "i".parse().unwrap(),
            outcome: thoughtwire_proto::Outcome::Completed,
            code: None,
            reason: None,
        }));
        let mut proof = Proof::default();
        assert_eq!(proof.look_at(), None, "nothing was written yet");
        proof.wants(&message);
        assert!(proof.is_due());
        drop(proof.ask(vec![("s-1".parse().unwrap(), Seq(1))]));
        let before = proof.look_at();
        assert_eq!(before, Some(Instant::now() + PROVE_EVERY));
        proof.wants(&message);
        assert_eq!((proof.look_at(), proof.is_due()), (before, false));
        tokio::time::advance(PROVE_EVERY).await;
        assert!(proof.is_due());
        drop(proof.ask(vec![("s-1".parse().unwrap(), Seq(1))]));
        proof.wants(&ended);
        assert!(proof.is_due(), "the end of a turn does not wait");
        drop(proof.ask(vec![("s-1".parse().unwrap(), Seq(1))]));
        tokio::time::advance(PROVE_EVERY).await;
        assert_eq!(proof.look_at(), None, "nothing was written since");
        drop(proof.ask(Vec::new()));
        assert_eq!(proof.look_at(), None, "a ping that proves nothing");
    }

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
