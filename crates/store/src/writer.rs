//! The one writer: a thread that drains its channel into one transaction, so that many appends
//! share one wait for the disk.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::data_file::DataFile;
use crate::known::{Shelf, Touched};
use crate::saving::Saver;
use crate::{Metrics, StoreError};

pub(crate) use crate::saving::probe;

/// Jobs per transaction: beyond this the wait for the disk is well shared, and the first job has waited long enough.
const BATCH: usize = 1024;

/// How long what was said waits for more before it is indexed. Each step of it is a transaction, and
/// the next write waits until that is on disk. Who searches has all of it indexed first.
const INDEX_AFTER: Duration = Duration::from_millis(250);

/// How long after a write, or an attempt, a write-ahead log that is too long is cut.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// How long a write that can wait does so, for others to share its transaction.
const COMPANY_WITHIN: Duration = Duration::from_millis(100);

/// One write: run under a savepoint, told once its transaction has ended.
trait Job: Send {
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    fn touched(&self) -> &Touched;
    fn can_wait(&self) -> bool;
    /// `committed` is how the transaction ended.
    fn tell(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Work<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    touched: Touched,
    can_wait: bool,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> Job for Work<F, T> {
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Err(StoreError::Stopped) };
        let outcome = work(connection);
        let result = outcome.as_ref().map(drop).map_err(Clone::clone);
        self.outcome = Some(outcome);
        result
    }

    fn touched(&self) -> &Touched {
        &self.touched
    }

    fn can_wait(&self) -> bool {
        self.can_wait
    }

    fn tell(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (self.outcome, committed) {
            // Its own failure says more than the transaction's.
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(_)) | None, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Stopped),
        };
        // A caller that no longer waits needs no answer.
        drop(self.reply.send(outcome));
    }
}

/// A write under way; resolves when it is on disk. Dropping it does not undo the write.
#[derive(Debug)]
pub struct Commit<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Commit<T> {
    /// Waits on a plain thread.
    ///
    /// # Errors
    /// The write's.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Stopped))
    }
}

impl<T> Future for Commit<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Err(StoreError::Stopped)))
    }
}

pub(crate) struct Writer {
    /// Unbounded here, bounded by its callers: a session has a limited number of appends under way,
    /// and everything else waits for its own write.
    jobs: Mutex<Option<mpsc::UnboundedSender<Box<dyn Job>>>>,
    /// Nothing where somebody else holds the pen.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The same thread, to be woken where it waits with its index.
    asleep: Option<Thread>,
    pub(crate) metrics: Metrics,
    pub(crate) shelf: Arc<Shelf>,
    /// Whether the newest transaction could not be saved.
    failing: Arc<AtomicBool>,
}

impl Writer {
    /// `anchor` is a connection that only reads: see [`Saver`].
    pub(crate) fn start(
        connection: Connection,
        file: Arc<DataFile>,
        anchor: Connection,
    ) -> Result<Self, StoreError> {
        let (writer, pen) = Self::by_hand(connection, file, anchor);
        let thread = thread::Builder::new()
            .name("thoughtwire-writer".to_owned())
            .spawn(move || pen.run())?;
        Ok(Self {
            asleep: Some(thread.thread().clone()),
            thread: Mutex::new(Some(thread)),
            ..writer
        })
    }

    /// A writer that writes only when its pen is moved.
    pub(crate) fn by_hand(
        connection: Connection,
        file: Arc<DataFile>,
        anchor: Connection,
    ) -> (Self, Pen) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (metrics, shelf, failing) =
            (Metrics::default(), Arc::<Shelf>::default(), Arc::new(AtomicBool::new(false)));
        let pen = Pen {
            saver: Saver::new(connection, anchor, file),
            queue,
            metrics: metrics.clone(),
            shelf: Arc::clone(&shelf),
            failing: Arc::clone(&failing),
        };
        (
            Self {
                jobs: Mutex::new(Some(jobs)),
                thread: Mutex::new(None),
                asleep: None,
                metrics,
                shelf,
                failing,
            },
            pen,
        )
    }

    /// A write that leaves what agents know as it is.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        self.push(Touched::Nothing, false, work)
    }

    /// A write that nobody waits for: within a tenth of a second, with others if there are any.
    pub(crate) fn write_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        self.push(Touched::Nothing, true, work)
    }

    /// A write that changes what agents know.
    pub(crate) fn write_known<T: Send + 'static>(
        &self,
        touched: Touched,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        self.push(touched, false, work)
    }

    fn push<T: Send + 'static>(
        &self,
        touched: Touched,
        can_wait: bool,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        let (reply, outcome) = oneshot::channel();
        let job = Box::new(Work { work: Some(work), outcome: None, touched, can_wait, reply });
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            // Dropped unsent, the job's reply tells its caller that the store is closed.
            drop(jobs.send(job));
        }
        self.wake();
        Commit(outcome)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(thread) = &self.asleep {
            thread.unpark();
        }
    }

    /// Takes no more, finishes what it has, and ends.
    pub(crate) fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

