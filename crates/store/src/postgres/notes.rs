//! Notes in PostgreSQL: an agent's archival memory.

use sha2::{Digest, Sha256};
use thoughtwire_proto::AgentId;
use tokio_postgres::{Client, Row};

use super::sql::{
    Text, args, count_to_i64, find_text, first_row, get_i64, get_text, get_time, get_u64, rows,
};
use super::vectors;
use crate::{Added, NewNote, Note, SearchedTexts, StoreError};

const COLUMNS: &str = "notes.id, at, notes.text, source";

/// Reads notes by their numbers.
pub(super) async fn by_id(
    sql: &Client,
    agent: &AgentId,
    ids: Vec<i64>,
) -> Result<Vec<Note>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM notes WHERE id = ANY ($1) AND agent = $2");
    rows(sql, &select, args![ids, Text(agent.as_str())]).await?.iter().map(note).collect()
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
    let digest = note.source.as_ref().map(|_| format!("{:x}", Sha256::digest(&note.text)));
    let added = first_row(
        sql,
        "INSERT INTO notes (agent, at, text, source, digest)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id",
        args![
            Text(agent.as_str()),
            note.at.as_millis(),
            Text(&note.text),
            note.source.as_deref().map(Text),
            digest.as_deref().map(Text)
        ],
    )
    .await?;
    let Some(row) = added else { return Ok(false) };
    if let Some((model, vector)) = &note.vector {
        let vector = [(get_i64(&row, 0)?, vector.clone())];
        vectors::set(sql, agent, SearchedTexts::Notes, model, &vector).await?;
    }
    Ok(true)
}

fn note(row: &Row) -> Result<Note, StoreError> {
    Ok(Note {
        id: get_i64(row, 0)?,
        at: get_time(row, 1)?,
        text: get_text(row, 2)?,
        source: find_text(row, 3)?,
    })
}
