//! This process as a node: its registration, and its lease by the database's clock.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_postgres::Client;

use super::changes::record_gone;
use super::connecting::Connections;
use super::lineage::{self, TIMELINE};
use super::sql::{Text, args, execute, find_text, get_i64, get_text, get_u64, only_row, rows};
use crate::metrics::NodeMetrics;
use crate::node::{LEASE, OWN_LIMIT};
use crate::{NodeIdentity, StoreError, StoredNode};

/// Seconds for which a lease is given.
const LEASE_SECONDS: u64 = LEASE.as_secs();

/// Time between two renewals.
const RENEWAL: Duration = Duration::from_secs(1);

/// Time after the last renewal from which on the database counts as away.
const LATE: Duration = Duration::from_millis(2_500);

/// This node's lease. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct LeaseState(Arc<LeaseCell>);

struct LeaseCell {
    /// When the last renewal that worked was begun.
    renewed: Mutex<Instant>,
    /// Since when the lease has been renewed without a gap.
    steady_since: Mutex<Instant>,
    /// False once the node was declared dead.
    held: watch::Sender<bool>,
    metrics: NodeMetrics,
}

impl LeaseState {
    pub(super) fn new() -> Self {
        Self(Arc::new(LeaseCell {
            renewed: Mutex::new(Instant::now()),
            steady_since: Mutex::new(Instant::now()),
            held: watch::Sender::new(true),
            metrics: NodeMetrics::default(),
        }))
    }

    pub(super) fn metrics(&self) -> &NodeMetrics {
        &self.0.metrics
    }

    /// Whether the last renewals were not answered.
    pub(super) fn is_late(&self) -> bool {
        self.0.renewed.lock().elapsed() > LATE
    }

    /// Updates the metric of the time that is left.
    pub(super) fn measure(&self) {
        let left = if *self.0.held.borrow() {
            OWN_LIMIT.saturating_sub(self.0.renewed.lock().elapsed())
        } else {
            Duration::ZERO
        };
        self.0.metrics.lease_seconds.set(left.as_secs_f64());
    }

    /// Whether this node may act for its sessions. A node whose lease cannot be renewed may not,
    /// until it is renewed after all: nobody took its sessions then.
    fn is_current(&self) -> bool {
        *self.0.held.borrow() && self.0.renewed.lock().elapsed() < OWN_LIMIT
    }

    /// Notes a renewal that was begun at an instant.
    fn renewed(&self, begun: Instant) {
        let before = std::mem::replace(&mut *self.0.renewed.lock(), begun);
        if begun.duration_since(before) >= OWN_LIMIT {
            *self.0.steady_since.lock() = begun;
        }
    }

    /// Whether this node may declare others dead. Behind a time in which nobody reached the
    /// database, all leases have ended, and every node gets the time to renew its own.
    fn may_declare(&self) -> bool {
        self.is_current() && self.0.steady_since.lock().elapsed() >= LEASE
    }

    /// Checks that this node may act for its sessions.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] once it was declared dead, [`StoreError::Away`] while its lease
    /// cannot be renewed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if !*self.0.held.borrow() {
            return Err(StoreError::Fenced);
        }
        if !self.is_current() {
            return Err(StoreError::Away("this node's lease cannot be renewed".to_owned()));
        }
        Ok(())
    }

    /// Notes that the node was declared dead. Its lease does not come back.
    pub(super) fn lose(&self) {
        if self.0.held.send_replace(false) {
            tracing::warn!("this node has lost its lease: another may take its sessions");
        }
    }

    /// Turns false when the node was declared dead.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.0.held.subscribe()
    }
}

