//! Receipts of commands in PostgreSQL.

use thoughtwire_proto::{CommandId, SessionId, UserId};
use tokio_postgres::Client;

use super::sql::{Text, args, count_to_i64, execute, first_row, get_text, rows};
use crate::{Receipt, StoreError};

/// Reads the ids of all receipts of a session; `None` if there are more than `most`.
pub(super) async fn ids(
    sql: &Client,
    user: &UserId,
    session: &SessionId,
    most: usize,
) -> Result<Option<Vec<String>>, StoreError> {
    let found = rows(
        sql,
        "SELECT id FROM receipts
         WHERE owner = $1 AND session = (SELECT num FROM sessions WHERE id = $2) LIMIT $3",
        args![Text(user.as_str()), Text(session.as_str()), count_to_i64(most.saturating_add(1))],
    )
    .await?;
    let ids: Vec<_> = found.iter().map(|row| get_text(row, 0)).collect::<Result<_, _>>()?;
    Ok((ids.len() <= most).then_some(ids))
}

/// Finds the receipt of a command of a session, or of none.
pub(super) async fn find(
    sql: &Client,
    user: &UserId,
    session: Option<&SessionId>,
    id: &CommandId,
) -> Result<Option<Receipt>, StoreError> {
    let found = first_row(
        sql,
        "SELECT digest, answer FROM receipts
         WHERE owner = $1 AND id = $2 AND session =
            CASE WHEN $3 IS NULL THEN 0 ELSE (SELECT num FROM sessions WHERE id = $3) END",
        args![Text(user.as_str()), Text(id.as_str()), session.map(|id| Text(id.as_str()))],
    )
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(Receipt {
        user: user.clone(),
        id: id.clone(),
        digest: get_text(&row, 0)?,
        answer: get_text(&row, 1)?,
    }))
}

/// Writes the receipt of a command that belongs to no session. Fails when the command has one
/// already, and with it everything that is written together with it.
pub(super) async fn write(sql: &Client, receipt: Option<&Receipt>) -> Result<(), StoreError> {
    let Some(receipt) = receipt else { return Ok(()) };
    execute(
        sql,
        "INSERT INTO receipts (owner, session, id, digest, answer) VALUES ($1, 0, $2, $3, $4)",
        args![
            Text(receipt.user.as_str()),
            Text(receipt.id.as_str()),
            Text(&receipt.digest),
            Text(&receipt.answer)
        ],
    )
    .await?;
    Ok(())
}
