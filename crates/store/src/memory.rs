//! An agent's core memory blocks and archival notes.

use rusqlite::{Connection, params};
use thoughtwire_proto::{AgentId, AgentSpec, Timestamp};

use crate::{Block, BlockEdit, Commit, Note, Page, Store, StoreError, recall};

/// Characters of a block, as in MemGPT's defaults.
const BLOCK_LIMIT: usize = 2000;

/// The blocks that every agent has, with what the model is told about them.
const BLOCKS: [(&str, &str); 2] =
    [("persona", "Who the agent is and how it speaks."), ("human", "What the agent knows about the person it talks to.")];

impl Store {
    /// An agent's core memory blocks.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn blocks(&self, agent: &AgentId) -> Result<Vec<Block>, StoreError> {
        self.readers.read(|connection| {
            // `persona` before `human`, as the prompt has them; further ones by name.
            let mut select = connection.prepare_cached(
                "SELECT label, text, most, description FROM blocks WHERE agent = ?
                 ORDER BY label != 'persona', label != 'human', label",
            )?;
            let rows = select.query_map([agent.as_str()], |row| {
                let limit: i64 = row.get(2)?;
                Ok(Block { label: row.get(0)?, text: row.get(1)?, limit: usize::try_from(limit).unwrap_or(0), description: row.get(3)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Adds a note to an agent's archival memory; resolves to its number.
    pub fn archival_insert(&self, agent: &AgentId, text: &str, at: Timestamp) -> Commit<i64> {
        let (agent, text) = (agent.clone(), text.to_owned());
        self.writer.write(move |connection| {
            connection.execute("INSERT INTO notes (agent, at, text) VALUES (?, ?, ?)", params![agent.as_str(), at.as_millis(), text])?;
            let id = connection.last_insert_rowid();
            connection.execute("INSERT INTO notes_words (rowid, text) VALUES (?, ?)", params![id, text])?;
            Ok(id)
        })
    }

    /// Searches an agent's notes by words, best first. An empty query finds nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_search(&self, agent: &AgentId, query: &str, offset: usize, limit: usize) -> Result<Page<Note>, StoreError> {
        let Some(words) = recall::words(query) else { return Ok(Page { items: Vec::new(), total: 0 }) };
        self.readers.read(|connection| {
            const FROM: &str = "FROM notes_words JOIN notes ON notes.id = notes_words.rowid WHERE notes_words MATCH ?1 AND agent = ?2";
            let total: i64 = connection
                .prepare_cached(&format!("SELECT count(*) {FROM}"))?
                .query_row(params![words, agent.as_str()], |row| row.get(0))?;
            let mut select =
                connection.prepare_cached(&format!("SELECT notes.id, at, notes.text {FROM} ORDER BY rank, notes.id LIMIT ?3 OFFSET ?4"))?;
            let rows = select.query_map(params![words, agent.as_str(), limit, offset], |row| {
                Ok(Note { id: row.get(0)?, at: Timestamp::from_millis(row.get(1)?), text: row.get(2)? })
            })?;
            Ok(Page { items: rows.collect::<Result<_, _>>()?, total: usize::try_from(total).unwrap_or(0) })
        })
    }

    /// How many notes an agent has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn archival_count(&self, agent: &AgentId) -> Result<usize, StoreError> {
        self.readers.read(|connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM notes WHERE agent = ?", [agent.as_str()], |row| row.get(0))?;
            Ok(usize::try_from(count).unwrap_or(0))
        })
    }
}

pub(crate) fn write_first_blocks(connection: &Connection, agent: &AgentId, spec: &AgentSpec) -> Result<(), StoreError> {
    for ((label, description), text) in BLOCKS.into_iter().zip([&spec.persona, &spec.human]) {
        let text = text.as_deref().unwrap_or_default();
        // A first text longer than the usual limit makes room for itself.
        let most = BLOCK_LIMIT.max(text.chars().count());
        connection.execute(
            "INSERT INTO blocks (agent, label, text, most, description) VALUES (?, ?, ?, ?, ?)",
            params![agent.as_str(), label, text, most, description],
        )?;
    }
    Ok(())
}

pub(crate) fn write_block(connection: &Connection, edit: &BlockEdit) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO blocks (agent, label, text, most, description) VALUES (?1, ?2, ?3, ?4, '')
             ON CONFLICT (agent, label) DO UPDATE SET text = ?3",
        )?
        .execute(params![edit.agent.as_str(), edit.label, edit.text, BLOCK_LIMIT])?;
    Ok(())
}
