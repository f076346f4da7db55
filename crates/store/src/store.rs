//! Opening and closing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use thoughtwire_proto::Timestamp;

use crate::reader::Readers;
use crate::writer::{Pen, Writer};
use crate::{Metrics, StoreError, backup, peers, recovery, schema};

/// The name of the data file in its directory.
pub(crate) const FILE: &str = "thoughtwire.db";

/// Everything durable: one `SQLite` file, one writer, readers beside it.
pub struct Store {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    /// The operating system's lock on the directory, for as long as the store is open.
    lock: Mutex<Option<File>>,
    by_hand: bool,
    /// Held while a copy is made.
    pub(crate) copying: Mutex<()>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there; brings its schema up to
    /// date and ends what a crash interrupted.
    ///
    /// # Errors
    /// When another process has it, when it was written by a newer version, and when the disk says no.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let (connection, path, lock) = prepare(dir, now)?;
        let writer = Writer::start(connection)?;
        Ok(Self::of(writer, &path, lock, false))
    }

    /// [`Store::open`] without threads: nothing is written but by the pen that comes with it, and
    /// those who read through the hub read where they stand. So a test decides what happens in which
    /// order, and can do it again.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_by_hand(dir: &Path, now: Timestamp) -> Result<(Self, Pen), StoreError> {
        let (connection, path, lock) = prepare(dir, now)?;
        let (writer, pen) = Writer::by_hand(connection);
        Ok((Self::of(writer, &path, lock, true), pen))
    }

    fn of(writer: Writer, path: &Path, lock: File, by_hand: bool) -> Self {
        Self {
            writer,
            readers: Readers::new(path),
            lock: Mutex::new(Some(lock)),
            by_hand,
            copying: Mutex::new(()),
        }
    }

    /// What it counts of itself.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.writer.metrics
    }

    /// Whether it can save: at once where the newest write worked, and else by trying another.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        if !self.writer.is_failing() {
            return Ok(());
        }
        // New bytes each time: a page that does not change is not written.
        let probe = "INSERT OR REPLACE INTO secrets (name, value) VALUES ('probe', randomblob(8))";
        self.writer.write(move |connection| Ok(connection.execute(probe, []).map(drop)?)).await
    }

    /// Reads without holding up whoever else is on the thread: on tokio's blocking pool, and where it
    /// stands if the store was opened with [`Store::open_by_hand`]. It waits for its turn: more reads at
    /// once than there are connections only hold threads.
    ///
    /// # Errors
    /// The read's.
    pub async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.by_hand {
            return read(self);
        }
        let _turn = self.readers.turns().acquire().await;
        let store = Arc::clone(self);
        // Only a runtime that is shutting down takes no more.
        tokio::task::spawn_blocking(move || read(&store)).await.unwrap_or(Err(StoreError::Stopped))
    }

    /// The file with the data in a directory.
    #[must_use]
    pub fn file(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// Whether some process has the store in a directory open.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub fn is_locked(dir: &Path) -> Result<bool, StoreError> {
        if !dir.join("lock").exists() {
            return Ok(false);
        }
        match take_lock(dir) {
            Ok(_) => Ok(false),
            Err(StoreError::Locked { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Saves what is under way and lets go of the file. Whatever is asked afterwards is answered with [`StoreError::Stopped`].
    pub fn close(&self) {
        self.readers.stop();
        self.writer.stop();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// The directory, the file and its schema made ready, and what a crash cut ended.
fn prepare(dir: &Path, now: Timestamp) -> Result<(Connection, PathBuf, File), StoreError> {
    make_dir(dir)?;
    let lock = take_lock(dir)?;
    let path = dir.join(FILE);
    // Made by us first, so that it is nobody else's to read from its first moment.
    drop(OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?);
    let mut connection = Connection::open(&path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Four times what is usual: what is written again and again comes to the file once.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    // What is deleted is overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    // No plan hangs on what a parameter is: the search index's own statements were planned anew each time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    schema::migrate(&mut connection)?;
    backup::begin_anew(&mut connection)?;
    let ended = recovery::recover(&mut connection, now)?;
    if ended > 0 {
        tracing::info!(turns = ended, "ended turns that were cut when the server last stopped");
    }
    peers::close_all(&connection, now)?;
    Ok((connection, path, lock))
}

pub(crate) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    Ok(fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?)
}

pub(crate) fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
