//! Memory of agents: blocks (core memory), notes (archival memory), recall of what was said.

use std::sync::Arc;

use serde::Serialize;
use thoughtwire_proto::{AgentId, AgentSpec, Seq, SessionId, Timestamp};

use crate::{Commit, Receipt, StoreRead};

/// The memory of all agents.
pub trait MemoryStore: Send + Sync {
    /// Reads an agent's core memory blocks: `persona`, `human`, then the others by label.
    fn blocks(&self, agent: &AgentId) -> StoreRead<Vec<Block>>;

    /// Reads what every prompt needs of an agent's memory. Costs no read while nothing changes.
    fn summary(&self, agent: &AgentId) -> StoreRead<Arc<MemorySummary>>;

    /// Adds notes to an agent's archival memory, all or none, and skips those that were imported
    /// before. The receipt's answer becomes [`Added`] as JSON.
    ///
    /// Resolves to [`ArchivalFull`](crate::StoreError::ArchivalFull) when the agent would have more
    /// than `most` bytes of text.
    fn add_notes(
        &self,
        agent: &AgentId,
        notes: Vec<NewNote>,
        most: u64,
        receipt: Option<Receipt>,
    ) -> Commit<Added>;

    /// Searches an agent's notes by words, best first. An empty query finds nothing.
    fn search_notes(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Note>>;

    /// Finds the notes nearest in meaning to a unit vector, nearest first, among those with a
    /// vector of the same model. Compares every vector of the agent: exact, and fast enough for a
    /// person's notes.
    fn nearest_notes(
        &self,
        agent: &AgentId,
        model: &str,
        to: &[f32],
        limit: usize,
    ) -> StoreRead<Vec<Note>>;

    /// Lists some of an agent's notes that have no vector of a model yet, oldest first.
    fn notes_without_vector(
        &self,
        agent: &AgentId,
        model: &str,
        limit: usize,
    ) -> StoreRead<Vec<Note>>;

    /// Sets the vectors of notes, and replaces those of another model.
    fn set_note_vectors(
        &self,
        agent: &AgentId,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()>;

    /// Lists an agent's notes behind a number, oldest first: for reading all of them.
    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>>;

    /// Number of notes of an agent.
    fn note_count(&self, agent: &AgentId) -> StoreRead<usize>;

    /// Indexes everything that is on disk. A search that follows misses nothing said before.
    fn index_recall(&self) -> Commit<()>;

    /// Searches what was said in all sessions of an agent by words, best first. Only finds what is
    /// indexed: see [`MemoryStore::index_recall`]. An empty query finds nothing.
    fn search_recall(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>>;

    /// Lists what was said from one instant to another, both included, oldest first. Only finds
    /// what is indexed. `without` names a message that is left out, such as the question that the
    /// search is to answer.
    fn recall_by_date(
        &self,
        agent: &AgentId,
        span: (Timestamp, Timestamp),
        without: Option<(SessionId, Seq)>,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>>;

    /// Number of indexed messages in all sessions of an agent.
    fn recall_count(&self, agent: &AgentId) -> StoreRead<usize>;
}

/// The part of an agent's memory that every prompt needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySummary {
    /// Its core memory.
    pub blocks: Arc<[Block]>,
    /// Number of its notes.
    pub archived: usize,
    /// Number of indexed messages in all of its sessions.
    pub remembered: usize,
}

/// A core memory block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its label, such as `persona`.
    pub label: String,
    /// Its text.
    pub text: String,
    /// Maximum number of its characters.
    pub limit: usize,
    /// Its purpose, as the model is told.
    pub description: String,
}

/// The blocks that every agent has, with what the model is told about them.
const USUAL_BLOCKS: [(&str, &str); 2] = [
    ("persona", "Who the agent is and how it speaks."),
    ("human", "What the agent knows about the person it talks to."),
];

impl Block {
    /// Maximum number of characters of a block that names no limit, as in MemGPT's defaults.
    pub const LIMIT: usize = 2000;

    /// The blocks of a new agent: those it is created with, and `persona` and `human` of its
    /// settings where they are not among them.
    pub(crate) fn first(spec: &AgentSpec, given: &[Self]) -> Vec<Self> {
        let mut blocks = given.to_vec();
        let texts = [&spec.persona, &spec.human];
        for ((label, description), text) in USUAL_BLOCKS.into_iter().zip(texts) {
            if given.iter().any(|block| block.label == label) {
                continue;
            }
            let text = text.clone().unwrap_or_default();
            blocks.push(Self {
                label: label.to_owned(),
                // A first text longer than the usual limit raises its limit.
                limit: Self::LIMIT.max(text.chars().count()),
                text,
                description: description.to_owned(),
            });
        }
        blocks
    }
}

/// A page of ranked results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The page.
    pub items: Vec<T>,
    /// Number of results on all pages.
    pub total: usize,
}

impl<T> Page<T> {
    /// A page without results.
    pub(crate) fn empty() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

/// A note in archival memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Its text.
    pub text: String,
    /// Where it was imported from, such as a file's name.
    pub source: Option<String>,
}

/// A note to add.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNote {
    /// Its text.
    pub text: String,
    /// When it was made.
    pub at: Timestamp,
    /// Where it was imported from. A text that has a source is added only once per agent.
    pub source: Option<String>,
    /// The vector of its meaning, with the model's name.
    pub vector: Option<(String, Vec<f32>)>,
}

/// Numbers of notes that were added and skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Added {
    /// Notes that were added.
    pub added: usize,
    /// Notes that were there already.
    pub duplicates: usize,
}

/// A message found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Its session.
    pub session: SessionId,
    /// Its position.
    pub seq: Seq,
    /// When it was said.
    pub at: Timestamp,
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub text: String,
}
