//! A flush: batches and checkpoints of many sessions, saved by one statement.
//!
//! The statement contains the node's fence, so that nothing is saved for a node that was declared
//! dead, and each session's head, so that a batch that does not follow it changes nothing.

use std::collections::{HashMap, HashSet};

use thoughtwire_proto::{AgentId, ItemId, Seq, SessionId};
use tokio_postgres::Client;

use super::flush_statement::{Fence, FlushStatement, Moved, head_moved};
use super::sql::{Text, args, get_i64, rows, to_i64};
use crate::commit::CommitSender;
use crate::{Batch, OpenItem, StoreError};

/// Maximum bytes of records in one flush, about: beyond it the first batch has waited long enough.
const MAX_BYTES: usize = 4 << 20;

/// A write that can be part of a flush.
pub(super) enum FlushJob {
    Append { batch: Box<Batch>, reply: CommitSender<()> },
    Checkpoint { session: SessionId, item: OpenItem, reply: CommitSender<()> },
}

/// Batches of one session that follow one another.
struct SessionBatches {
    batches: Vec<Batch>,
    replies: Vec<CommitSender<()>>,
}

impl SessionBatches {
    fn head(&self) -> Seq {
        self.batches.last().map_or(Seq::ZERO, |batch| batch.state().head())
    }
}

/// Writes that are saved by one statement.
#[derive(Default)]
pub(super) struct Flush {
    sessions: Vec<SessionBatches>,
    by_session: HashMap<SessionId, usize>,
    checkpoints: HashMap<(SessionId, ItemId), (OpenItem, CommitSender<()>)>,
    /// Items that are closed, and blocks that are edited: a statement changes a row only once.
    closed: HashSet<(SessionId, ItemId)>,
    blocks: HashSet<(AgentId, String)>,
    /// Checkpoints that a later one, or the item's end, replaces.
    replaced: Vec<CommitSender<()>>,
    writes: usize,
    bytes: usize,
}

impl Flush {
    pub(super) fn is_empty(&self) -> bool {
        self.writes == 0
    }

    /// Number of its writes.
    pub(super) fn writes(&self) -> usize {
        self.writes
    }

    /// Takes a write, or gives it back for the next flush.
    pub(super) fn push(&mut self, job: FlushJob) -> Result<(), FlushJob> {
        if self.bytes > MAX_BYTES {
            return Err(job);
        }
        match job {
            FlushJob::Append { batch, reply } => self.push_batch(batch, reply)?,
            FlushJob::Checkpoint { session, item, reply } => {
                let key = (session.clone(), item.item.clone());
                if self.closed.contains(&key) {
                    return Err(FlushJob::Checkpoint { session, item, reply });
                }
                self.bytes += item.text.len();
                let earlier = self.checkpoints.insert(key, (item, reply));
                self.replaced.extend(earlier.map(|(_, reply)| reply));
            }
        }
        self.writes += 1;
        Ok(())
    }

    fn push_batch(&mut self, batch: Box<Batch>, reply: CommitSender<()>) -> Result<(), FlushJob> {
        let block = batch.extras().block.as_ref();
        let block = block.map(|edit| (edit.agent.clone(), edit.label.clone()));
        let known = self.by_session.get(batch.session()).copied();
        let known = known.and_then(|at| self.sessions.get_mut(at));
        let follows = known.as_ref().is_none_or(|known| known.head() == batch.after());
        if !follows || block.as_ref().is_some_and(|block| self.blocks.contains(block)) {
            return Err(FlushJob::Append { batch, reply });
        }
        self.blocks.extend(block);
        for item in &batch.extras().closed_items {
            let key = (batch.session().clone(), item.clone());
            self.replaced.extend(self.checkpoints.remove(&key).map(|(_, reply)| reply));
            self.closed.insert(key);
        }
        // The size of an event's text is near that of its record.
        self.bytes += 200 * batch.records().len();
        match known {
            Some(known) => {
                known.batches.push(*batch);
                known.replies.push(reply);
            }
            None => {
                self.by_session.insert(batch.session().clone(), self.sessions.len());
                self.sessions.push(SessionBatches { batches: vec![*batch], replies: vec![reply] });
            }
        }
        Ok(())
    }

