//! The writer: one task with one connection that drains its queue, so that many writes share each
//! wait for the database's disk.
//!
//! Invariant: each write takes effect at most once, and its caller is told the truth. A flush has a
//! number that its own transaction saves. When a connection breaks and the outcome is unknown, the
//! next connection raises the number: what it was before tells whether the flush was committed, and
//! a statement that still runs somewhere cannot commit any more. Test:
//! `postgres::outcomes::a_cut_connection_leaves_nothing_unknown`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::{SessionId, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::Client;

use super::connecting::Connections;
use super::flush::{Flush, FlushJob};
use super::flush_statement::Fence;
use super::lineage::{self, TIMELINE};
use super::loading::{LoadAttempt, LoadBatch, LoadJob};
use super::node::LeaseState;
use super::sql::{SqlFuture, args, first_row, get_i64};
use super::transactions::{QueuedTransaction, TransactionJob, run_all};
use crate::commit::CommitSender;
use crate::{Commit, StoreChanges, StoreError, StoreMetrics};

/// Maximum number of writes per flush.
const MAX_BATCH: usize = 1024;

/// Maximum delay of a write that can wait for others to share its flush.
const MAX_BATCH_DELAY: Duration = Duration::from_millis(100);

/// Maximum time of one flush. A database that takes longer counts as lost.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);

/// Maximum time that writes wait for a database that is away. Beyond it they fail at once, until
/// the database is back.
const AWAY_LIMIT: Duration = Duration::from_secs(3);

/// Delay between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// A write in the queue.
enum Job {
    Flush(FlushJob),
    Transaction { job: Box<dyn TransactionJob>, can_wait: bool },
    Load(LoadJob),
}

impl Job {
    fn can_wait(&self) -> bool {
        match self {
            Self::Flush(FlushJob::Append { .. }) | Self::Load(_) => false,
            Self::Flush(FlushJob::Checkpoint { .. }) => true,
            Self::Transaction { can_wait, .. } => *can_wait,
        }
    }
}

/// The queue of the writer's task.
pub(super) struct PostgresWriter {
    /// Unbounded here, bounded by its callers, as in the SQLite backend. `None` once the store is
    /// closed.
    jobs: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    pub(super) metrics: StoreMetrics,
    failing: Arc<AtomicBool>,
}

