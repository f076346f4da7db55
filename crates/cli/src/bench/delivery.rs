//! Delivery checks: compares the pieces that a reader received with those it should receive.

use std::ops::Range;

use serde::Serialize;

use super::mark::Mark;

/// Delivery faults of one reader, or their sum over all readers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeliveryFaults {
    /// Pieces that never arrived.
    pub(crate) lost: u64,
    /// Number of times that the numbering skipped ahead.
    pub(crate) gaps: u64,
    /// Pieces that arrived twice.
    pub(crate) duplicates: u64,
    /// Pieces that arrived after a later one.
    pub(crate) disordered: u64,
}

impl DeliveryFaults {
    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.gaps += other.gaps;
        self.duplicates += other.duplicates;
        self.disordered += other.disordered;
    }
}

/// Checks one reader's pieces, which are numbered from 1 to `items` for each input.
#[derive(Debug)]
pub(crate) struct DeliveryChecker {
    items: u64,
    /// Position after the last piece, over all inputs.
    passed: u64,
    /// When the last piece was due, in microseconds since 1970.
    due: u64,
    /// Positions that were skipped.
    missing: Vec<Range<u64>>,
    /// Deltas that were not sent because a later text includes them.
    superseded: u64,
    /// Pieces that arrived again where the protocol may repeat them.
    repeated: u64,
    may_repeat: bool,
    faults: DeliveryFaults,
}

impl DeliveryChecker {
    /// Creates a checker for inputs of `items` pieces each.
    pub(crate) fn new(items: u64) -> Self {
        Self {
            items: items.max(1),
            passed: 0,
            due: 0,
            missing: Vec::new(),
            superseded: 0,
            repeated: 0,
            may_repeat: false,
            faults: DeliveryFaults::default(),
        }
    }

    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    pub(crate) fn superseded(&self) -> u64 {
        self.superseded
    }

    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Allows repeated pieces from now on, after a reconnect on a protocol without cursors.
    pub(crate) fn may_repeat(&mut self) {
        self.may_repeat = true;
    }

    /// Returns the faults so far, if `expected` pieces should have arrived.
    pub(crate) fn faults(&self, expected: u64) -> DeliveryFaults {
        let missing: u64 = self.missing.iter().map(|range| range.end - range.start).sum();
        DeliveryFaults { lost: missing + expected.saturating_sub(self.passed), ..self.faults }
    }

    /// Takes a piece; returns how many pieces the position advanced.
    pub(crate) fn take(&mut self, mark: Mark) -> u64 {
        if self.is_old(mark) {
            self.take_old(mark);
            return 0;
        }
        let ahead = self.ahead(mark.n);
        if ahead > 0 {
            self.faults.gaps += 1;
            self.missing.push(self.passed..self.passed + ahead);
        }
        self.move_by(ahead + 1, mark.due)
    }

    /// Takes a text that includes all pieces up to this one; returns how many the position
    /// advanced.
    pub(crate) fn supersede(&mut self, mark: Mark) -> u64 {
        if self.is_old(mark) {
            return 0;
        }
        let moved = self.ahead(mark.n) + 1;
        self.superseded += moved;
        self.move_by(moved, mark.due)
    }

    /// Counts a complete text that does not contain all of its pieces.
    pub(crate) fn broken(&mut self) {
        self.faults.gaps += 1;
    }

    fn move_by(&mut self, moved: u64, due: u64) -> u64 {
        self.passed += moved;
        self.due = due;
        moved
    }

    /// The number of the last piece.
    fn last(&self) -> u64 {
        self.passed.checked_sub(1).map_or(0, |passed| passed % self.items + 1)
    }

    fn is_old(&self, mark: Mark) -> bool {
        mark.due < self.due || (mark.due == self.due && mark.n <= self.last())
    }

    /// Number of pieces between the last one and the next one with this number.
    fn ahead(&self, n: u64) -> u64 {
        let expected = self.passed % self.items + 1;
        (n + self.items).saturating_sub(expected) % self.items
    }

    fn take_old(&mut self, mark: Mark) {
        let behind = (self.last() + self.items).saturating_sub(mark.n) % self.items;
        let place = self.passed.saturating_sub(behind + 1);
        if let Some(at) = self.missing.iter().position(|range| range.contains(&place)) {
            let range = self.missing.swap_remove(at);
            self.missing.extend(
                [range.start..place, place + 1..range.end]
                    .into_iter()
                    .filter(|range| !range.is_empty()),
            );
            self.faults.disordered += 1;
        } else if self.may_repeat {
            self.repeated += 1;
        } else {
            self.faults.duplicates += 1;
        }
    }
}

/// Checks the seqs of one session's events, which have no gaps.
#[derive(Debug, Default)]
pub(crate) struct SeqChecker {
    last: Option<u64>,
    gaps: u64,
    duplicates: u64,
}

impl SeqChecker {
    pub(crate) fn take(&mut self, seq: u64) {
        match self.last {
            Some(last) if seq <= last => self.duplicates += 1,
            Some(last) if seq > last + 1 => {
                self.gaps += 1;
                self.last = Some(seq);
            }
            Some(_) | None => self.last = Some(seq),
        }
    }

    /// Starts after this seq.
    pub(crate) fn begin(&mut self, head: u64) {
        self.last = Some(head);
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.unwrap_or(0)
    }

    /// Combines the faults of seqs and of pieces. Pieces are events, so each fault counts once.
    pub(crate) fn with(&self, faults: DeliveryFaults) -> DeliveryFaults {
        DeliveryFaults {
            gaps: faults.gaps.max(self.gaps),
            duplicates: faults.duplicates.max(self.duplicates),
            ..faults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DeliveryChecker, DeliveryFaults, Mark};

    /// Checks two inputs of three pieces each; `taken` are positions from 0.
    fn check(taken: &[u64], lost: u64, gaps: u64, duplicates: u64, disordered: u64) {
        let mut delivery = DeliveryChecker::new(3);
        for place in taken {
            delivery.take(Mark { n: place % 3 + 1, due: 100 + place });
        }
        assert_eq!(
            delivery.faults(6),
            DeliveryFaults { lost, gaps, duplicates, disordered },
            "{taken:?}"
        );
    }

    #[test]
    fn each_kind_of_fault_is_counted() {
        check(&[0, 1, 2, 3, 4, 5], 0, 0, 0, 0);
        check(&[0, 1, 2, 3, 4], 1, 0, 0, 0);
        check(&[0, 2, 3, 4, 5], 1, 1, 0, 0);
        // Only the total shows that the first input is missing.
        check(&[3, 4, 5], 3, 0, 0, 0);
        check(&[0, 1, 1, 2, 3, 4, 5], 0, 0, 1, 0);
        check(&[0, 1, 2, 1, 3, 4, 5], 0, 0, 1, 0);
        check(&[0, 2, 1, 3, 4, 5], 0, 1, 0, 1);
        // A gap of a whole input: only the total shows it, and on the native wire the seqs.
        check(&[0, 1, 5], 3, 0, 0, 0);
        check(&[], 6, 0, 0, 0);
    }

    #[test]
    fn superseded_pieces_are_not_lost() {
        let mut delivery = DeliveryChecker::new(5);
        delivery.take(Mark { n: 1, due: 1 });
        assert_eq!(delivery.supersede(Mark { n: 4, due: 4 }), 3);
        delivery.take(Mark { n: 5, due: 5 });
        assert_eq!((delivery.superseded(), delivery.faults(5)), (3, DeliveryFaults::default()));
    }
}
