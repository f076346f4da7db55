//! Loading sessions: takes them for this node, and recovers those that have a turn.
//!
//! A node that takes over from another has hundreds to load at once, so that the statements are
//! those of a batch, whatever the number of its sessions.

use std::collections::{HashMap, HashSet};

use thoughtwire_proto::{SessionId, StreamKind, Timestamp};
use tokio_postgres::Client;

use super::flush_statement;
use super::node::LeaseState;
use super::sessions::{self, TakenSession};
use super::sql::{SqlFuture, Text, args, execute, find_text, get_id, get_text, rows};
use super::transactions::TransactionJob;
use crate::commit::{CommitSender, settled};
use crate::logs::kind_name;
use crate::{Batch, OpenItem, StoreError, StoredSession, recovery};

/// Maximum number of sessions that one transaction loads.
const MAX_LOADS: usize = 100;

/// Outcome of an attempt to load a session.
pub(super) enum LoadAttempt {
    /// The session, if it exists.
    Done(Option<Box<StoredSession>>),
    /// A live node has it, at this URL if it says one.
    Elsewhere { url: Option<String> },
    /// Another node is taking or changing it at this moment.
    Busy,
}

/// A session that a caller wants to load.
pub(super) struct LoadJob {
    pub(super) id: SessionId,
    pub(super) now: Timestamp,
    pub(super) reply: CommitSender<LoadAttempt>,
}

/// Sessions that are loaded in one transaction, each once.
pub(super) struct LoadBatch {
    node: i64,
    lease: LeaseState,
    jobs: Vec<LoadJob>,
    outcomes: Vec<Result<LoadAttempt, StoreError>>,
}

impl LoadBatch {
    /// Puts sessions that a node wants to load into batches.
    pub(super) fn split(node: i64, lease: &LeaseState, jobs: Vec<LoadJob>) -> Vec<Self> {
        let mut batches: Vec<(HashSet<SessionId>, Self)> = Vec::new();
        for job in jobs {
            let fits = |(ids, batch): &&mut (HashSet<SessionId>, Self)| {
                batch.jobs.len() < MAX_LOADS && !ids.contains(&job.id)
            };
            match batches.last_mut().filter(fits) {
                Some((ids, batch)) => {
                    ids.insert(job.id.clone());
                    batch.jobs.push(job);
                }
                None => {
                    let ids = HashSet::from([job.id.clone()]);
                    let (lease, jobs) = (lease.clone(), vec![job]);
                    batches.push((ids, Self { node, lease, jobs, outcomes: Vec::new() }));
                }
            }
        }
        batches.into_iter().map(|(_, batch)| batch).collect()
    }

    /// Loads each session under a savepoint of its own, after all of them together failed: one that
    /// cannot be loaded does not keep the others.
    async fn load_singly(&mut self, sql: &Client) -> Result<(), StoreError> {
        sql.batch_execute("ROLLBACK TO job").await?;
        for job in &self.jobs {
            sql.batch_execute("SAVEPOINT load").await?;
            let loaded = load_all(sql, self.node, &self.lease, std::slice::from_ref(job)).await;
            let end = match &loaded {
                Ok(_) => "RELEASE load",
                Err(error) if error.is_lost_database() => return Err(error.clone()),
                Err(_) => "ROLLBACK TO load; RELEASE load",
            };
            sql.batch_execute(end).await?;
            match loaded {
                Ok(loaded) => self.outcomes.extend(loaded.into_iter().map(Ok)),
                Err(error) => self.outcomes.push(Err(error)),
            }
        }
        Ok(())
    }
}

