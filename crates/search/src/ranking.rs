//! One ranking by words, by meaning and by neighbours.
//!
//! Words: BM25 over the agent's own texts, where a term in a neighbouring text counts a little as
//! if it stood in the text itself. Meaning: how far a text's similarity stands out among all texts
//! of the agent. The weight of the meaning depends on two measurements of the model: how well its
//! vectors tell these texts apart, and how similar to the query they rate the texts that the words
//! found. If either is too low, the weight is zero.

use std::collections::HashSet;

use crate::index::SearchIndex;
use crate::query::SearchQuery;

/// How quickly more of the same word counts less, and how much a text's length matters. Measured
/// with conversations: short texts, where length says little.
const K1: f32 = 0.8;
const B: f32 = 0.3;
/// Shares with which a term counts that stands one, two or three texts away.
const NEAR_WORDS: [f32; 3] = [0.25, 0.15, 0.05];
/// Shares with which the meaning of texts counts that are one or two texts away.
const NEAR_MEANING: [f32; 2] = [0.4, 0.2];
/// Largest weight of a standard deviation of meaning, where the best text by words counts 1.
const MEANING_WEIGHT: f32 = 0.2;
/// Measured quality of a model below which it does not count, and above which it counts fully.
const QUALITY: (f32, f32) = (0.28, 0.34);
/// Number of the best texts by words that the meaning must agree with, and the mean number of
/// standard deviations below which it does not count, and above which it counts fully.
const AGREEMENT: (usize, f32, f32) = (5, 0.8, 1.6);
/// Share of the weight of a model that could not be measured because there are few texts.
const UNMEASURED: f32 = 0.5;
/// Standard deviations from which a text is found by meaning alone, and number of such texts.
const FOUND_BY_MEANING: (f32, usize) = (1.5, 20);
/// Texts that score less than this share of the best one are not shown.
const FLOOR: f32 = 0.15;

/// The texts that may be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilter {
    /// Not said before this instant, in milliseconds.
    pub from: Option<i64>,
    /// Not said after this instant, in milliseconds.
    pub to: Option<i64>,
}

impl SearchFilter {
    fn admits(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to)
    }
}

/// A text that was found, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchHit {
    /// Its number.
    pub id: i64,
    /// Its score. Scores of different searches cannot be compared.
    pub score: f32,
    /// Part of the score from words of the query that it has.
    pub words: f32,
    /// Part of the score from its meaning.
    pub meaning: f32,
    /// Part of the score from words of the query in neighbouring texts.
    pub neighbours: f32,
}

/// The texts that a search found, not yet in their order: most searches show a few.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundTexts {
    hits: Vec<SearchHit>,
}

impl FoundTexts {
    /// Number of texts found.
    #[must_use]
    pub fn total(&self) -> usize {
        self.hits.len()
    }

    /// Some of the texts, best first. Of texts that are equally good, the newest is first.
    #[must_use]
    pub fn page(mut self, offset: usize, limit: usize) -> Vec<SearchHit> {
        let order = |one: &SearchHit, other: &SearchHit| {
            other.score.total_cmp(&one.score).then(other.id.cmp(&one.id))
        };
        let end = offset.saturating_add(limit);
        if end < self.hits.len() {
            self.hits.select_nth_unstable_by(end, order);
            self.hits.truncate(end);
        }
        self.hits.sort_unstable_by(order);
        self.hits.split_off(offset.min(self.hits.len()))
    }
}

/// Searches an index.
pub(crate) fn search(
    index: &SearchIndex,
    query: &SearchQuery,
    meaning: Option<&[f32]>,
    filter: &SearchFilter,
) -> FoundTexts {
    let words = WordScores::of(index, query);
    let phrases = with_phrases(index, query);
    let meaning = meaning.and_then(|vector| MeaningScores::of(index, vector, &words));
    let mut hits = Vec::new();
    let mut consider = |at: usize, words: &WordScores| {
        let Some(text) = index.texts.get(at) else { return };
        if !filter.admits(text.at) || phrases.as_ref().is_some_and(|texts| !texts.contains(&at)) {
            return;
        }
        let own = words.own.get(at).copied().unwrap_or(0.0);
        let all = words.all.get(at).copied().unwrap_or(0.0);
        let signal = meaning.as_ref().map_or(0.0, |found| found.of_text(at));
        let (own, neighbours) = (own / words.most, (all - own) / words.most);
        let score = own + neighbours + signal;
        hits.push(SearchHit { id: text.id, score, words: own, meaning: signal, neighbours });
    };
    words.found.iter().for_each(|text| consider(*text as usize, &words));
    for at in meaning.iter().flat_map(MeaningScores::found) {
        if words.own.get(at).is_none_or(|own| *own <= 0.0) {
            consider(at, &words);
        }
    }
    let best = hits.iter().map(|hit| hit.score).fold(0.0, f32::max);
    hits.retain(|hit| hit.score >= best * FLOOR);
    FoundTexts { hits }
}

