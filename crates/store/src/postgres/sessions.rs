//! Sessions in PostgreSQL: creating, reading and taking their rows.

use std::collections::HashMap;

use thoughtwire_proto::{Seq, SessionId};
use tokio_postgres::{Client, Row};

use super::node::LeaseState;
use super::sql::{
    Text, args, execute, find_text, first_row, get_id, get_json, get_seq, get_time, rows,
};
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
                               created_at, updated_at, keep_idle)
         VALUES ($1, $2, $3, $4, 1, 0, '', false, 0, $5, $5, $6)",
        args![
            Text(new.id.as_str()),
            Text(new.user.as_str()),
            Text(new.agent.as_str()),
            Text(new.epoch.as_str()),
            new.at.as_millis(),
            new.keep_idle_ms()
        ],
    )
    .await?;
    flush_statement::append(sql, node, std::slice::from_ref(&batch)).await?;
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

/// Columns of a session, for [`session`].
const SESSION: &str = "id, owner, agent, epoch, first, state, created_at,
    coalesce(id = (SELECT main_session FROM agents WHERE agents.id = agent), false)";

/// Reads a session.
pub(super) async fn read(
    sql: &Client,
    id: &SessionId,
) -> Result<Option<StoredSession>, StoreError> {
    let select = format!("SELECT {SESSION} FROM sessions WHERE id = $1");
    let found = first_row(sql, &select, args![Text(id.as_str())]).await?;
    found.as_ref().map(session).transpose()
}

/// Reads those of some sessions that exist.
pub(super) async fn read_all(
    sql: &Client,
    ids: &[&SessionId],
) -> Result<HashMap<SessionId, StoredSession>, StoreError> {
    let select = format!("SELECT {SESSION} FROM sessions WHERE id = ANY($1)");
    let found = rows(sql, &select, args![texts(ids)]).await?;
    let read = found.iter().map(|row| session(row).map(|stored| (stored.id.clone(), stored)));
    read.collect()
}

/// Reads a session from its [`SESSION`] columns.
fn session(row: &Row) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        taken_from: None,
        id: get_id(row, 0)?,
        user: get_id(row, 1)?,
        agent: get_id(row, 2)?,
        epoch: get_id(row, 3)?,
        first: get_seq(row, 4)?,
        state: get_json(row, 5)?,
        created_at: get_time(row, 6)?,
        is_main: row.try_get(7)?,
    })
}

fn texts<'a>(ids: &[&'a SessionId]) -> Vec<Text<'a>> {
    ids.iter().map(|id| Text(id.as_str())).collect()
}

/// A session that a node asked for.
pub(super) enum TakenSession {
    /// It is the node's now. Has the owner before, if another process had it.
    Taken(Option<PreviousOwner>),
    /// A live node has it, at this URL if it says one.
    Elsewhere { url: Option<String> },
    /// Another node is taking or changing it at this moment.
    Busy,
}

/// Takes sessions for a node. One that belongs to nobody, or to a dead node, is taken at once; a
/// node whose lease has ended is declared dead first. A session that does not exist has no outcome.
///
/// Invariant: it does not wait for a row that another node has locked. Nodes take the sessions of a
/// dead one in transactions of many, each in its own order, and would wait for each other. Test:
/// `postgres::nodes::nodes_that_take_the_same_sessions_do_not_wait_for_each_other`.
pub(super) async fn take(
    sql: &Client,
    node: i64,
    ids: &[&SessionId],
    lease: &LeaseState,
) -> Result<HashMap<SessionId, TakenSession>, StoreError> {
    const OWNERS: &str = "SELECT sessions.id, nodes.incarnation, nodes.url,
                            nodes.lease_until < clock_timestamp()
                          FROM sessions LEFT JOIN nodes ON nodes.incarnation = sessions.node
                            AND nodes.state = 'live' AND nodes.incarnation != $2
                          WHERE sessions.id = ANY($1)";
    let mut outcomes = HashMap::new();
    let mut left = ids.to_vec();
    loop {
        take_free(sql, node, &left, &mut outcomes).await?;
        left.retain(|id| !outcomes.contains_key(*id));
        if left.is_empty() {
            return Ok(outcomes);
        }
        let mut ended: HashMap<i64, bool> = HashMap::new();
        for row in rows(sql, OWNERS, args![texts(&left), node]).await? {
            let id = get_id(&row, 0)?;
            let Some(owner) = row.try_get::<_, Option<i64>>(1)? else {
                outcomes.insert(id, TakenSession::Busy);
                continue;
            };
            let is_dead = match ended.get(&owner) {
                Some(is_dead) => *is_dead,
                None => row.try_get(3)? && node::declare_dead(sql, owner, lease).await?,
            };
            ended.insert(owner, is_dead);
            if !is_dead {
                outcomes.insert(id, TakenSession::Elsewhere { url: find_text(&row, 2)? });
            }
        }
        // Those of nodes that are dead now are free. Others do not exist.
        left.retain(|id| !outcomes.contains_key(*id));
        if !ended.values().any(|is_dead| *is_dead) {
            return Ok(outcomes);
        }
    }
}

/// Takes those of some sessions that no live node has, and that nobody has locked.
async fn take_free(
    sql: &Client,
    node: i64,
    ids: &[&SessionId],
    outcomes: &mut HashMap<SessionId, TakenSession>,
) -> Result<(), StoreError> {
    let taken = rows(
        sql,
        "UPDATE sessions SET node = $2
         FROM (SELECT num AS earlier_num, node AS earlier FROM sessions
               WHERE id = ANY($1) AND (node IS NULL OR node = $2
                  OR node NOT IN (SELECT incarnation FROM nodes WHERE state = 'live'))
               FOR NO KEY UPDATE SKIP LOCKED) AS before
            LEFT JOIN nodes ON nodes.incarnation = earlier
         WHERE num = earlier_num
         RETURNING coalesce(earlier != $2, false), coalesce(nodes.state = 'left', false),
            nodes.id IS DISTINCT FROM (SELECT id FROM nodes WHERE incarnation = $2), sessions.id",
        args![texts(ids), node],
    )
    .await?;
    for row in taken {
        let (was_stopped, is_other_node) = (row.try_get(1)?, row.try_get(2)?);
        let is_new: bool = row.try_get(0)?;
        let before = is_new.then_some(PreviousOwner { was_stopped, is_other_node });
        outcomes.insert(get_id(&row, 3)?, TakenSession::Taken(before));
    }
    Ok(())
}
