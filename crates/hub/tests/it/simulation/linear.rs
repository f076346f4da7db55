//! Linearizability of a session's log. All answers must fit one order of the operations. An
//! operation that returned before another began must come first in it.
//!
//! The sequential specification is an append-only log with idempotent ids:
//!
//! - A send appends its record, unless its id is in the log; both answer the record's position.
//! - A read answers the position of the last record.
//!
//! Deciding linearizability is expensive in general, because an order has to be found. Here the
//! log itself is the order of its appends, and a read of position `h` belongs behind append `h` and
//! in front of append `h + 1`. So each operation has a key, `2 * seq` for an append and `2 * h + 1`
//! for a read, and a legal order has ascending keys. Among equal keys, which only reads have, the
//! order is that of their invocations.
//!
//! This order respects real time exactly if no operation with a larger key returned before one with
//! a smaller key was invoked. That is one sweep over the operations in the order of their
//! invocations, with the largest key that has returned so far: `O(n log n)` for the sorting. In
//! particular:
//!
//! - an acknowledged send is in every read that begins later, on any node;
//! - a read never goes back behind a read that had returned;
//! - a record is not seen before its send has begun.
//!
//! Reads of the store itself, as requests over HTTP do, are held against the sends on their own.
//! They may be ahead of a session's owner: for as long as it takes the owner to learn that a write
//! is committed, they show a record that nobody was acknowledged and no subscriber has.
//!
//! A send with an unknown outcome may take effect at any time after its invocation, or never. A
//! refused send never takes effect. A record that a subscriber receives counts as a read. It may
//! arrive late, so the read is taken to begin as early as possible.

use std::collections::HashMap;

use thoughtwire_proto::{Command, Event, InputEvent, Record, SessionCommand};

use super::asked::Asked;

