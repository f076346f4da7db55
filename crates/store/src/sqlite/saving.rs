//! Saving transactions: waiting for another program's lock, undoing a commit whose sync failed, and
//! cutting a write-ahead log that grew too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::data_file::{DataFile, WAL_BYTES};
use super::recall;
use crate::StoreError;

/// Maximum time a transaction waits for another program's lock.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Time of one attempt at such a lock. Between two attempts the writer checks whether to stop.
const LOCK_ATTEMPT: Duration = Duration::from_secs(1);

/// The writing connection.
pub(super) struct TransactionWriter {
    /// Reads nothing. Keeps the write-ahead log's index alive while `connection` is replaced.
    ///
    /// Invariant: this connection is open as long as anything is saved. Without it SQLite would
    /// rebuild the index from the log, and a commit whose sync failed would count as saved. It is
    /// closed before `connection`, since the last one to close folds the log into the file.
    anchor: Connection,
    connection: Connection,
    file: Arc<DataFile>,
    /// Whether a commit's sync failed and nothing was saved since. Its bytes are in the write-ahead
    /// log, and a crash now would bring them back.
    is_doubtful: bool,
    /// Bytes of the write-ahead log at the last check.
    wal_bytes: u64,
}

/// Why a transaction was not saved.
pub(super) enum SaveError {
    /// Nothing of it is on disk, and nothing will be.
    Never(StoreError),
    /// Its commit was written but could not be synced.
    AtCommit(StoreError),
}

impl From<StoreError> for SaveError {
    fn from(error: StoreError) -> Self {
        Self::Never(error)
    }
}

impl From<rusqlite::Error> for SaveError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Never(error.into())
    }
}

impl TransactionWriter {
    pub(super) fn new(connection: Connection, anchor: Connection, file: Arc<DataFile>) -> Self {
        Self { anchor, connection, file, is_doubtful: false, wal_bytes: 0 }
    }

    /// Runs work in one transaction. `is_stopping` ends the wait for another program's lock.
    ///
    /// When this returns, either everything is saved, or nothing is and nothing will be, or the
    /// error is [`StoreError::Unknown`]. After that nothing is written until the outcome is known.
    ///
    /// # Errors
    /// Why it was not saved.
    pub(super) fn save(
        &mut self,
        is_stopping: &dyn Fn() -> bool,
        work: impl FnOnce(&Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.wal_bytes = self.file.check()?;
        if self.is_doubtful {
            self.settle().map_err(|error| StoreError::Unknown(error.to_string()))?;
        }
        match attempt(&self.connection, is_stopping, work) {
            Ok(()) => Ok(()),
            Err(SaveError::Never(error)) => Err(error),
            Err(SaveError::AtCommit(error)) => {
                self.is_doubtful = true;
                match self.settle() {
                    Ok(()) => Err(error),
                    Err(again) => {
                        tracing::error!(
                            %error, %again,
                            "the disk failed while saving; nothing is written until it works again"
                        );
                        Err(StoreError::Unknown(error.to_string()))
                    }
                }
            }
        }
    }

    /// Undoes a failed commit for certain. Its bytes are at the end of the write-ahead log, where
    /// no reader counts them. A small commit in their place breaks their chain of checksums, so
    /// that a crash does not bring them back. Uses a new connection, since the system reports a
    /// failed sync to each open file only once.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.connection = self.file.open_writer()?;
        self.connection.busy_timeout(LOCK_ATTEMPT)?;
        let begun = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        probe(&begun)?;
        begun.commit()?;
        self.is_doubtful = false;
        tracing::info!("the disk saves again; the transaction that failed was not saved");
        Ok(())
    }

    /// Indexes some messages, in a transaction of its own.
    ///
    /// # Errors
    /// When it cannot be saved.
    pub(super) fn index(&mut self) -> Result<recall::Indexed, StoreError> {
        self.file.check()?;
        recall::index_some(&mut self.connection)
    }

    /// Whether the write-ahead log is longer than necessary.
    pub(super) fn is_oversize(&self) -> bool {
        self.wal_bytes > WAL_BYTES
    }

    /// Cuts the write-ahead log's file, unless a reader still uses it.
    pub(super) fn trim(&mut self) {
        let trimmed = (|| {
            self.wal_bytes = self.file.check()?;
            // Does not wait for readers.
            self.connection.busy_timeout(Duration::ZERO)?;
            let pragma = "PRAGMA wal_checkpoint(TRUNCATE)";
            self.connection.query_row(pragma, [], |_| Ok(()))?;
            self.wal_bytes = self.file.check()?;
            Ok::<(), StoreError>(())
        })();
        if let Err(error) = trimmed {
            tracing::debug!(%error, "the write-ahead log could not be cut; it is tried again");
        }
        if let Err(error) = self.connection.busy_timeout(LOCK_ATTEMPT) {
            tracing::debug!(%error, "the writer does not wait for locks");
        }
    }

    /// Folds the rest of the log into the file, as the next start would.
    pub(super) fn close(self) {
        let Self { anchor, connection, file, is_doubtful, .. } = self;
        drop(anchor);
        if is_doubtful || file.check().is_err() {
            // Closing would fold the log into a file that is not ours, and delete one by its name.
            let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            tracing::debug!(?kept, "the write-ahead log was left as it is");
        } else if let Err(error) = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
            tracing::debug!(%error, "the write-ahead log was left for the next start");
        }
    }
}

/// Writes a random number, since a page that does not change is not written.
pub(super) fn probe(connection: &Connection) -> Result<(), StoreError> {
    let probe = "INSERT OR REPLACE INTO clock (name, millis) VALUES ('probe', random())";
    Ok(connection.execute(probe, []).map(drop)?)
}

fn attempt(
    connection: &Connection,
    is_stopping: &dyn Fn() -> bool,
    work: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<(), SaveError> {
    let begun = Instant::now();
    let mut is_told = false;
    connection.busy_timeout(LOCK_ATTEMPT)?;
    let transaction = loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Ok(transaction) => break transaction,
            Err(error) => {
                let is_locked = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
                if !is_locked || begun.elapsed() >= LOCK_WAIT || is_stopping() {
                    return Err(error.into());
                }
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("another program has locked the data file; writes wait for it");
                }
            }
        }
    };
    work(&transaction)?;
    transaction.commit().map_err(|error| {
        let error = StoreError::from(error);
        // These errors come before the commit itself is written, so it cannot be complete.
        if matches!(error, StoreError::Full | StoreError::ReadOnly) {
            SaveError::Never(error)
        } else {
            SaveError::AtCommit(error)
        }
    })
}
