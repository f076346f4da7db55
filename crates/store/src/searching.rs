//! Search in an agent's notes and messages, the same on every backend.
//!
//! The words and vectors of an agent are kept in an index in memory, filled from the store when the
//! agent is first searched. Each search first reads what is new: texts and vectors behind the last
//! ones, by number. An index is made again when texts were deleted (`SearchMarks::erased`), or when
//! it has fewer texts than the agent, because another node committed them in another order.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_proto::{AgentId, SessionId, Timestamp};
use thoughtwire_search::{NewText, SearchFilter, SearchHit, SearchIndex, SearchQuery};
use tokio::sync::OwnedMutexGuard;

use crate::{MemoryStore, Note, Page, Recalled, SearchedTexts, StoreError, StoredVector};

/// Memory that the indexes of all agents may take, in bytes: about 600,000 messages without
/// vectors. The index of the search under way may exceed it.
const MOST_BYTES: usize = 256 << 20;
/// Texts read and indexed at a time.
const TEXTS: usize = 1_000;
/// Vectors read at a time.
const VECTORS: usize = 500;
/// Numbers that are read again where a text is missing: it was committed behind a higher number.
const OVERLAP: i64 = 10_000;
/// Most vectors that are kept for texts that were not read yet.
const EARLY: usize = 1_000;
/// Times that an index is brought up to date while the agent's texts change.
const ROUNDS: usize = 5;

/// A search in an agent's memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemoryQuery {
    /// Words, and phrases in quotation marks.
    pub text: String,
    /// Its meaning, where there is an embedding model.
    pub meaning: Option<QueryMeaning>,
    /// Only texts from this instant on.
    pub from: Option<Timestamp>,
    /// Only texts up to this instant, included.
    pub to: Option<Timestamp>,
    /// Number of the best results to pass over.
    pub offset: usize,
    /// Maximum number of results.
    pub limit: usize,
}

/// The vector of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMeaning {
    /// The embedding model. Only vectors of the same model are compared.
    pub model: String,
    /// The vector, of length 1.
    pub vector: Vec<f32>,
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryHit<T> {
    /// The text.
    pub item: T,
    /// Why it was found.
    pub why: WhyFound,
    /// The text before it in the same conversation or import, if it is near in time.
    pub before: Option<T>,
    /// The text behind it.
    pub after: Option<T>,
}

/// The parts of a result's score. Scores of different searches cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WhyFound {
    /// From words of the query in the text.
    pub words: f32,
    /// From the text's meaning.
    pub meaning: f32,
    /// From words of the query in neighbouring texts.
    pub neighbours: f32,
}

/// Search in the memory of agents.
pub struct MemorySearch {
    memory: Arc<dyn MemoryStore>,
    indexes: Arc<SearchIndexes>,
}

impl MemorySearch {
    pub(crate) fn new(memory: Arc<dyn MemoryStore>, indexes: Arc<SearchIndexes>) -> Self {
        Self { memory, indexes }
    }

