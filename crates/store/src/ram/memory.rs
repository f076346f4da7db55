//! Memory of agents in memory.

use std::sync::Arc;

use thoughtwire_proto::{AgentId, Role, Seq, SessionId, Timestamp};

use super::RamHandle;
use super::faults::WriteUse;
use super::search::{IndexedText, search};
use super::tables::{AgentRow, NoteRow, Tables, add_receipt};
use crate::{
    Added, Block, Commit, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, Receipt,
    StoreError, StoreRead,
};

/// [`MemoryStore`] in memory.
pub(super) struct RamMemory(pub(super) RamHandle);

impl RamMemory {
    /// Reads something of an agent; the default where there is no such agent.
    fn of_agent<T: Default + Send + 'static>(
        &self,
        agent: &AgentId,
        read: impl FnOnce(&AgentRow) -> T + Send + 'static,
    ) -> StoreRead<T> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| Ok(tables.agent(&agent).map(read).unwrap_or_default()))
    }
}

impl MemoryStore for RamMemory {
    fn blocks(&self, agent: &AgentId) -> StoreRead<Vec<Block>> {
        self.of_agent(agent, blocks)
    }

    fn summary(&self, agent: &AgentId) -> StoreRead<Arc<MemorySummary>> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| {
            let row = tables.agent(&agent);
            Ok(Arc::new(MemorySummary {
                blocks: row.map(blocks).unwrap_or_default().into(),
                archived: row.map_or(0, |row| row.notes.len()),
                remembered: said(tables).filter(|said| said.agent == agent).count(),
            }))
        })
    }

    fn add_notes(
        &self,
        agent: &AgentId,
        notes: Vec<NewNote>,
        most: u64,
        receipt: Option<Receipt>,
    ) -> Commit<Added> {
        let agent = agent.clone();
        self.0.write(WriteUse::nothing(), move |tables| {
            let (added, total) = add_notes(tables, &agent, &notes)?;
            if total > most && added.added > 0 {
                return Err(StoreError::ArchivalFull { most });
            }
            if let Some(receipt) = receipt {
                let answer = serde_json::to_string(&added)?;
                add_receipt(&mut tables.receipts, Some(&Receipt { answer, ..receipt }))?;
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
        self.0.read(&[], move |tables| {
            let rows = tables.agents.iter();
            let notes: Vec<(bool, &Note)> = rows
                .flat_map(|row| {
                    let is_own = row.profile.id == agent;
                    row.notes.iter().map(move |note| (is_own, &note.note))
                })
                .collect();
            let texts = notes.iter().map(|(is_own, note)| IndexedText {
                id: note.id,
                text: &note.text,
                is_candidate: *is_own,
            });
            let found = search(texts, &query)?;
            Ok(found.page(offset, limit, |id| {
                notes.iter().find(|(_, note)| note.id == id).map(|(_, note)| (*note).clone())
            }))
        })
    }

    fn nearest_notes(
        &self,
        agent: &AgentId,
        model: &str,
        to: &[f32],
        limit: usize,
    ) -> StoreRead<Vec<Note>> {
        let (model, to) = (model.to_owned(), to.to_vec());
        self.of_agent(agent, move |row| {
            let mut near: Vec<(f32, &Note)> = row
                .notes
                .iter()
                .filter_map(|row| {
                    let (of, vector) = row.vector.as_ref().filter(|(of, _)| *of == model)?;
                    debug_assert_eq!(*of, model);
                    Some((similarity(vector, &to), &row.note))
                })
                .collect();
            near.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.id.cmp(&other.1.id)));
            near.into_iter().take(limit).map(|(_, note)| note.clone()).collect()
        })
    }

    fn notes_without_vector(
        &self,
        agent: &AgentId,
        model: &str,
        limit: usize,
    ) -> StoreRead<Vec<Note>> {
        let model = model.to_owned();
        self.of_agent(agent, move |row| {
            let without = row
                .notes
                .iter()
                .filter(|row| row.vector.as_ref().is_none_or(|(of, _)| *of != model));
            without.take(limit).map(|row| row.note.clone()).collect()
        })
    }

    fn set_note_vectors(
        &self,
        agent: &AgentId,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.write(WriteUse::nothing(), move |tables| {
            let row = tables.agent_mut(&agent)?;
            for (id, vector) in vectors {
                if let Some(note) = row.notes.iter_mut().find(|row| row.note.id == id) {
                    note.vector = Some((model.clone(), vector));
                }
            }
            Ok(())
        })
    }

    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>> {
        self.of_agent(agent, move |row| {
            let behind = row.notes.iter().map(|row| &row.note).filter(|note| note.id > after);
            behind.take(limit).cloned().collect()
        })
    }

    fn note_count(&self, agent: &AgentId) -> StoreRead<usize> {
        self.of_agent(agent, |row| row.notes.len())
    }

    fn index_recall(&self) -> Commit<()> {
        // Searches read the logs themselves.
        self.0.write(WriteUse::nothing(), |_| Ok(()))
    }

    fn search_recall(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>> {
        let (agent, query) = (agent.clone(), query.to_owned());
        self.0.read(&[], move |tables| {
            let all: Vec<SearchableMessage> = said(tables).collect();
            let texts = all.iter().map(|said| IndexedText {
                // Among equal ranks the newest comes first.
                id: -said.number,
                text: &said.found.text,
                is_candidate: said.agent == agent,
            });
            let found = search(texts, &query)?;
            Ok(found.page(offset, limit, |id| {
                all.iter().find(|said| said.number == -id).map(|said| said.found.clone())
            }))
        })
    }

    fn recall_by_date(
        &self,
        agent: &AgentId,
        (from, to): (Timestamp, Timestamp),
        without: Option<(SessionId, Seq)>,
        offset: usize,
        limit: usize,
    ) -> StoreRead<Page<Recalled>> {
        let agent = agent.clone();
        let is_left_out = move |found: &Recalled| {
            without
                .as_ref()
                .is_some_and(|(session, seq)| found.session == *session && found.seq == *seq)
        };
        self.0.read(&[], move |tables| {
            let mut found: Vec<SearchableMessage> = said(tables)
                .filter(|said| said.agent == agent)
                .filter(|said| said.found.at >= from && said.found.at <= to)
                .filter(|said| !is_left_out(&said.found))
                .collect();
            found.sort_by_key(|said| (said.found.at, said.number));
            let total = found.len();
            let page = found.into_iter().skip(offset).take(limit).map(|said| said.found);
            Ok(Page { items: page.collect(), total })
        })
    }

    fn recall_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| Ok(said(tables).filter(|said| said.agent == agent).count()))
    }
}

