//! Memory of agents in SQLite.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, Seq, SessionId, Timestamp};

use super::receipts::{self, NO_SESSION};
use super::summary::Invalidates;
use super::{Handle, agents, blocks, notes, recall};
use crate::{
    Added, Block, Commit, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, Receipt,
    StoreError, StoreRead,
};

/// [`MemoryStore`] in SQLite.
pub(super) struct SqliteMemory(pub(super) Handle);

impl MemoryStore for SqliteMemory {
    fn blocks(&self, agent: &AgentId) -> StoreRead<Vec<Block>> {
        let agent = agent.clone();
        self.0.read(move |connection| blocks::read(connection, &agent))
    }

    fn summary(&self, agent: &AgentId) -> StoreRead<Arc<MemorySummary>> {
        self.0.summary(agent.clone())
    }

    fn add_notes(
        &self,
        agent: &AgentId,
        new: Vec<NewNote>,
        most: u64,
        receipt: Option<Receipt>,
    ) -> Commit<Added> {
        let agent = agent.clone();
        let invalidates = Invalidates::Agent(agent.clone());
        self.0.writer().write_memory(invalidates, move |connection| {
            let (added, grown, total) = notes::add(connection, &agent, &new)?;
            if total > most && grown > 0 {
                return Err(StoreError::ArchivalFull { most });
            }
            if let Some(receipt) = receipt {
                let answer = serde_json::to_string(&added)?;
                receipts::write(connection, Some(&Receipt { answer, ..receipt }), NO_SESSION)?;
            }
            Ok(added)
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
        self.0.read(move |connection| notes::search(connection, &agent, &query, offset, limit))
    }

    fn nearest_notes(
        &self,
        agent: &AgentId,
        model: &str,
        to: &[f32],
        limit: usize,
    ) -> StoreRead<Vec<Note>> {
        let (agent, model, to) = (agent.clone(), model.to_owned(), to.to_vec());
        self.0.read(move |connection| notes::nearest(connection, &agent, &model, &to, limit))
    }

    fn notes_without_vector(
        &self,
        agent: &AgentId,
        model: &str,
        limit: usize,
    ) -> StoreRead<Vec<Note>> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.read(move |connection| notes::without_vector(connection, &agent, &model, limit))
    }

    fn set_note_vectors(
        &self,
        agent: &AgentId,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.writer().write(move |connection| {
            for (note, vector) in &vectors {
                notes::set_vector(connection, *note, &agent, &model, vector)?;
            }
            Ok(())
        })
    }

    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>> {
        let agent = agent.clone();
        self.0.read(move |connection| notes::after(connection, &agent, after, limit))
    }

    fn note_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(move |connection| agents::count(connection, "notes", &agent))
    }

    fn index_recall(&self) -> Commit<()> {
        self.0.writer().write_memory(Invalidates::AllAgents, recall::index_all)
    }

    fn search_recall(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>> {
        let (agent, query) = (agent.clone(), query.to_owned());
        self.0.read(move |connection| recall::search(connection, &agent, &query, offset, limit))
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
        self.0.read(move |connection| {
            recall::by_date(connection, &agent, span, without.as_ref(), (offset, limit))
        })
    }

    fn recall_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(move |connection| agents::count(connection, "said", &agent))
    }
}
