//! Vectors of notes and messages in SQLite.

use rusqlite::{Connection, params};
use thoughtwire_proto::AgentId;

use super::row::get_id;
use crate::{SearchedTexts, StoreError, StoredVector, UnembeddedTexts};

/// The rows of texts, without those that are being erased.
const fn rows_of(of: SearchedTexts) -> &'static str {
    match of {
        SearchedTexts::Notes => "notes AS one",
        SearchedTexts::Said => "said AS one JOIN sessions ON sessions.num = one.session",
    }
}

/// Lists some texts behind a number that have no vector of a model yet, by number.
pub(super) fn missing(
    connection: &Connection,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    (after, limit): (i64, usize),
) -> Result<Vec<(i64, String)>, StoreError> {
    let from = rows_of(of);
    let mut select = connection.prepare_cached(&format!(
        "SELECT one.id, one.text FROM {from}
         WHERE one.agent = ?1 AND one.id > ?4 AND NOT EXISTS (
            SELECT 1 FROM vectors WHERE texts = ?2 AND vectors.text = one.id AND model = ?3
         ) ORDER BY one.id LIMIT ?5"
    ))?;
    let arguments = params![agent.as_str(), of.number(), model, after, limit];
    let rows = select.query_map(arguments, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Counts the texts of one agent, or of all, that have no vector of a model yet.
pub(super) fn count_missing(
    connection: &Connection,
    agent: Option<&AgentId>,
    model: &str,
) -> Result<Vec<UnembeddedTexts>, StoreError> {
    let mut found = Vec::new();
    for of in [SearchedTexts::Notes, SearchedTexts::Said] {
        let from = rows_of(of);
        let own = if agent.is_some() { "agents.id = ?3 AND" } else { "?3 IS NULL AND" };
        let mut select = connection.prepare_cached(&format!(
            "SELECT agents.id, count(*) FROM agents, {from}
             WHERE one.agent = agents.id AND {own} NOT EXISTS (
                SELECT 1 FROM vectors WHERE texts = ?1 AND vectors.text = one.id AND model = ?2
             ) GROUP BY agents.id"
        ))?;
        let arguments = params![of.number(), model, agent.map(AgentId::as_str)];
        let mut rows = select.query(arguments)?;
        while let Some(row) = rows.next()? {
            found.push(UnembeddedTexts { agent: get_id(row, 0)?, of, count: row.get(1)? });
        }
    }
    Ok(found)
}

/// Sets the vectors of texts, by their numbers.
pub(super) fn set(
    connection: &Connection,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    vectors: &[(i64, Vec<f32>)],
) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO vectors (agent, texts, text, model, vector) VALUES (?, ?, ?, ?, ?)",
    )?;
    for (text, vector) in vectors {
        let bytes = StoredVector::to_bytes(vector);
        insert.execute(params![agent.as_str(), of.number(), text, model, bytes])?;
    }
    Ok(())
}

/// Lists the vectors behind a number.
pub(super) fn after(
    connection: &Connection,
    agent: &AgentId,
    of: SearchedTexts,
    model: &str,
    (after, limit): (i64, usize),
) -> Result<Vec<StoredVector>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, text, vector FROM vectors
         WHERE agent = ? AND texts = ? AND id > ? AND model = ? ORDER BY id LIMIT ?",
    )?;
    let mut rows = select.query(params![agent.as_str(), of.number(), after, model, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes = row
            .get_ref(2)?
            .as_blob()
            .map_err(|_| StoreError::Corrupt("a text's vector is not a blob".to_owned()))?;
        let vector = StoredVector::from_bytes(bytes);
        found.push(StoredVector { id: row.get(0)?, text: row.get(1)?, vector });
    }
    Ok(found)
}
