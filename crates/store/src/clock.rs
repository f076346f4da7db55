//! Times that outlive a restart: how far a clock has come, by a name.

use rusqlite::{OptionalExtension as _, params};
use thoughtwire_proto::Timestamp;

use crate::{Commit, Store, StoreError};

impl Store {
    /// How far a clock had come when it was last saved.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn clock(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT millis FROM clock WHERE name = ?")?;
            let millis = select.query_row([name], |row| row.get(0)).optional()?;
            Ok(millis.map(Timestamp::from_millis))
        })
    }

    /// Saves how far clocks have come, all or none.
    pub fn set_clocks(&self, clocks: Vec<(&'static str, Timestamp)>) -> Commit<()> {
        self.writer.write_soon(move |connection| {
            for (name, at) in &clocks {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO clock (name, millis) VALUES (?, ?)")?
                    .execute(params![name, at.as_millis()])?;
            }
            Ok(())
        })
    }

    /// When the newest event of any log was written, as its session says.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest_event_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read_at_length(|connection| {
            let newest: Option<i64> =
                connection
                    .query_row("SELECT max(updated_at) FROM sessions", [], |row| row.get(0))?;
            Ok(newest.map(Timestamp::from_millis))
        })
    }
}
