//! Memory of agents in SQLite.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, Seq, SessionId, Timestamp};

use super::receipts::{self, NO_SESSION};
use super::summary::Invalidates;
use super::{Handle, agents, blocks, notes, recall, vectors};
use crate::{
    Added, Block, Commit, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, Receipt,
    SearchMarks, SearchedTexts, StoreError, StoreRead, StoredVector, UnembeddedTexts,
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

    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>> {
        let agent = agent.clone();
        self.0.read(move |connection| notes::after(connection, &agent, after, limit))
    }

    fn note_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(move |connection| agents::count(connection, "notes", &agent))
    }

    fn notes_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Note>> {
        let agent = agent.clone();
        self.0.read(move |connection| notes::by_id(connection, &agent, &ids))
    }

    fn index_recall(&self) -> Commit<bool> {
        self.0.writer().write_memory(Invalidates::AllAgents, |connection| {
            recall::index_step(connection).map(|indexed| indexed.more)
        })
    }

    fn said(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Recalled>> {
        let agent = agent.clone();
        self.0.read(move |connection| recall::after(connection, &agent, after, limit))
    }

    fn said_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Recalled>> {
        let agent = agent.clone();
        self.0.read(move |connection| recall::by_id(connection, &agent, &ids))
    }

    fn search_marks(&self, agent: &AgentId) -> StoreRead<SearchMarks> {
        let agent = agent.clone();
        self.0.read(move |connection| agents::marks(connection, &agent))
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
        self.0.read(move |connection| {
            vectors::missing(connection, &agent, of, &model, (after, limit))
        })
    }

    fn count_without_vector(
        &self,
        agent: Option<&AgentId>,
        model: &str,
    ) -> StoreRead<Vec<UnembeddedTexts>> {
        let (agent, model) = (agent.cloned(), model.to_owned());
        self.0.read(move |connection| vectors::count_missing(connection, agent.as_ref(), &model))
    }

    fn set_vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        new: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.writer().write(move |connection| vectors::set(connection, &agent, of, &model, &new))
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
        self.0
            .read(move |connection| vectors::after(connection, &agent, of, &model, (after, limit)))
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
