//! Clocks in SQLite: how far each had come, by its name.

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::Timestamp;

use crate::StoreError;

/// Reads how far a clock had come when it was last saved.
pub(super) fn read(connection: &Connection, name: &str) -> Result<Option<Timestamp>, StoreError> {
    let mut select = connection.prepare_cached("SELECT millis FROM clock WHERE name = ?")?;
    let millis = select.query_row([name], |row| row.get(0)).optional()?;
    Ok(millis.map(Timestamp::from_millis))
}

/// Saves how far clocks have come.
pub(super) fn set(
    connection: &Connection,
    clocks: &[(&'static str, Timestamp)],
) -> Result<(), StoreError> {
    for (name, at) in clocks {
        connection
            .prepare_cached("INSERT OR REPLACE INTO clock (name, millis) VALUES (?, ?)")?
            .execute(params![name, at.as_millis()])?;
    }
    Ok(())
}

/// Reads when a log last grew.
pub(super) fn newest_record(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let select = "SELECT max(updated_at) FROM sessions";
    let newest: Option<i64> = connection.query_row(select, [], |row| row.get(0))?;
    Ok(newest.map(Timestamp::from_millis))
}
