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

    /// Lists an agent's notes behind a number, oldest first: for reading all of them.
    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>>;

    /// Reads notes by their numbers; those that do not exist are left out. In no order.
    fn notes_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Note>>;

    /// Number of notes of an agent.
    fn note_count(&self, agent: &AgentId) -> StoreRead<usize>;

    /// Lists some messages of events that are not listed yet, so that [`MemoryStore::said`] has
    /// them. Resolves to whether there may be more.
    fn index_recall(&self) -> Commit<bool>;

    /// Lists the messages of all sessions of an agent behind a number, by number. Only has what is
    /// indexed: see [`MemoryStore::index_recall`].
    fn said(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Recalled>>;

    /// Reads messages by their numbers; those that do not exist are left out. In no order.
    fn said_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Recalled>>;

    /// Reads what tells whether an index over an agent's texts is up to date.
    fn search_marks(&self, agent: &AgentId) -> StoreRead<SearchMarks>;

    /// Lists some texts of an agent behind a number that have no vector of a model yet, by number,
    /// each with its number.
    fn without_vector(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        after: i64,
        limit: usize,
    ) -> StoreRead<Vec<(i64, String)>>;

    /// Counts the texts of one agent, or of all, that have no vector of a model yet. Leaves out
    /// agents without such texts. Reads a row for each text.
    fn count_without_vector(
        &self,
        agent: Option<&AgentId>,
        model: &str,
    ) -> StoreRead<Vec<UnembeddedTexts>>;

    /// Sets the vectors of texts, and replaces those of another model.
    fn set_vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()>;

    /// Lists vectors of an agent's texts behind a number, by number, for one model.
    fn vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        after: i64,
        limit: usize,
    ) -> StoreRead<Vec<StoredVector>>;

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

/// The texts that are searched together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchedTexts {
    /// Notes: archival memory.
    Notes,
    /// Messages of all sessions: recall.
    Said,
}

impl SearchedTexts {
    /// The number that stands for them in a database.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Notes => 0,
            Self::Said => 1,
        }
    }
}

/// Texts of an agent that have no vector yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnembeddedTexts {
    /// The agent.
    pub agent: AgentId,
    /// The kind of texts.
    pub of: SearchedTexts,
    /// Number of the texts.
    pub count: usize,
}

/// Figures of an agent's texts. An index that has read all numbers, and has as many texts since the
/// same number of erasures, has all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchMarks {
    /// Number of notes.
    pub notes: usize,
    /// Number of indexed messages.
    pub said: usize,
    /// Rises with each deletion of messages.
    pub erased: i64,
}

/// The vector of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVector {
    /// Its number. A vector that is set again gets a higher one.
    pub id: i64,
    /// Number of the text.
    pub text: i64,
    /// The vector.
    pub vector: Vec<f32>,
}

impl StoredVector {
    /// A vector as bytes, for a database.
    pub(crate) fn to_bytes(vector: &[f32]) -> Vec<u8> {
        vector.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// A vector from the bytes of a database.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks::<4>();
        numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()
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
    /// Its number. Numbers of erased messages may be given out again.
    pub id: i64,
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
