//! An agent's core memory: its blocks.

use rusqlite::{Connection, params};
use thoughtwire_proto::{AgentId, AgentSpec};

use crate::{Block, BlockEdit, Store, StoreError};

/// The blocks that every agent has, with what the model is told about them.
const BLOCKS: [(&str, &str); 2] = [
    ("persona", "Who the agent is and how it speaks."),
    ("human", "What the agent knows about the person it talks to."),
];

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
                Ok(Block {
                    label: row.get(0)?,
                    text: row.get(1)?,
                    limit: usize::try_from(limit).unwrap_or(0),
                    description: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Writes a new agent's blocks: those it is made with, and of the usual two those that are not among them.
pub(crate) fn write_first_blocks(
    connection: &Connection,
    agent: &AgentId,
    spec: &AgentSpec,
    given: &[Block],
) -> Result<(), StoreError> {
    for block in given {
        write_block(
            connection,
            &BlockEdit {
                agent: agent.clone(),
                label: block.label.clone(),
                to: Some(block.clone()),
            },
        )?;
    }
    for ((label, description), text) in BLOCKS.into_iter().zip([&spec.persona, &spec.human]) {
        if given.iter().any(|block| block.label == label) {
            continue;
        }
        let text = text.clone().unwrap_or_default();
        // A first text longer than the usual limit makes room for itself.
        let limit = Block::LIMIT.max(text.chars().count());
        let block =
            Block { label: label.to_owned(), text, limit, description: description.to_owned() };
        write_block(
            connection,
            &BlockEdit { agent: agent.clone(), label: label.to_owned(), to: Some(block) },
        )?;
    }
    Ok(())
}

pub(crate) fn write_block(connection: &Connection, edit: &BlockEdit) -> Result<(), StoreError> {
    match &edit.to {
        Some(block) => connection
            .prepare_cached(
                "INSERT INTO blocks (agent, label, text, most, description) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (agent, label) DO UPDATE SET text = ?3, most = ?4, description = ?5",
            )?
            .execute(params![edit.agent.as_str(), edit.label, block.text, block.limit, block.description])?,
        None => connection
            .prepare_cached("DELETE FROM blocks WHERE agent = ? AND label = ?")?
            .execute(params![edit.agent.as_str(), edit.label])?,
    };
    Ok(())
}
