//! Writes in memory: their queue, and the driver that commits them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::faults::WriteUse;
use super::nodes::SentAt;
use super::tables::Tables;
use super::{BrokenTable, RamDatabase, RamHandle, WriteFault};
use crate::commit::{CommitSender, settled};
use crate::{Commit, StoreError};

/// One write: run as a part of a transaction, answered when that has ended.
pub(super) trait RamJob: Send {
    fn uses(&self) -> &WriteUse;
    fn run(&mut self, tables: &mut Tables) -> Result<(), StoreError>;
    /// Keeps a failure for the answer in the place of running the job.
    fn fail(&mut self, error: StoreError);
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Where writes go.
pub(super) enum Queue {
    /// Each commits at once, in a transaction of its own.
    AtOnce,
    Driven(mpsc::UnboundedSender<Box<dyn RamJob>>),
    Closed,
}

struct RamWrite<F, T> {
    uses: WriteUse,
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: CommitSender<T>,
}

impl<T: Send, F: FnOnce(&mut Tables) -> Result<T, StoreError> + Send> RamJob for RamWrite<F, T> {
    fn uses(&self) -> &WriteUse {
        &self.uses
    }

    fn run(&mut self, tables: &mut Tables) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Err(StoreError::Stopped) };
        let outcome = work(tables);
        let result = outcome.as_ref().map(drop).map_err(Clone::clone);
        self.outcome = Some(outcome);
        result
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error));
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // A caller that no longer waits needs no answer.
        drop(self.reply.send(settled(self.outcome, committed)));
    }
}

impl RamHandle {
    /// Queues a write, or commits it at once.
    pub(super) fn write<T: Send + 'static>(
        &self,
        uses: WriteUse,
        work: impl FnOnce(&mut Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> Commit<T> {
        let (reply, commit) = Commit::channel();
        let job = Box::new(RamWrite { uses, work: Some(work), outcome: None, reply });
        let queue = self.0.queue();
        match &*queue {
            Queue::AtOnce => {
                drop(queue);
                self.0.commit(vec![job], SentAt::Commit).tell();
            }
            // Dropped unsent, the job's reply tells its caller that the store is closed.
            Queue::Driven(jobs) => drop(jobs.send(job)),
            Queue::Closed => {}
        }
        commit
    }
}

impl RamDatabase {
    /// Runs writes in one transaction, each on its own: one that fails changes nothing.
    fn commit(&self, mut jobs: Vec<Box<dyn RamJob>>, sent: SentAt) -> CommittedWrites {
        let mut tables = self.disk.tables();
        let faults = self.faults();
        let node = self.node.as_ref();
        let admitted = faults.check_reach().and_then(|()| match node {
            Some(node) => node.admit(&tables, sent),
            None => Ok(()),
        });
        if let Err(error) = admitted {
            self.metrics.failures.inc();
            return CommittedWrites { jobs, committed: Err(error) };
        }
        let mut draft = tables.clone();
        draft.writer = node.map(|node| node.incarnation);
        for job in &mut jobs {
            let failed = faults.check_write(job.uses());
            if let Err(error) = failed {
                job.fail(error);
                continue;
            }
            let mut changed = draft.clone();
            if job.run(&mut changed).is_ok() {
                draft = changed;
            }
        }
        let (is_saved, committed) = faults.commit(jobs.iter().map(|job| job.uses()));
        if is_saved {
            *tables = draft;
        }
        self.metrics.batch.observe(jobs.len() as f64);
        if committed.is_err() {
            self.metrics.failures.inc();
        }
        CommittedWrites { jobs, committed }
    }
}

/// Decides when the writes of a [`RamDisk::open_driven`](super::RamDisk::open_driven) store commit,
/// which of them fail, and when a node renews its lease.
pub struct RamDriver {
    database: Arc<RamDatabase>,
    queue: mpsc::UnboundedReceiver<Box<dyn RamJob>>,
}

/// Writes whose transaction has ended and whose callers were not told yet.
#[must_use = "the callers wait until `tell`"]
pub struct CommittedWrites {
    jobs: Vec<Box<dyn RamJob>>,
    committed: Result<(), StoreError>,
}

impl CommittedWrites {
    /// Tells the callers the outcome.
    pub fn tell(self) {
        for job in self.jobs {
            job.answer(self.committed.clone());
        }
    }
}

impl RamDriver {
    pub(super) fn new(
        database: Arc<RamDatabase>,
        queue: mpsc::UnboundedReceiver<Box<dyn RamJob>>,
    ) -> Self {
        Self { database, queue }
    }

    /// Number of writes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Commits at most `most` of the writes that wait, in one transaction; `None` if none waits.
    pub fn commit(&mut self, most: usize) -> Option<CommittedWrites> {
        self.commit_within(most, SentAt::Commit)
    }

    /// Commits as [`RamDriver::commit`] does what a node has sent earlier: the end of its lease by
    /// its own clock does not stop it any more, only its fence does.
    pub fn commit_sent(&mut self, most: usize) -> Option<CommittedWrites> {
        self.commit_within(most, SentAt::Earlier)
    }

    fn commit_within(&mut self, most: usize, sent: SentAt) -> Option<CommittedWrites> {
        let mut jobs = Vec::new();
        while jobs.len() < most
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
        }
        (!jobs.is_empty()).then(|| self.database.commit(jobs, sent))
    }

    /// Sets the fault that hits writes from now on.
    pub fn set_write_fault(&self, fault: Option<WriteFault>) {
        self.database.faults().write = fault;
    }

    /// Sets the part of the data that cannot be read or written from now on.
    pub fn set_broken(&self, table: Option<BrokenTable>) {
        self.database.faults().broken = table;
    }

    /// Sets whether the disk cannot be reached from now on: reads, writes and renewals of the lease
    /// fail.
    pub fn set_away(&self, is_away: bool) {
        self.database.faults().is_away = is_away;
    }

    /// Renews the lease of a node, tells other nodes of its changes, and reads theirs. A node does
    /// this each second. Does nothing while the disk cannot be reached, or where no node is.
    pub fn beat(&self) {
        let is_reached = self.database.faults().check_reach().is_ok();
        if let Some(node) = self.database.node.as_ref().filter(|_| is_reached) {
            node.beat(&mut self.database.disk.tables());
        }
    }

    /// Sets the time that each read takes from now on.
    pub fn set_read_delay(&self, delay: Option<Duration>) {
        self.database.faults().read_delay = delay;
    }
}
