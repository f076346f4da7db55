//! Notes in SQLite: an agent's archival memory, found by words and by meaning.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest, Sha256};
use thoughtwire_proto::{AgentId, Timestamp};

use crate::nearest::Nearest;
use crate::{Added, NewNote, Note, Page, StoreError, script};

const COLUMNS: &str = "notes.id, at, notes.text, source";

/// Searches an agent's notes by words, best first.
pub(super) fn search(
    connection: &Connection,
    agent: &AgentId,
    query: &str,
    offset: usize,
    limit: usize,
) -> Result<Page<Note>, StoreError> {
    const FROM: &str = "FROM notes_words JOIN notes ON notes.id = notes_words.rowid
                        WHERE notes_words MATCH ?1 AND agent = ?2";
    let Some(query) = script::query(query) else { return Ok(Page::empty()) };
    let mut count = connection.prepare_cached(&format!("SELECT count(*) {FROM}"))?;
    let (words, total) =
        query.matching(|words| count.query_row([words, agent.as_str()], |row| row.get(0)))?;
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM} ORDER BY rank, notes.id LIMIT ?3 OFFSET ?4"
    ))?;
    let rows = select.query_map(params![words, agent.as_str(), limit, offset], note)?;
    Ok(Page { items: rows.collect::<Result<_, _>>()?, total })
}

/// Finds the notes nearest in meaning to a unit vector, nearest first.
pub(super) fn nearest(
    connection: &Connection,
    agent: &AgentId,
    model: &str,
    to: &[f32],
    limit: usize,
) -> Result<Vec<Note>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT note, vector FROM note_vectors WHERE agent = ? AND model = ?")?;
    let mut rows = select.query([agent.as_str(), model])?;
    let mut nearest = Nearest::new(to, limit);
    while let Some(row) = rows.next()? {
        let bytes = row
            .get_ref(1)?
            .as_blob()
            .map_err(|_| StoreError::Corrupt("a note's vector is not a blob".to_owned()))?;
        nearest.push(row.get(0)?, bytes);
    }
    let mut one =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM notes WHERE id = ?"))?;
    let notes = nearest.into_notes().into_iter();
    notes.map(|number| Ok(one.query_row([number], note)?)).collect()
}

/// Lists notes that have no vector of a model yet, oldest first.
pub(super) fn without_vector(
    connection: &Connection,
    agent: &AgentId,
    model: &str,
    limit: usize,
) -> Result<Vec<Note>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM notes LEFT JOIN note_vectors ON note = notes.id AND model = ?2
         WHERE notes.agent = ?1 AND note IS NULL ORDER BY notes.id LIMIT ?3"
    ))?;
    let rows = select.query_map(params![agent.as_str(), model, limit], note)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
        set_vector(connection, id, agent, model, vector)?;
    }
    Ok(Some(id))
}

/// Sets the vector of a note.
pub(super) fn set_vector(
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