impl TransactionJob for LoadBatch {
    fn run<'a>(&'a mut self, sql: &'a Client) -> SqlFuture<'a, ()> {
        Box::pin(async move {
            match load_all(sql, self.node, &self.lease, &self.jobs).await {
                Ok(loaded) => {
                    self.outcomes = loaded.into_iter().map(Ok).collect();
                    Ok(())
                }
                Err(error) if error.is_lost_database() => Err(error),
                Err(_) => self.load_singly(sql).await,
            }
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let mut outcomes = self.outcomes.into_iter();
        for job in self.jobs {
            // A caller that no longer waits needs no answer.
            drop(job.reply.send(settled(outcomes.next(), committed.clone())));
        }
    }
}

/// Loads sessions: takes them for a node, and recovers those that have a turn. Gives the outcomes
/// in the order of the jobs.
async fn load_all(
    sql: &Client,
    node: i64,
    lease: &LeaseState,
    jobs: &[LoadJob],
) -> Result<Vec<LoadAttempt>, StoreError> {
    let ids: Vec<_> = jobs.iter().map(|job| &job.id).collect();
    let mut taken = sessions::take(sql, node, &ids, lease).await?;
    let is_taken = |id: &&SessionId| matches!(taken.get(*id), Some(TakenSession::Taken(_)));
    let taken_ids: Vec<_> = ids.iter().copied().filter(is_taken).collect();
    let mut stored = sessions::read_all(sql, &taken_ids).await?;
    let cut: Vec<_> = stored.values().filter(|one| one.state.turn().is_some()).collect();
    let mut open = take_open_items(sql, &cut).await?;
    let (mut outcomes, mut recovered) = (Vec::new(), Vec::new());
    for LoadJob { id, now, .. } in jobs {
        outcomes.push(match taken.remove(id) {
            // A session that does not exist is nobody's.
            None => LoadAttempt::Done(None),
            Some(TakenSession::Elsewhere { url }) => LoadAttempt::Elsewhere { url },
            Some(TakenSession::Busy) => LoadAttempt::Busy,
            Some(TakenSession::Taken(taken_from)) => {
                let session = stored.remove(id).map(|stored| {
                    let open = open.remove(id).unwrap_or_default();
                    let (session, batch) = recover(stored, open, *now)?;
                    recovered.extend(batch);
                    Ok::<_, StoreError>(Box::new(StoredSession { taken_from, ..session }))
                });
                LoadAttempt::Done(session.transpose()?)
            }
        });
    }
    flush_statement::append(sql, node, &recovered).await?;
    Ok(outcomes)
}

/// Keeps the text that a crash cut. Gives the session behind it, and what has to be appended.
fn recover(
    stored: StoredSession,
    open: Vec<OpenItem>,
    now: Timestamp,
) -> Result<(StoredSession, Option<Batch>), StoreError> {
    let (records, state) = recovery::recover(&stored.state, open, now)?;
    if records.is_empty() {
        return Ok((stored, None));
    }
    tracing::info!(session = %stored.id, "kept the text of a turn that a crash cut");
    let batch = Batch::new(stored.id.clone(), stored.state.head(), records, state.clone())?;
    Ok((StoredSession { state, ..stored }, Some(batch)))
}

/// Takes the checkpoints of the open turns' items, for each session in the order of their ids.
async fn take_open_items(
    sql: &Client,
    cut: &[&StoredSession],
) -> Result<HashMap<SessionId, Vec<OpenItem>>, StoreError> {
    let mut items: HashMap<SessionId, Vec<OpenItem>> = HashMap::new();
    if cut.is_empty() {
        return Ok(items);
    }
    let ids: Vec<_> = cut.iter().map(|session| Text(session.id.as_str())).collect();
    let turns: HashMap<_, _> =
        cut.iter().filter_map(|one| Some((&one.id, &one.state.turn()?.id))).collect();
    let found = rows(
        sql,
        "SELECT sessions.id, turn, item, kind, text, continues
         FROM open_items JOIN sessions ON num = session
         WHERE sessions.id = ANY($1) ORDER BY item COLLATE \"C\"",
        args![ids],
    )
    .await?;
    if found.is_empty() {
        return Ok(items);
    }
    execute(
        sql,
        "DELETE FROM open_items WHERE session IN (SELECT num FROM sessions WHERE id = ANY($1))",
        args![ids],
    )
    .await?;
    for row in found {
        let (session, name): (SessionId, _) = (get_id(&row, 0)?, get_text(&row, 3)?);
        let kinds = [StreamKind::Thought, StreamKind::Message, StreamKind::ToolArgs];
        let Some(kind) = kinds.into_iter().find(|kind| kind_name(*kind) == name) else { continue };
        let turn = get_id(&row, 1)?;
        if turns.get(&session).is_none_or(|open| **open != turn) {
            continue;
        }
        let (item, text) = (get_id(&row, 2)?, get_text(&row, 4)?);
        let continues = find_text(&row, 5)?.map(|_| get_id(&row, 5)).transpose()?;
        items.entry(session).or_default().push(OpenItem { item, turn, kind, text, continues });
    }
    Ok(items)
}
