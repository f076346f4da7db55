//! The conformance suite: what every backend does. Each test runs on each of them.

mod chats;
mod directory;
mod faults;
mod keys;
mod logs;
mod memory;
mod peers;
mod recovery;
pub(crate) mod scripts;
mod upkeep;

use tempfile::TempDir;
use thoughtwire_proto::Timestamp;
use thoughtwire_store::{RamDisk, Store};

use crate::support::NOW;

/// A place for data in one backend.
pub(crate) struct TestStore {
    backend: TestBackend,
    dir: TempDir,
    disk: RamDisk,
}

#[derive(Debug, Clone, Copy)]
enum TestBackend {
    Sqlite,
    Ram,
}

impl TestStore {
    fn new(backend: TestBackend) -> Self {
        Self { backend, dir: tempfile::tempdir().unwrap(), disk: RamDisk::new() }
    }

    pub(crate) fn open(&self) -> Store {
        self.open_at(NOW)
    }

    pub(crate) fn open_at(&self, now: Timestamp) -> Store {
        match self.backend {
            TestBackend::Sqlite => Store::open(self.dir.path(), now).unwrap(),
            TestBackend::Ram => self.disk.open(now),
        }
    }

    /// Ends a store and opens another one on the same data.
    pub(crate) async fn reopen(&self, store: Store) -> Store {
        store.close().await;
        drop(store);
        self.open()
    }
}

/// Names the backend of a test that fails.
struct NameOnPanic(TestBackend);

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("on the backend {:?}", self.0);
        }
    }
}

/// Runs a test on every backend.
pub(crate) async fn on_every_backend(check: impl AsyncFn(TestStore)) {
    for backend in [TestBackend::Sqlite, TestBackend::Ram] {
        let _name = NameOnPanic(backend);
        check(TestStore::new(backend)).await;
    }
}
