//! The index over the texts of one agent.

use std::collections::HashMap;

use crate::analysis::{AnalyzedText, Analyzer, MOST_TERMS, TermRole};
use crate::query::SearchQuery;
use crate::ranking::{self, FoundTexts, SearchFilter};
use crate::vectors::VectorTable;

/// Texts of one thread are neighbours if no more time than this is between them: one hour.
const NEIGHBOUR_MILLIS: u64 = 3_600_000;
/// Maximum number of words whose terms are kept while texts are added: about 10 MB.
const MOST_KNOWN: usize = 50_000;
/// Stands for a text that there is not.
const NONE: u32 = u32::MAX;

/// A text to index.
#[derive(Debug, Clone, Copy)]
pub struct NewText<'a> {
    /// Its number, unique in the index.
    pub id: i64,
    /// When it was said or written, in milliseconds.
    pub at: i64,
    /// The conversation that it belongs to. Texts of one thread are added in their order.
    pub thread: i64,
    /// Its text. The index keeps its terms only.
    pub text: &'a str,
}

/// An index over the texts of one agent: terms, and vectors where there is an embedding model.
///
/// Takes about 10 bytes for each word, 40 bytes for each text, and one byte for each number of a
/// vector: see [`SearchIndex::bytes`]. Texts are only added; after a deletion the owner makes a new
/// index.
#[derive(Default)]
pub struct SearchIndex {
    pub(crate) texts: Vec<IndexedText>,
    /// Number of words of each text that count.
    lengths: Vec<f32>,
    /// The texts before and after each text in its thread, or `NONE`.
    pub(crate) links: Vec<[u32; 2]>,
    by_id: HashMap<i64, u32>,
    last_of_thread: HashMap<i64, u32>,
    numbers: HashMap<Box<str>, u32>,
    pub(crate) postings: Vec<Vec<Posting>>,
    /// The terms of all texts, one text behind the other.
    terms: Vec<u32>,
    words: u64,
    term_bytes: usize,
    posting_count: usize,
    pub(crate) vectors: VectorTable,
    analyzer: Analyzer,
    /// The terms of words that came before, while many texts are added.
    known_words: HashMap<Box<[char]>, Box<[KnownTerm]>>,
}

/// A term of a word that came before.
struct KnownTerm {
    number: u32,
    is_word: bool,
}

/// A text in the index.
pub(crate) struct IndexedText {
    pub(crate) id: i64,
    pub(crate) at: i64,
    first_term: u32,
}

/// A text that has a term.
#[derive(Clone, Copy)]
pub(crate) struct Posting {
    pub(crate) text: u32,
    pub(crate) times: u16,
}

impl SearchIndex {
    /// Adds a text. Does nothing if a text of this number is there.
    pub fn add(&mut self, new: &NewText<'_>) {
        // Positions are 32 bits: an index of more texts or terms does not fit into memory anyway.
        let (Ok(here), Ok(first_term)) =
            (u32::try_from(self.texts.len()), u32::try_from(self.terms.len()))
        else {
            return;
        };
        if self.by_id.contains_key(&new.id) || here == NONE {
            return;
        }
        self.by_id.insert(new.id, here);
        let length = self.add_terms(new.text, here);
        self.words += u64::from(length);
        let previous = self.last_of_thread.insert(new.thread, here).unwrap_or(NONE);
        let previous = self.link(previous, here, new.at);
        self.links.push([previous, NONE]);
        self.lengths.push(f32::from(length));
        self.texts.push(IndexedText { id: new.id, at: new.at, first_term });
    }

    /// Adds the terms of a text. Gives the number of words that count.
    fn add_terms(&mut self, text: &str, here: u32) -> u16 {
        let first = self.terms.len();
        let text = AnalyzedText::new(text);
        let mut length = 0_u16;
        let mut from = 0;
        let mut known = std::mem::take(&mut self.known_words);
        while let Some(run) = text.run_from(from).filter(|_| self.terms.len() < first + MOST_TERMS)
        {
            from = run.end;
            let word = text.word(run.clone());
            if let Some(found) = word.and_then(|word| known.get(word)) {
                length = length.saturating_add(self.add_numbers(found, here));
                continue;
            }
            let terms = self.analyzer.run_terms(&text, run);
            let numbers: Vec<KnownTerm> = terms
                .into_iter()
                .map(|term| KnownTerm {
                    is_word: term.role == TermRole::Word,
                    number: self.number_of(term.text),
                })
                .collect();
            length = length.saturating_add(self.add_numbers(&numbers, here));
            if let Some(word) = word.filter(|_| known.len() < MOST_KNOWN) {
                known.insert(word.into(), numbers.into());
            }
        }
        self.known_words = known;
        length
    }

    fn add_numbers(&mut self, terms: &[KnownTerm], here: u32) -> u16 {
        for term in terms {
            self.terms.push(term.number);
            self.post(term.number, here);
        }
        terms.iter().map(|term| u16::from(term.is_word)).fold(0, u16::saturating_add)
    }

    /// Forgets what only makes adding many texts faster. To be called behind the last of them.
    pub fn added_all(&mut self) {
        self.known_words = HashMap::new();
    }

