//! The SQLite backend: one file, one writer with group commit, readers beside it.
//!
//! Row numbers of sessions are known only here.

mod agents;
mod backup;
mod blocks;
mod chats;
mod clock;
mod data_file;
mod directory;
mod erasing;
mod keys;
mod listing;
mod logs;
mod memory;
mod moving;
mod notes;
mod pages;
mod peers;
mod reader;
mod recall;
mod receipts;
mod recovering;
mod row;
mod saving;
mod schema;
mod sessions;
mod summary;
mod upkeep;
mod vectors;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use thoughtwire_proto::Timestamp;
use tokio::sync::watch;

pub use backup::Contents;
pub(crate) use backup::{inspect, restore};
pub(crate) use moving::read_all;

use crate::store::{Backend, Nouns};
use crate::tickets::LocalTickets;
use crate::{StoreError, StoreMetrics, StoreRead, StoredNode};
use data_file::{DataFile, FILE};
pub(crate) use data_file::{DirLock, make_dir};
use reader::ReaderPool;
use row::RowCache;
use writer::Writer;

/// The open data file, shared by the nouns.
pub(crate) struct Database {
    writer: Writer,
    readers: ReaderPool,
    file: Arc<DataFile>,
    /// The operating system's locks on the directory, until the store is closed.
    lock: Mutex<Option<DirLock>>,
    rows: Arc<RowCache>,
    /// Held while a copy is made.
    copying: Mutex<()>,
    tickets: LocalTickets,
}

/// Opens the data file of a directory.
pub(crate) fn open(dir: &Path, now: Timestamp) -> Result<Arc<dyn Backend>, StoreError> {
    make_dir(dir)?;
    let lock = DirLock::of_data(dir)?;
    let file = DataFile::of(dir);
    let mut connection = file.open_writer()?;
    schema::migrate(&mut connection)?;
    backup::begin_anew(&mut connection)?;
    peers::close_all(&connection, now)?;
    file.check()?;
    let file = Arc::new(file);
    let readers = ReaderPool::new(&file);
    let writer = Writer::start(connection, Arc::clone(&file), readers.open_anchor()?)?;
    Ok(Arc::new(SqliteBackend(Arc::new(Database {
        writer,
        readers,
        file,
        lock: Mutex::new(Some(lock)),
        rows: Arc::default(),
        copying: Mutex::new(()),
        tickets: LocalTickets::default(),
    }))))
}

/// Path of the data file in a directory.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Whether a process has a directory open.
pub(crate) fn is_locked(dir: &Path) -> Result<bool, StoreError> {
    DirLock::is_taken(dir)
}

impl Database {
    /// Saves what is under way and releases the file.
    fn close(&self) {
        self.readers.stop();
        self.writer.stop();
        drop(self.lock.lock().take());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

struct SqliteBackend(Arc<Database>);

impl Backend for SqliteBackend {
    fn nouns(&self, user: Option<&str>) -> Nouns {
        let handle = Handle { database: Arc::clone(&self.0), user: user.map(Arc::from) };
        Nouns {
            logs: Arc::new(logs::SqliteLogs(handle.clone())),
            directory: Arc::new(directory::SqliteDirectory(handle.clone())),
            memory: Arc::new(memory::SqliteMemory(handle.clone())),
            peers: Arc::new(peers::SqlitePeers(handle.clone())),
            keys: Arc::new(keys::SqliteKeys(handle.clone())),
            upkeep: Arc::new(upkeep::SqliteUpkeep(handle)),
        }
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.0.writer.metrics
    }

    fn measure(&self) {}

    fn nodes(&self) -> StoreRead<Option<Vec<StoredNode>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn check(&self) -> StoreRead<()> {
        let database = Arc::clone(&self.0);
        Box::pin(async move {
            database.file.check()?;
            if !database.writer.is_failing() {
                return Ok(());
            }
            database.writer.write(saving::probe).await
        })
    }

    fn lease(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    fn backup(&self) -> StoreRead<File> {
        let database = Arc::clone(&self.0);
        blocking(move || database.copy())
    }

    fn close(&self) -> StoreRead<()> {
        let database = Arc::clone(&self.0);
        blocking(move || {
            database.close();
            Ok(())
        })
    }
}

/// The database as the nouns of one reader use it.
#[derive(Clone)]
pub(crate) struct Handle {
    database: Arc<Database>,
    /// The user whose share of the readers is used; `None` for reads of the server itself.
    user: Option<Arc<str>>,
}

impl Handle {
    fn writer(&self) -> &Writer {
        &self.database.writer
    }

    /// Reads on a blocking thread once there is a permit. Each statement may take ten seconds.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreRead<T> {
        self.blocking_read(|readers| readers.read(read))
    }

    /// Reads as [`Handle::read`] does, without a time limit: for the server's own upkeep.
    fn read_unlimited<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreRead<T> {
        self.blocking_read(|readers| readers.read_unlimited(read))
    }

    fn blocking_read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReaderPool) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreRead<T> {
        let Self { database, user } = self.clone();
        Box::pin(async move {
            let permit = database.readers.permit(user.as_deref()).await;
            blocking(move || {
                // The caller may give up meanwhile; the read holds its permit until it is over.
                let _permit = permit;
                read(&database.readers)
            })
            .await
        })
    }
}

/// Runs work on tokio's blocking pool.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> StoreRead<T> {
    Box::pin(async move {
        // Only a runtime that is shutting down takes no more work.
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopped))
    })
}