/// Registers a node. An earlier process of the same node is declared dead. Gives its incarnation.
pub(super) async fn register(
    sql: &Client,
    node: &NodeIdentity,
    now: Timestamp,
) -> Result<i64, StoreError> {
    sql.batch_execute("BEGIN").await?;
    let registered = register_within(sql, node, now).await;
    sql.batch_execute(if registered.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    registered
}

async fn register_within(
    sql: &Client,
    node: &NodeIdentity,
    now: Timestamp,
) -> Result<i64, StoreError> {
    lineage::check(sql).await?;
    let earlier = rows(
        sql,
        "UPDATE nodes SET state = 'dead' WHERE id = $1 AND state = 'live' RETURNING incarnation",
        args![Text(&node.id)],
    )
    .await?;
    for row in earlier {
        close_fence(sql, get_i64(&row, 0)?).await?;
    }
    let registered = only_row(
        sql,
        &format!(
            "INSERT INTO nodes (id, url, version, state, registered_at, lease_until)
             VALUES ($1, $2, $3, 'live', clock_timestamp(),
                     clock_timestamp() + interval '{LEASE_SECONDS} seconds')
             RETURNING incarnation"
        ),
        args![Text(&node.id), node.url.as_deref().map(Text), Text(env!("CARGO_PKG_VERSION"))],
    )
    .await?;
    let incarnation = get_i64(&registered, 0)?;
    execute(
        sql,
        &format!("INSERT INTO fences VALUES ($1, 0, false, {TIMELINE})"),
        args![incarnation],
    )
    .await?;
    // Connections of processes that are dead are closed.
    execute(
        sql,
        "UPDATE proven SET closed_at = $1 WHERE closed_at IS NULL
         AND node NOT IN (SELECT incarnation FROM nodes WHERE state = 'live')",
        args![now.as_millis()],
    )
    .await?;
    Ok(incarnation)
}

/// Closes the fence of a node that is dead or has left: waits for its open flush, and no later one
/// can commit.
async fn close_fence(sql: &Client, incarnation: i64) -> Result<(), StoreError> {
    execute(sql, "UPDATE fences SET closed = true WHERE incarnation = $1", args![incarnation])
        .await?;
    record_gone(sql, incarnation).await
}

/// Lists the nodes with a lease, and those that were declared dead in the last hour, oldest first.
pub(super) async fn list(sql: &Client, own: i64) -> Result<Vec<StoredNode>, StoreError> {
    let found = rows(
        sql,
        "SELECT incarnation, id, state, url, version,
                extract(epoch FROM lease_until - clock_timestamp())::float8,
                (SELECT count(*) FROM sessions WHERE node = incarnation)
         FROM nodes WHERE state = 'live'
            OR state != 'left' AND lease_until > clock_timestamp() - interval '1 hour'
         ORDER BY incarnation",
        args![],
    )
    .await?;
    let node = |row| {
        Ok(StoredNode {
            incarnation: get_u64(row, 0)?,
            id: get_text(row, 1)?,
            state: get_text(row, 2)?,
            url: find_text(row, 3)?,
            version: get_text(row, 4)?,
            lease_seconds: row.try_get(5)?,
            sessions: get_u64(row, 6)?,
            is_own: get_i64(row, 0)? == own,
        })
    };
    found.iter().map(node).collect()
}

/// Declares a node dead whose lease has ended, by the database's clock. Tells whether it is dead.
pub(super) async fn declare_dead(
    sql: &Client,
    incarnation: i64,
    lease: &LeaseState,
) -> Result<bool, StoreError> {
    let declared = execute(
        sql,
        "UPDATE nodes SET state = 'dead' WHERE incarnation = $1 AND state = 'live'
         AND lease_until < clock_timestamp() AND $2",
        args![incarnation, lease.may_declare()],
    )
    .await?;
    if declared > 0 {
        lease.metrics().takeovers.inc();
        close_fence(sql, incarnation).await?;
        return Ok(true);
    }
    let live = rows(
        sql,
        "SELECT 1 FROM nodes WHERE incarnation = $1 AND state = 'live'",
        args![incarnation],
    )
    .await?;
    Ok(live.is_empty())
}

/// Declares all other nodes dead whose lease has ended, by the database's clock.
pub(super) async fn declare_others_dead(
    sql: &Client,
    own: i64,
    lease: &LeaseState,
) -> Result<(), StoreError> {
    if !lease.may_declare() {
        return Ok(());
    }
    let declared = rows(
        sql,
        "UPDATE nodes SET state = 'dead'
         WHERE state = 'live' AND lease_until < clock_timestamp() AND incarnation != $1
         RETURNING incarnation, id",
        args![own],
    )
    .await?;
    for row in declared {
        let node = get_text(&row, 1)?;
        tracing::warn!(node, "a node's lease has ended; others take over its sessions");
        lease.metrics().takeovers.inc();
        close_fence(sql, get_i64(&row, 0)?).await?;
    }
    Ok(())
}

/// Gives the lease back, so that others take the sessions at once.
pub(super) async fn leave(sql: &Client, incarnation: i64) -> Result<(), StoreError> {
    execute(
        sql,
        "UPDATE nodes SET state = 'left' WHERE incarnation = $1 AND state = 'live'",
        args![incarnation],
    )
    .await?;
    close_fence(sql, incarnation).await
}

/// Renews a node's lease until the node is declared dead, or the task is aborted.
pub(super) fn keep_lease(
    connections: Arc<Connections>,
    incarnation: i64,
    lease: LeaseState,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(RENEWAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut client = None;
        loop {
            ticks.tick().await;
            // The lease runs from before the statement, whenever its answer comes.
            let begun = Instant::now();
            let renewal = renew(&connections, &mut client, incarnation);
            match timeout(OWN_LIMIT, renewal).await {
                Ok(Ok(true)) => lease.renewed(begun),
                Ok(Ok(false)) => return lease.lose(),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the lease was not renewed");
                    client = None;
                }
                Err(_) => client = None,
            }
        }
    })
}

/// Renews a lease. False when the node was declared dead, or registered on another timeline.
async fn renew(
    connections: &Connections,
    client: &mut Option<Client>,
    incarnation: i64,
) -> Result<bool, StoreError> {
    let client = match client {
        Some(client) if !client.is_closed() => client,
        _ => client.insert(connections.connect().await?),
    };
    let renewed = execute(
        client,
        &format!(
            "UPDATE nodes SET lease_until = clock_timestamp() + interval '{LEASE_SECONDS} seconds'
             WHERE incarnation = $1 AND state = 'live' AND EXISTS
                 (SELECT 1 FROM fences WHERE fences.incarnation = $1 AND timeline = {TIMELINE})"
        ),
        args![incarnation],
    )
    .await?;
    lineage::note_settings(client).await?;
    Ok(renewed > 0)
}
