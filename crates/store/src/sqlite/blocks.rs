//! Core memory blocks in SQLite.

use rusqlite::{Connection, params};
use thoughtwire_proto::AgentId;

use crate::{Block, BlockEdit, StoreError};

/// Reads an agent's blocks: `persona` and `human` first, as the prompt has them, then by label.
pub(super) fn read(connection: &Connection, agent: &AgentId) -> Result<Vec<Block>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT label, text, most, description FROM blocks WHERE agent = ?
         ORDER BY label != 'persona', label != 'human', label",
    )?;
    let rows = select.query_map([agent.as_str()], |row| {
        let limit: i64 = row.get(2)?;
        Ok(Block {
            label: row.get(0)?,
            text: row.get(1)?,
            limit: usize::try_from(limit).unwrap_or(0),
            description: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Changes or deletes a block.
pub(super) fn write(connection: &Connection, edit: &BlockEdit) -> Result<(), StoreError> {
    let (agent, label) = (edit.agent.as_str(), &edit.label);
    match &edit.to {
        Some(block) => connection
            .prepare_cached(
                "INSERT INTO blocks (agent, label, text, most, description)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (agent, label) DO UPDATE SET text = ?3, most = ?4, description = ?5",
            )?
            .execute(params![agent, label, block.text, block.limit, block.description])?,
        None => connection
            .prepare_cached("DELETE FROM blocks WHERE agent = ? AND label = ?")?
            .execute(params![agent, label])?,
    };
    Ok(())
}
