//! Memory of agents in PostgreSQL.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, Seq, SessionId, Timestamp};

use super::{PostgresHandle, agents, blocks, notes, recall, receipts};
use crate::{
    Added, Block, Commit, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, Receipt,
    StoreError, StoreRead,
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
                let (blocks, counts) =
                    tokio::try_join!(blocks::read(sql, &agent), agents::counts(sql, &agent))?;
                let (archived, remembered) = counts;
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

    fn search_notes(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Note>> {
        let (agent, query) = (agent.clone(), query.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { notes::search(sql, &agent, &query, (offset, limit)).await })
        })
    }

    fn nearest_notes(
        &self,
        agent: &AgentId,
        model: &str,
        to: &[f32],
        limit: usize,
    ) -> StoreRead<Vec<Note>> {
        let (agent, model, to) = (agent.clone(), model.to_owned(), to.to_vec());
        self.0.read(move |sql| {
            Box::pin(async move { notes::nearest(sql, &agent, &model, &to, limit).await })
        })
    }

    fn notes_without_vector(
        &self,
        agent: &AgentId,
        model: &str,
        limit: usize,
    ) -> StoreRead<Vec<Note>> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { notes::without_vector(sql, &agent, &model, limit).await })
        })
    }

    fn set_note_vectors(
        &self,
        agent: &AgentId,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.write(move |sql| {
            Box::pin(async move {
                for (note, vector) in &vectors {
                    notes::set_vector(sql, *note, &agent, &model, vector).await?;
                }
                Ok(())
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
            Box::pin(async move { agents::counts(sql, &agent).await.map(|(notes, _)| notes) })
        })
    }

    /// Nothing is behind: messages are indexed with their events.
    fn index_recall(&self) -> Commit<()> {
        self.0.write(|_| Box::pin(async { Ok(()) }))
    }

    fn search_recall(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>> {
        let (agent, query) = (agent.clone(), query.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { recall::search(sql, &agent, &query, (offset, limit)).await })
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
            Box::pin(async move { agents::counts(sql, &agent).await.map(|(_, said)| said) })
        })
    }
}
