//! Memory that is searched: an agent's notes, and the messages of its sessions, by words and, with
//! an embedding model, by meaning.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, Timestamp};
use thoughtwire_store::{
    Added, MemoryHit, MemoryQuery, NewNote, Note, Page, QueryMeaning, Recalled, Receipt,
    SearchedTexts, Store, StoreError,
};

use crate::embedding::{Embedder, EmbeddingQueue};

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
            self.embed_new(agent).await;
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

    /// Makes the vectors of an agent's new notes. Returns when they are made, when the model fails,
    /// or after some seconds; then they are made in the background.
    pub async fn embed_new(&self, agent: &AgentId) {
        if let Some(queue) = &self.queue {
            queue.add_and_wait(agent, SearchedTexts::Notes).await;
        }
    }

    /// Number of agents whose texts wait for their vectors.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, EmbeddingQueue::waiting)
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
        let query = self.with_meaning(agent, SearchedTexts::Notes, query).await;
        self.store.for_user(agent.as_str()).search().notes(agent, &query).await
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
        let query = self.with_meaning(agent, SearchedTexts::Said, query).await;
        self.store.for_user(agent.as_str()).search().said(agent, &query).await
    }

    /// Adds the query's vector, if there is an embedding model and it answers. Texts without a
    /// vector get theirs in the background.
    async fn with_meaning(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        query: MemoryQuery,
    ) -> MemoryQuery {
        let (Some(embedder), Some(queue)) = (&self.embedder, &self.queue) else { return query };
        queue.add(agent, of);
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
