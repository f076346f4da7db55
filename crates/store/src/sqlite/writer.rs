//! The writer: one thread that drains its queue into one transaction, so that many writes share
//! one wait for the disk (group commit).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::data_file::DataFile;
use super::saving::TransactionWriter;
use super::summary::{Invalidates, SummaryCache};
use crate::commit::{CommitSender, settled};
use crate::{Commit, StoreError, StoreMetrics};

/// Maximum number of writes per transaction. Beyond it the wait for the disk is shared enough, and
/// the first write has waited long enough.
const MAX_BATCH: usize = 1024;

/// Delay of indexing after a write. Each step is a transaction, and the next write waits until that
/// is on disk. A search indexes everything first.
const INDEX_DELAY: Duration = Duration::from_millis(250);

/// Delay between a write, or an attempt, and cutting a write-ahead log that is too long.
const TRIM_DELAY: Duration = Duration::from_secs(1);

/// Maximum delay of a write that can wait for others to share its transaction.
const MAX_BATCH_DELAY: Duration = Duration::from_millis(100);

/// How soon a write must be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    AtOnce,
    /// Within [`MAX_BATCH_DELAY`].
    CanWait,
}

/// One write: run under a savepoint, answered when its transaction has ended.
trait WriteJob: Send {
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    fn invalidates(&self) -> &Invalidates;
    fn urgency(&self) -> Urgency;
    /// Tells the caller the outcome; `committed` is the transaction's.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct QueuedWrite<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    invalidates: Invalidates,
    urgency: Urgency,
    reply: CommitSender<T>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> WriteJob
    for QueuedWrite<F, T>
{
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Err(StoreError::Stopped) };
        let outcome = work(connection);
        let result = outcome.as_ref().map(drop).map_err(Clone::clone);
        self.outcome = Some(outcome);
        result
    }

    fn invalidates(&self) -> &Invalidates {
        &self.invalidates
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // A caller that no longer waits needs no answer.
        drop(self.reply.send(settled(self.outcome, committed)));
    }
}

