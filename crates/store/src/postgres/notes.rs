//! Notes in PostgreSQL: an agent's archival memory, found by words and by meaning.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use thoughtwire_proto::AgentId;
use tokio_postgres::{Client, Row};

use super::search::{self, IndexedWords, SearchedTable};
use super::sql::{
    Text, args, count_to_i64, execute, find_text, first_row, get_i64, get_text, get_time, get_u64,
    rows,
};
use crate::nearest::Nearest;
use crate::{Added, NewNote, Note, Page, StoreError};

const COLUMNS: &str = "notes.id, at, notes.text, source";

/// Searches an agent's notes by words, best first.
pub(super) async fn search(
    sql: &Client,
    agent: &AgentId,
    query: &str,
    page: (usize, usize),
) -> Result<Page<Note>, StoreError> {
    const NOTES: SearchedTable =
        SearchedTable { from: "notes", key: "id, id", newest_first: false };
    let found = search::search(sql, &NOTES, agent, query, page).await?;
    let ids = found.items.into_iter().map(|(id, _)| id).collect();
    Ok(Page { items: by_ids(sql, ids).await?, total: found.total })
}

/// Finds the notes nearest in meaning to a unit vector, nearest first.
pub(super) async fn nearest(
    sql: &Client,
    agent: &AgentId,
    model: &str,
    to: &[f32],
    limit: usize,
) -> Result<Vec<Note>, StoreError> {
    /// Vectors read at a time, so that a large archive does not lie in memory whole.
    const STEP: i64 = 2_000;
    let mut nearest = Nearest::new(to, limit);
    let mut last = i64::MIN;
    loop {
        let found = rows(
            sql,
            "SELECT note, vector FROM note_vectors
             WHERE agent = $1 AND model = $2 AND note > $3 ORDER BY note LIMIT $4",
            args![Text(agent.as_str()), Text(model), last, STEP],
        )
        .await?;
        let found = found;
        for row in &found {
            last = get_i64(row, 0)?;
            nearest.push(last, row.try_get(1)?);
        }
        if i64::try_from(found.len()).unwrap_or(i64::MAX) < STEP {
            return by_ids(sql, nearest.into_notes()).await;
        }
    }
}

/// Reads notes in the order of their numbers given.
async fn by_ids(sql: &Client, ids: Vec<i64>) -> Result<Vec<Note>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM notes WHERE id = ANY ($1)");
    let found = rows(sql, &select, args![ids]).await?;
    let mut notes: HashMap<i64, Note> = HashMap::new();
    for row in &found {
        let note = note(row)?;
        notes.insert(note.id, note);
    }
    Ok(ids.iter().filter_map(|id| notes.remove(id)).collect())
}

/// Lists notes that have no vector of a model yet, oldest first.
pub(super) async fn without_vector(
    sql: &Client,
    agent: &AgentId,
    model: &str,
    limit: usize,
) -> Result<Vec<Note>, StoreError> {
    let select = format!(
        "SELECT {COLUMNS} FROM notes LEFT JOIN note_vectors ON note = notes.id AND model = $2
         WHERE notes.agent = $1 AND note IS NULL ORDER BY notes.id LIMIT $3"
    );
    let found =
        rows(sql, &select, args![Text(agent.as_str()), Text(model), count_to_i64(limit)]).await?;
    found.iter().map(note).collect()
}

/// Lists the notes behind a number, oldest first.
pub(super) async fn after(
    sql: &Client,
    agent: &AgentId,
    after: i64,
    limit: usize,
) -> Result<Vec<Note>, StoreError> {
    let select =
        format!("SELECT {COLUMNS} FROM notes WHERE agent = $1 AND id > $2 ORDER BY id LIMIT $3");
    let found = rows(sql, &select, args![Text(agent.as_str()), after, count_to_i64(limit)]).await?;
    found.iter().map(note).collect()
}

/// Adds notes to an agent. Gives their numbers, the bytes of text that were added, and the bytes
/// that the agent has now.
pub(super) async fn add(
    sql: &Client,
    agent: &AgentId,
    notes: &[NewNote],
) -> Result<(Added, usize, u64), StoreError> {
    let mut outcome = Added { added: 0, duplicates: 0 };
    let mut grown = 0;
    for note in notes {
        if add_one(sql, agent, note).await? {
            outcome.added += 1;
            grown += note.text.len();
        } else {
            outcome.duplicates += 1;
        }
    }
    let total = first_row(
        sql,
        "UPDATE agents SET notes = notes + $2, notes_bytes = notes_bytes + $3 WHERE id = $1
         RETURNING notes_bytes",
        args![Text(agent.as_str()), count_to_i64(outcome.added), count_to_i64(grown)],
    )
    .await?;
    let total = total.ok_or_else(|| StoreError::missing_agent(agent))?;
    Ok((outcome, grown, get_u64(&total, 0)?))
}

/// Adds a note. False when it was imported before.
async fn add_one(sql: &Client, agent: &AgentId, note: &NewNote) -> Result<bool, StoreError> {
    let indexed = IndexedWords::of(&note.text);
    let digest = note.source.as_ref().map(|_| format!("{:x}", Sha256::digest(&note.text)));
    let added = first_row(
        sql,
        "INSERT INTO notes (agent, at, text, source, digest, words, length)
         VALUES ($1, $2, $3, $4, $5, $6::text::tsvector, $7) ON CONFLICT DO NOTHING RETURNING id",
        args![
            Text(agent.as_str()),
            note.at.as_millis(),
            Text(&note.text),
            note.source.as_deref().map(Text),
            digest.as_deref().map(Text),
            Text(&indexed.words),
            indexed.length
        ],
    )
    .await?;
    let Some(row) = added else { return Ok(false) };
    if let Some((model, vector)) = &note.vector {
        set_vector(sql, get_i64(&row, 0)?, agent, model, vector).await?;
    }
    Ok(true)
}

/// Sets the vector of a note.
pub(super) async fn set_vector(
    sql: &Client,
    note: i64,
    agent: &AgentId,
    model: &str,
    vector: &[f32],
) -> Result<(), StoreError> {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    execute(
        sql,
        "INSERT INTO note_vectors (note, agent, model, vector) VALUES ($1, $2, $3, $4)
         ON CONFLICT (note) DO UPDATE SET agent = excluded.agent, model = excluded.model,
            vector = excluded.vector",
        args![note, Text(agent.as_str()), Text(model), bytes],
    )
    .await?;
    Ok(())
}

fn note(row: &Row) -> Result<Note, StoreError> {
    Ok(Note {
        id: get_i64(row, 0)?,
        at: get_time(row, 1)?,
        text: get_text(row, 2)?,
        source: find_text(row, 3)?,
    })
}
