//! Readers: short transactions on connections of their own, so that reading never waits for writing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StoreError;
use crate::data_file::DataFile;

/// Connections, and reads at once: beyond what the processor can do at a time, a read only waits
/// elsewhere, and opening a connection costs more than what most reads do.
const READERS: usize = 8;

/// Reads that users ask for at once, of all users: the rest is for what the server itself reads, such
/// as the pages of logs that connections follow.
const ASKED_FOR: usize = 6;

/// Reads that one user asks for at once.
const PER_USER: usize = 3;

/// How long one statement may take, where a user asks for it.
pub(crate) const READ_WITHIN: Duration = Duration::from_secs(10);

/// How long a read waits for another program's lock.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// How many of `SQLite`'s own steps lie between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;

pub(crate) struct Readers {
    file: Arc<DataFile>,
    /// Nothing once the store is closed.
    idle: Mutex<Option<Vec<Reader>>>,
    turns: Arc<Semaphore>,
    asked_for: Arc<Semaphore>,
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A connection that only reads, and until when it may do so.
struct Reader {
    connection: Connection,
    deadline: Arc<Mutex<Option<Instant>>>,
}

/// A place among those who read. Dropping it gives it back.
pub(crate) struct Turn {
    _user: Option<[OwnedSemaphorePermit; 2]>,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Readers {
    pub(crate) fn new(file: &Arc<DataFile>) -> Self {
        Self {
            file: Arc::clone(file),
            idle: Mutex::new(Some(Vec::new())),
            turns: Arc::new(Semaphore::new(READERS)),
            asked_for: Arc::new(Semaphore::new(ASKED_FOR)),
            users: Mutex::default(),
        }
    }

    /// Waits for a place. A user's reads wait for each other first, so that they hold up nobody else.
    pub(crate) async fn turn(&self, user: Option<&str>) -> Turn {
        // Semaphores that are never closed always give a permit.
        let user = match user {
            None => None,
            Some(user) => {
                let own = self.of_user(user).acquire_owned().await.ok();
                let shared = Arc::clone(&self.asked_for).acquire_owned().await.ok();
                own.zip(shared).map(|(own, shared)| [own, shared])
            }
        };
        Turn { _user: user, _turn: Arc::clone(&self.turns).acquire_owned().await.ok() }
    }

    fn of_user(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
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
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read_until(Some(Instant::now() + READ_WITHIN), read)
    }

    /// Reads for as long as it takes: for what the server does by itself.
    ///
    /// # Errors
    /// The read's.
    pub(crate) fn read_at_length<T>(
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
        let taken = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .ok_or(StoreError::Stopped)?
            .pop();
        let reader = match taken {
            Some(reader) => reader,
            None => {
                // A new connection must not read another file than those that are open.
                self.file.check()?;
                Reader::new(self.open()?)?
            }
        };
        *reader.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        let outcome = read(&reader.connection);
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && idle.len() < READERS
        {
            idle.push(reader);
        }
        outcome
    }

    pub(crate) fn stop(&self) {
        drop(self.idle.lock().unwrap_or_else(PoisonError::into_inner).take());
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

    /// A connection that has begun to use the write-ahead log, and does nothing more.
    pub(crate) fn open_anchor(&self) -> Result<Connection, StoreError> {
        let connection = self.open()?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }
}

impl Reader {
    fn new(mut connection: Connection) -> Result<Self, StoreError> {
        let deadline: Arc<Mutex<Option<Instant>>> = Arc::default();
        let until = Arc::clone(&deadline);
        let is_over = move || {
            let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
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
        let readers = Readers::new(&file);
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
