//! Memory that is searched: an agent's notes, and the messages of its sessions, by words and, with
//! an embedding model, by meaning.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{AgentId, Timestamp};
use thoughtwire_store::{
    Added, MemoryHit, MemoryQuery, MemorySearch, NewNote, Note, Page, QueryMeaning, Recalled,
    Receipt, SearchedTexts, Store, StoreError,
};

use crate::embedding::{Embedder, EmbeddingMetrics, EmbeddingQueue};

/// Time for which a node keeps the work on missing vectors to itself.
const CLAIMED_FOR: Duration = Duration::from_secs(600);

/// Search in the memory of all agents.
#[derive(Clone)]
pub struct Archive {
    store: Arc<Store>,
    embedder: Option<Embedder>,
    queue: Option<EmbeddingQueue>,
    /// Largest amount of text of one agent's notes, in bytes.
    max_bytes: u64,
}

impl Archive {
    /// Creates an archive over a store, with at most `max_bytes` of notes for each agent. Without
    /// an embedding model, memory is searched by words alone.
    #[must_use]
    pub fn new(store: Arc<Store>, embedder: Option<Embedder>, max_bytes: u64) -> Self {
        let queue =
            embedder.clone().map(|embedder| EmbeddingQueue::new(Arc::clone(&store), embedder));
        Self { store, embedder, queue, max_bytes }
    }

    /// Adds all notes or none. Notes whose `source` is already stored are skipped. Waits some
    /// seconds for their vectors; without them, they are found by words meanwhile.
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
        let memory = self.store.memory();
        let added = memory.add_notes(agent, notes, self.max_bytes, receipt).await?;
        if added.added > 0 {
            self.embed_new(agent, added.added).await;
        }
        Ok(added)
    }

    /// Checks the notes of a new agent, before they are saved with it.
    ///
    /// # Errors
    /// Fails if the notes exceed the largest amount of text.
    pub fn check(&self, notes: &[NewNote]) -> Result<(), StoreError> {
        let bytes: usize = notes.iter().map(|note| note.text.len()).sum();
        if bytes as u64 > self.max_bytes {
            return Err(StoreError::ArchivalFull { most: self.max_bytes });
        }
        Ok(())
    }

    /// Makes the vectors of a number of new notes of an agent. Returns when they are made, when the
    /// model fails, or after some seconds; then they are made in the background.
    pub async fn embed_new(&self, agent: &AgentId, count: usize) {
        if let Some(queue) = &self.queue {
            queue.add_and_wait(agent, SearchedTexts::Notes, count).await;
        }
    }

    /// Makes the vectors of an agent's new messages in the background.
    pub(crate) fn embed_said(&self, agent: &AgentId) {
        if let Some(queue) = &self.queue {
            queue.add(agent, SearchedTexts::Said, 0);
        }
    }

    /// Makes the vectors that are missing, of all agents, in the background: for texts of a time
    /// without this embedding model. Of several nodes, one does it. Returns the number of texts.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn embed_missing(&self) -> Result<usize, StoreError> {
        let Some(queue) = &self.queue else { return Ok(0) };
        if !self.store.upkeep().claim("embedding", CLAIMED_FOR).await? {
            return Ok(0);
        }
        queue.add_all().await
    }

    /// Number of an agent's notes and messages that wait for their vectors, as far as they were
    /// counted. `None` without an embedding model.
    #[must_use]
    pub fn unembedded(&self, agent: &AgentId) -> Option<usize> {
        self.queue.as_ref().map(|queue| queue.waiting(agent))
    }

    pub(crate) fn embedding_metrics(&self) -> Option<EmbeddingMetrics> {
        self.queue.as_ref().map(|queue| queue.metrics().clone())
    }

    /// Creates a note that was written at `at`.
    #[must_use]
    pub fn note(text: impl Into<String>, at: Timestamp, source: Option<String>) -> NewNote {
        NewNote { text: text.into(), at, source, vector: None }
    }

    /// Searches an agent's notes by words and by meaning, best first.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn search(
        &self,
        agent: &AgentId,
        query: MemoryQuery,
    ) -> Result<Page<MemoryHit<Note>>, StoreError> {
        let query = self.with_meaning(query).await;
        let search = self.store.for_user(agent.as_str()).search();
        let found = search.notes(agent, &query).await?;
        self.embed_unembedded(&search, agent, SearchedTexts::Notes);
        Ok(found)
    }

    /// Searches the messages of all sessions of an agent by words and by meaning, best first.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn recall(
        &self,
        agent: &AgentId,
        query: MemoryQuery,
    ) -> Result<Page<MemoryHit<Recalled>>, StoreError> {
        let query = self.with_meaning(query).await;
        let search = self.store.for_user(agent.as_str()).search();
        let found = search.said(agent, &query).await?;
        self.embed_unembedded(&search, agent, SearchedTexts::Said);
        Ok(found)
    }

    /// Makes the vectors in the background that a search missed.
    fn embed_unembedded(&self, search: &MemorySearch, agent: &AgentId, of: SearchedTexts) {
        let Some(queue) = &self.queue else { return };
        let count = search.unembedded(agent, of);
        if count > 0 {
            queue.add_missing(agent, of, count);
        }
    }

    /// Adds the query's vector, if there is an embedding model and it answers.
    async fn with_meaning(&self, query: MemoryQuery) -> MemoryQuery {
        let Some(embedder) = &self.embedder else { return query };
        match embedder.embed_query(&query.text).await {
            Ok(vector) => {
                let meaning = QueryMeaning { model: embedder.vectors_name(), vector };
                MemoryQuery { meaning: Some(meaning), ..query }
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the embedding model did not answer; this search is by words alone"
                );
                query
            }
        }
    }
}
