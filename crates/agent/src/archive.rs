//! Archival memory: an agent's notes, searched by words and, with an embedding model, by meaning.

use std::collections::HashMap;
use std::sync::Arc;

use thoughtwire_proto::{AgentId, Timestamp};
use thoughtwire_store::{Added, NewNote, Note, Page, Receipt, Store, StoreError};

use crate::embedding::Embedder;

/// Number of nearest notes that count as found. Beyond them, nearness says little.
const NEAREST: usize = 20;
/// Number of notes without a vector that a search embeds first. They were written before there was
/// an embedding model, or while it was unreachable.
const CATCH_UP_NOTES: usize = 256;
/// Number of characters of a note that are embedded: as many as every embedding model reads.
const EMBEDDED_CHARS: usize = 6_000;
/// Constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009). The larger it is, the
/// less the first ranks outweigh the ranks behind them.
const RANK_DAMPING: f64 = 60.0;

/// Archival memory of all agents.
#[derive(Clone)]
pub struct Archive {
    store: Arc<Store>,
    embedder: Option<Embedder>,
    /// Largest amount of text of one agent, in bytes.
    max_bytes: u64,
}

impl Archive {
    /// Creates an archive over a store, with at most `max_bytes` of text for each agent. Without an
    /// embedding model, notes are searched by words alone.
    #[must_use]
    pub fn new(store: Arc<Store>, embedder: Option<Embedder>, max_bytes: u64) -> Self {
        Self { store, embedder, max_bytes }
    }

    /// Adds all notes or none. Notes whose `source` is already stored are skipped. Notes that
    /// cannot be embedded now are embedded at the next search.
    ///
    /// # Errors
    /// Fails if nothing can be saved.
    pub async fn add(&self, agent: &AgentId, notes: Vec<NewNote>) -> Result<Added, StoreError> {
        self.add_once(agent, notes, None).await
    }

    /// Adds notes as [`Archive::add`] does, together with the receipt of the command.
    ///
    /// # Errors
    /// Fails if nothing can be saved, or if the same command already has a receipt.
    pub async fn add_once(
        &self,
        agent: &AgentId,
        notes: Vec<NewNote>,
        receipt: Option<Receipt>,
    ) -> Result<Added, StoreError> {
        let notes = self.with_vectors(notes).await;
        self.store.memory().add_notes(agent, notes, self.max_bytes, receipt).await
    }

    /// Prepares the notes of a new agent for saving them with it.
    ///
    /// # Errors
    /// Fails if the notes exceed the largest amount of text.
    pub async fn prepare(&self, notes: Vec<NewNote>) -> Result<Vec<NewNote>, StoreError> {
        let bytes: usize = notes.iter().map(|note| note.text.len()).sum();
        if bytes as u64 > self.max_bytes {
            return Err(StoreError::ArchivalFull { most: self.max_bytes });
        }
        Ok(self.with_vectors(notes).await)
    }

    /// Adds vectors to the notes if the embedding model answers.
    async fn with_vectors(&self, mut notes: Vec<NewNote>) -> Vec<NewNote> {
        let texts = notes.iter().map(|note| note.text.clone()).collect();
        if let Some((model, vectors)) = self.embed(texts).await {
            for (note, vector) in notes.iter_mut().zip(vectors) {
                note.vector = Some((model.clone(), vector));
            }
        }
        notes
    }

    /// Creates a note that was written at `at`.
    #[must_use]
    pub fn note(text: impl Into<String>, at: Timestamp, source: Option<String>) -> NewNote {
        NewNote { text: text.into(), at, source, vector: None }
    }

    /// Searches an agent's notes by words and by meaning, and merges both into one ranking, best
    /// first.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn search(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Page<Note>, StoreError> {
        let near = self.near(agent, query).await?;
        let range = if near.is_empty() { (offset, limit) } else { (0, offset + limit + NEAREST) };
        let store = self.store.for_user(agent.as_str());
        let found = store.memory().search_notes(agent, query, range.0, range.1).await?;
        if near.is_empty() {
            return Ok(found);
        }
        let only_near =
            near.iter().filter(|note| found.items.iter().all(|other| other.id != note.id)).count();
        let total = found.total + only_near;
        Ok(Page {
            items: fuse([found.items, near]).into_iter().skip(offset).take(limit).collect(),
            total,
        })
    }

    /// Finds the notes nearest in meaning. Empty if there is no embedding model or it does not
    /// answer.
    async fn near(&self, agent: &AgentId, query: &str) -> Result<Vec<Note>, StoreError> {
        let Some(embedder) = &self.embedder else { return Ok(Vec::new()) };
        self.catch_up(agent, embedder).await?;
        let Some((model, vectors)) = self.embed(vec![query.to_owned()]).await else {
            return Ok(Vec::new());
        };
        let Some(vector) = vectors.into_iter().next() else { return Ok(Vec::new()) };
        let store = self.store.for_user(agent.as_str());
        store.memory().nearest_notes(agent, &model, &vector, NEAREST).await
    }

    async fn catch_up(&self, agent: &AgentId, embedder: &Embedder) -> Result<(), StoreError> {
        let memory = self.store.memory();
        let without = memory.notes_without_vector(agent, embedder.name(), CATCH_UP_NOTES).await?;
        if without.is_empty() {
            return Ok(());
        }
        let (ids, texts): (Vec<i64>, Vec<String>) =
            without.into_iter().map(|note| (note.id, note.text)).unzip();
        match self.embed(texts).await {
            Some((model, vectors)) => {
                let vectors = ids.into_iter().zip(vectors).collect();
                memory.set_note_vectors(agent, &model, vectors).await
            }
            None => Ok(()),
        }
    }

    async fn embed(&self, texts: Vec<String>) -> Option<(String, Vec<Vec<f32>>)> {
        let embedder = self.embedder.as_ref()?;
        // A single overlong text would make the request fail for all the others.
        let texts =
            texts.into_iter().map(|text| text.chars().take(EMBEDDED_CHARS).collect()).collect();
        match embedder.embed(texts).await {
            Ok(vectors) => Some((embedder.name().to_owned(), vectors)),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the embedding model did not answer; notes are searched by words alone for now"
                );
                None
            }
        }
    }
}

/// Merges rankings into one. A note scores higher the nearer it is to the front of each ranking.
fn fuse(rankings: [Vec<Note>; 2]) -> Vec<Note> {
    let mut scores: HashMap<i64, f64> = HashMap::new();
    let mut notes: Vec<Note> = Vec::new();
    for ranking in rankings {
        for (rank, note) in (1_u32..).zip(ranking) {
            *scores.entry(note.id).or_insert(0.0) += 1.0 / (RANK_DAMPING + f64::from(rank));
            if notes.iter().all(|known| known.id != note.id) {
                notes.push(note);
            }
        }
    }
    let score = |note: &Note| scores.get(&note.id).copied().unwrap_or(0.0);
    notes.sort_by(|one, other| score(other).total_cmp(&score(one)).then(one.id.cmp(&other.id)));
    notes
}