/// Scores by words of all texts.
struct WordScores {
    /// From terms in the text itself.
    own: Vec<f32>,
    /// From terms in the text and its neighbours.
    all: Vec<f32>,
    /// The texts that have terms themselves, in no order.
    found: Vec<u32>,
    /// The largest of all scores of those; 1 where there is none.
    most: f32,
}

impl WordScores {
    fn of(index: &SearchIndex, query: &SearchQuery) -> Self {
        let count = index.texts.len();
        let (own, all) = (vec![0.0; count], vec![0.0; count]);
        let mut scores = Self { own, all, found: Vec::new(), most: 0.0 };
        let mean = index.mean_length();
        // The times of one term: in the text itself, and with its neighbours.
        let mut times = vec![0.0_f32; count];
        let mut touched = Vec::new();
        for term in &query.terms {
            let Some(number) = index.number(&term.text) else { continue };
            let postings = index.of_term(number);
            let having = postings.len() as f32;
            let rarity = (1.0 + (count as f32 - having + 0.5) / (having + 0.5)).ln();
            let weight = term.weight * rarity * (K1 + 1.0);
            for posting in postings {
                let here = f32::from(posting.times);
                note(&mut times, &mut touched, posting.text, here);
                let (mut before, mut behind) = (Some(posting.text), Some(posting.text));
                for share in NEAR_WORDS {
                    before = before.and_then(|text| index.previous(text));
                    behind = behind.and_then(|text| index.next(text));
                    for text in before.into_iter().chain(behind) {
                        note(&mut times, &mut touched, text, here * share);
                    }
                }
                if let Some(own) = scores.own.get_mut(posting.text as usize) {
                    if *own == 0.0 {
                        scores.found.push(posting.text);
                    }
                    *own += weight * saturated(here, index, posting.text, mean);
                }
            }
            for text in touched.drain(..) {
                let at = text as usize;
                let (Some(times), Some(all)) = (times.get_mut(at), scores.all.get_mut(at)) else {
                    continue;
                };
                *all += weight * saturated(*times, index, text, mean);
                *times = 0.0;
            }
        }
        let found = scores.found.iter().filter_map(|text| scores.all.get(*text as usize));
        scores.most = found.copied().fold(0.0, f32::max);
        if scores.most <= 0.0 {
            scores.most = 1.0;
        }
        scores
    }

    /// The best texts by words.
    fn best(&self, limit: usize) -> Vec<usize> {
        let mut best: Vec<(f32, usize)> = Vec::new();
        for at in self.found.iter().map(|text| *text as usize) {
            let all = self.all.get(at).copied().unwrap_or(0.0);
            let is_better =
                best.len() < limit || best.last().is_some_and(|(least, _)| all > *least);
            if is_better {
                // The first of equal ones.
                let place = best.partition_point(|(score, other)| {
                    *score > all || (*score == all && *other < at)
                });
                best.insert(place, (all, at));
                best.truncate(limit);
            }
        }
        best.into_iter().map(|(_, at)| at).collect()
    }
}

/// Adds to the times of a term in a text.
fn note(times: &mut [f32], touched: &mut Vec<u32>, text: u32, more: f32) {
    if let Some(times) = times.get_mut(text as usize) {
        if *times == 0.0 {
            touched.push(text);
        }
        *times += more;
    }
}

fn saturated(times: f32, index: &SearchIndex, text: u32, mean: f32) -> f32 {
    let length = index.length(text);
    times / (times + K1 * (1.0 - B + B * length / mean))
}

/// The texts that have all phrases of a query; `None` where it has none, or no text has them.
fn with_phrases(index: &SearchIndex, query: &SearchQuery) -> Option<HashSet<usize>> {
    let mut found: Option<HashSet<usize>> = None;
    for phrase in &query.phrases {
        let numbers: Option<Vec<u32>> = phrase.iter().map(|term| index.number(term)).collect();
        let numbers = numbers?;
        let rarest = numbers.iter().map(|number| index.of_term(*number)).min_by_key(|of| of.len());
        let texts = rarest.unwrap_or_default().iter().map(|posting| posting.text);
        let having: HashSet<usize> = texts
            .filter(|text| index.has_phrase(*text, &numbers))
            .map(|text| text as usize)
            .filter(|text| found.as_ref().is_none_or(|found| found.contains(text)))
            .collect();
        found = Some(having);
    }
    found.filter(|texts| !texts.is_empty())
}

/// Scores by meaning of all texts.
struct MeaningScores {
    /// Standard deviations above the mean, of the text itself.
    own: Vec<f32>,
    /// The same of the text with its neighbours.
    all: Vec<f32>,
    weight: f32,
    /// Standard deviations from which a text is found by meaning alone.
    found_from: f32,
}

