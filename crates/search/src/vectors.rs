//! Vectors of texts, one byte for each number, compared one by one.

use std::slice::ChunksExact;

/// Number of vectors below which they are not measured.
const FEW: usize = 50;

/// The vectors of an index.
#[derive(Default)]
pub(crate) struct VectorTable {
    dimensions: usize,
    /// The numbers of all vectors, row behind row.
    numbers: Vec<i8>,
    /// The value of 1 in each row.
    scales: Vec<f32>,
    /// The text of each row.
    texts: Vec<u32>,
    /// The row of each text, plus one; 0 where it has none.
    rows: Vec<u32>,
    calibrated_at: usize,
    quality: Option<f32>,
}

impl VectorTable {
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.numbers.len() + 4 * (self.scales.len() + self.texts.len() + self.rows.len())) * 5 / 4
    }

    /// Sets the vector of a text.
    pub(crate) fn set(&mut self, text: u32, vector: &[f32]) {
        if self.texts.is_empty() {
            self.dimensions = vector.len();
        }
        if vector.is_empty() || vector.len() != self.dimensions {
            return;
        }
        let at = text as usize;
        if self.rows.len() <= at {
            self.rows.resize(at + 1, 0);
        }
        let (bytes, scale) = quantized(vector);
        let Some(row) = self.rows.get_mut(at) else { return };
        if *row == 0 {
            self.texts.push(text);
            self.scales.push(scale);
            self.numbers.extend(bytes);
            *row = u32::try_from(self.texts.len()).unwrap_or(0);
        } else {
            let row = *row as usize - 1;
            let numbers = row * self.dimensions..(row + 1) * self.dimensions;
            if let Some(place) = self.numbers.get_mut(numbers) {
                place.copy_from_slice(&bytes);
            }
            if let Some(place) = self.scales.get_mut(row) {
                *place = scale;
            }
        }
    }

    /// Similarity of each text with a vector; `None` for texts without one, and everywhere if the
    /// vector has another length.
    pub(crate) fn similarities(&self, to: &[f32], texts: usize) -> Option<Vec<f32>> {
        if self.texts.is_empty() || to.len() != self.dimensions {
            return None;
        }
        let (to, to_scale) = quantized(to);
        let to: Vec<i16> = to.into_iter().map(i16::from).collect();
        let mut found = vec![f32::NAN; texts];
        let factors: Vec<f32> = self.scales.iter().map(|scale| scale * to_scale).collect();
        let mut products = vec![0.0; self.texts.len()];
        pulp::Arch::new().dispatch(Products {
            rows: self.numbers.chunks_exact(self.dimensions),
            to: &to,
            factors: &factors,
            products: &mut products,
        });
        for (product, text) in products.into_iter().zip(&self.texts) {
            if let Some(place) = found.get_mut(*text as usize) {
                *place = product;
            }
        }
        Some(found)
    }

    /// The vector of a text.
    pub(crate) fn get(&self, text: u32) -> Option<Vec<f32>> {
        let row = (*self.rows.get(text as usize)? as usize).checked_sub(1)?;
        let numbers = self.numbers.get(row * self.dimensions..(row + 1) * self.dimensions)?;
        let scale = self.scales.get(row)?;
        Some(numbers.iter().map(|number| f32::from(*number) * scale).collect())
    }

    /// The texts that have a vector, in the order in which they got it.
    pub(crate) fn texts(&self) -> &[u32] {
        &self.texts
    }

    /// Whether there are many more vectors than when they were measured.
    pub(crate) fn grew(&self) -> bool {
        self.len() >= FEW && self.len() >= self.calibrated_at + self.calibrated_at / 2
    }

    pub(crate) fn calibrated(&mut self, quality: Option<f32>) {
        self.calibrated_at = self.len();
        self.quality = quality;
    }

    /// How well they tell the agent's texts apart; `None` where that was not measured.
    pub(crate) fn quality(&self) -> Option<f32> {
        self.quality
    }
}

/// A vector with one byte for each number, and what a number counts.
fn quantized(vector: &[f32]) -> (Vec<i8>, f32) {
    let largest = vector.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    if largest <= 0.0 || !largest.is_finite() {
        return (vec![0; vector.len()], 0.0);
    }
    let scale = largest / 127.0;
    (vector.iter().map(|number| (number / scale).round() as i8).collect(), scale)
}

/// Scalar products of rows with one vector. Compiled once for each kind of vector instructions.
struct Products<'a> {
    rows: ChunksExact<'a, i8>,
    to: &'a [i16],
    factors: &'a [f32],
    products: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((row, factor), place) in self.rows.zip(self.factors).zip(self.products) {
            *place = product(row, self.to) as f32 * factor;
        }
    }
}

/// Scalar product. Vectors have fewer than 100,000 numbers, so the sum fits.
#[inline(always)]
fn product(row: &[i8], to: &[i16]) -> i32 {
    row.iter().zip(to).map(|(one, other)| i32::from(i16::from(*one)) * i32::from(*other)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarities_are_nearly_exact() {
        let mut table = VectorTable::default();
        table.set(2, &[0.6, 0.8, 0.0]);
        table.set(0, &[1.0, 0.0, 0.0]);
        table.set(5, &[1.0, 0.0]);
        let found = table.similarities(&[0.6, 0.8, 0.0], 3).unwrap();
        assert!((found[2] - 1.0).abs() < 0.01 && (found[0] - 0.6).abs() < 0.01);
        assert!(found[1].is_nan());
        table.set(2, &[0.0, 0.0, 1.0]);
        assert_eq!(table.len(), 2);
        assert!(table.similarities(&[0.0, 0.0, 1.0], 3).unwrap()[2] > 0.99);
        assert_eq!(table.similarities(&[1.0], 3), None);
    }
}
