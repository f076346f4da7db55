//! The data file on disk: the locks that keep it to one server, its writing connection, and whether
//! the open files are still those that the directory names.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::StoreError;

/// Name of the data file in its directory.
pub(super) const FILE: &str = "thoughtwire.db";

/// Name of the lock file in a data directory.
const LOCK: &str = "lock";

/// Bytes of the write-ahead log above which its file is cut to nothing. SQLite folds the log into
/// the data file after 4,000 pages (16 MiB). It only grows beyond that while a reader delays it.
pub(super) const WAL_BYTES: u64 = 20 << 20;

/// Maximum time that opening waits for another program's lock on the data.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// The locks on a data directory, held for as long as it is open.
///
/// Invariant: one server per directory, also when the lock file was deleted or replaced; one per
/// data file, also when two directories lead to the same file. Test:
/// `opening::a_directory_stays_with_its_process_without_its_lock_file`.
pub(crate) struct DirLock {
    lock: File,
    /// `None` where the file system cannot lock a directory.
    dir: Option<File>,
    data: Option<File>,
}

impl Drop for DirLock {
    /// Releases the locks by name. Closing the files is not enough: a child process that is being
    /// started holds a copy of each open file until it runs its own program, and with it the lock.
    fn drop(&mut self) {
        for file in [Some(&self.lock), self.dir.as_ref(), self.data.as_ref()].into_iter().flatten()
        {
            if let Err(error) = file.unlock() {
                tracing::debug!(%error, "a lock was left to be released with its file");
            }
        }
    }
}

impl DirLock {
    /// Locks a directory, but not the data in it: for directories without data, and for asking.
    /// Opening the data file here would drop SQLite's own locks of this process.
    ///
    /// # Errors
    /// When another process has it, or the lock file cannot be made.
    pub(crate) fn of_dir(dir: &Path) -> Result<Self, StoreError> {
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK))?;
        take(&lock, dir)?;
        let dir_file = File::open(dir)?;
        let dir_file = match dir_file.try_lock() {
            Ok(()) => Some(dir_file),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: dir.to_owned() });
            }
            // Network file systems lock only what is open for writing.
            Err(TryLockError::Error(_)) => None,
        };
        Ok(Self { lock, dir: dir_file, data: None })
    }

    /// Locks a directory and the data file in it, which is made if it is not there.
    ///
    /// # Errors
    /// As [`DirLock::of_dir`].
    pub(super) fn of_data(dir: &Path) -> Result<Self, StoreError> {
        let mut locked = Self::of_dir(dir)?;
        // Created here first, so that other users cannot read it at any moment. It stays open:
        // closing it would drop the locks that SQLite has on it.
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(FILE))?;
        take(&data, dir)?;
        locked.data = Some(data);
        Ok(locked)
    }

    /// Whether a process has a directory.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub(super) fn is_taken(dir: &Path) -> Result<bool, StoreError> {
        if !dir.exists() {
            return Ok(false);
        }
        match Self::of_dir(dir) {
            Ok(_) => Ok(false),
            Err(StoreError::Locked { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// `flock`, which `SQLite`'s own locks (`fcntl`) neither see nor break.
fn take(file: &File, dir: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

pub(crate) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    Ok(DirBuilder::new().recursive(true).mode(0o700).create(dir)?)
}

/// Identity of a file: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64);

/// The data file and the two files that SQLite has beside it.
pub(super) struct DataFile {
    path: PathBuf,
    data: OnceLock<FileIdentity>,
    wal: OnceLock<FileIdentity>,
    index: OnceLock<FileIdentity>,
}

impl DataFile {
    /// The data file of a directory. The first [`DataFile::check`] fixes its identity.
    pub(super) fn of(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            data: OnceLock::new(),
            wal: OnceLock::new(),
            index: OnceLock::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still names the open files. Gives the bytes of the write-ahead log.
    /// Costs three look-ups in the directory and no read.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] when a file was deleted, moved or replaced.
    pub(super) fn check(&self) -> Result<u64, StoreError> {
        self.same(&self.data, &self.path)?;
        self.same(&self.index, &self.beside("-shm"))?;
        self.same(&self.wal, &self.beside("-wal"))
    }

    fn same(&self, known: &OnceLock<FileIdentity>, path: &Path) -> Result<u64, StoreError> {
        let replaced = || StoreError::Replaced { path: path.to_owned() };
        let found = match fs::metadata(path) {
            Ok(found) => found,
            // SQLite creates the other two when they are first used.
            Err(error) if error.kind() == ErrorKind::NotFound && known.get().is_none() => {
                return Ok(0);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(replaced()),
            Err(error) => return Err(error.into()),
        };
        let identity = FileIdentity(found.dev(), found.ino());
        if *known.get_or_init(|| identity) == identity { Ok(found.len()) } else { Err(replaced()) }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// A connection that writes. Every commit is on disk when it returns.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open_writer(&self) -> Result<Connection, StoreError> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(OPEN_WAIT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Four times the default: pages that are written often reach the file once.
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES as i64)?;
        // Overwrites deleted data.
        connection.pragma_update(None, "secure_delete", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Plans do not depend on parameters: the search index's own statements were planned again
        // each time.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_released_while_a_child_process_holds_a_copy_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::of_data(dir.path()).unwrap();
        // A copy shares its lock with the original, as the copies in a forked process do.
        let copies = [
            lock.lock.try_clone().unwrap(),
            lock.dir.as_ref().unwrap().try_clone().unwrap(),
            lock.data.as_ref().unwrap().try_clone().unwrap(),
        ];
        assert!(DirLock::is_taken(dir.path()).unwrap());
        drop(lock);
        drop(DirLock::of_data(dir.path()).unwrap());
        drop(copies);
    }
}