/// One operation of a client on a session's log.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) kind: OperationKind,
    pub(crate) invoked: u64,
    /// `None` for one that never returned.
    pub(crate) returned: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OperationKind {
    /// A send under an id. Repetitions are operations of their own.
    Send(String, SendOutcome),
    /// The last position was read.
    Read(u64),
    /// A record came.
    Hear(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// At the position.
    Acknowledged(u64),
    /// It has no effect.
    Refused,
    Unknown,
}

/// An attempt to send something that [`Asked`] asks.
struct SendAttempt {
    asked: usize,
    invoked: u64,
    end: Option<(u64, SendOutcome)>,
}

/// The operations of a history, with the moments at which they began and ended. Every moment is
/// another one, since a history has one thread.
#[derive(Default)]
pub(crate) struct Timeline {
    last: u64,
    attempts: Vec<SendAttempt>,
    /// Positions that were told to those who attach and subscribe, by room.
    reads: HashMap<usize, Vec<Operation>>,
    /// Positions that were read from the store, by room.
    store_reads: HashMap<usize, Vec<Operation>>,
}

impl Timeline {
    /// The moment now.
    pub(crate) fn moment(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A command goes out. Gives the number of the attempt.
    pub(crate) fn goes_out(&mut self, asked: usize) -> usize {
        let invoked = self.moment();
        self.attempts.push(SendAttempt { asked, invoked, end: None });
        self.attempts.len() - 1
    }

    /// An attempt was answered.
    pub(crate) fn answered(&mut self, attempt: usize, outcome: SendOutcome) {
        let returned = self.moment();
        self.attempts[attempt].end = Some((returned, outcome));
    }

    /// Somebody who attached at a moment was told the last position.
    pub(crate) fn attached(&mut self, room: usize, head: u64, invoked: u64) {
        let read = self.read(head, invoked);
        self.reads.entry(room).or_default().push(read);
    }

    /// Somebody who asked the store at a moment was told the last position.
    pub(crate) fn read_store(&mut self, room: usize, head: u64, invoked: u64) {
        let read = self.read(head, invoked);
        self.store_reads.entry(room).or_default().push(read);
    }

    fn read(&mut self, head: u64, invoked: u64) -> Operation {
        let returned = Some(self.moment());
        Operation { kind: OperationKind::Read(head), invoked, returned }
    }

    /// Somebody got a record.
    pub(crate) fn hear(&mut self, room: usize, seq: u64) {
        let returned = Some(self.moment());
        let operation = Operation { kind: OperationKind::Hear(seq), invoked: 0, returned };
        self.reads.entry(room).or_default().push(operation);
    }

    /// Holds the operations on a room against its log, as far as that is known. Returns what does
    /// not fit, and the number of operations.
    pub(crate) fn check(
        &self,
        room: usize,
        records: &[Record],
        asked: &[Asked],
    ) -> (Vec<String>, u64) {
        let mut sends = Vec::new();
        for attempt in &self.attempts {
            let of = &asked[attempt.asked];
            if of.room != Some(room) || sent_text(of).is_none() {
                continue;
            }
            let (returned, outcome) = attempt.end.unzip();
            let outcome = outcome.unwrap_or(SendOutcome::Unknown);
            let kind = OperationKind::Send(of.tag.clone(), outcome);
            sends.push(Operation { kind, invoked: attempt.invoked, returned });
        }
        let mut tags = HashMap::new();
        for of in asked.iter().filter(|of| of.room == Some(room)) {
            tags.extend(sent_text(of).map(|text| (text, of.tag.as_str())));
        }
        let sent = records.iter().filter_map(|record| match &record.event {
            Event::Input(InputEvent::UserMessage { text, .. }) => {
                Some((record.seq.0, *tags.get(text.as_str())?))
            }
            _ => None,
        });
        let log: Vec<_> = sent.collect();
        let (mut wrong, mut count) = (Vec::new(), 0);
        for reads in [&self.reads, &self.store_reads] {
            let reads = reads.get(&room).into_iter().flatten();
            let operations: Vec<_> = sends.iter().chain(reads).cloned().collect();
            wrong.extend(violations(&log, &operations));
            count += operations.len();
        }
        (wrong, (count - sends.len()) as u64)
    }
}

fn sent_text(asked: &Asked) -> Option<&str> {
    match &asked.command {
        Command::Session { command: SessionCommand::Send { text, .. }, .. } => Some(text),
        _ => None,
    }
}

/// An operation in the sweep.
struct SweepOperation<'a> {
    key: u64,
    invoked: u64,
    returned: u64,
    what: &'a str,
}

/// Contradictions to linearizability. `log` has the positions and ids of the sends in it.
pub(crate) fn violations(log: &[(u64, &str)], operations: &[Operation]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut positions: HashMap<&str, u64> = HashMap::new();
    for (seq, id) in log {
        if let Some(first) = positions.insert(id, *seq) {
            wrong.push(format!("{id} is in the log at {first} and again at {seq}"));
        }
    }
    // For each id, when its append may have happened.
    let mut appends: HashMap<&str, (u64, u64)> = HashMap::new();
    let mut keyed = Vec::new();
    for Operation { kind, invoked, returned } in operations {
        let returned = returned.unwrap_or(u64::MAX);
        match kind {
            OperationKind::Send(id, outcome) => {
                let returned = match outcome {
                    SendOutcome::Refused => continue,
                    SendOutcome::Unknown => u64::MAX,
                    SendOutcome::Acknowledged(seq) => {
                        if positions.get(id.as_str()) != Some(seq) {
                            let at = positions.get(id.as_str());
                            wrong.push(format!("{id} was acknowledged at {seq}, and is at {at:?}"));
                        }
                        returned
                    }
                };
                let append = appends.entry(id).or_insert((u64::MAX, u64::MAX));
                *append = (append.0.min(*invoked), append.1.min(returned));
            }
            OperationKind::Read(head) => {
                let (key, invoked) = (2 * head + 1, *invoked);
                keyed.push(SweepOperation { key, invoked, returned, what: "a read" });
            }
            OperationKind::Hear(seq) => {
                keyed.push(SweepOperation {
                    key: 2 * seq + 1,
                    invoked: 0,
                    returned,
                    what: "a record",
                });
            }
        }
    }
    for (id, seq) in positions {
        match appends.get(id) {
            Some((invoked, returned)) => {
                let (key, invoked, returned) = (2 * seq, *invoked, *returned);
                keyed.push(SweepOperation { key, invoked, returned, what: id });
            }
            None => wrong.push(format!("{id} is in the log, and every attempt was refused")),
        }
    }
    wrong.extend(disorder(&keyed));
    wrong
}

/// The sweep: an operation that was invoked when one with a larger key had returned.
fn disorder(keyed: &[SweepOperation<'_>]) -> Vec<String> {
    let mut by_invocation: Vec<_> = keyed.iter().collect();
    by_invocation.sort_by_key(|operation| operation.invoked);
    let mut by_return: Vec<_> = keyed.iter().collect();
    by_return.sort_by_key(|operation| operation.returned);
    let mut returned = by_return.into_iter().peekable();
    let (mut largest, mut wrong): (Option<&SweepOperation<'_>>, Vec<String>) = (None, Vec::new());
    for later in by_invocation {
        while let Some(earlier) = returned.next_if(|one| one.returned < later.invoked) {
            if largest.is_none_or(|largest| largest.key < earlier.key) {
                largest = Some(earlier);
            }
        }
        if let Some(earlier) = largest.filter(|earlier| earlier.key > later.key) {
            wrong.push(format!(
                "{} at {} was invoked at {}, when {} at {} had returned at {}",
                later.what,
                later.key / 2,
                later.invoked,
                earlier.what,
                earlier.key / 2,
                earlier.returned
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(id: &str, invoked: u64, returned: u64, outcome: SendOutcome) -> Operation {
        let kind = OperationKind::Send(id.to_owned(), outcome);
        Operation { kind, invoked, returned: Some(returned) }
    }

    fn read(head: u64, invoked: u64, returned: u64) -> Operation {
        Operation { kind: OperationKind::Read(head), invoked, returned: Some(returned) }
    }

    fn hear(seq: u64, returned: u64) -> Operation {
        Operation { kind: OperationKind::Hear(seq), invoked: 0, returned: Some(returned) }
    }

    const LOG: [(u64, &str); 2] = [(1, "a"), (2, "b")];
    const FIRST: SendOutcome = SendOutcome::Acknowledged(1);
    const SECOND: SendOutcome = SendOutcome::Acknowledged(2);

    fn rejected(operations: &[Operation]) -> bool {
        !violations(&LOG, operations).is_empty()
    }

    fn both() -> [Operation; 2] {
        [send("a", 10, 20, FIRST), send("b", 30, 40, SECOND)]
    }

    fn with(more: &[Operation]) -> Vec<Operation> {
        both().into_iter().chain(more.iter().cloned()).collect()
    }

    #[test]
    fn what_fits_one_order_is_accepted() {
        assert!(!rejected(&both()));
        // Simultaneous operations may be in any order.
        assert!(!rejected(&[send("a", 10, 40, FIRST), send("b", 5, 35, SECOND)]));
        for fitting in [
            vec![
                read(0, 15, 60),
                read(1, 21, 29),
                read(1, 31, 36),
                read(2, 33, 34),
                read(2, 50, 51),
            ],
            // Both sides of an append that is under way, and a record that comes late.
            vec![read(1, 15, 16), read(1, 32, 60), hear(2, 33), hear(1, 90)],
            // A repetition, and one that was refused before.
            vec![send("a", 50, 60, FIRST), send("b", 1, 2, SendOutcome::Refused)],
            vec![send("a", 1, 2, SendOutcome::Unknown), hear(1, 5)],
        ] {
            assert_eq!(violations(&LOG, &with(&fitting)), Vec::<String>::new(), "{fitting:?}");
        }
    }

    #[test]
    fn an_acknowledged_send_that_a_later_read_misses_is_rejected() {
        assert!(rejected(&with(&[read(1, 41, 50)])));
        assert!(rejected(&with(&[read(0, 21, 22)])));
    }

    #[test]
    fn reads_that_go_back_are_rejected() {
        assert!(rejected(&with(&[read(2, 31, 32), read(1, 33, 34)])));
        assert!(rejected(&with(&[hear(2, 32), read(1, 33, 34)])));
    }

    #[test]
    fn what_is_seen_before_it_was_sent_is_rejected() {
        assert!(rejected(&with(&[read(2, 22, 23)])));
        assert!(rejected(&with(&[hear(1, 5)])));
        // The attempt before was refused, so that it cannot have been seen then.
        let refused = send("b", 1, 2, SendOutcome::Refused);
        assert!(rejected(&with(&[refused, hear(2, 5)])));
    }

    #[test]
    fn sends_whose_positions_contradict_their_order_are_rejected() {
        assert!(rejected(&[send("b", 10, 20, SECOND), send("a", 30, 40, FIRST)]));
        // An unknown outcome has no end, but it has a beginning.
        let unknown = send("a", 30, 31, SendOutcome::Unknown);
        assert!(rejected(&[send("b", 10, 20, SECOND), unknown]));
    }

    #[test]
    fn lost_doubled_and_refused_sends_in_the_log_are_rejected() {
        assert!(!violations(&[(1, "a")], &both()).is_empty());
        assert!(!violations(&[(1, "a"), (2, "b"), (3, "a")], &both()).is_empty());
        assert!(!violations(&[(1, "b"), (2, "a")], &both()).is_empty());
        let refused = [send("a", 10, 20, FIRST), send("b", 30, 40, SendOutcome::Refused)];
        assert!(rejected(&refused));
    }
}