    fn number_of(&mut self, term: String) -> u32 {
        if let Some(number) = self.numbers.get(term.as_str()) {
            return *number;
        }
        let number = u32::try_from(self.postings.len()).unwrap_or(NONE);
        self.term_bytes += term.len();
        self.numbers.insert(term.into_boxed_str(), number);
        self.postings.push(Vec::new());
        number
    }

    fn post(&mut self, number: u32, text: u32) {
        let Some(postings) = self.postings.get_mut(number as usize) else { return };
        match postings.last_mut() {
            Some(last) if last.text == text => last.times = last.times.saturating_add(1),
            Some(_) | None => {
                postings.push(Posting { text, times: 1 });
                self.posting_count += 1;
            }
        }
    }

    /// Links a text with the one before it, if that is near in time.
    fn link(&mut self, previous: u32, here: u32, at: i64) -> u32 {
        let is_near = self
            .texts
            .get(previous as usize)
            .is_some_and(|text| at.abs_diff(text.at) <= NEIGHBOUR_MILLIS);
        match self.links.get_mut(previous as usize) {
            Some([_, next]) if is_near => {
                *next = here;
                previous
            }
            Some(_) | None => NONE,
        }
    }

    /// Sets the vector of a text. Tells whether there is such a text. A vector of another length
    /// than the others is ignored.
    pub fn set_vector(&mut self, id: i64, vector: &[f32]) -> bool {
        let Some(text) = self.by_id.get(&id) else { return false };
        self.vectors.set(*text, vector);
        true
    }

    /// Measures again how well the vectors tell these texts apart, if there are many more than at
    /// the last time. To be called after vectors were set.
    pub fn calibrate(&mut self) {
        if self.vectors.grew() {
            let quality = crate::meaning::quality(self);
            self.vectors.calibrated(quality);
        }
    }

    /// How well the vectors tell these texts apart, from 0 to 1; `None` where there are too few.
    #[must_use]
    pub fn quality(&self) -> Option<f32> {
        self.vectors.quality()
    }

    /// Removes all vectors: for another embedding model.
    pub fn clear_vectors(&mut self) {
        self.vectors = VectorTable::default();
    }

    /// Searches by words, and by meaning where the query's vector is given.
    #[must_use]
    pub fn search(
        &self,
        query: &SearchQuery,
        meaning: Option<&[f32]>,
        filter: &SearchFilter,
    ) -> FoundTexts {
        ranking::search(self, query, meaning, filter)
    }

    /// Numbers of the texts before and after a text in its thread, in order, without the text.
    #[must_use]
    pub fn neighbours(&self, id: i64) -> [Option<i64>; 2] {
        let Some(text) = self.by_id.get(&id) else { return [None, None] };
        let id_of = |text: Option<u32>| self.texts.get(text? as usize).map(|text| text.id);
        [id_of(self.previous(*text)), id_of(self.next(*text))]
    }

    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether it has no texts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Number of texts with a vector.
    #[must_use]
    pub fn vector_count(&self) -> usize {
        self.vectors.len()
    }

    /// Estimate of its size in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// Size of an entry of a hash map, with its share of free places.
        const ENTRY: usize = 32;
        const TEXT: usize = size_of::<IndexedText>() + size_of::<f32>() + size_of::<[u32; 2]>();
        let texts = self.texts.len() * (TEXT + ENTRY);
        let numbers = self.numbers.len() * (2 * ENTRY + size_of::<Vec<Posting>>());
        // Growing vectors have up to twice their length.
        let lists = self.terms.len() * 4 + self.posting_count * size_of::<Posting>();
        texts + numbers + self.term_bytes + lists * 3 / 2 + self.vectors.bytes()
    }

    pub(crate) fn number(&self, term: &str) -> Option<u32> {
        self.numbers.get(term).copied()
    }

    pub(crate) fn of_term(&self, number: u32) -> &[Posting] {
        self.postings.get(number as usize).map_or(&[], Vec::as_slice)
    }

    /// Number of words of a text that count.
    pub(crate) fn length(&self, text: u32) -> f32 {
        self.lengths.get(text as usize).copied().unwrap_or(0.0)
    }

    /// Mean number of words of a text that count; at least 1.
    pub(crate) fn mean_length(&self) -> f32 {
        (self.words as f32 / self.texts.len().max(1) as f32).max(1.0)
    }

    pub(crate) fn previous(&self, text: u32) -> Option<u32> {
        self.links.get(text as usize).map(|[previous, _]| *previous).filter(|text| *text != NONE)
    }

    pub(crate) fn next(&self, text: u32) -> Option<u32> {
        self.links.get(text as usize).map(|[_, next]| *next).filter(|text| *text != NONE)
    }

    /// Whether a text has some terms one behind the other.
    pub(crate) fn has_phrase(&self, text: u32, phrase: &[u32]) -> bool {
        let Some(found) = self.texts.get(text as usize) else { return false };
        let end = self
            .texts
            .get(text as usize + 1)
            .map_or(self.terms.len(), |next| next.first_term as usize);
        let terms = self.terms.get(found.first_term as usize..end).unwrap_or_default();
        !phrase.is_empty() && terms.windows(phrase.len()).any(|terms| terms == phrase)
    }
}
