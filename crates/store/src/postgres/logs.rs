//! Logs in PostgreSQL: appending, checkpoints, loading, and what is stored beside records.

use std::time::Duration;

use thoughtwire_proto::{CallId, CommandId, Record, Seq, SessionId, Timestamp, UserId};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::flush::FlushJob;
use super::loading::LoadAttempt;
use super::node::LeaseState;
use super::sql::{
    Text, args, count_to_i64, find_text, first_row, get_id, get_seq, get_text, rows, to_i64,
};
use super::{PostgresHandle, node, pages, receipts};
use crate::{
    Batch, Commit, LogPage, LogStore, OpenItem, Receipt, StoreError, StoreRead, StoredSession,
};

/// Pause before a session is loaded again that another node was taking. Each later one is twice as
/// long.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(500);

/// [`LogStore`] in PostgreSQL.
pub(super) struct PostgresLogs(pub(super) PostgresHandle);

impl LogStore for PostgresLogs {
    fn append(&self, batch: Batch) -> Commit<()> {
        let batch = Box::new(batch);
        self.0.writer().flush(|reply| FlushJob::Append { batch, reply })
    }

    fn checkpoint(&self, session: &SessionId, item: OpenItem) -> Commit<()> {
        let session = session.clone();
        self.0.writer().flush(|reply| FlushJob::Checkpoint { session, item, reply })
    }

    fn load(&self, session: &SessionId, now: Timestamp) -> StoreRead<Option<StoredSession>> {
        let (handle, session) = (self.0.clone(), session.clone());
        Box::pin(async move {
            let mut pause = BUSY_PAUSE;
            loop {
                match handle.writer().load(session.clone(), now).await? {
                    LoadAttempt::Done(stored) => return Ok(stored.map(|stored| *stored)),
                    LoadAttempt::Elsewhere { url } => {
                        return Err(StoreError::Elsewhere { session, url });
                    }
                    LoadAttempt::Busy => {
                        sleep(pause).await;
                        pause = (2 * pause).min(LONGEST_BUSY_PAUSE);
                    }
                }
            }
        })
    }

    fn sessions_with_work(&self) -> StoreRead<Vec<SessionId>> {
        self.0.read_unlimited(|sql| {
            Box::pin(async move {
                let select = "SELECT id FROM sessions WHERE running OR queued > 0 ORDER BY num";
                rows(sql, select, args![]).await?.iter().map(|row| get_id(row, 0)).collect()
            })
        })
    }

    fn orphans(&self, limit: usize) -> StoreRead<Vec<SessionId>> {
        let handle = self.0.clone();
        let (node, lease) = (handle.node(), handle.store.lease.clone());
        Box::pin(async move {
            handle
                .write(move |sql| Box::pin(async move { orphans(sql, node, &lease, limit).await }))
                .await
        })
    }

