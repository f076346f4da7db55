//! The PostgreSQL backend: one writer with group commit, readers beside it, and a lease for each
//! process.
//!
//! Row numbers of sessions, and incarnations of nodes, are known only here.

mod agents;
mod blocks;
mod changes;
mod chats;
mod connecting;
mod directory;
mod encryption;
mod erasing;
mod examining;
mod flush;
mod flush_statement;
mod keys;
mod lineage;
mod listing;
mod loading;
mod logs;
mod memory;
mod node;
mod notes;
mod pages;
mod peers;
mod recall;
mod receipts;
mod restoring;
mod schema;
mod sessions;
mod sql;
mod transactions;
mod upkeep;
mod vectors;
mod writer;

use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_proto::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::store::{Backend, Nouns};
use crate::{Commit, NodeIdentity, StoreChanges, StoreError, StoreMetrics, StoreRead, StoredNode};
use changes::{ChangeRecorder, ChangesTask};
use connecting::{Connections, DatabaseAddress};
pub(crate) use examining::examine;
use node::LeaseState;
pub(crate) use restoring::DatabaseFilling;
use sql::SqlFuture;
use writer::PostgresWriter;

/// The open database, shared by the nouns.
struct PostgresStore {
    database: Arc<Connections>,
    writer: PostgresWriter,
    /// This process's number among all that ever opened the database.
    incarnation: i64,
    lease: LeaseState,
    renewal: Mutex<Option<JoinHandle<()>>>,
    changes: StoreChanges,
    /// The task that tells and reads changes. It stops when the sender is dropped.
    telling: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
    /// Dropped when the store is closed.
    identity: Mutex<Option<NodeIdentity>>,
}

/// Opens a database, migrates its schema, and registers this process as a node.
pub(crate) async fn open(
    url: &str,
    node: NodeIdentity,
    now: Timestamp,
) -> Result<Arc<dyn Backend>, StoreError> {
    let database = Arc::new(Connections::new(DatabaseAddress::parse(url)?)?);
    let sql = database.connect().await?;
    schema::migrate(&sql).await?;
    let incarnation = node::register(&sql, &node, now).await?;
    let changes = StoreChanges::shared();
    let recorder = ChangeRecorder { node: incarnation, changes: changes.clone() };
    let task = ChangesTask::new(Arc::clone(&database), &sql, recorder).await?;
    let lease = LeaseState::new();
    let renewal = node::keep_lease(Arc::clone(&database), incarnation, lease.clone());
    let (stop, stopped) = oneshot::channel();
    let telling = (stop, tokio::spawn(task.run(stopped)));
    let writer =
        PostgresWriter::start(Arc::clone(&database), incarnation, lease.clone(), changes.clone());
    Ok(Arc::new(PostgresBackend(Arc::new(PostgresStore {
        writer,
        changes,
        telling: Mutex::new(Some(telling)),
        renewal: Mutex::new(Some(renewal)),
        database,
        incarnation,
        lease,
        identity: Mutex::new(Some(node)),
    }))))
}

impl PostgresStore {
    /// Saves what is under way, gives the lease back, and closes the connections.
    async fn close(&self) {
        self.writer.stop().await;
        let telling = self.telling.lock().take();
        if let Some((stop, task)) = telling {
            drop(stop);
            drop(task.await);
        }
        let renewal = self.renewal.lock().take();
        if let Some(renewal) = renewal {
            renewal.abort();
            // A lease that cannot be given back ends by itself.
            if let Ok(sql) = self.database.connect().await {
                drop(node::leave(&sql, self.incarnation).await);
            }
        }
        self.database.stop();
        drop(self.identity.lock().take());
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.lock().take() {
            renewal.abort();
        }
    }
}

struct PostgresBackend(Arc<PostgresStore>);

impl Backend for PostgresBackend {
    fn nouns(&self, user: Option<&str>) -> Nouns {
        let handle = PostgresHandle { store: Arc::clone(&self.0), user: user.map(Arc::from) };
        Nouns {
            logs: Arc::new(logs::PostgresLogs(handle.clone())),
            directory: Arc::new(directory::PostgresDirectory(handle.clone())),
            memory: Arc::new(memory::PostgresMemory(handle.clone())),
            peers: Arc::new(peers::PostgresPeers(handle.clone())),
            keys: Arc::new(keys::PostgresKeys(handle.clone())),
            upkeep: Arc::new(upkeep::PostgresUpkeep(handle)),
        }
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.0.writer.metrics
    }

    fn measure(&self) {
        self.0.lease.measure();
    }

    fn nodes(&self) -> StoreRead<Option<Vec<StoredNode>>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            let own = store.incarnation;
            let read = store.database.read(None, move |sql| Box::pin(node::list(sql, own)));
            read.await.map(Some)
        })
    }

    fn changes(&self) -> StoreChanges {
        self.0.changes.clone()
    }

    fn check(&self) -> StoreRead<()> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            store.lease.check()?;
            if !store.writer.is_failing() && !store.lease.is_late() {
                return Ok(());
            }
            store.writer.write(|_| Box::pin(async { Ok(()) })).await
        })
    }

    fn lease(&self) -> Option<watch::Receiver<bool>> {
        Some(self.0.lease.watch())
    }

    fn check_lease(&self) -> Result<(), StoreError> {
        self.0.lease.check()
    }

    fn backup(&self) -> StoreRead<File> {
        let reason = "data in PostgreSQL is backed up with PostgreSQL's own tools, such as \
                      `pg_dump --format=custom`; docs/NODES.md tells how";
        Box::pin(std::future::ready(Err(StoreError::Invalid(reason.to_owned()))))
    }

    fn close(&self) -> StoreRead<()> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            store.close().await;
            Ok(())
        })
    }
}

/// The database as the nouns of one reader use it.
#[derive(Clone)]
struct PostgresHandle {
    store: Arc<PostgresStore>,
    /// The user whose share of the readers is used; `None` for reads of the server itself.
    user: Option<Arc<str>>,
}

impl PostgresHandle {
    fn writer(&self) -> &PostgresWriter {
        &self.store.writer
    }

    fn node(&self) -> i64 {
        self.store.incarnation
    }

    /// Records the changes of this node for the others.
    fn recorder(&self) -> ChangeRecorder {
        ChangeRecorder { node: self.node(), changes: self.store.changes.clone() }
    }

    /// Queues a write with statements of its own.
    fn write<T: Send + Sync + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send + 'static,
    ) -> Commit<T> {
        self.store.writer.write(work)
    }

    /// Reads once there is a connection, for a limited time.
    fn read<T: Send + 'static>(
        &self,
        read: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send + 'static,
    ) -> StoreRead<T> {
        let Self { store, user } = self.clone();
        Box::pin(async move { store.database.read(user.as_deref(), read).await })
    }

    /// Reads as [`PostgresHandle::read`] does, without a time limit: for the server's own upkeep.
    fn read_unlimited<T: Send + 'static>(
        &self,
        read: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send + 'static,
    ) -> StoreRead<T> {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.database.read_unlimited(read).await })
    }
}
