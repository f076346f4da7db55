//! Vectors of texts, one byte for each number, compared one by one.

use std::num::NonZero;
use std::thread;

/// Number of vectors below which they are not measured.
const FEW: usize = 50;

/// Size of vectors from which their products are computed by several threads.
const MANY_BYTES: usize = 4 << 20;
/// Maximum number of threads of one search.
const MOST_THREADS: usize = 4;

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
        let products = RowProducts {
            rows: &self.numbers,
            scales: &self.scales,
            to: &to,
            to_scale,
            threads: thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS),
        }
        .compute();
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
    let factor = 1.0 / scale;
    // Rounds by cutting off, which needs no call for each number.
    let byte = |number: &f32| (number * factor + 0.5_f32.copysign(*number)) as i8;
    (vector.iter().map(byte).collect(), scale)
}

/// Scalar products of rows with one vector.
#[derive(Clone, Copy)]
struct RowProducts<'a> {
    rows: &'a [i8],
    scales: &'a [f32],
    to: &'a [i16],
    to_scale: f32,
    /// Maximum number of threads.
    threads: usize,
}

impl RowProducts<'_> {
    /// Computes them in the order of the rows. One core alone reads memory more slowly than some
    /// together, so many rows are shared out.
    fn compute(self) -> Vec<f32> {
        if self.threads < 2 || self.rows.len() < MANY_BYTES {
            return self.compute_here();
        }
        let (first, second) = self.halves();
        thread::scope(|scope| {
            let spawned = thread::Builder::new().spawn_scoped(scope, || first.compute());
            let second = second.compute();
            // Without another thread, this one does it all.
            let done = spawned.ok().and_then(|first| first.join().ok());
            let mut products = done.unwrap_or_else(|| first.compute_here());
            products.extend(second);
            products
        })
    }

    fn halves(self) -> (Self, Self) {
        let middle = self.scales.len() / 2;
        let (rows, other_rows) = self.rows.split_at(middle * self.to.len());
        let (scales, other_scales) = self.scales.split_at(middle);
        let threads = self.threads / 2;
        (
            Self { rows, scales, threads, ..self },
            Self { rows: other_rows, scales: other_scales, threads, ..self },
        )
    }

    fn compute_here(self) -> Vec<f32> {
        let mut products = vec![0.0; self.scales.len()];
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            simd.vectorize(WideProducts { simd, rows: self, products: &mut products });
            return products;
        }
        self.each(&mut products, product);
        products
    }

    #[inline(always)]
    fn each(self, products: &mut [f32], product: impl Fn(&[i8], &[i16]) -> i32) {
        let rows = self.rows.chunks_exact(self.to.len()).zip(self.scales);
        // A loop, since iterators' own functions are not compiled with the vector instructions.
        for ((row, scale), place) in rows.zip(products) {
            *place = product(row, self.to) as f32 * (scale * self.to_scale);
        }
    }
}

/// Scalar product. Vectors have fewer than 100,000 numbers, so the sum fits.
#[inline(always)]
fn product(row: &[i8], to: &[i16]) -> i32 {
    row.iter().zip(to).map(|(one, other)| i32::from(*one) * i32::from(*other)).sum()
}

/// The same with AVX2: sixteen numbers at once, about as fast as they can be read from memory.
#[cfg(target_arch = "x86_64")]
struct WideProducts<'a> {
    simd: pulp::x86::V3,
    rows: RowProducts<'a>,
    products: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for WideProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let simd = self.simd;
        let add = |sum, row: [i8; 16], to: [i16; 16]| {
            let row = simd.convert_i8x16_to_i16x16(pulp::cast(row));
            let pairs = simd.multiply_wrapping_add_adjacent_i16x16(row, pulp::cast(to));
            simd.wrapping_add_i32x8(sum, pairs)
        };
        self.rows.each(
            self.products,
            #[inline(always)]
            |row, to| {
                let (row, row_rest) = row.as_chunks::<32>();
                let (to, to_rest) = to.as_chunks::<32>();
                let mut sums = [simd.splat_i32x8(0); 2];
                for (row, to) in row.iter().zip(to) {
                    let (row, _) = row.as_chunks::<16>();
                    let (to, _) = to.as_chunks::<16>();
                    for ((sum, row), to) in sums.iter_mut().zip(row).zip(to) {
                        *sum = add(*sum, *row, *to);
                    }
                }
                let [one, other] = sums;
                let lanes: [i32; 8] = pulp::cast(simd.wrapping_add_i32x8(one, other));
                lanes.into_iter().sum::<i32>() + product(row_rest, to_rest)
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_of_a_row_count() {
        for length in [1, 15, 16, 31, 32, 33, 64, 100, 384] {
            let row: Vec<i8> = (0..length).map(|at| (at * 37 % 255 - 127) as i8).collect();
            let to: Vec<i16> = (0..length).map(|at| (at * 53 % 255 - 127) as i16).collect();
            let scales = [1.0; 3];
            let rows = [row.as_slice(); 3].concat();
            let one =
                RowProducts { rows: &rows, scales: &scales, to: &to, to_scale: 1.0, threads: 1 };
            let (first, second) = one.halves();
            assert_eq!((first.compute().len(), second.compute().len()), (1, 2));
            let products = one.compute();
            assert_eq!(products, [product(&row, &to) as f32; 3], "{length}");
        }
    }

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