    fn records_after(
        &self,
        session: &SessionId,
        after: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>> {
        let session = session.clone();
        self.0.read(move |sql| {
            Box::pin(async move { pages::after(sql, &session, after, limit).await })
        })
    }

    fn records_before(
        &self,
        session: &SessionId,
        before: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>> {
        let session = session.clone();
        self.0.read(move |sql| {
            Box::pin(async move { pages::before(sql, &session, before, limit).await })
        })
    }

    fn page(
        &self,
        session: &SessionId,
        after: Seq,
        limit: u64,
        bytes: usize,
    ) -> StoreRead<LogPage> {
        let session = session.clone();
        self.0.read(move |sql| {
            Box::pin(async move { pages::page(sql, &session, after, limit, bytes).await })
        })
    }

    fn tool_output(&self, session: &SessionId, call: &CallId) -> StoreRead<Option<String>> {
        let (session, call) = (session.clone(), call.clone());
        self.0.read(move |sql| Box::pin(async move { tool_output(sql, &session, &call).await }))
    }

    fn provider_replies(
        &self,
        session: &SessionId,
        after: Seq,
        through: Seq,
    ) -> StoreRead<Vec<(Seq, String)>> {
        let session = session.clone();
        self.0.read(move |sql| {
            Box::pin(async move {
                let found = rows(
                    sql,
                    "SELECT seq, body FROM kept_replies
                     WHERE session = (SELECT num FROM sessions WHERE id = $1)
                       AND seq > $2 AND seq <= $3 ORDER BY seq",
                    args![Text(session.as_str()), to_i64(after.0), to_i64(through.0)],
                )
                .await?;
                found.iter().map(|row| Ok((get_seq(row, 0)?, get_text(row, 1)?))).collect()
            })
        })
    }

    fn receipt(
        &self,
        user: &UserId,
        session: &SessionId,
        id: &CommandId,
    ) -> StoreRead<Option<Receipt>> {
        let (user, session, id) = (user.clone(), session.clone(), id.clone());
        self.0.read(move |sql| {
            Box::pin(async move { receipts::find(sql, &user, Some(&session), &id).await })
        })
    }

    fn receipt_ids(
        &self,
        user: &UserId,
        session: &SessionId,
        most: usize,
    ) -> StoreRead<Option<Vec<String>>> {
        let (user, session) = (user.clone(), session.clone());
        self.0.read(move |sql| {
            Box::pin(async move { receipts::ids(sql, &user, &session, most).await })
        })
    }

    fn last_turn_end(&self, session: &SessionId, at_most: Seq) -> StoreRead<Option<Seq>> {
        let session = session.clone();
        self.0.read(move |sql| {
            Box::pin(async move {
                let found = first_row(
                    sql,
                    "SELECT seq FROM events
                     WHERE session = (SELECT num FROM sessions WHERE id = $1) AND seq <= $2
                       AND body LIKE '%\"turn_ended\"%' AND body::json ->> 'kind' = 'turn_ended'
                     ORDER BY seq DESC LIMIT 1",
                    args![Text(session.as_str()), to_i64(at_most.0)],
                )
                .await?;
                found.map(|row| get_seq(&row, 0)).transpose()
            })
        })
    }
}

async fn tool_output(
    sql: &Client,
    session: &SessionId,
    call: &CallId,
) -> Result<Option<String>, StoreError> {
    let (session, call) = (Text(session.as_str()), Text(call.as_str()));
    let whole = first_row(
        sql,
        "SELECT text FROM outputs
         WHERE session = (SELECT num FROM sessions WHERE id = $1) AND call = $2",
        args![session, call],
    )
    .await?;
    if let Some(row) = whole {
        return find_text(&row, 0);
    }
    let returned = first_row(
        sql,
        "SELECT body FROM events
         WHERE session = (SELECT num FROM sessions WHERE id = $1) AND call = $2
         ORDER BY seq LIMIT 1",
        args![session, call],
    )
    .await?;
    let Some(row) = returned else { return Ok(None) };
    let body: serde_json::Value = super::sql::get_json(&row, 0)?;
    Ok(body.get("text").and_then(serde_json::Value::as_str).map(str::to_owned))
}

/// Finds sessions with work whose owner is dead: this node's part of them, so that not all nodes
/// take the same ones at once.
async fn orphans(
    sql: &Client,
    node: i64,
    lease: &LeaseState,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    node::declare_others_dead(sql, node, lease).await?;
    let found = rows(
        sql,
        "SELECT sessions.id FROM sessions
         WHERE (running OR queued > 0)
           AND (node IS NULL OR node NOT IN (SELECT incarnation FROM nodes WHERE state = 'live'))
           AND num % (SELECT greatest(count(*), 1) FROM nodes WHERE state = 'live')
             = (SELECT count(*) FROM nodes WHERE state = 'live' AND incarnation < $1)
         ORDER BY num LIMIT $2",
        args![node, count_to_i64(limit)],
    )
    .await?;
    found.iter().map(|row| get_id(row, 0)).collect()
}