    /// Searches an agent's notes, best first. A query without words and meaning finds nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn notes(
        &self,
        agent: &AgentId,
        query: &MemoryQuery,
    ) -> Result<Page<MemoryHit<Note>>, StoreError> {
        let (found, total) = self.search(agent, SearchedTexts::Notes, query).await?;
        let read = self.memory.notes_by_id(agent, ids(&found)).await?;
        let texts = read.into_iter().map(|note| (note.id, note)).collect();
        Ok(Page { items: hits(found, &texts), total })
    }

    /// Searches the messages of all sessions of an agent, best first, also those that were not
    /// indexed yet. A query without words and meaning finds nothing.
    ///
    /// # Errors
    /// When the store cannot be read, or messages cannot be indexed.
    pub async fn said(
        &self,
        agent: &AgentId,
        query: &MemoryQuery,
    ) -> Result<Page<MemoryHit<Recalled>>, StoreError> {
        let (found, total) = self.search(agent, SearchedTexts::Said, query).await?;
        let read = self.memory.said_by_id(agent, ids(&found)).await?;
        let texts = read.into_iter().map(|message| (message.id, message)).collect();
        Ok(Page { items: hits(found, &texts), total })
    }

    async fn search(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        query: &MemoryQuery,
    ) -> Result<(Vec<IndexHit>, usize), StoreError> {
        let words = SearchQuery::new(&query.text);
        if words.is_empty() && query.meaning.is_none() {
            return Ok((Vec::new(), 0));
        }
        let model = query.meaning.as_ref().map(|meaning| meaning.model.as_str());
        let index = self.up_to_date(agent, of, model).await?;
        let vector = query.meaning.as_ref().map(|meaning| meaning.vector.clone());
        let filter = SearchFilter {
            from: query.from.map(Timestamp::as_millis),
            to: query.to.map(Timestamp::as_millis),
        };
        let (offset, limit) = (query.offset, query.limit);
        let (found, figures) = blocking(move || {
            let found = index.index.search(&words, vector.as_deref(), &filter);
            let total = found.total();
            let hits = found.page(offset, limit).into_iter();
            let hits = hits.map(|hit| IndexHit { near: index.index.neighbours(hit.id), hit });
            ((hits.collect(), total), index.figures())
        })
        .await?;
        self.indexes.shrink(agent, of, figures);
        Ok(found)
    }

    /// Number of an agent's texts that had no vector at the last search by meaning.
    #[must_use]
    pub fn unembedded(&self, agent: &AgentId, of: SearchedTexts) -> usize {
        self.indexes.figures(agent, of).unembedded
    }

    /// The index over an agent's texts, with everything that is in the store.
    async fn up_to_date(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: Option<&str>,
    ) -> Result<OwnedMutexGuard<AgentIndex>, StoreError> {
        if of == SearchedTexts::Said {
            while self.memory.index_recall().await? {}
        }
        let mut index = self.indexes.of_agent(agent, of).lock_owned().await;
        for round in 0..ROUNDS {
            let marks = self.memory.search_marks(agent).await?;
            if index.erased != marks.erased {
                *index = AgentIndex { erased: marks.erased, ..AgentIndex::default() };
            }
            index = self.read_texts(agent, of, index).await?;
            let count = match of {
                SearchedTexts::Notes => marks.notes,
                SearchedTexts::Said => marks.said,
            };
            if index.index.len() == count {
                break;
            }
            // More than counted: some came between. Fewer: some came with a smaller number.
            if index.index.len() < count {
                match round {
                    0 => index.last_text -= OVERLAP,
                    _later => {
                        *index = AgentIndex { erased: marks.erased, ..AgentIndex::default() };
                    }
                }
            }
        }
        match model {
            Some(model) => self.read_vectors(agent, of, model, index).await,
            None => Ok(index),
        }
    }

    async fn read_texts(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        mut index: OwnedMutexGuard<AgentIndex>,
    ) -> Result<OwnedMutexGuard<AgentIndex>, StoreError> {
        loop {
            let texts: Vec<TextToIndex> = match of {
                SearchedTexts::Notes => {
                    let notes = self.memory.notes(agent, index.last_text, TEXTS).await?;
                    notes.into_iter().map(TextToIndex::from).collect()
                }
                SearchedTexts::Said => {
                    let said = self.memory.said(agent, index.last_text, TEXTS).await?;
                    said.into_iter().map(TextToIndex::from).collect()
                }
            };
            let is_last = texts.len() < TEXTS;
            if !texts.is_empty() {
                index = blocking(move || {
                    index.add(texts);
                    index
                })
                .await?;
            }
            if is_last {
                index.index.added_all();
                return Ok(index);
            }
        }
    }

    async fn read_vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        mut index: OwnedMutexGuard<AgentIndex>,
    ) -> Result<OwnedMutexGuard<AgentIndex>, StoreError> {
        if index.model.as_deref() != Some(model) {
            index.index.clear_vectors();
            index.early_vectors.clear();
            (index.model, index.last_vector) = (Some(model.to_owned()), 0);
        }
        loop {
            let last = index.last_vector;
            let vectors = self.memory.vectors(agent, of, model, last, VECTORS).await?;
            let is_last = vectors.len() < VECTORS;
            if !vectors.is_empty() || !index.early_vectors.is_empty() {
                index = blocking(move || {
                    index.set_vectors(vectors);
                    if is_last {
                        index.index.calibrate();
                    }
                    index
                })
                .await?;
            }
            if is_last {
                return Ok(index);
            }
        }
    }
}

/// The index over one agent's notes or messages.
#[derive(Default)]
struct AgentIndex {
    index: SearchIndex,
    /// Number of the last text and of the last vector that were read.
    last_text: i64,
    last_vector: i64,
    /// The agent's erasures when it was begun.
    erased: i64,
    /// The model of its vectors.
    model: Option<String>,
    /// Vectors of texts that were committed after the index last read texts.
    early_vectors: Vec<StoredVector>,
    /// Numbers of sessions within the index.
    threads: HashMap<SessionId, i64>,
}

impl AgentIndex {
    fn add(&mut self, texts: Vec<TextToIndex>) {
        for TextToIndex { id, at, session, text } in texts {
            let next = i64::try_from(self.threads.len()).unwrap_or(i64::MAX);
            let thread = session.map_or(0, |session| *self.threads.entry(session).or_insert(next));
            self.index.add(&NewText { id, at: at.as_millis(), thread, text: &text });
            self.last_text = self.last_text.max(id);
        }
    }

