//! Archival memory: an agent's notes, searched by words and, with an embedding model, by meaning.

use std::collections::HashMap;
use std::sync::Arc;

use thoughtwire_proto::{AgentId, Timestamp};
use thoughtwire_store::{Added, NewNote, Note, Page, Receipt, Store, StoreError};

use crate::embedding::Embedder;

/// How many of the nearest notes count as found: beyond them, nearness says little.
const NEAREST: usize = 20;
/// Notes without a vector that a search embeds first, so that those written while the embedding
/// model was away, or before there was one, are found by meaning as well.
const CATCH_UP: usize = 256;
/// How much of a note is embedded: what every embedding model reads.
const EMBEDDED_CHARS: usize = 6_000;
/// The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): how little the very
/// first ranks count more than those behind them.
const RANK_DAMPING: f64 = 60.0;

/// The notes of all agents.
#[derive(Clone)]
pub struct Archive {
    store: Arc<Store>,
    embedder: Option<Embedder>,
    /// Bytes of text that an agent may have in it.
    most: u64,
}

impl Archive {
    /// An archive over a store, in which each agent may have at most so many bytes of text; without an
    /// embedding model it is searched by words alone.
    #[must_use]
    pub fn new(store: Arc<Store>, embedder: Option<Embedder>, most: u64) -> Self {
        Self { store, embedder, most }
    }

    /// Adds notes, all or none. Those with a `source` that are there already are skipped. Notes that
    /// cannot be embedded now are embedded when they are next searched.
    ///
    /// # Errors
    /// When nothing can be saved.
    pub async fn add(&self, agent: &AgentId, notes: Vec<NewNote>) -> Result<Added, StoreError> {
        self.add_once(agent, notes, None).await
    }

    /// Adds notes as [`Archive::add`] does, with the receipt of the command that asked for it.
    ///
    /// # Errors
    /// When nothing can be saved, or there is a receipt for the same command.
    pub async fn add_once(
        &self,
        agent: &AgentId,
        notes: Vec<NewNote>,
        receipt: Option<Receipt>,
    ) -> Result<Added, StoreError> {
        let notes = self.with_vectors(notes).await;
        self.store.memory().add_notes(agent, notes, self.most, receipt).await
    }

    /// Makes the notes of a new agent ready to be saved with it.
    ///
    /// # Errors
    /// When an agent may not have so many.
    pub async fn prepare(&self, notes: Vec<NewNote>) -> Result<Vec<NewNote>, StoreError> {
        let bytes: usize = notes.iter().map(|note| note.text.len()).sum();
        if bytes as u64 > self.most {
            return Err(StoreError::ArchivalFull { most: self.most });
        }
        Ok(self.with_vectors(notes).await)
    }

    /// The notes with the vectors of their meaning, where an embedding model can be had.
    async fn with_vectors(&self, mut notes: Vec<NewNote>) -> Vec<NewNote> {
        let texts = notes.iter().map(|note| note.text.clone()).collect();
        if let Some((model, vectors)) = self.embed(texts).await {
            for (note, vector) in notes.iter_mut().zip(vectors) {
                note.vector = Some((model.clone(), vector));
            }
        }
        notes
    }

    /// A note that somebody wrote just now.
    #[must_use]
    pub fn note(text: impl Into<String>, at: Timestamp, source: Option<String>) -> NewNote {
        NewNote { text: text.into(), at, source, vector: None }
    }

    /// Searches an agent's notes, best first: one ranking of what has the words and what lies near in meaning.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn search(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Page<Note>, StoreError> {
        let near = self.near(agent, query).await?;
        let reach = if near.is_empty() { (offset, limit) } else { (0, offset + limit + NEAREST) };
        let store = self.store.for_user(agent.as_str());
        let found = store.memory().search_notes(agent, query, reach.0, reach.1).await?;
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

    /// What lies near in meaning; nothing where there is no embedding model or it cannot be had.
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
        let without = memory.notes_without_vector(agent, embedder.name(), CATCH_UP).await?;
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
        // One text that is too long would cost all the others their vectors.
        let texts =
            texts.into_iter().map(|text| text.chars().take(EMBEDDED_CHARS).collect()).collect();
        match embedder.embed(texts).await {
            Ok(vectors) => Some((embedder.name().to_owned(), vectors)),
            Err(error) => {
                tracing::warn!(%error, "the embedding model cannot be had; notes are found by words alone for now");
                None
            }
        }
    }
}

/// One ranking out of several: a note counts the more, the nearer to the front it stands in each.
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
