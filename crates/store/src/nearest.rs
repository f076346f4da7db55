//! The vectors nearest to another, among those that are shown one by one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The notes nearest in meaning to a unit vector.
pub(crate) struct Nearest<'a> {
    to: &'a [f32],
    limit: usize,
    /// The least similar one is on top.
    found: BinaryHeap<NearNote>,
}

impl<'a> Nearest<'a> {
    pub(crate) fn new(to: &'a [f32], limit: usize) -> Self {
        Self { to, limit, found: BinaryHeap::new() }
    }

    /// Compares a note's stored vector.
    pub(crate) fn push(&mut self, note: i64, vector: &[u8]) {
        self.found.push(NearNote { similarity: similarity(vector, self.to), note });
        if self.found.len() > self.limit {
            self.found.pop();
        }
    }

    /// The nearest notes, nearest first.
    pub(crate) fn into_notes(self) -> Vec<i64> {
        self.found.into_sorted_vec().into_iter().map(|near| near.note).collect()
    }
}

/// A note found by meaning. The least similar note is the greatest.
struct NearNote {
    similarity: f32,
    note: i64,
}

impl Ord for NearNote {
    fn cmp(&self, other: &Self) -> Ordering {
        other.similarity.total_cmp(&self.similarity).then(self.note.cmp(&other.note))
    }
}

impl PartialOrd for NearNote {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for NearNote {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for NearNote {}

/// Scalar product of a stored vector with another: for unit vectors, the cosine of their angle.
fn similarity(bytes: &[u8], to: &[f32]) -> f32 {
    let (numbers, _) = bytes.as_chunks::<4>();
    if numbers.len() != to.len() {
        return f32::MIN;
    }
    numbers.iter().zip(to).map(|(number, other)| f32::from_le_bytes(*number) * other).sum()
}