impl MeaningScores {
    fn of(index: &SearchIndex, vector: &[f32], words: &WordScores) -> Option<Self> {
        let mut own = index.vectors.similarities(vector, index.texts.len())?;
        standardize(&mut own);
        let mut all = with_neighbours(index, &own);
        standardize(&mut all);
        let trust = index.vectors.quality().map_or(UNMEASURED, |found| ramp(found, QUALITY));
        let (count, low, high) = AGREEMENT;
        let best = words.best(count);
        let agreed = best.iter().filter_map(|at| all.get(*at)).sum::<f32>();
        let agreement = if best.is_empty() {
            // There is nothing to agree with, and no ranking to spoil.
            1.0
        } else {
            ramp(agreed / best.len() as f32, (low, high))
        };
        let weight = MEANING_WEIGHT * trust.max(if best.is_empty() { UNMEASURED } else { 0.0 });
        let (least, most_found) = FOUND_BY_MEANING;
        let last = highest(&own, most_found + 1).unwrap_or(f32::MAX);
        // Among few texts, none can stand out that far.
        let least = if own.len() < 2 * most_found { 0.0 } else { least };
        Some(Self { own, all, weight: weight * agreement, found_from: last.max(least) })
    }

    /// The part of the score of a text.
    fn of_text(&self, at: usize) -> f32 {
        self.all.get(at).copied().unwrap_or(0.0) * self.weight
    }

    /// The texts that are found by meaning alone.
    fn found(&self) -> impl Iterator<Item = usize> {
        let is_counted = self.weight > 0.0;
        let found = move |own: f32| is_counted && own > 0.0 && own >= self.found_from;
        self.own.iter().enumerate().filter(move |(_, own)| found(**own)).map(|(at, _)| at)
    }
}

/// The meaning of each text with that of its neighbours.
fn with_neighbours(index: &SearchIndex, own: &[f32]) -> Vec<f32> {
    // A neighbour about something else is no reason against a text. The last entry stands for a
    // neighbour that there is not.
    let mut near: Vec<f32> = Vec::with_capacity(own.len() + 1);
    near.extend(own.iter().map(|own| own.max(0.0)));
    near.push(0.0);
    let nowhere = own.len();
    let of = |text: usize| near.get(text).copied().unwrap_or(0.0);
    let previous = |text: usize| index.links.get(text).map_or(nowhere, |[text, _]| *text as usize);
    let next = |text: usize| index.links.get(text).map_or(nowhere, |[_, text]| *text as usize);
    let [first, second] = NEAR_MEANING;
    let texts = own.iter().zip(&index.links);
    texts
        .map(|(own, [before, behind])| {
            let (before, behind) = (*before as usize, *behind as usize);
            let further = of(previous(before)) + of(next(behind));
            own + first * (of(before) + of(behind)) + second * further
        })
        .collect()
}

/// The number that is at a place if numbers are ordered from the highest down; the lowest if there
/// are fewer.
fn highest(numbers: &[f32], place: usize) -> Option<f32> {
    let mut best: Vec<f32> = Vec::with_capacity(place + 1);
    let mut least = f32::NEG_INFINITY;
    for number in numbers {
        if best.len() < place || *number > least {
            let at = best.partition_point(|other| other >= number);
            best.insert(at, *number);
            best.truncate(place);
            least = best.last().copied().unwrap_or(f32::NEG_INFINITY);
        }
    }
    best.last().copied()
}

/// Changes numbers to standard deviations from their mean. Missing ones become 0.
fn standardize(numbers: &mut [f32]) {
    let count = sum(numbers, |number| if number.is_nan() { 0.0 } else { 1.0 }).max(1.0);
    let mean = sum(numbers, |number| if number.is_nan() { 0.0 } else { number }) / count;
    let mean = mean as f32;
    let from_mean = |number: f32| if number.is_nan() { 0.0 } else { number - mean };
    let deviation = (sum(numbers, |number| from_mean(number).powi(2)) / count).sqrt();
    let factor = if deviation <= 1e-6 { 0.0 } else { 1.0 / deviation } as f32;
    for number in numbers {
        *number = from_mean(*number) * factor;
    }
}

/// Adds up something of each number. Sums of a few hundred are exact enough, and quick.
fn sum(numbers: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let part = |part: &[f32]| {
        let mut sums = [0.0_f32; 8];
        let (lanes, rest) = part.as_chunks::<8>();
        for lane in lanes {
            sums.iter_mut().zip(lane).for_each(|(sum, number)| *sum += of(*number));
        }
        let rest: f32 = rest.iter().map(|number| of(*number)).sum();
        f64::from(sums.into_iter().sum::<f32>() + rest)
    };
    numbers.chunks(256).map(part).sum()
}

/// 0 up to a number, 1 from another on, and even between them.
fn ramp(number: f32, (low, high): (f32, f32)) -> f32 {
    ((number - low) / (high - low)).clamp(0.0, 1.0)
}