    fn set_vectors(&mut self, new: Vec<StoredVector>) {
        self.last_vector = new.iter().map(|vector| vector.id).fold(self.last_vector, i64::max);
        let vectors = std::mem::take(&mut self.early_vectors).into_iter().chain(new);
        let early = vectors.filter(|vector| !self.index.set_vector(vector.text, &vector.vector));
        // Those of texts that were deleted never find theirs.
        self.early_vectors = early.take(EARLY).collect();
    }

    fn figures(&self) -> IndexFigures {
        let has_vectors = self.model.is_some();
        let unembedded = self.index.len() - self.index.vector_count();
        IndexFigures {
            bytes: self.index.bytes(),
            unembedded: if has_vectors { unembedded } else { 0 },
        }
    }
}

/// Figures of an index after a search.
#[derive(Debug, Clone, Copy, Default)]
struct IndexFigures {
    /// Its size in memory.
    bytes: usize,
    /// Number of texts without a vector of its model.
    unembedded: usize,
}

/// A text on its way into an index.
struct TextToIndex {
    id: i64,
    at: Timestamp,
    /// The session of a message.
    session: Option<SessionId>,
    text: String,
}

impl From<Note> for TextToIndex {
    fn from(note: Note) -> Self {
        Self { id: note.id, at: note.at, session: None, text: note.text }
    }
}

impl From<Recalled> for TextToIndex {
    fn from(said: Recalled) -> Self {
        Self { id: said.id, at: said.at, session: Some(said.session), text: said.text }
    }
}

/// A hit with the numbers of the texts before and behind it.
struct IndexHit {
    hit: SearchHit,
    near: [Option<i64>; 2],
}

/// The numbers of all texts that results show.
fn ids(found: &[IndexHit]) -> Vec<i64> {
    let all = found
        .iter()
        .flat_map(|found| std::iter::once(found.hit.id).chain(found.near.into_iter().flatten()));
    let mut ids: Vec<i64> = all.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The results, without those that were deleted meanwhile.
fn hits<T: Clone>(found: Vec<IndexHit>, texts: &HashMap<i64, T>) -> Vec<MemoryHit<T>> {
    let text = |id: Option<i64>| texts.get(&id?).cloned();
    found
        .into_iter()
        .filter_map(|IndexHit { hit, near: [before, after] }| {
            let SearchHit { id, score: _, words, meaning, neighbours } = hit;
            let why = WhyFound { words, meaning, neighbours };
            Some(MemoryHit { item: text(Some(id))?, why, before: text(before), after: text(after) })
        })
        .collect()
}

/// The indexes in memory. The one that was not used for longest goes first.
#[derive(Default)]
pub(crate) struct SearchIndexes(Mutex<CachedIndexes>);

#[derive(Default)]
struct CachedIndexes {
    entries: HashMap<(AgentId, SearchedTexts), CachedIndex>,
    /// Number of uses so far.
    uses: u64,
}

struct CachedIndex {
    index: Arc<tokio::sync::Mutex<AgentIndex>>,
    figures: IndexFigures,
    used: u64,
}

impl SearchIndexes {
    /// The index over an agent's texts, which may be empty.
    fn of_agent(&self, agent: &AgentId, of: SearchedTexts) -> Arc<tokio::sync::Mutex<AgentIndex>> {
        let mut cached = self.0.lock();
        cached.uses += 1;
        let used = cached.uses;
        let entry = cached.entries.entry((agent.clone(), of)).or_insert_with(|| CachedIndex {
            index: Arc::default(),
            figures: IndexFigures::default(),
            used,
        });
        entry.used = used;
        Arc::clone(&entry.index)
    }

    fn figures(&self, agent: &AgentId, of: SearchedTexts) -> IndexFigures {
        let cached = self.0.lock();
        cached.entries.get(&(agent.clone(), of)).map(|entry| entry.figures).unwrap_or_default()
    }

    /// Notes the figures of an index that was used, and drops others where they are too large.
    fn shrink(&self, agent: &AgentId, of: SearchedTexts, figures: IndexFigures) {
        let mut cached = self.0.lock();
        let key = (agent.clone(), of);
        if let Some(entry) = cached.entries.get_mut(&key) {
            entry.figures = figures;
        }
        while cached.entries.values().map(|entry| entry.figures.bytes).sum::<usize>() > MOST_BYTES {
            let others = cached.entries.iter().filter(|(other, _)| **other != key);
            let Some(oldest) = others.min_by_key(|(_, entry)| entry.used) else { return };
            let oldest = oldest.0.clone();
            cached.entries.remove(&oldest);
        }
    }
}

/// Runs work that takes some milliseconds where it delays no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Failed(error.to_string()))
}