    /// Saves everything. `None` when the fence is closed, or the number is not the next: then
    /// nothing is saved.
    ///
    /// # Errors
    /// The database's; then nothing is saved, unless the connection was lost.
    pub(super) async fn save(
        &self,
        sql: &Client,
        fence: Fence,
    ) -> Result<Option<Moved>, StoreError> {
        let mut statement = FlushStatement::fenced(fence);
        let batches = self.sessions.iter().flat_map(|session| &session.batches);
        statement.add_sessions(self.sessions.iter().map(|session| session.batches.as_slice()))?;
        statement.add_records(batches)?;
        statement.add_checkpoints(
            self.checkpoints.iter().map(|((session, _), (item, _))| (session, item)),
        );
        statement.run(sql).await
    }

    /// Reads which sessions a flush moved that was committed, but whose answer was lost.
    pub(super) async fn read_back(&self, sql: &Client) -> Result<Moved, StoreError> {
        let ids: Vec<_> = self.sessions.iter().filter_map(SessionBatches::id).collect();
        let heads: Vec<i64> = self.sessions.iter().map(|one| to_i64(one.head().0)).collect();
        let found = rows(
            sql,
            "SELECT at FROM unnest($1::text[], $2::bigint[])
                WITH ORDINALITY AS wanted (id, head, at)
             JOIN sessions ON sessions.id = wanted.id AND sessions.head >= wanted.head",
            args![ids, heads],
        )
        .await?;
        found.iter().map(|row| get_i64(row, 0)).collect::<Result<_, _>>().map(Moved)
    }

    /// Tells the callers which of their writes were saved.
    pub(super) async fn answer(self, sql: &Client, moved: &Moved) {
        for (at, session) in (1_i64..).zip(self.sessions) {
            let outcome =
                if moved.0.contains(&at) { Ok(()) } else { Err(why_not(sql, &session).await) };
            for reply in session.replies {
                // A caller that no longer waits needs no answer.
                drop(reply.send(outcome.clone()));
            }
        }
        let checkpoints = self.checkpoints.into_values().map(|(_, reply)| reply);
        for reply in checkpoints.chain(self.replaced) {
            drop(reply.send(Ok(())));
        }
    }

    /// Tells the callers that nothing was saved.
    pub(super) fn fail(self, error: &StoreError) {
        let appends = self.sessions.into_iter().flat_map(|session| session.replies);
        let checkpoints = self.checkpoints.into_values().map(|(_, reply)| reply);
        for reply in appends.chain(checkpoints).chain(self.replaced) {
            drop(reply.send(Err(error.clone())));
        }
    }

    /// Its writes one by one, so that one that the database refuses fails alone. Batches of one
    /// session stay in order.
    pub(super) fn split(self) -> Vec<Self> {
        let mut single = Vec::new();
        for session in self.sessions {
            for (batch, reply) in session.batches.into_iter().zip(session.replies) {
                let mut one = Self::default();
                // The first write always has room.
                drop(one.push(FlushJob::Append { batch: Box::new(batch), reply }));
                single.push(one);
            }
        }
        for ((session, _), (item, reply)) in self.checkpoints {
            let mut one = Self::default();
            drop(one.push(FlushJob::Checkpoint { session, item, reply }));
            single.push(one);
        }
        for reply in self.replaced {
            drop(reply.send(Ok(())));
        }
        single
    }
}

impl SessionBatches {
    fn id(&self) -> Option<Text<'_>> {
        self.batches.first().map(|batch| Text(batch.session().as_str()))
    }
}

/// Why a batch does not fit its session's log.
async fn why_not(sql: &Client, session: &SessionBatches) -> StoreError {
    let Some(first) = session.batches.first() else { return StoreError::Stopped };
    head_moved(sql, first).await.unwrap_or_else(|error| error)
}