/// What writes: the writing connection, and the jobs in front of it.
///
/// A thread of the store's own moves it, unless the store was opened with [`Store::open_by_hand`].
///
/// [`Store::open_by_hand`]: crate::Store::open_by_hand
pub struct Pen {
    saver: Saver,
    queue: mpsc::UnboundedReceiver<Box<dyn Job>>,
    metrics: Metrics,
    shelf: Arc<Shelf>,
    failing: Arc<AtomicBool>,
}

/// Jobs whose transaction has ended, and who was not told yet.
#[must_use = "whoever waits for these writes is not told before `tell`"]
pub struct Written {
    jobs: Vec<Box<dyn Job>>,
    committed: Result<(), StoreError>,
}

impl Written {
    /// Tells everybody who waits how it went.
    pub fn tell(self) {
        for job in self.jobs {
            job.tell(self.committed.clone());
        }
    }
}

impl Pen {
    /// How many writes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Runs at most `most` of the writes that wait, in one transaction; nothing when none waits.
    pub fn write(&mut self, most: usize) -> Option<Written> {
        let first = self.queue.try_recv().ok()?;
        Some(self.write_with(vec![first], most))
    }

    /// Indexes some of what was said, for searches. Tells whether there is more to index.
    ///
    /// # Errors
    /// When it cannot be saved; it is tried again with the next call.
    pub fn index(&mut self) -> Result<bool, StoreError> {
        let indexed = self.saver.index()?;
        self.shelf.indexed(indexed.said);
        Ok(indexed.more)
    }

    fn write_with(&mut self, mut jobs: Vec<Box<dyn Job>>, most: usize) -> Written {
        while jobs.len() < most
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
        }
        let begun = Instant::now();
        let queue = &self.queue;
        let committed =
            self.saver.save(&|| queue.is_closed(), |transaction| run_all(transaction, &mut jobs));
        self.shelf.forget(jobs.iter().map(|job| job.touched()));
        self.failing.store(committed.is_err(), Ordering::Relaxed);
        self.metrics.batch.observe(jobs.len() as f64);
        self.metrics.seconds.observe(begun.elapsed().as_secs_f64());
        if committed.is_err() {
            self.metrics.failures.inc();
        }
        Written { jobs, committed }
    }

    fn run(mut self) {
        // Writes that can wait, in their place in front of whatever comes, and since when the first does.
        let mut gathered: Vec<Box<dyn Job>> = Vec::new();
        let mut waiting: Option<Instant> = None;
        // Since when something may wait to be indexed.
        let mut behind = Some(Instant::now());
        let left = |since: Option<Instant>, within: Duration| {
            since.map(|since| within.saturating_sub(since.elapsed()))
        };
        // Once nothing more can come, nothing is put off any longer.
        let is_due = |left: Option<Duration>, why| {
            left.is_some_and(|left| left.is_zero() || why == TryRecvError::Disconnected)
        };
        // Since when the write-ahead log is too long.
        let mut oversize: Option<Instant> = None;
        loop {
            let (to_write, to_index) = (left(waiting, COMPANY_WITHIN), left(behind, INDEX_AFTER));
            let to_trim = left(oversize, TRIM_AFTER);
            let job = match self.queue.try_recv() {
                Ok(job) => Some(job),
                Err(why) if is_due(to_write, why) => None,
                Err(why) if is_due(to_index, why) => {
                    let more = self.index().unwrap_or_else(|error| {
                        tracing::warn!(%error, "what was said could not be indexed; it is tried again with the next write");
                        false
                    });
                    behind = behind.filter(|_| more);
                    continue;
                }
                // The end trims it anyway.
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if to_trim.is_some_and(|left| left.is_zero()) => {
                    self.saver.trim();
                    oversize = self.saver.is_oversize().then(Instant::now);
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
            let can_wait = job.as_ref().is_some_and(|job| job.can_wait());
            gathered.extend(job);
            if can_wait
                && gathered.len() < BATCH
                && waiting.get_or_insert_with(Instant::now).elapsed() < COMPANY_WITHIN
            {
                continue;
            }
            waiting = None;
            self.write_with(std::mem::take(&mut gathered), BATCH).tell();
            behind.get_or_insert_with(Instant::now);
            oversize = oversize.or_else(|| self.saver.is_oversize().then(Instant::now));
        }
        self.saver.close();
    }
}

/// Runs jobs, each under its own savepoint, so that one that fails takes nobody along.
fn run_all(transaction: &Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    for job in jobs {
        transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
        let outcome = job.run(transaction);
        // A full disk can end the whole transaction under a job: then there is no savepoint to go back to.
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
