//! The in-memory backend, for tests: data that outlives its store, commits that a test drives, and
//! injected faults.

mod directory;
mod driver;
mod faults;
mod keys;
mod logs;
mod memory;
mod nodes;
mod peers;
mod tables;
mod upkeep;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_proto::Timestamp;
use tokio::sync::{mpsc, watch};

pub use driver::{CommittedWrites, RamDriver};
pub use faults::{BrokenTable, WriteFault};

use crate::store::{Backend, Nouns};
use crate::{NodeIdentity, Store, StoreChanges, StoreError, StoreMetrics, StoreRead, StoredNode};
use driver::Queue;
use faults::Faults;
use nodes::RamNode;
use tables::Tables;

/// Data in memory. It outlives the stores that are opened on it, as a disk outlives processes.
/// Either one store at a time is open on it, or any number of nodes, as on a PostgreSQL database.
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
        self.start(now, Queue::AtOnce, None)
    }

    /// Opens a store as a node. Its writes commit at once. No time passes for its lease unless
    /// [`RamDisk::pass`] says so.
    #[must_use]
    pub fn open_node(&self, node: &NodeIdentity, now: Timestamp) -> Store {
        self.start(now, Queue::AtOnce, Some(node))
    }

    /// Opens a store whose writes wait until its driver commits them. Reads do not wait. Dropping
    /// the driver is a crash: writes that wait never happen.
    #[must_use]
    pub fn open_driven(&self, now: Timestamp) -> (Store, RamDriver) {
        self.start_driven(now, None)
    }

    /// Opens a store as a node. Its writes wait as those of [`RamDisk::open_driven`], and its lease
    /// is renewed when its driver does so. Dropping the driver is the node's death: others may take
    /// its sessions when its lease has ended.
    #[must_use]
    pub fn open_driven_node(&self, node: &NodeIdentity, now: Timestamp) -> (Store, RamDriver) {
        self.start_driven(now, Some(node))
    }

    /// Lets time pass on the disk's clock, by which leases go.
    pub fn pass(&self, time: Duration) {
        self.tables().time += time;
    }

    /// Copies everything committed to another disk.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.tables().clone())))
    }

    fn start(&self, now: Timestamp, queue: Queue, node: Option<&NodeIdentity>) -> Store {
        Store::new(Arc::new(RamBackend(self.database(now, queue, node))))
    }

    fn start_driven(&self, now: Timestamp, node: Option<&NodeIdentity>) -> (Store, RamDriver) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let database = self.database(now, Queue::Driven(jobs), node);
        let driver = RamDriver::new(Arc::clone(&database), queue);
        (Store::new(Arc::new(RamBackend(database))), driver)
    }

    fn database(
        &self,
        now: Timestamp,
        queue: Queue,
        node: Option<&NodeIdentity>,
    ) -> Arc<RamDatabase> {
        let mut tables = self.tables();
        let node = node.map(|node| RamNode::register(&mut tables, node));
        tables.close_connections(now);
        drop(tables);
        Arc::new(RamDatabase {
            node,
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
    /// The node that it is open for, if nodes share the disk.
    node: Option<RamNode>,
    disk: RamDisk,
    queue: Mutex<Queue>,
    faults: Mutex<Faults>,
    metrics: StoreMetrics,
}

/// The database as the nouns use it.
#[derive(Clone)]
struct RamHandle(Arc<RamDatabase>);

impl RamHandle {
    /// Number of the node that it belongs to.
    fn node(&self) -> Option<u64> {
        self.0.node.as_ref().map(|node| node.incarnation)
    }

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
            database.faults().check_reach()?;
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
        let handle = RamHandle(Arc::clone(&self.0));
        let own = handle.node();
        handle.read(&[], move |tables| Ok(own.map(|own| tables.stored_nodes(own))))
    }

    fn changes(&self) -> StoreChanges {
        self.0.node.as_ref().map(|node| node.changes.clone()).unwrap_or_default()
    }

    fn check(&self) -> StoreRead<()> {
        RamHandle(Arc::clone(&self.0)).read(&[], |_| Ok(()))
    }

    fn lease(&self) -> Option<watch::Receiver<bool>> {
        self.0.node.as_ref().map(RamNode::watch)
    }

    fn check_lease(&self) -> Result<(), StoreError> {
        match &self.0.node {
            Some(node) => node.check(self.0.disk.tables().time),
            None => Ok(()),
        }
    }

    fn backup(&self) -> StoreRead<File> {
        let reason = "data in memory cannot be backed up; open a store in a directory";
        Box::pin(std::future::ready(Err(StoreError::Invalid(reason.to_owned()))))
    }

    fn close(&self) -> StoreRead<()> {
        *self.0.queue() = Queue::Closed;
        if let Some(node) = &self.0.node {
            node.changes.close();
            // A lease that cannot be given back ends by itself.
            if self.0.faults().check_reach().is_ok() {
                node.leave(&mut self.0.disk.tables());
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
