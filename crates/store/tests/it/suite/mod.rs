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
mod search;
mod upkeep;

use std::sync::OnceLock;

use tempfile::TempDir;
use thoughtwire_proto::Timestamp;
use thoughtwire_store::{NodeIdentity, RamDisk, Store};

use crate::support::{NOW, TestDatabase};

/// A place for data in one backend.
pub(crate) struct TestStore {
    backend: TestBackend,
    dir: TempDir,
    disk: RamDisk,
    /// Made when it is first used.
    database: OnceLock<TestDatabase>,
}

#[derive(Debug, Clone, Copy)]
enum TestBackend {
    Sqlite,
    Ram,
    /// One node of several.
    RamNode,
    Postgres,
    /// PostgreSQL through a pooler in transaction mode.
    PooledPostgres,
}

impl TestStore {
    fn new(backend: TestBackend) -> Self {
        Self {
            backend,
            dir: tempfile::tempdir().unwrap(),
            disk: RamDisk::new(),
            database: OnceLock::new(),
        }
    }

    pub(crate) async fn open(&self) -> Store {
        self.open_at(NOW).await
    }

    pub(crate) async fn open_at(&self, now: Timestamp) -> Store {
        match self.backend {
            TestBackend::Sqlite => Store::open(self.dir.path(), now).unwrap(),
            TestBackend::Ram => self.disk.open(now),
            TestBackend::RamNode => self.disk.open_node(&NodeIdentity::new("one", None), now),
            TestBackend::Postgres => {
                self.database.get_or_init(TestDatabase::create).open("one", now).await
            }
            TestBackend::PooledPostgres => {
                let url = self.database.get_or_init(TestDatabase::create).pooled_url();
                Store::connect(&url, NodeIdentity::new("one", None), now).await.unwrap()
            }
        }
    }

    /// Ends a store and opens another one on the same data.
    pub(crate) async fn reopen(&self, store: Store) -> Store {
        store.close().await;
        drop(store);
        self.open().await
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
    for backend in [
        TestBackend::Sqlite,
        TestBackend::Ram,
        TestBackend::RamNode,
        TestBackend::Postgres,
        TestBackend::PooledPostgres,
    ] {
        let _name = NameOnPanic(backend);
        check(TestStore::new(backend)).await;
    }
}
