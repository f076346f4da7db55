//! Receipts of commands in SQLite.

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::{CommandId, SessionId, UserId};

use super::row::row_of;
use crate::{Receipt, StoreError};

/// Row number of the session of commands that belong to none.
pub(super) const NO_SESSION: i64 = 0;

/// Reads the ids of all receipts of a session; `None` if there are more than `most`.
pub(super) fn ids(
    connection: &Connection,
    user: &UserId,
    session: &SessionId,
    most: usize,
) -> Result<Option<Vec<String>>, StoreError> {
    let Some(row) = row_of(connection, session)? else { return Ok(Some(Vec::new())) };
    let mut select = connection
        .prepare_cached("SELECT id FROM receipts WHERE user = ? AND session = ? LIMIT ?")?;
    let limit = most.saturating_add(1);
    let rows = select.query_map(params![user.as_str(), row, limit], |row| row.get(0))?;
    let ids: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok((ids.len() <= most).then_some(ids))
}

/// Finds the receipt of a command.
pub(super) fn find(
    connection: &Connection,
    user: &UserId,
    session: i64,
    id: &CommandId,
) -> Result<Option<Receipt>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT digest, answer FROM receipts WHERE user = ? AND session = ? AND id = ?",
    )?;
    let found = select.query_row(params![user.as_str(), session, id.as_str()], |row| {
        Ok(Receipt { user: user.clone(), id: id.clone(), digest: row.get(0)?, answer: row.get(1)? })
    });
    Ok(found.optional()?)
}

/// Writes a receipt. Fails when the command has one already, and with it everything that is
/// written together with it.
pub(super) fn write(
    connection: &Connection,
    receipt: Option<&Receipt>,
    session: i64,
) -> Result<(), StoreError> {
    let Some(receipt) = receipt else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO receipts (user, session, id, digest, answer) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            receipt.user.as_str(),
            session,
            receipt.id.as_str(),
            receipt.digest,
            receipt.answer
        ])?;
    Ok(())
}