/// A message of any session.
struct SearchableMessage {
    agent: AgentId,
    /// Number of its record among the records of all logs.
    number: i64,
    found: Recalled,
}

/// The messages of all sessions.
fn said(tables: &Tables) -> impl Iterator<Item = SearchableMessage> {
    tables.sessions.values().flat_map(|row| {
        row.records.iter().filter_map(|(number, record)| {
            let (role, text) = record.event.said()?;
            let role = match role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            Some(SearchableMessage {
                agent: row.agent.clone(),
                number: i64::try_from(*number).unwrap_or(i64::MAX),
                found: Recalled {
                    session: row.id.clone(),
                    seq: record.seq,
                    at: record.at,
                    role: role.to_owned(),
                    text: text.to_owned(),
                },
            })
        })
    })
}

/// An agent's blocks: `persona` and `human` first, then by label.
fn blocks(row: &AgentRow) -> Vec<Block> {
    let mut blocks = row.blocks.clone();
    blocks.sort_by_key(|block| {
        (block.label != "persona", block.label != "human", block.label.clone())
    });
    blocks
}

/// Adds notes to an agent. Gives their numbers and the bytes of text that the agent has now.
pub(super) fn add_notes(
    tables: &mut Tables,
    agent: &AgentId,
    notes: &[NewNote],
) -> Result<(Added, u64), StoreError> {
    let mut next = tables.next_note;
    let row = tables.agent_mut(agent)?;
    let mut added = Added { added: 0, duplicates: 0 };
    for new in notes {
        let is_known = |row: &NoteRow| row.note.source.is_some() && row.note.text == new.text;
        if new.source.is_some() && row.notes.iter().any(is_known) {
            added.duplicates += 1;
            continue;
        }
        next += 1;
        let note =
            Note { id: next, at: new.at, text: new.text.clone(), source: new.source.clone() };
        row.notes.push(NoteRow { note, vector: new.vector.clone() });
        added.added += 1;
    }
    let total = row.notes.iter().map(|row| row.note.text.len() as u64).sum();
    tables.next_note = next;
    Ok((added, total))
}

/// Scalar product of two vectors; the least there is where their lengths differ.
fn similarity(one: &[f32], other: &[f32]) -> f32 {
    if one.len() != other.len() {
        return f32::MIN;
    }
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}
