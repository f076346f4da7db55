//! Notes in SQLite: an agent's archival memory.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest, Sha256};
use thoughtwire_proto::{AgentId, Timestamp};

use super::vectors;
use crate::{Added, NewNote, Note, SearchedTexts, StoreError};

const COLUMNS: &str = "notes.id, at, notes.text, source";

/// Reads notes by their numbers.
pub(super) fn by_id(
    connection: &Connection,
    agent: &AgentId,
    ids: &[i64],
) -> Result<Vec<Note>, StoreError> {
    let mut select = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM notes WHERE id = ? AND agent = ?"))?;
    let found = ids.iter().map(|id| select.query_row(params![id, agent.as_str()], note).optional());
    Ok(found.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// Lists the notes behind a number, oldest first.
pub(super) fn after(
    connection: &Connection,
    agent: &AgentId,
    after: i64,
    limit: usize,
) -> Result<Vec<Note>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM notes WHERE agent = ? AND id > ? ORDER BY id LIMIT ?"
    ))?;
    let rows = select.query_map(params![agent.as_str(), after, limit], note)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds notes to an agent. Gives their numbers, the bytes of text that were added, and the bytes
/// that the agent has now.
pub(super) fn add(
    connection: &Connection,
    agent: &AgentId,
    notes: &[NewNote],
) -> Result<(Added, usize, u64), StoreError> {
    let mut outcome = Added { added: 0, duplicates: 0 };
    let mut grown = 0;
    for note in notes {
        match add_one(connection, agent, note)? {
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
        .ok_or_else(|| StoreError::missing_agent(agent))?;
    Ok((outcome, grown, total))
}

fn add_one(
    connection: &Connection,
    agent: &AgentId,
    note: &NewNote,
) -> Result<Option<i64>, StoreError> {
    let digest = note.source.as_ref().map(|_| format!("{:x}", Sha256::digest(&note.text)));
    let written = connection
        .prepare_cached(
            "INSERT INTO notes (agent, at, text, source, digest) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![agent.as_str(), note.at.as_millis(), note.text, note.source, digest])?;
    if written == 0 {
        return Ok(None);
    }
    let id = connection.last_insert_rowid();
    if let Some((model, vector)) = &note.vector {
        vectors::set(connection, agent, SearchedTexts::Notes, model, &[(id, vector.clone())])?;
    }
    Ok(Some(id))
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note {
        id: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        text: row.get(2)?,
        source: row.get(3)?,
    })
}
