//! Readers: short transactions on connections of their own, so that reads never wait for writes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::data_file::DataFile;
use crate::StoreError;
use crate::error::READ_LIMIT;

/// Maximum number of connections and of reads at once. Beyond what the processor can do at a time,
/// a read only waits elsewhere, and opening a connection costs more than most reads.
const READERS: usize = 8;

/// Maximum number of reads at once that users ask for, of all users. The rest is for reads of the
/// server itself, such as the pages of logs that connections follow.
const ALL_USERS: usize = 6;

/// Maximum number of reads at once that one user asks for.
const PER_USER: usize = 3;

/// Maximum time a read waits for another program's lock.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Steps of SQLite's virtual machine between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;

pub(super) struct ReaderPool {
    file: Arc<DataFile>,
    /// `None` once the store is closed.
    idle: Mutex<Option<Vec<ReadConnection>>>,
    all: Arc<Semaphore>,
    all_users: Arc<Semaphore>,
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A connection that only reads, and the deadline of its current read.
struct ReadConnection {
    connection: Connection,
    deadline: Arc<Mutex<Option<Instant>>>,
}

/// Permission to read. Dropping it returns it.
pub(super) struct ReadPermit {
    _user: Option<[OwnedSemaphorePermit; 2]>,
    _reader: Option<OwnedSemaphorePermit>,
}

impl ReaderPool {
    pub(super) fn new(file: &Arc<DataFile>) -> Self {
        Self {
            file: Arc::clone(file),
            idle: Mutex::new(Some(Vec::new())),
            all: Arc::new(Semaphore::new(READERS)),
            all_users: Arc::new(Semaphore::new(ALL_USERS)),
            users: Mutex::default(),
        }
    }

    /// Waits for a permit. A user's reads wait for each other first, so they delay nobody else.
    pub(super) async fn permit(&self, user: Option<&str>) -> ReadPermit {
        // These semaphores are never closed, so they always give a permit.
        let user = match user {
            None => None,
            Some(user) => {
                let own = self.of_user(user).acquire_owned().await.ok();
                let shared = Arc::clone(&self.all_users).acquire_owned().await.ok();
                own.zip(shared).map(|(own, shared)| [own, shared])
            }
        };
        ReadPermit { _user: user, _reader: Arc::clone(&self.all).acquire_owned().await.ok() }
    }

    fn of_user(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock();
        if let Some(known) = users.get(user).and_then(Weak::upgrade) {
            return known;
        }
        users.retain(|_, known| known.strong_count() > 0);
        let fresh = Arc::new(Semaphore::new(PER_USER));
        users.insert(user.to_owned(), Arc::downgrade(&fresh));
        fresh
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

    /// Waits for a permit for so long that only a free one comes.
    async fn free(readers: &ReaderPool, user: Option<&str>) -> Option<ReadPermit> {
        tokio::time::timeout(Duration::from_millis(50), readers.permit(user)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_users_reads_delay_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let readers = ReaderPool::new(&Arc::new(DataFile::of(dir.path())));
        let mut held = Vec::new();
        for _ in 0..PER_USER {
            held.push(free(&readers, Some("ada")).await.unwrap());
        }
        assert!(free(&readers, Some("ada")).await.is_none());
        let bob = free(&readers, Some("bob")).await;
        assert!(bob.is_some() && free(&readers, None).await.is_some());
        // Users together leave some readers to the server.
        let others: Vec<_> = (0..9).map(|n| n.to_string()).collect();
        for user in &others {
            held.extend(free(&readers, Some(user)).await);
        }
        assert_eq!(held.len(), ALL_USERS - 1);
        assert!(free(&readers, None).await.is_some());
        held.remove(0);
        assert!(free(&readers, Some("ada")).await.is_some());
    }
}
