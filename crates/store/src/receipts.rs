//! Receipts of commands that carry an id.

use rusqlite::{Connection, OptionalExtension, params};
use thoughtwire_proto::{CommandId, UserId};

use crate::{Receipt, SessionNum, Store, StoreError};

impl Store {
    /// The ids of all commands that took effect in a session, unless there are more than so many.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn receipt_ids(
        &self,
        user: &UserId,
        session: SessionNum,
        most: usize,
    ) -> Result<Option<Vec<String>>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT id FROM receipts WHERE user = ? AND session = ? LIMIT ?")?;
            let rows =
                select.query_map(params![user.as_str(), session.0, most + 1], |row| row.get(0))?;
            let ids: Vec<String> = rows.collect::<Result<_, _>>()?;
            Ok((ids.len() <= most).then_some(ids))
        })
    }

    /// The receipt of a command, if it took effect before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn receipt(
        &self,
        user: &UserId,
        session: Option<SessionNum>,
        id: &CommandId,
    ) -> Result<Option<Receipt>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT digest, answer FROM receipts WHERE user = ? AND session = ? AND id = ?",
            )?;
            let found = select
                .query_row(params![user.as_str(), number(session), id.as_str()], |row| {
                    Ok(Receipt {
                        user: user.clone(),
                        session,
                        id: id.clone(),
                        digest: row.get(0)?,
                        answer: row.get(1)?,
                    })
                })
                .optional()?;
            Ok(found)
        })
    }
}

/// Fails when the command has a receipt already: whatever comes with it then has no effect either.
pub(crate) fn write(connection: &Connection, receipt: Option<&Receipt>) -> Result<(), StoreError> {
    if let Some(receipt) = receipt {
        connection
            .prepare_cached(
                "INSERT INTO receipts (user, session, id, digest, answer) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                receipt.user.as_str(),
                number(receipt.session),
                receipt.id.as_str(),
                receipt.digest,
                receipt.answer
            ])?;
    }
    Ok(())
}

fn number(session: Option<SessionNum>) -> i64 {
    session.map_or(0, |session| session.0)
}
