//! What one reader got, held against what it should have got.

use std::ops::Range;

use serde::Serialize;

use super::mark::Mark;

/// What went wrong in one reader's view, or in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeliveryFaults {
    /// Pieces that never came.
    pub(crate) lost: u64,
    /// How often a number was passed over.
    pub(crate) gaps: u64,
    /// Pieces that came twice.
    pub(crate) duplicates: u64,
    /// Pieces that came after a later one.
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

/// One reader's pieces: input for input, each from 1 to `items`.
#[derive(Debug)]
pub(crate) struct DeliveryChecker {
    items: u64,
    /// How many pieces it is past, over all inputs.
    passed: u64,
    /// When the last one was due.
    due: u64,
    /// Those that were passed over.
    missing: Vec<Range<u64>>,
    /// Deltas that it lost by right: something later stood for them.
    superseded: u64,
    /// Pieces that came again where the wire may repeat them.
    repeated: u64,
    may_repeat: bool,
    faults: DeliveryFaults,
}

impl DeliveryChecker {
    /// Of a reader whose inputs make so many pieces each.
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

    /// From here on pieces may come again: the connection was made anew, on a wire without positions.
    pub(crate) fn may_repeat(&mut self) {
        self.may_repeat = true;
    }

    /// What went wrong, when so many pieces were to come.
    pub(crate) fn faults(&self, expected: u64) -> DeliveryFaults {
        let missing: u64 = self.missing.iter().map(|range| range.end - range.start).sum();
        DeliveryFaults { lost: missing + expected.saturating_sub(self.passed), ..self.faults }
    }

    /// Takes a piece; gives how far it moved.
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

    /// Takes a text that stands for all pieces up to this one; gives how far it moved.
    pub(crate) fn supersede(&mut self, mark: Mark) -> u64 {
        if self.is_old(mark) {
            return 0;
        }
        let moved = self.ahead(mark.n) + 1;
        self.superseded += moved;
        self.move_by(moved, mark.due)
    }

    /// Notes that a whole text was not what its pieces should make.
    pub(crate) fn broken(&mut self) {
        self.faults.gaps += 1;
    }

    fn move_by(&mut self, moved: u64, due: u64) -> u64 {
        self.passed += moved;
        self.due = due;
        moved
    }

    /// The number of the last piece passed.
    fn last(&self) -> u64 {
        self.passed.checked_sub(1).map_or(0, |passed| passed % self.items + 1)
    }

    fn is_old(&self, mark: Mark) -> bool {
        mark.due < self.due || (mark.due == self.due && mark.n <= self.last())
    }

    /// How many pieces lie between the last one and the next of this number.
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

/// The numbers of one session's events, which have no gaps at all.
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

    /// Where it begins: behind this one.
    pub(crate) fn begin(&mut self, head: u64) {
        self.last = Some(head);
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.unwrap_or(0)
    }

    /// Its faults and those of the pieces, which are events as well, each counted once.
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

    /// Two inputs of three pieces; `taken` are positions from 0.
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
    fn every_fault_is_counted_as_what_it_is() {
        check(&[0, 1, 2, 3, 4, 5], 0, 0, 0, 0);
        check(&[0, 1, 2, 3, 4], 1, 0, 0, 0);
        check(&[0, 2, 3, 4, 5], 1, 1, 0, 0);
        check(&[3, 4, 5], 3, 0, 0, 0); // A first input that nobody saw is found by its total alone.
        check(&[0, 1, 1, 2, 3, 4, 5], 0, 0, 1, 0);
        check(&[0, 1, 2, 1, 3, 4, 5], 0, 0, 1, 0);
        check(&[0, 2, 1, 3, 4, 5], 0, 1, 0, 1);
        check(&[0, 1, 5], 3, 0, 0, 0); // As many as an input has: again the total finds it, and on the native wire the positions.
        check(&[], 6, 0, 0, 0);
    }

    #[test]
    fn what_stands_for_pieces_is_no_loss() {
        let mut delivery = DeliveryChecker::new(5);
        delivery.take(Mark { n: 1, due: 1 });
        assert_eq!(delivery.supersede(Mark { n: 4, due: 4 }), 3);
        delivery.take(Mark { n: 5, due: 5 });
        assert_eq!((delivery.superseded(), delivery.faults(5)), (3, DeliveryFaults::default()));
    }
}
