//! The in-memory backend, for tests: data that outlives its store, commits that a test drives, and
//! injected faults.

mod directory;
mod driver;
mod faults;
mod keys;
mod logs;
mod memory;
mod peers;
mod tables;
mod upkeep;

use std::fs::File;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_proto::Timestamp;
use tokio::sync::{mpsc, watch};

pub use driver::{CommittedWrites, RamDriver};
pub use faults::{BrokenTable, WriteFault};

use crate::store::{Backend, Nouns};
use crate::{Store, StoreError, StoreMetrics, StoreRead, StoredNode};
use driver::Queue;
use faults::Faults;
use tables::Tables;

/// Data in memory. It outlives the stores that are opened on it, as a disk outlives processes.
#[derive(Clone, Default)]
pub struct RamDisk(Arc<Mutex<Tables>>);

impl RamDisk {
    /// Makes an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a store whose writes commit at once.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> Store {
        self.start(now, Queue::AtOnce)
    }

    /// Opens a store whose writes wait until its driver commits them. Reads do not wait. Dropping
    /// the driver is a crash: writes that wait never happen.
    #[must_use]
    pub fn open_driven(&self, now: Timestamp) -> (Store, RamDriver) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let database = self.database(now, Queue::Driven(jobs));
        let driver = RamDriver::new(Arc::clone(&database), queue);
        (Store::new(Arc::new(RamBackend(database))), driver)
    }

    /// Copies everything committed to another disk.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.tables().clone())))
    }

    fn start(&self, now: Timestamp, queue: Queue) -> Store {
        Store::new(Arc::new(RamBackend(self.database(now, queue))))
    }

    fn database(&self, now: Timestamp, queue: Queue) -> Arc<RamDatabase> {
        let mut tables = self.tables();
        tables.close_connections(now);
        drop(tables);
        Arc::new(RamDatabase {
            disk: self.clone(),
            queue: Mutex::new(queue),
            faults: Mutex::default(),
            metrics: StoreMetrics::default(),
        })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock()
    }
}

/// An open store's disk, queue of writes and faults, shared by its nouns.
struct RamDatabase {
    disk: RamDisk,
    queue: Mutex<Queue>,
    faults: Mutex<Faults>,
    metrics: StoreMetrics,
}

/// The database as the nouns use it.
#[derive(Clone)]
struct RamHandle(Arc<RamDatabase>);

impl RamHandle {
    /// Reads tables, when the returned read is polled.
    fn read<T: Send + 'static>(
        &self,
        uses: &'static [BrokenTable],
        read: impl FnOnce(&Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreRead<T> {
        let database = Arc::clone(&self.0);
        Box::pin(async move {
            let delay = database.faults().read_delay;
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            if database.is_closed() {
                return Err(StoreError::Stopped);
            }
            database.faults().check_tables(uses)?;
            read(&database.disk.tables())
        })
    }
}

impl RamDatabase {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    fn is_closed(&self) -> bool {
        matches!(*self.queue(), Queue::Closed)
    }
}

struct RamBackend(Arc<RamDatabase>);

impl Backend for RamBackend {
    fn nouns(&self, _user: Option<&str>) -> Nouns {
        let handle = RamHandle(Arc::clone(&self.0));
        Nouns {
            logs: Arc::new(logs::RamLogs(handle.clone())),
            directory: Arc::new(directory::RamDirectory(handle.clone())),
            memory: Arc::new(memory::RamMemory(handle.clone())),
            peers: Arc::new(peers::RamPeers(handle.clone())),
            keys: Arc::new(keys::RamKeys(handle.clone())),
            upkeep: Arc::new(upkeep::RamUpkeep(handle)),
        }
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.0.metrics
    }

    fn measure(&self) {}

    fn nodes(&self) -> StoreRead<Option<Vec<StoredNode>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn check(&self) -> StoreRead<()> {
        RamHandle(Arc::clone(&self.0)).read(&[], |_| Ok(()))
    }

    fn lease(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    fn backup(&self) -> StoreRead<File> {
        let reason = "data in memory cannot be backed up; open a store in a directory";
        Box::pin(std::future::ready(Err(StoreError::Invalid(reason.to_owned()))))
    }

    fn close(&self) -> StoreRead<()> {
        *self.0.queue() = Queue::Closed;
        Box::pin(std::future::ready(Ok(())))
    }
}