impl PostgresWriter {
    /// Starts the writer's task for a node's incarnation.
    pub(super) fn start(
        database: Arc<Connections>,
        node: i64,
        lease: LeaseState,
        changes: StoreChanges,
    ) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let node_metrics = Some(lease.metrics().clone());
        let metrics = StoreMetrics { node: node_metrics, ..StoreMetrics::default() };
        let failing = Arc::new(AtomicBool::new(false));
        let task = WriterTask {
            database,
            lease,
            changes,
            client: None,
            fence: Fence { node, number: 0 },
            away_since: None,
            queue,
            metrics: metrics.clone(),
            failing: Arc::clone(&failing),
        };
        let task = tokio::spawn(task.run());
        Self { jobs: Mutex::new(Some(jobs)), task: Mutex::new(Some(task)), metrics, failing }
    }

    /// Queues a batch or a checkpoint.
    pub(super) fn flush(&self, job: impl FnOnce(CommitSender<()>) -> FlushJob) -> Commit<()> {
        let (reply, commit) = Commit::channel();
        self.push(Job::Flush(job(reply)));
        commit
    }

    /// Queues a write with statements of its own.
    pub(super) fn write<T: Send + Sync + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send + 'static,
    ) -> Commit<T> {
        self.push_transaction(false, work)
    }

    /// Queues a write that nobody waits for: within [`MAX_BATCH_DELAY`], with others if there are
    /// any.
    pub(super) fn write_soon<T: Send + Sync + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send + 'static,
    ) -> Commit<T> {
        self.push_transaction(true, work)
    }

    /// Queues the loading of a session.
    pub(super) fn load(&self, id: SessionId, now: Timestamp) -> Commit<LoadAttempt> {
        let (reply, commit) = Commit::channel();
        self.push(Job::Load(LoadJob { id, now, reply }));
        commit
    }

    fn push_transaction<T: Send + Sync + 'static>(
        &self,
        can_wait: bool,
        work: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send + 'static,
    ) -> Commit<T> {
        let (reply, commit) = Commit::channel();
        let job = Box::new(QueuedTransaction::new(work, reply));
        self.push(Job::Transaction { job, can_wait });
        commit
    }

    fn push(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock() {
            // Dropped unsent, the job's reply tells its caller that the store is closed.
            drop(jobs.send(job));
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Takes no more writes, finishes those in the queue, and ends.
    pub(super) async fn stop(&self) {
        drop(self.jobs.lock().take());
        let task = self.task.lock().take();
        if let Some(task) = task {
            drop(task.await);
        }
    }
}

/// The writer's task, with its connection and the queue in front of it.
struct WriterTask {
    database: Arc<Connections>,
    lease: LeaseState,
    changes: StoreChanges,
    /// `None` while the database is away, and while the outcome of a flush has to be found out.
    client: Option<Client>,
    /// The fence of the last flush.
    fence: Fence,
    away_since: Option<Instant>,
    queue: mpsc::UnboundedReceiver<Job>,
    metrics: StoreMetrics,
    failing: Arc<AtomicBool>,
}

impl WriterTask {
    async fn run(mut self) {
        // Writes that can wait, in front of all later ones, and until when the first of them waits.
        let mut gathered: Vec<Job> = Vec::new();
        let mut deadline: Option<Instant> = None;
        loop {
            let next = match deadline {
                None => self.queue.recv().await,
                Some(deadline) => timeout_at(deadline, self.queue.recv()).await.unwrap_or(None),
            };
            let can_wait = next.as_ref().is_some_and(Job::can_wait);
            gathered.extend(next);
            if gathered.is_empty() {
                break;
            }
            if can_wait && gathered.len() < MAX_BATCH {
                let until = *deadline.get_or_insert_with(|| Instant::now() + MAX_BATCH_DELAY);
                if Instant::now() < until {
                    continue;
                }
            }
            deadline = None;
            while gathered.len() < MAX_BATCH
                && let Ok(job) = self.queue.try_recv()
            {
                gathered.push(job);
            }
            self.commit(std::mem::take(&mut gathered)).await;
        }
    }

    /// Saves writes in the order of their calls, and answers their callers. Sessions are loaded
    /// behind them, many at once: nobody writes to a session before it is loaded.
    async fn commit(&mut self, jobs: Vec<Job>) {
        let (mut flush, mut loads) = (Flush::default(), Vec::new());
        let mut transactions: Vec<Box<dyn TransactionJob>> = Vec::new();
        for job in jobs {
            match job {
                Job::Flush(job) => {
                    self.transact(std::mem::take(&mut transactions)).await;
                    if let Err(job) = flush.push(job) {
                        self.flush(std::mem::take(&mut flush)).await;
                        // An empty flush takes any write.
                        drop(flush.push(job));
                    }
                }
                Job::Transaction { job, .. } => {
                    self.flush(std::mem::take(&mut flush)).await;
                    transactions.push(job);
                }
                Job::Load(job) => loads.push(job),
            }
        }
        self.flush(flush).await;
        self.transact(transactions).await;
        for batch in LoadBatch::split(self.fence.node, &self.lease, loads) {
            self.transact(vec![Box::new(batch)]).await;
        }
    }

    /// Saves a flush. One that the database refuses is tried again write by write.
    async fn flush(&mut self, flush: Flush) {
        let mut left = vec![flush];
        while let Some(flush) = left.pop() {
            if flush.is_empty() {
                continue;
            }
            let began = Instant::now();
            let writes = flush.writes();
            let refused = self.try_flush(flush).await;
            self.count(writes, began, refused.is_none());
            match refused {
                Some((flush, _)) if flush.writes() > 1 => {
                    left.extend(flush.split().into_iter().rev());
                }
                Some((flush, error)) => flush.fail(&error),
                None => {}
            }
        }
    }

    /// Saves a flush and answers its callers. Gives it back where the database refused it.
    async fn try_flush(&mut self, flush: Flush) -> Option<(Flush, StoreError)> {
        let until = Instant::now() + AWAY_LIMIT;
        loop {
            let fence = match self.connected(until).await {
                Ok(fence) => fence,
                Err(error) => {
                    flush.fail(&error);
                    return None;
                }
            };
            let Some(client) = &self.client else { continue };
            let saved = timeout(FLUSH_LIMIT, flush.save(client, fence)).await;
            match saved.unwrap_or_else(|_| Err(StoreError::slow_database(FLUSH_LIMIT))) {
                Ok(Some(moved)) => {
                    self.fence = fence;
                    flush.answer(client, &moved).await;
                    return None;
                }
                Ok(None) => {
                    flush.fail(&self.fenced(client, self.fence.number).await);
                    return None;
                }
                Err(error) if !error.is_lost_database() => return Some((flush, error)),
                Err(error) => match self.was_committed(fence, error).await {
                    Ok(false) => {}
                    Ok(true) => {
                        let Some(client) = &self.client else { continue };
                        match flush.read_back(client).await {
                            Ok(moved) => flush.answer(client, &moved).await,
                            Err(error) => flush.fail(&StoreError::Unknown(error.to_string())),
                        }
                        return None;
                    }
                    Err(unknown) => {
                        flush.fail(&unknown);
                        return None;
                    }
                },
            }
        }
    }

    /// Runs writes in one transaction.
    async fn transact(&mut self, mut jobs: Vec<Box<dyn TransactionJob>>) {
        if jobs.is_empty() {
            return;
        }
        let began = Instant::now();
        let committed = self.try_transact(&mut jobs).await;
        self.changes.tell_recorded();
        self.count(jobs.len(), began, committed.is_ok());
        for job in jobs {
            job.answer(committed.clone());
        }
    }

    async fn try_transact(
        &mut self,
        jobs: &mut [Box<dyn TransactionJob>],
    ) -> Result<(), StoreError> {
        let fence = self.connected(Instant::now() + AWAY_LIMIT).await?;
        let Some(client) = &self.client else { return Err(StoreError::Stopped) };
        let saved = timeout(FLUSH_LIMIT, run_all(client, fence, jobs)).await;
        match saved.unwrap_or_else(|_| Err(StoreError::slow_database(FLUSH_LIMIT))) {
            Ok(true) => {
                self.fence = fence;
                Ok(())
            }
            Ok(false) => Err(self.fenced(client, self.fence.number).await),
            Err(error) if !error.is_lost_database() => {
                // The transaction may be left open on this connection.
                self.client = None;
                Err(error)
            }
            Err(error) => match self.was_committed(fence, error.clone()).await? {
                true => Ok(()),
                false => Err(error),
            },
        }
    }

    fn count(&self, writes: usize, began: Instant, is_saved: bool) {
        self.failing.store(self.away_since.is_some(), Ordering::Relaxed);
        self.metrics.batch.observe(writes as f64);
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        if !is_saved {
            self.metrics.failures.inc();
        }
    }

    /// Gives the lease up. `acknowledged` is the least number of the last flush that the database
    /// has to have.
    async fn fenced(&self, client: &Client, acknowledged: i64) -> StoreError {
        self.lease.lose();
        if let Err(error) = lineage::find_loss(client, self.fence.node, acknowledged).await {
            tracing::debug!(%error, "whether writes are missing was not found out");
        }
        StoreError::Fenced
    }

    /// Connects if there is no connection, and finds out the number of the last flush. Gives the
    /// next flush's fence. A database that has been away for long is tried once.
    async fn connected(&mut self, until: Instant) -> Result<Fence, StoreError> {
        if let Err(StoreError::Fenced) = self.lease.check() {
            return Err(StoreError::Fenced);
        }
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let until = if self.away_since.is_some() { Instant::now() } else { until };
            self.client = None;
            self.reconnect(until).await?;
        }
        self.lease.check()?;
        Ok(Fence { number: self.fence.number + 1, ..self.fence })
    }

    /// Connects, and raises the number of the last flush, so that no earlier one can commit.
    async fn reconnect(&mut self, until: Instant) -> Result<(), StoreError> {
        loop {
            let error = match self.database.connect().await {
                Ok(client) => match raise(&client, self.fence.node).await {
                    Ok(Some(number)) if number <= self.fence.number => {
                        return Err(self.fenced(&client, self.fence.number + 1).await);
                    }
                    Ok(Some(number)) => {
                        self.fence.number = number;
                        self.client = Some(client);
                        if self.away_since.take().is_some() {
                            tracing::info!("the database is back");
                        }
                        return Ok(());
                    }
                    Ok(None) => return Err(self.fenced(&client, self.fence.number).await),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() >= until {
                if self.away_since.is_none() {
                    tracing::warn!(%error, "the database is away; writes fail until it is back");
                    self.away_since = Some(Instant::now());
                    // Before a caller is told, so that a check that follows fails as well.
                    self.failing.store(true, Ordering::Relaxed);
                }
                return Err(error);
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// Finds out whether a flush was committed whose connection broke.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when the database does not come back in time.
    async fn was_committed(&mut self, fence: Fence, error: StoreError) -> Result<bool, StoreError> {
        tracing::warn!(%error, "the connection to the database broke in a write");
        self.client = None;
        match self.reconnect(Instant::now() + AWAY_LIMIT).await {
            // The number was raised once more to be read.
            Ok(()) => Ok(self.fence.number > fence.number),
            Err(StoreError::Fenced) => Err(StoreError::Unknown(error.to_string())),
            Err(away) => Err(StoreError::Unknown(away.to_string())),
        }
    }
}

/// Raises the number of a node's last flush. Waits for a flush that is still under way. `None` when
/// the fence is closed.
async fn raise(sql: &Client, node: i64) -> Result<Option<i64>, StoreError> {
    let raised = first_row(
        sql,
        &format!(
            "UPDATE fences SET number = number + 1
             WHERE incarnation = $1 AND NOT closed AND timeline = {TIMELINE} RETURNING number"
        ),
        args![node],
    )
    .await?;
    raised.map(|row| get_i64(&row, 0)).transpose()
}