/// The queue of the writer's thread.
pub(super) struct Writer {
    /// Unbounded here, bounded by its callers: a session has a limited number of appends under way,
    /// and everything else waits for its own write. `None` once the store is closed.
    jobs: Mutex<Option<mpsc::UnboundedSender<Box<dyn WriteJob>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The same thread, for waking it while it waits for a delay to pass.
    parked_thread: Thread,
    pub(super) metrics: StoreMetrics,
    pub(super) summaries: Arc<SummaryCache>,
    /// Whether the newest transaction could not be saved.
    failing: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the writer's thread. `anchor` is a connection that only reads: see
    /// [`TransactionWriter`].
    pub(super) fn start(
        connection: Connection,
        file: Arc<DataFile>,
        anchor: Connection,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (metrics, summaries) = (StoreMetrics::default(), Arc::<SummaryCache>::default());
        let failing = Arc::new(AtomicBool::new(false));
        let writing = WriterLoop {
            transactions: TransactionWriter::new(connection, anchor, file),
            queue,
            metrics: metrics.clone(),
            summaries: Arc::clone(&summaries),
            failing: Arc::clone(&failing),
        };
        let thread = thread::Builder::new()
            .name("thoughtwire-writer".to_owned())
            .spawn(move || writing.run())?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            parked_thread: thread.thread().clone(),
            thread: Mutex::new(Some(thread)),
            metrics,
            summaries,
            failing,
        })
    }

    /// Queues a write that invalidates no memory summary.
    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        self.push(Invalidates::Nothing, Urgency::AtOnce, work)
    }

    /// Queues a write that nobody waits for: within [`MAX_BATCH_DELAY`], with others if there are
    /// any.
    pub(super) fn write_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        self.push(Invalidates::Nothing, Urgency::CanWait, work)
    }

    /// Queues a write that invalidates memory summaries.
    pub(super) fn write_memory<T: Send + 'static>(
        &self,
        invalidates: Invalidates,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        self.push(invalidates, Urgency::AtOnce, work)
    }

    fn push<T: Send + 'static>(
        &self,
        invalidates: Invalidates,
        urgency: Urgency,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        let (reply, commit) = Commit::channel();
        let job =
            Box::new(QueuedWrite { work: Some(work), outcome: None, invalidates, urgency, reply });
        if let Some(jobs) = &*self.jobs.lock() {
            // Dropped unsent, the job's reply tells its caller that the store is closed.
            drop(jobs.send(job));
        }
        self.parked_thread.unpark();
        commit
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Takes no more writes, finishes those in the queue, and ends.
    pub(super) fn stop(&self) {
        drop(self.jobs.lock().take());
        self.parked_thread.unpark();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

/// The loop of the writer's thread, with the writing connection and the queue in front of it.
struct WriterLoop {
    transactions: TransactionWriter,
    queue: mpsc::UnboundedReceiver<Box<dyn WriteJob>>,
    metrics: StoreMetrics,
    summaries: Arc<SummaryCache>,
    failing: Arc<AtomicBool>,
}

impl WriterLoop {
    fn run(mut self) {
        // Writes that can wait, in front of all later ones, and since when the first of them waits.
        let mut gathered: Vec<Box<dyn WriteJob>> = Vec::new();
        let mut waiting: Option<Instant> = None;
        // Since when something may have to be indexed.
        let mut behind = Some(Instant::now());
        let left = |since: Option<Instant>, within: Duration| {
            since.map(|since| within.saturating_sub(since.elapsed()))
        };
        // Nothing is delayed once the queue is closed.
        let is_due = |left: Option<Duration>, why| {
            left.is_some_and(|left| left.is_zero() || why == TryRecvError::Disconnected)
        };
        // Since when the write-ahead log is too long.
        let mut oversize: Option<Instant> = None;
        loop {
            let (to_write, to_index) = (left(waiting, MAX_BATCH_DELAY), left(behind, INDEX_DELAY));
            let to_trim = left(oversize, TRIM_DELAY);
            let job = match self.queue.try_recv() {
                Ok(job) => Some(job),
                Err(why) if is_due(to_write, why) => None,
                Err(why) if is_due(to_index, why) => {
                    let more = self.index();
                    behind = behind.filter(|_| more);
                    continue;
                }
                // Closing trims the log anyway.
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if to_trim.is_some_and(|left| left.is_zero()) => {
                    self.transactions.trim();
                    oversize = self.transactions.is_oversize().then(Instant::now);
                    continue;
                }
                Err(TryRecvError::Empty) => {
                    match to_write.into_iter().chain(to_index).chain(to_trim).min() {
                        Some(left) => {
                            thread::park_timeout(left);
                            continue;
                        }
                        None => match self.queue.blocking_recv() {
                            Some(job) => Some(job),
                            None => break,
                        },
                    }
                }
            };
            let can_wait = job.as_ref().is_some_and(|job| job.urgency() == Urgency::CanWait);
            gathered.extend(job);
            if can_wait
                && gathered.len() < MAX_BATCH
                && waiting.get_or_insert_with(Instant::now).elapsed() < MAX_BATCH_DELAY
            {
                continue;
            }
            waiting = None;
            self.commit(std::mem::take(&mut gathered));
            behind.get_or_insert_with(Instant::now);
            oversize = oversize.or_else(|| self.transactions.is_oversize().then(Instant::now));
        }
        self.transactions.close();
    }

    /// Runs jobs, and those in the queue, in one transaction, and answers their callers.
    fn commit(&mut self, mut jobs: Vec<Box<dyn WriteJob>>) {
        while jobs.len() < MAX_BATCH
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
        }
        let began = Instant::now();
        let queue = &self.queue;
        let committed = self
            .transactions
            .save(&|| queue.is_closed(), |transaction| run_all(transaction, &mut jobs));
        self.summaries.invalidate(jobs.iter().map(|job| job.invalidates()));
        self.failing.store(committed.is_err(), Ordering::Relaxed);
        self.metrics.batch.observe(jobs.len() as f64);
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        if committed.is_err() {
            self.metrics.failures.inc();
        }
        for job in jobs {
            job.answer(committed.clone());
        }
    }

    /// Indexes some of what was said. Tells whether there may be more.
    fn index(&mut self) -> bool {
        match self.transactions.index() {
            Ok(indexed) => {
                self.summaries.add_indexed(indexed.said);
                indexed.more
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "messages could not be indexed for search; the next write tries again"
                );
                false
            }
        }
    }
}

/// Runs jobs, each under its own savepoint, so that one that fails aborts only itself.
fn run_all(transaction: &Connection, jobs: &mut [Box<dyn WriteJob>]) -> Result<(), StoreError> {
    for job in jobs {
        transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
        let outcome = job.run(transaction);
        // A full disk can end the whole transaction; then there is no savepoint to go back to.
        match outcome {
            Ok(()) => {
                transaction.prepare_cached("RELEASE job")?.execute([])?;
            }
            Err(cause @ (StoreError::Full | StoreError::ReadOnly | StoreError::Corrupt(_))) => {
                return Err(cause);
            }
            Err(_) => transaction.execute_batch("ROLLBACK TO job; RELEASE job")?,
        }
    }
    Ok(())
}
