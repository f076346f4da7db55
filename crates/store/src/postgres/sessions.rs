//! Sessions in PostgreSQL: creating, reading and taking their rows.

use thoughtwire_proto::{Seq, SessionId};
use tokio_postgres::Client;

use super::node::LeaseState;
use super::sql::{Text, args, execute, find_text, first_row, get_id, get_json, get_seq, get_time};
use super::{flush_statement, node, receipts};
use crate::opening::{SessionRole, first_batch};
use crate::{NewSession, PreviousOwner, StoreError, StoredSession};

/// Creates a session with its first records.
pub(super) async fn create(
    sql: &Client,
    node: i64,
    new: &NewSession,
    role: SessionRole,
) -> Result<StoredSession, StoreError> {
    receipts::write(sql, new.receipt.as_ref()).await?;
    let batch = first_batch(new)?;
    execute(
        sql,
        "INSERT INTO sessions (id, owner, agent, epoch, first, head, state, running, queued,
                               created_at, updated_at)
         VALUES ($1, $2, $3, $4, 1, 0, '', false, 0, $5, $5)",
        args![
            Text(new.id.as_str()),
            Text(new.user.as_str()),
            Text(new.agent.as_str()),
            Text(new.epoch.as_str()),
            new.at.as_millis()
        ],
    )
    .await?;
    flush_statement::append(sql, node, &batch).await?;
    Ok(StoredSession {
        taken_from: None,
        id: new.id.clone(),
        user: new.user.clone(),
        agent: new.agent.clone(),
        epoch: new.epoch.clone(),
        first: Seq(1),
        state: batch.state().clone(),
        is_main: role == SessionRole::Main,
        created_at: new.at,
    })
}

/// Reads a session.
pub(super) async fn read(
    sql: &Client,
    id: &SessionId,
) -> Result<Option<StoredSession>, StoreError> {
    let found = first_row(
        sql,
        "SELECT id, owner, agent, epoch, first, state, created_at,
                coalesce(id = (SELECT main_session FROM agents WHERE agents.id = agent), false)
         FROM sessions WHERE id = $1",
        args![Text(id.as_str())],
    )
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(StoredSession {
        taken_from: None,
        id: get_id(&row, 0)?,
        user: get_id(&row, 1)?,
        agent: get_id(&row, 2)?,
        epoch: get_id(&row, 3)?,
        first: get_seq(&row, 4)?,
        state: get_json(&row, 5)?,
        created_at: get_time(&row, 6)?,
        is_main: row.try_get(7)?,
    }))
}

/// A session that a node asked for, where no live node has it.
pub(super) enum TakenSession {
    /// It is the node's now, or does not exist. Has the owner before, if another process had it.
    Taken(Option<PreviousOwner>),
    /// Another node is taking or changing it at this moment.
    Busy,
}

/// Takes a session for a node. One that belongs to nobody, or to a dead node, is taken at once; a
/// node whose lease has ended is declared dead first.
///
/// Invariant: it does not wait for a row that another node has locked. Nodes take the sessions of a
/// dead one in transactions of many, each in its own order, and would wait for each other. Test:
/// `postgres::nodes::nodes_that_take_the_same_sessions_do_not_wait_for_each_other`.
///
/// # Errors
/// [`StoreError::Elsewhere`] when a live node has it.
pub(super) async fn take(
    sql: &Client,
    node: i64,
    id: &SessionId,
    lease: &LeaseState,
) -> Result<TakenSession, StoreError> {
    const OWNER: &str = "SELECT nodes.incarnation, nodes.url, nodes.lease_until < clock_timestamp()
                         FROM sessions LEFT JOIN nodes ON nodes.incarnation = sessions.node
                            AND nodes.state = 'live' AND nodes.incarnation != $2
                         WHERE sessions.id = $1";
    loop {
        let taken = first_row(
            sql,
            "UPDATE sessions SET node = $2
             FROM (SELECT num AS earlier_num, node AS earlier FROM sessions
                   WHERE id = $1 AND (node IS NULL OR node = $2
                      OR node NOT IN (SELECT incarnation FROM nodes WHERE state = 'live'))
                   FOR NO KEY UPDATE SKIP LOCKED) AS before
                LEFT JOIN nodes ON nodes.incarnation = earlier
             WHERE num = earlier_num
             RETURNING coalesce(earlier != $2, false), coalesce(nodes.state = 'left', false),
                nodes.id IS DISTINCT FROM (SELECT id FROM nodes WHERE incarnation = $2)",
            args![Text(id.as_str()), node],
        )
        .await?;
        if let Some(row) = taken {
            let (was_stopped, is_other_node) = (row.try_get(1)?, row.try_get(2)?);
            let is_new: bool = row.try_get(0)?;
            let before = is_new.then_some(PreviousOwner { was_stopped, is_other_node });
            return Ok(TakenSession::Taken(before));
        }
        let owner = first_row(sql, OWNER, args![Text(id.as_str()), node]).await?;
        // Nobody has a session that does not exist.
        let Some(owner) = owner else { return Ok(TakenSession::Taken(None)) };
        let Some(incarnation) = owner.try_get(0)? else { return Ok(TakenSession::Busy) };
        let has_ended: bool = owner.try_get(2)?;
        if !has_ended || !node::declare_dead(sql, incarnation, lease).await? {
            return Err(StoreError::Elsewhere { session: id.clone(), url: find_text(&owner, 1)? });
        }
    }
}
