//! Archival memory: an agent's notes, found by words and by meaning.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest, Sha256};
use thoughtwire_proto::{AgentId, Timestamp};

use crate::known::Touched;
use crate::{Added, Commit, NewNote, Note, Page, Receipt, Store, StoreError, receipts, script};

const COLUMNS: &str = "notes.id, at, notes.text, source";

impl Store {
    /// Adds notes to an agent's archival memory, which may have at most so many bytes of text; all or
    /// none. What was imported before is skipped.
    pub fn archival_add(&self, agent: &AgentId, notes: Vec<NewNote>, most: u64) -> Commit<Added> {
        self.archival_add_once(agent, notes, most, None)
    }

    /// Adds notes as [`Store::archival_add`] does, with the receipt of the command that asked for
    /// it. The receipt's answer becomes [`Added`] as JSON.
    pub fn archival_add_once(
        &self,
        agent: &AgentId,
        notes: Vec<NewNote>,
        most: u64,
        receipt: Option<Receipt>,
    ) -> Commit<Added> {
        let agent = agent.clone();
        self.writer.write_known(Touched::Agent(agent.clone()), move |connection| {
            let (outcome, grown, total) = write_notes(connection, &agent, &notes)?;
            if total > most && grown > 0 {
                return Err(StoreError::ArchivalFull { most });
            }
            if let Some(receipt) = &receipt {
                let answer = serde_json::to_string(&outcome)?;
                receipts::write(connection, Some(&Receipt { answer, ..receipt.clone() }))?;
            }
            Ok(outcome)
        })
    }

    /// Searches an agent's notes by words, best first. An empty query finds nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_search(
        &self,
        agent: &AgentId,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Page<Note>, StoreError> {
        let Some(query) = script::query(query) else {
            return Ok(Page { items: Vec::new(), total: 0 });
        };
        self.readers.read(|connection| {
            const FROM: &str = "FROM notes_words JOIN notes ON notes.id = notes_words.rowid WHERE notes_words MATCH ?1 AND agent = ?2";
            let mut count = connection.prepare_cached(&format!("SELECT count(*) {FROM}"))?;
            let (words, total) = query
                .matching(|words| count.query_row([words, agent.as_str()], |row| row.get(0)))?;
            let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} {FROM} ORDER BY rank, notes.id LIMIT ?3 OFFSET ?4"))?;
            let rows = select.query_map(params![words, agent.as_str(), limit, offset], note)?;
            Ok(Page { items: rows.collect::<Result<_, _>>()?, total })
        })
    }

    /// The notes whose meaning lies nearest to a unit vector, nearest first, among those that have a
    /// vector of the same model.
    ///
    /// Every vector of the agent is looked at: exact, and fast enough for a person's notes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_nearest(
        &self,
        agent: &AgentId,
        model: &str,
        to: &[f32],
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT note, vector FROM note_vectors WHERE agent = ? AND model = ?",
            )?;
            let mut rows = select.query([agent.as_str(), model])?;
            let mut nearest = BinaryHeap::new();
            while let Some(row) = rows.next()? {
                let bytes = row
                    .get_ref(1)?
                    .as_blob()
                    .map_err(|_| StoreError::Corrupt("a note's vector is no blob".to_owned()))?;
                nearest.push(Near { likeness: likeness(bytes, to), note: row.get(0)? });
                if nearest.len() > limit {
                    // The heap's top is the least alike of those kept.
                    nearest.pop();
                }
            }
            let mut one =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM notes WHERE id = ?"))?;
            nearest
                .into_sorted_vec()
                .into_iter()
                .map(|near| Ok(one.query_row([near.note], note)?))
                .collect()
        })
    }

    /// Some of an agent's notes that have no vector of a model yet, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_without_vector(
        &self,
        agent: &AgentId,
        model: &str,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM notes LEFT JOIN note_vectors ON note = notes.id AND model = ?2
                 WHERE notes.agent = ?1 AND note IS NULL ORDER BY notes.id LIMIT ?3"
            ))?;
            let rows = select.query_map(params![agent.as_str(), model, limit], note)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps the vectors of notes, in the place of those of another model.
    pub fn archival_set_vectors(
        &self,
        agent: &AgentId,
        model: &str,
        vectors: Vec<(i64, Vec<f32>)>,
    ) -> Commit<()> {
        let (agent, model) = (agent.clone(), model.to_owned());
        self.writer.write(move |connection| {
            for (id, vector) in &vectors {
                write_vector(connection, *id, &agent, &model, vector)?;
            }
            Ok(())
        })
    }

    /// An agent's notes behind a number, in the order in which they were made: for going through all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_notes(
        &self,
        agent: &AgentId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM notes WHERE agent = ? AND id > ? ORDER BY id LIMIT ?"
            ))?;
            let rows = select.query_map(params![agent.as_str(), after, limit], note)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// How many notes an agent has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_count(&self, agent: &AgentId) -> Result<usize, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached("SELECT notes FROM agents WHERE id = ?")?;
            Ok(select.query_row([agent.as_str()], |row| row.get(0)).optional()?.unwrap_or(0))
        })
    }
}

