//! Writes with statements of their own, run in one transaction.

use tokio::join;
use tokio_postgres::Client;

use super::flush_statement::Fence;
use super::lineage::TIMELINE;
use super::sql::{SqlFuture, args, first_row};
use crate::StoreError;
use crate::commit::{CommitSender, settled};

/// A write with statements of its own: run under a savepoint, answered when its transaction has
/// ended.
pub(super) trait TransactionJob: Send {
    fn run<'a>(&'a mut self, sql: &'a Client) -> SqlFuture<'a, ()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A write of one caller.
pub(super) struct QueuedTransaction<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: CommitSender<T>,
}

impl<F, T> QueuedTransaction<F, T> {
    pub(super) fn new(work: F, reply: CommitSender<T>) -> Self {
        Self { work: Some(work), outcome: None, reply }
    }
}

impl<T, F> TransactionJob for QueuedTransaction<F, T>
where
    T: Send + Sync,
    F: for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T> + Send,
{
    fn run<'a>(&'a mut self, sql: &'a Client) -> SqlFuture<'a, ()> {
        let work = self.work.take();
        Box::pin(async move {
            let Some(work) = work else { return Err(StoreError::Stopped) };
            let outcome = work(sql).await;
            let result = outcome.as_ref().map(drop).map_err(Clone::clone);
            self.outcome = Some(outcome);
            result
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // A caller that no longer waits needs no answer.
        drop(self.reply.send(settled(self.outcome, committed)));
    }
}

/// Runs jobs in one transaction, each under its own savepoint, so that one that fails aborts only
/// itself. False when the fence does not hold.
///
/// Savepoints are sent together with the first statement of their job: all writes of the node wait
/// for each answer of the database.
pub(super) async fn run_all(
    sql: &Client,
    fence: Fence,
    jobs: &mut [Box<dyn TransactionJob>],
) -> Result<bool, StoreError> {
    let raise = format!(
        "UPDATE fences SET number = $2 WHERE incarnation = $1 AND number = $2 - 1
         AND NOT closed AND timeline = {TIMELINE} RETURNING 1::bigint"
    );
    let arguments = args![fence.node, fence.number];
    let (begun, held) =
        join!(biased; sql.batch_execute("BEGIN"), first_row(sql, &raise, arguments));
    begun?;
    if held?.is_none() {
        sql.batch_execute("ROLLBACK").await?;
        return Ok(false);
    }
    let mut before = "";
    for job in jobs {
        let savepoint = format!("{before}SAVEPOINT job");
        let (saved, outcome) = join!(biased; sql.batch_execute(&savepoint), job.run(sql));
        saved?;
        before = match outcome {
            Ok(()) => "RELEASE job; ",
            Err(error) if error.is_lost_database() => return Err(error),
            Err(_) => "ROLLBACK TO job; RELEASE job; ",
        };
    }
    sql.batch_execute(&format!("{before}COMMIT")).await?;
    Ok(true)
}
