//! Memory of agents in memory.

use std::collections::HashSet;
use std::sync::Arc;

use thoughtwire_proto::{AgentId, Role, Seq, SessionId, Timestamp};

use super::RamHandle;
use super::faults::WriteUse;
use super::tables::{AgentRow, Tables, VectorRow, add_receipt};
use crate::{
    Added, Block, Commit, MemoryStore, MemorySummary, NewNote, Note, Page, Recalled, Receipt,
    SearchMarks, SearchedTexts, StoreError, StoreRead, StoredVector, UnembeddedTexts,
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
                remembered: said(tables, &agent).count(),
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

    fn notes(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Note>> {
        self.of_agent(agent, move |row| {
            let behind = row.notes.iter().filter(|note| note.id > after);
            behind.take(limit).cloned().collect()
        })
    }

    fn note_count(&self, agent: &AgentId) -> StoreRead<usize> {
        self.of_agent(agent, |row| row.notes.len())
    }

    fn notes_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Note>> {
        self.of_agent(agent, move |row| {
            row.notes.iter().filter(|note| ids.contains(&note.id)).cloned().collect()
        })
    }

    fn index_recall(&self) -> Commit<bool> {
        // Messages are read from the logs themselves.
        self.0.write(WriteUse::nothing(), |_| Ok(false))
    }

    fn said(&self, agent: &AgentId, after: i64, limit: usize) -> StoreRead<Vec<Recalled>> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| {
            let mut found: Vec<Recalled> =
                said(tables, &agent).filter(|message| message.id > after).collect();
            found.sort_by_key(|message| message.id);
            found.truncate(limit);
            Ok(found)
        })
    }

    fn said_by_id(&self, agent: &AgentId, ids: Vec<i64>) -> StoreRead<Vec<Recalled>> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| {
            Ok(said(tables, &agent).filter(|message| ids.contains(&message.id)).collect())
        })
    }

    fn search_marks(&self, agent: &AgentId) -> StoreRead<SearchMarks> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| {
            Ok(SearchMarks {
                notes: tables.agent(&agent).map_or(0, |row| row.notes.len()),
                said: said(tables, &agent).count(),
                erased: tables.erased,
            })
        })
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
        self.0.read(&[], move |tables| {
            let mut texts = without_vector(tables, &agent, of, &model);
            texts.retain(|(text, _)| *text > after);
            texts.sort();
            texts.truncate(limit);
            Ok(texts)
        })
    }

    fn count_without_vector(
        &self,
        agent: Option<&AgentId>,
        model: &str,
    ) -> StoreRead<Vec<UnembeddedTexts>> {
        let (agent, model) = (agent.cloned(), model.to_owned());
        self.0.read(&[], move |tables| {
            let agents = tables.agents.iter().map(|row| &row.profile.id);
            let agents = agents.filter(|id| agent.as_ref().is_none_or(|one| one == *id));
            let texts = agents.flat_map(|agent| {
                [SearchedTexts::Notes, SearchedTexts::Said].map(|of| UnembeddedTexts {
                    agent: agent.clone(),
                    of,
                    count: without_vector(tables, agent, of, &model).len(),
                })
            });
            Ok(texts.filter(|texts| texts.count > 0).collect())
        })
    }

    fn set_vectors(
        &self,
        agent: &AgentId,
        of: SearchedTexts,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.0.write(WriteUse::nothing(), move |tables| {
            for (text, vector) in vectors {
                let (agent, model) = (agent.clone(), model.clone());
                tables.set_vector(VectorRow { agent, of, model, text, vector });
            }
            Ok(())
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
        self.0.read(&[], move |tables| {
            let rows = tables.vectors.range(after.saturating_add(1)..);
            let own =
                rows.filter(|(_, row)| row.agent == agent && row.of == of && row.model == model);
            let vector = |(id, row): (&i64, &Arc<VectorRow>)| {
                let (id, text, vector) = (*id, row.text, row.vector.clone());
                StoredVector { id, text, vector }
            };
            Ok(own.take(limit).map(vector).collect())
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
            let mut found: Vec<Recalled> = said(tables, &agent)
                .filter(|message| message.at >= from && message.at <= to)
                .filter(|message| !is_left_out(message))
                .collect();
            found.sort_by_key(|message| (message.at, message.id));
            let total = found.len();
            let page = found.into_iter().skip(offset).take(limit);
            Ok(Page { items: page.collect(), total })
        })
    }

    fn recall_count(&self, agent: &AgentId) -> StoreRead<usize> {
        let agent = agent.clone();
        self.0.read(&[], move |tables| Ok(said(tables, &agent).count()))
    }
}

/// The messages of all sessions of an agent. Numbers are those of records among all logs, plus one.
/// The texts of an agent that have no vector of a model, with their numbers, in no order.
fn without_vector(
    tables: &Tables,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
) -> Vec<(i64, String)> {
    let rows = tables.vectors.values().filter(|row| row.of == of && row.model == model);
    let having: HashSet<i64> = rows.map(|row| row.text).collect();
    let mut texts: Vec<(i64, String)> = match of {
        SearchedTexts::Notes => {
            let notes = tables.agent(agent).map(|row| row.notes.as_slice());
            let notes = notes.unwrap_or_default().iter();
            notes.map(|note| (note.id, note.text.clone())).collect()
        }
        SearchedTexts::Said => {
            said(tables, agent).map(|message| (message.id, message.text)).collect()
        }
    };
    texts.retain(|(text, _)| !having.contains(text));
    texts
}

fn said(tables: &Tables, agent: &AgentId) -> impl Iterator<Item = Recalled> {
    tables.sessions.values().filter(move |row| row.agent == *agent).flat_map(|row| {
        row.records.iter().filter_map(|(number, record)| {
            let (role, text) = record.event.said()?;
            let role = match role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            Some(Recalled {
                id: i64::try_from(number + 1).unwrap_or(i64::MAX),
                session: row.id.clone(),
                seq: record.seq,
                at: record.at,
                role: role.to_owned(),
                text: text.to_owned(),
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
    let mut vectors = Vec::new();
    let mut added = Added { added: 0, duplicates: 0 };
    for new in notes {
        let is_known = |note: &Note| note.source.is_some() && note.text == new.text;
        if new.source.is_some() && row.notes.iter().any(is_known) {
            added.duplicates += 1;
            continue;
        }
        next += 1;
        let note =
            Note { id: next, at: new.at, text: new.text.clone(), source: new.source.clone() };
        row.notes.push(note);
        if let Some((model, vector)) = new.vector.clone() {
            let (agent, of) = (agent.clone(), SearchedTexts::Notes);
            vectors.push(VectorRow { agent, of, model, text: next, vector });
        }
        added.added += 1;
    }
    let total = row.notes.iter().map(|note| note.text.len() as u64).sum();
    tables.next_note = next;
    vectors.into_iter().for_each(|vector| tables.set_vector(vector));
    Ok((added, total))
}
