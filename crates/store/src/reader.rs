//! Readers: short transactions on connections of their own, so that reading never waits for writing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use tokio::sync::Semaphore;

use crate::StoreError;

/// Connections, and reads at once: beyond what the processor can do at a time, a read only waits
/// elsewhere, and opening a connection costs more than what most reads do.
pub(crate) const READERS: usize = 8;

pub(crate) struct Readers {
    path: PathBuf,
    /// Nothing once the store is closed.
    idle: Mutex<Option<Vec<Connection>>>,
    /// For those who would rather wait their turn than hold a thread.
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::new(Some(Vec::new())),
            turns: Arc::new(Semaphore::new(READERS)),
        }
    }

    pub(crate) fn turns(&self) -> &Arc<Semaphore> {
        &self.turns
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let taken = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .ok_or(StoreError::Stopped)?
            .pop();
        let connection = match taken {
            Some(connection) => connection,
            None => self.open()?,
        };
        let outcome = read(&connection);
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && idle.len() < READERS
        {
            idle.push(connection);
        }
        outcome
    }

    pub(crate) fn stop(&self) {
        drop(self.idle.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}
