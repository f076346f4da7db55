//! Readers: short transactions on connections of their own, so that reads never wait for writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::data_file::DataFile;
use crate::StoreError;
use crate::error::READ_LIMIT;
use crate::shares::{ReadPermit, ReadShares};

/// Maximum number of connections and of reads at once. Beyond what the processor can do at a time,
/// a read only waits elsewhere, and opening a connection costs more than most reads.
const READERS: usize = 8;

/// Maximum time a read waits for another program's lock.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Steps of SQLite's virtual machine between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;

pub(super) struct ReaderPool {
    file: Arc<DataFile>,
    /// `None` once the store is closed.
    idle: Mutex<Option<Vec<ReadConnection>>>,
    shares: ReadShares,
}

/// A connection that only reads, and the deadline of its current read.
struct ReadConnection {
    connection: Connection,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl ReaderPool {
    pub(super) fn new(file: &Arc<DataFile>) -> Self {
        Self {
            file: Arc::clone(file),
            idle: Mutex::new(Some(Vec::new())),
            shares: ReadShares::new(READERS),
        }
    }

    /// Waits for a permit, within a user's share.
    pub(super) async fn permit(&self, user: Option<&str>) -> ReadPermit {
        self.shares.permit(user).await
    }

    /// Reads; each statement may take ten seconds.
    ///
    /// # Errors
    /// The read's; [`StoreError::TooSlow`] when it took longer.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read_until(Some(Instant::now() + READ_LIMIT), read)
    }

    /// Reads without a time limit: for the server's own upkeep.
    ///
    /// # Errors
    /// The read's.
    pub(super) fn read_unlimited<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read_until(None, read)
    }

    fn read_until<T>(
        &self,
        deadline: Option<Instant>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let taken = self.idle.lock().as_mut().ok_or(StoreError::Stopped)?.pop();
        let reader = match taken {
            Some(reader) => reader,
            None => {
                // A new connection must not read another file than the open ones.
                self.file.check()?;
                ReadConnection::new(self.open()?)?
            }
        };
        *reader.deadline.lock() = deadline;
        let outcome = read(&reader.connection);
        if let Some(idle) = self.idle.lock().as_mut()
            && idle.len() < READERS
        {
            idle.push(reader);
        }
        outcome
    }

    pub(super) fn stop(&self) {
        drop(self.idle.lock().take());
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let connection = Connection::open_with_flags(
            self.file.path(),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    /// Opens a connection that uses the write-ahead log and then stays idle.
    pub(super) fn open_anchor(&self) -> Result<Connection, StoreError> {
        let connection = self.open()?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }
}

impl ReadConnection {
    fn new(mut connection: Connection) -> Result<Self, StoreError> {
        let deadline: Arc<Mutex<Option<Instant>>> = Arc::default();
        let until = Arc::clone(&deadline);
        let is_over = move || {
            let until = *until.lock();
            until.is_some_and(|until| Instant::now() >= until)
        };
        connection.progress_handler(STEPS, Some(is_over))?;
        Ok(Self { connection, deadline })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_takes_too_long_is_stopped_and_the_next_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = Arc::new(DataFile::of(dir.path()));
        drop(file.open_writer().unwrap());
        let readers = ReaderPool::new(&file);
        let endless =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n";
        let count = |connection: &Connection| {
            Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
        };
        let stopped = readers.read_until(Some(Instant::now()), count);
        assert!(matches!(stopped, Err(StoreError::TooSlow { seconds: 10 })), "{stopped:?}");
        let one = readers.read(|connection| {
            Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(one.unwrap(), 1);
    }
}
