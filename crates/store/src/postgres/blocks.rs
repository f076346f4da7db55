//! Core memory blocks in PostgreSQL.

use thoughtwire_proto::AgentId;
use tokio_postgres::Client;

use super::sql::{Text, args, count_to_i64, execute, get_count, get_text, rows};
use crate::{Block, BlockEdit, StoreError};

/// Reads an agent's blocks: `persona` and `human` first, as the prompt has them, then by label.
pub(super) async fn read(sql: &Client, agent: &AgentId) -> Result<Vec<Block>, StoreError> {
    let found = rows(
        sql,
        "SELECT label, text, most, description FROM blocks WHERE agent = $1
         ORDER BY label != 'persona', label != 'human', label COLLATE \"C\"",
        args![Text(agent.as_str())],
    )
    .await?;
    let block = |row| {
        Ok(Block {
            label: get_text(row, 0)?,
            text: get_text(row, 1)?,
            limit: get_count(row, 2)?,
            description: get_text(row, 3)?,
        })
    };
    found.iter().map(block).collect()
}

/// Changes or deletes a block.
pub(super) async fn write(sql: &Client, edit: &BlockEdit) -> Result<(), StoreError> {
    let (agent, label) = (Text(edit.agent.as_str()), Text(&edit.label));
    match &edit.to {
        Some(block) => {
            execute(
                sql,
                "INSERT INTO blocks (agent, label, text, most, description)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (agent, label) DO UPDATE
                 SET text = excluded.text, most = excluded.most,
                     description = excluded.description",
                args![
                    agent,
                    label,
                    Text(&block.text),
                    count_to_i64(block.limit),
                    Text(&block.description)
                ],
            )
            .await?
        }
        None => {
            let delete = "DELETE FROM blocks WHERE agent = $1 AND label = $2";
            execute(sql, delete, args![agent, label]).await?
        }
    };
    Ok(())
}
