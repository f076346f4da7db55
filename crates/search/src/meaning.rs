//! How far the vectors of an embedding model can be trusted with these texts.
//!
//! No one labels an agent's texts, but texts that share a rare word are mostly about the same
//! thing. A good model places them near each other, a weak one does so hardly more often than by
//! chance. So each model is measured with the agent's own texts.

use crate::index::SearchIndex;

/// Numbers of texts with a word that count as rare.
const RARE: std::ops::RangeInclusive<usize> = 2..=4;
/// Number of texts that are looked up.
const PROBES: usize = 300;
/// Number of texts that they are compared with.
const SAMPLE: usize = 600;
/// Number of pairs below which nothing can be said.
const FEW_PROBES: usize = 30;
/// A partner is near if at most this share of the other texts is nearer.
const NEAR: f32 = 0.02;

/// Share of texts for which a text with the same rare word is among the nearest.
pub(crate) fn quality(index: &SearchIndex) -> Option<f32> {
    let vectors = &index.vectors;
    let step = (vectors.len() / SAMPLE).max(1);
    let sample: Vec<(u32, Vec<f32>)> = vectors
        .texts()
        .iter()
        .step_by(step)
        .filter_map(|text| Some((*text, vectors.get(*text)?)))
        .collect();
    // Many models place all texts into one corner. Only the differences between them count.
    let mut mean: Vec<f32> = sample.first().map(|(_, first)| vec![0.0; first.len()])?;
    for (_, vector) in &sample {
        add(&mut mean, vector, 1.0 / sample.len() as f32);
    }
    let centred = |mut vector: Vec<f32>| {
        add(&mut vector, &mean, -1.0);
        let length = product(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|number| *number /= length.max(f32::MIN_POSITIVE));
        vector
    };
    let sample: Vec<(u32, Vec<f32>)> =
        sample.into_iter().map(|(text, vector)| (text, centred(vector))).collect();
    let rare: Vec<_> =
        index.postings.iter().filter(|postings| RARE.contains(&postings.len())).collect();
    let step = (rare.len() / (PROBES / 2)).max(1);
    let (mut probes, mut near) = (0, 0);
    for postings in rare.into_iter().step_by(step) {
        let texts: Vec<(u32, Vec<f32>)> = postings
            .iter()
            .filter_map(|posting| Some((posting.text, centred(vectors.get(posting.text)?))))
            .collect();
        if texts.len() < 2 {
            continue;
        }
        for (text, vector) in &texts {
            let partners = texts.iter().filter(|(other, _)| other != text);
            let best = partners.map(|(_, other)| product(vector, other)).fold(-1.0, f32::max);
            let others = sample.iter().filter(|(other, _)| other != text);
            let nearer = others.filter(|(_, other)| product(vector, other) > best).count();
            probes += 1;
            near += usize::from((nearer as f32) < NEAR * sample.len() as f32);
        }
    }
    (probes >= FEW_PROBES).then(|| near as f32 / probes as f32)
}

fn add(to: &mut [f32], vector: &[f32], factor: f32) {
    for (sum, number) in to.iter_mut().zip(vector) {
        *sum += number * factor;
    }
}

fn product(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}
