//! The store: a backend, handed out by noun.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use thoughtwire_proto::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::postgres::{self, DatabaseFilling};
use crate::searching::{MemorySearch, SearchIndexes};
use crate::sqlite::{self, Contents};
use crate::{
    DatabaseFacts, DirectoryStore, KeyStore, LogStore, MemoryStore, NodeIdentity, PeerStore,
    StoreChanges, StoreError, StoreMetrics, StoredNode, UpkeepStore,
};

/// A read under way. It starts when it is first polled; dropping it gives the read up.
pub type StoreRead<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Everything durable, handed out by noun. Cheap to clone; all clones share one backend.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    nouns: Nouns,
    changes: StoreChanges,
    indexes: Arc<SearchIndexes>,
}

/// A backend's nouns, for one reader.
#[derive(Clone)]
pub(crate) struct Nouns {
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) directory: Arc<dyn DirectoryStore>,
    pub(crate) memory: Arc<dyn MemoryStore>,
    pub(crate) peers: Arc<dyn PeerStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) upkeep: Arc<dyn UpkeepStore>,
}

/// A place where data is kept.
pub(crate) trait Backend: Send + Sync {
    /// The nouns, for reads of the server itself or within a user's share of the readers.
    fn nouns(&self, user: Option<&str>) -> Nouns;
    fn metrics(&self) -> &StoreMetrics;
    /// Updates the metrics that nothing else does.
    fn measure(&self);
    /// The nodes that share the data; `None` where it belongs to one process.
    fn nodes(&self) -> StoreRead<Option<Vec<StoredNode>>>;
    /// The changes of other nodes. There are none where one process has the data for itself.
    fn changes(&self) -> StoreChanges {
        StoreChanges::default()
    }
    fn check(&self) -> StoreRead<()>;
    fn backup(&self) -> StoreRead<File>;
    fn close(&self) -> StoreRead<()>;
    /// Turns false when other processes may write in the place of this one; `None` where no other
    /// process can.
    fn lease(&self) -> Option<watch::Receiver<bool>>;
    /// Checks that no other process may write in the place of this one now.
    fn check_lease(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Store {
    /// Opens the SQLite store in a directory, which is created if it is missing, and migrates its
    /// schema. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// When another process has it, a newer version wrote it, or the disk fails.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self::new(sqlite::open(dir, now)?))
    }

    /// Opens the store in a PostgreSQL database, migrates its schema, and registers this process as
    /// a node. The address is a connection URI, such as `postgres://user@host/database`.
    ///
    /// # Errors
    /// When the address is wrong, the database cannot be reached, or a newer version wrote it.
    pub async fn connect(
        url: &str,
        node: NodeIdentity,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self::new(postgres::open(url, node, now).await?))
    }

    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            nouns: backend.nouns(None),
            changes: backend.changes(),
            indexes: Arc::default(),
            backend,
        }
    }

    /// The same store for reads that a user asks for, named by the id of the user or of an agent.
    /// One user's reads have a share of the readers, so that expensive ones delay nobody else.
    #[must_use]
    pub fn for_user(&self, user: &str) -> Self {
        let nouns = self.backend.nouns(Some(user));
        Self {
            backend: Arc::clone(&self.backend),
            nouns,
            changes: self.changes.clone(),
            indexes: Arc::clone(&self.indexes),
        }
    }

    /// Logs of sessions.
    #[must_use]
    pub fn logs(&self) -> &Arc<dyn LogStore> {
        &self.nouns.logs
    }

    /// Agents and sessions.
    #[must_use]
    pub fn directory(&self) -> &Arc<dyn DirectoryStore> {
        &self.nouns.directory
    }

    /// Memory of agents.
    #[must_use]
    pub fn memory(&self) -> &Arc<dyn MemoryStore> {
        &self.nouns.memory
    }

    /// Search in the memory of agents.
    #[must_use]
    pub fn search(&self) -> MemorySearch {
        MemorySearch::new(Arc::clone(&self.nouns.memory), Arc::clone(&self.indexes))
    }

    /// Clients of the older wires.
    #[must_use]
    pub fn peers(&self) -> &Arc<dyn PeerStore> {
        &self.nouns.peers
    }

    /// Keys and secrets.
    #[must_use]
    pub fn keys(&self) -> &Arc<dyn KeyStore> {
        &self.nouns.keys
    }

    /// Retention, erasing and clocks.
    #[must_use]
    pub fn upkeep(&self) -> &Arc<dyn UpkeepStore> {
        &self.nouns.upkeep
    }

    /// Changes that other nodes make, and that they are told of.
    #[must_use]
    pub fn changes(&self) -> &StoreChanges {
        &self.changes
    }

    /// Figures of the store.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        self.backend.metrics()
    }

    /// Updates the metrics that depend on the time: the rest of the lease.
    pub fn measure(&self) {
        self.backend.measure();
    }

    /// Lists the nodes that share the data: those with a lease, and those that were declared dead
    /// in the last hour, oldest first. `None` where the data belongs to one process.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn nodes(&self) -> Result<Option<Vec<StoredNode>>, StoreError> {
        self.backend.nodes().await
    }

    /// Turns false when this process has lost its lease, so that others take its sessions; `None`
    /// where no other process can open the data.
    #[must_use]
    pub fn lease(&self) -> Option<watch::Receiver<bool>> {
        self.backend.lease()
    }

    /// Checks, by this process's own clock, that no other process may have taken its sessions. What
    /// this process has in memory of a session of its own is the newest there is then.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lease is lost, [`StoreError::Away`] while it cannot be
    /// renewed.
    pub fn check_lease(&self) -> Result<(), StoreError> {
        self.backend.check_lease()
    }

    /// Checks that it can save: at once where the newest write worked, else by trying another.
    ///
    /// # Errors
    /// When it cannot, also because the data file was deleted or replaced.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.backend.check().await
    }

    /// Copies everything that is on disk at one moment, while writing continues. The copy is a
    /// file without a name: it is gone when it is closed.
    ///
    /// # Errors
    /// When the data cannot be read, or there is no room for the copy beside it.
    pub async fn backup(&self) -> Result<File, StoreError> {
        self.backend.backup().await
    }

    /// Saves what is under way and releases the data. Later calls resolve to
    /// [`StoreError::Stopped`].
    pub async fn close(&self) {
        // Closing reports no error: what could not be saved was answered to its callers.
        drop(self.backend.close().await);
    }

    /// Looks at a PostgreSQL database without changing it.
    ///
    /// # Errors
    /// When the address is wrong, or the database cannot be reached.
    pub async fn examine(url: &str) -> Result<DatabaseFacts, StoreError> {
        postgres::examine(url).await
    }

    /// Path of the data file in a directory.
    #[must_use]
    pub fn file(dir: &Path) -> PathBuf {
        sqlite::file(dir)
    }

    /// Whether a process has the store in a directory open.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn is_locked(dir: &Path) -> Result<bool, StoreError> {
        sqlite::is_locked(dir)
    }

    /// Checks that a copy, or a data file, is whole, and counts its contents.
    ///
    /// # Errors
    /// When it is neither, is damaged, or is of a newer version.
    pub fn inspect(file: &Path) -> Result<Contents, StoreError> {
        sqlite::inspect(file)
    }

    /// Makes a directory's data from a copy. The logs begin another lifetime when the data is next
    /// opened.
    ///
    /// # Errors
    /// When the directory has data already, and as [`Store::inspect`].
    pub fn restore(file: &Path, dir: &Path) -> Result<Contents, StoreError> {
        sqlite::restore(file, dir)
    }

    /// Fills an empty database from a copy, all or nothing. The logs begin another lifetime. An
    /// empty directory takes another copy meanwhile, whose caller deletes it. Tells of the events
    /// that were written so far.
    ///
    /// # Errors
    /// When the database has data or is open, and as [`Store::inspect`] and [`Store::connect`].
    pub async fn restore_database(
        file: &Path,
        scratch: &Path,
        url: &str,
        now: Timestamp,
        mut progress: impl FnMut(u64),
    ) -> Result<Contents, StoreError> {
        let contents = sqlite::inspect(file)?;
        let filling = DatabaseFilling::begin(url).await?;
        let (chunks, mut read) = mpsc::channel(CHUNKS_AHEAD);
        let (file, scratch) = (file.to_owned(), scratch.to_owned());
        let reading =
            tokio::task::spawn_blocking(move || sqlite::read_all(&file, &scratch, now, &chunks));
        let mut events = 0;
        let written = filling.write_all(&mut read, |rows| {
            events += rows;
            progress(events);
        });
        let written = written.await;
        // The reader ends where nobody receives.
        drop(read);
        let read = reading.await.map_err(|error| StoreError::Failed(error.to_string()))?;
        written.and(read)?;
        filling.commit().await?;
        Ok(contents)
    }
}

/// Number of chunks of rows that are read ahead of those that are written.
const CHUNKS_AHEAD: usize = 4;
