//! Rows: reading columns, and the row numbers of sessions.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension as _, Row};
use thoughtwire_proto::{Id, Record, Seq, SessionId, Timestamp};

use crate::StoreError;

/// Maximum number of sessions in the cache; about 100 bytes each.
const MAX_CACHED: usize = 16_384;

/// Columns of a record, for [`record`].
pub(super) const RECORD: &str = "seq, at, turn, body";

/// Row numbers of sessions that the writer used lately, so that an append need not look its up.
///
/// A number may be stale after a transaction that failed. Whoever uses it checks the row's id.
#[derive(Default)]
pub(super) struct RowCache(Mutex<HashMap<SessionId, i64>>);

impl RowCache {
    /// The cached row number of a session.
    pub(super) fn cached(&self, session: &SessionId) -> Option<i64> {
        self.rows().get(session).copied()
    }

    /// Reads the row number of a session from the file, and caches it.
    pub(super) fn read(
        &self,
        connection: &Connection,
        session: &SessionId,
    ) -> Result<Option<i64>, StoreError> {
        let found = row_of(connection, session)?;
        let mut rows = self.rows();
        match found {
            Some(row) => {
                if rows.len() >= MAX_CACHED {
                    rows.clear();
                }
                rows.insert(session.clone(), row);
            }
            None => drop(rows.remove(session)),
        }
        Ok(found)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<SessionId, i64>> {
        self.0.lock()
    }
}

/// Reads the row number of a session.
pub(super) fn row_of(
    connection: &Connection,
    session: &SessionId,
) -> Result<Option<i64>, StoreError> {
    let mut select = connection.prepare_cached("SELECT num FROM sessions WHERE id = ?")?;
    Ok(select.query_row([session.as_str()], |row| row.get(0)).optional()?)
}

/// Reads a record from its [`RECORD`] columns.
pub(super) fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let turn = row
        .get_ref(2)?
        .as_str_or_null()
        .map_err(|_| StoreError::Corrupt("a turn's id is not text".into()))?;
    let turn = turn.map(Id::new).transpose();
    Ok(Record {
        seq: get_seq(row, 0)?,
        at: Timestamp::from_millis(row.get(1)?),
        turn: turn.map_err(|bad| StoreError::Corrupt(bad.to_string()))?,
        event: serde_json::from_str(body(row)?)?,
    })
}

/// Reads the event of a record as stored text, from its [`RECORD`] columns.
pub(super) fn body<'a>(row: &'a Row<'_>) -> Result<&'a str, StoreError> {
    row.get_ref(3)?.as_str().map_err(|_| StoreError::Corrupt("an event is not text".into()))
}

/// The database's form of an unsigned number. Larger ones than it can hold are cut.
pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn get_u64(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
}

pub(super) fn get_seq(row: &Row<'_>, at: usize) -> rusqlite::Result<Seq> {
    get_u64(row, at).map(Seq)
}

pub(super) fn get_id<K>(row: &Row<'_>, at: usize) -> rusqlite::Result<Id<K>> {
    let text: String = row.get(at)?;
    Id::new(text).map_err(|bad| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(bad))
    })
}
