//! Memory of agents in PostgreSQL.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, Seq, SessionId, Timestamp};

use super::{PostgresHandle, agents, blocks, notes, recall, receipts, vectors};
use crate::{
    Added, Block, Commit, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, Receipt,
    SearchMarks, SearchedTexts, StoreError, StoreRead, StoredVector, UnembeddedTexts,
};

/// [`MemoryStore`] in PostgreSQL.
pub(super) struct PostgresMemory(pub(super) PostgresHandle);

impl MemoryStore for PostgresMemory {
    fn blocks(&self, agent: &AgentId) -> StoreRead<Vec<Block>> {
        let agent = agent.clone();
        self.0.read(move |sql| Box::pin(async move { blocks::read(sql, &agent).await }))
    }

    /// Reads it each time: another node may have changed it.
    fn summary(&self, agent: &AgentId) -> StoreRead<Arc<MemorySummary>> {
        let agent = agent.clone();
        self.0.read(move |sql| {
            Box::pin(async move {
                let (blocks, marks) =
                    tokio::try_join!(blocks::read(sql, &agent), agents::marks(sql, &agent))?;
                let (archived, remembered) = (marks.notes, marks.said);
                Ok(Arc::new(MemorySummary { blocks: blocks.into(), archived, remembered }))
            })
        })
    }

    fn add_notes(
        &self,
        agent: &AgentId,
        new: Vec<NewNote>,
        most: u64,
        receipt: Option<Receipt>,
    ) -> Commit<Added> {
        let agent = agent.clone();
        self.0.write(move |sql| {
            Box::pin(async move {
                let (added, grown, total) = notes::add(sql, &agent, &new).await?;
                if total > most && grown > 0 {
                    return Err(StoreError::ArchivalFull { most });
                }
                if let Some(receipt) = receipt {
                    let answer = serde_json::to_string(&added)?;
                    receipts::write(sql, Some(&Receipt { answer, ..receipt })).await?;
                }
                Ok(added)
            })
        })
    }

    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>> {
        let agent = agent.clone();
        self.0
            .read(move |sql| Box::pin(async move { notes::after(sql, &agent, after, limit).await }))
    }

    fn note_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(move |sql| {
            Box::pin(async move { agents::marks(sql, &agent).await.map(|marks| marks.notes) })
        })
    }

    fn notes_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Note>> {
        let agent = agent.clone();
        self.0.read(move |sql| Box::pin(async move { notes::by_id(sql, &agent, ids).await }))
    }

    /// Nothing is behind: messages are saved with their events.
    fn index_recall(&self) -> Commit<bool> {
        self.0.write(|_| Box::pin(async { Ok(false) }))
    }

    fn said(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Recalled>> {
        let agent = agent.clone();
        self.0.read(move |sql| {
            Box::pin(async move { recall::after(sql, &agent, after, limit).await })
        })
    }

    fn said_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Recalled>> {
        let agent = agent.clone();
        self.0.read(move |sql| Box::pin(async move { recall::by_id(sql, &agent, ids).await }))
    }

    fn search_marks(&self, agent: &AgentId) -> StoreRead<SearchMarks> {
        let agent = agent.clone();
        self.0.read(move |sql| Box::pin(async move { agents::marks(sql, &agent).await }))
    }

    fn without_vector(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        after: i64,
        limit: usize,
    ) -> StoreRead<Vec<(i64, String)>> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { vectors::missing(sql, &agent, of, &model, (after, limit)).await })
        })
    }

    fn count_without_vector(
        &self,
        agent: Option<&AgentId>,
        model: &str,
    ) -> StoreRead<Vec<UnembeddedTexts>> {
        let (agent, model) = (agent.cloned(), model.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { vectors::count_missing(sql, agent.as_ref(), &model).await })
        })
    }

    fn set_vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        new: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.write(move |sql| {
            Box::pin(async move { vectors::set(sql, &agent, of, &model, &new).await })
        })
    }

    fn vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        after: i64,
        limit: usize,
    ) -> StoreRead<Vec<StoredVector>> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { vectors::after(sql, &agent, of, &model, (after, limit)).await })
        })
    }

    fn recall_by_date(
        &self,
        agent: &AgentId,
        span: (Timestamp, Timestamp),
        without: Option<(SessionId, Seq)>,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>> {
        let agent = agent.clone();
        self.0.read(move |sql| {
            Box::pin(async move {
                recall::by_date(sql, &agent, span, without.as_ref(), (offset, limit)).await
            })
        })
    }

    fn recall_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(move |sql| {
            Box::pin(async move { agents::marks(sql, &agent).await.map(|marks| marks.said) })
        })
    }
}