/// A note as a search by meaning found it; ordered so that the least alike is the greatest.
struct Near {
    likeness: f32,
    note: i64,
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        other.likeness.total_cmp(&self.likeness).then(self.note.cmp(&other.note))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

/// The scalar product of a stored vector with another: for unit vectors, the cosine of their angle.
fn likeness(bytes: &[u8], to: &[f32]) -> f32 {
    let (numbers, _) = bytes.as_chunks::<4>();
    if numbers.len() != to.len() {
        return f32::MIN;
    }
    numbers.iter().zip(to).map(|(number, other)| f32::from_le_bytes(*number) * other).sum()
}

/// Writes an agent's notes: what became of them, by how many bytes of text its archival memory has
/// grown, and how many it has now.
pub(crate) fn write_notes(
    connection: &Connection,
    agent: &AgentId,
    notes: &[NewNote],
) -> Result<(Added, usize, u64), StoreError> {
    let mut outcome = Added { added: 0, duplicates: 0 };
    let mut grown = 0;
    for note in notes {
        match write_note(connection, agent, note)? {
            Some(_) => {
                outcome.added += 1;
                grown += note.text.len();
            }
            None => outcome.duplicates += 1,
        }
    }
    let total = connection
        .prepare_cached(
            "UPDATE agents SET notes = notes + ?, notes_bytes = notes_bytes + ? WHERE id = ?
             RETURNING notes_bytes",
        )?
        .query_row(params![outcome.added, grown, agent.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::Missing(format!("agent {agent}")))?;
    Ok((outcome, grown, total))
}

fn write_note(
    connection: &Connection,
    agent: &AgentId,
    note: &NewNote,
) -> Result<Option<i64>, StoreError> {
    let words = script::indexed(&note.text);
    let digest = note.source.as_ref().map(|_| format!("{:x}", Sha256::digest(&note.text)));
    let written = connection
        .prepare_cached(
            "INSERT INTO notes (agent, at, text, source, digest, words) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            agent.as_str(),
            note.at.as_millis(),
            note.text,
            note.source,
            digest,
            words
        ])?;
    if written == 0 {
        return Ok(None);
    }
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO notes_words (rowid, text) VALUES (?, ?)")?
        .execute(params![id, words.as_deref().unwrap_or(&note.text)])?;
    if let Some((model, vector)) = &note.vector {
        write_vector(connection, id, agent, model, vector)?;
    }
    Ok(Some(id))
}

fn write_vector(
    connection: &Connection,
    note: i64,
    agent: &AgentId,
    model: &str,
    vector: &[f32],
) -> Result<(), StoreError> {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO note_vectors (note, agent, model, vector) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![note, agent.as_str(), model, bytes])?;
    Ok(())
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note {
        id: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        text: row.get(2)?,
        source: row.get(3)?,
    })
}
