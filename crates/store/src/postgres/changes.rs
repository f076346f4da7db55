//! Changes between nodes: rows of the table `changes`.
//!
//! A write that other nodes have to learn of records its change in its own transaction. Changes of
//! listings are gathered in memory and saved a few times a second, so that no flush waits for them.
//! Each node reads new rows every second, and at once when a notification tells of them: a
//! notification saves time, and nothing depends on it. A pooler in transaction mode passes none.
//!
//! Invariant: no committed change is skipped. Row numbers are given before commits, so that a lower
//! one may appear later. A node therefore looks for all numbers that it has not seen among those of
//! the last minute, which is longer than any transaction here. Test:
//! `postgres::changes::a_change_that_commits_late_is_not_skipped`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Client;

use super::connecting::Connections;
use super::sql::{Text, args, execute, find_text, get_i64, only_row, rows};
use crate::changes::PendingChanges;
use crate::{StoreChange, StoreChanges, StoreError};

/// Channel of the notifications.
const CHANNEL: &str = "thoughtwire_changes";

/// Time between two looks for changes of which no notification came.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Pause after each round: at most four notifications a second come from one node.
const PAUSE: Duration = Duration::from_millis(250);

/// Maximum time of one round.
const ROUND_LIMIT: Duration = Duration::from_secs(5);

/// Time for which changes with lower numbers may still appear.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// Minutes for which changes are kept.
const KEPT_MINUTES: u64 = 10;

/// Number of the node that makes changes in the name of a dead one.
const NO_NODE: i64 = 0;

/// Records the changes that one node makes.
#[derive(Clone)]
pub(super) struct ChangeRecorder {
    pub(super) node: i64,
    pub(super) changes: StoreChanges,
}

impl ChangeRecorder {
    /// Records a change for the other nodes, in the transaction that makes it.
    pub(super) async fn record(
        &self,
        sql: &Client,
        change: &StoreChange,
    ) -> Result<(), StoreError> {
        self.changes.note_recording();
        insert(sql, self.node, change).await
    }
}

/// Records and tells, for all nodes, that a node's sessions are no longer its own.
pub(super) async fn record_gone(sql: &Client, incarnation: i64) -> Result<(), StoreError> {
    let node = "SELECT url FROM nodes WHERE incarnation = $1";
    let url = find_text(&only_row(sql, node, args![incarnation]).await?, 0)?;
    insert(sql, NO_NODE, &StoreChange::NodeGone { url }).await?;
    let notify = "SELECT 1 FROM pg_notify($1, $2)";
    only_row(sql, notify, args![Text(CHANNEL), Text(&NO_NODE.to_string())]).await?;
    Ok(())
}

async fn insert(sql: &Client, node: i64, change: &StoreChange) -> Result<(), StoreError> {
    let body = serde_json::to_string(change)?;
    let insert = "INSERT INTO changes (node, body) VALUES ($1, $2)";
    execute(sql, insert, args![node, Text(&body)]).await?;
    Ok(())
}

/// Numbers of the changes that a node has read.
pub(super) struct SeenChanges {
    /// All up to this number are read.
    through: i64,
    /// Later ones that are read, and when.
    later: BTreeMap<i64, Instant>,
}

impl SeenChanges {
    /// All changes that are committed now.
    pub(super) async fn all(sql: &Client) -> Result<Self, StoreError> {
        let settled = only_row(
            sql,
            &format!(
                "SELECT coalesce(max(id), 0) FROM changes
                 WHERE at < clock_timestamp() - interval '{} seconds'",
                SETTLES_WITHIN.as_secs()
            ),
            args![],
        )
        .await?;
        let through = get_i64(&settled, 0)?;
        let later = rows(sql, "SELECT id FROM changes WHERE id > $1", args![through]).await?;
        let now = Instant::now();
        let later = later.iter().map(|row| Ok((get_i64(row, 0)?, now)));
        Ok(Self { through, later: later.collect::<Result<_, StoreError>>()? })
    }

    fn add(&mut self, id: i64, now: Instant) {
        self.later.insert(id, now);
    }

    fn settle(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry()
            && now.saturating_duration_since(*first.get()) > SETTLES_WITHIN
        {
            self.through = *first.key();
            first.remove();
        }
    }
}

/// The task that reads the changes of other nodes and tells them of this node's.
pub(super) struct ChangesTask {
    database: Arc<Connections>,
    node: i64,
    changes: StoreChanges,
    seen: SeenChanges,
    /// Notified when another node tells of changes.
    heard: Arc<Notify>,
    client: Option<Client>,
    /// Changes that are taken, and not told for sure.
    untold: PendingChanges,
    deleted_at: Instant,
    is_failing: bool,
}

/// Work of a round beside reading and telling.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoundKind {
    /// None.
    Prompted,
    /// Looks for other nodes, and deletes old changes.
    Regular,
}

impl ChangesTask {
    /// Prepares the task. It tells of all changes that are committed after this.
    pub(super) async fn new(
        database: Arc<Connections>,
        sql: &Client,
        recorder: ChangeRecorder,
    ) -> Result<Self, StoreError> {
        let ChangeRecorder { node, changes } = recorder;
        changes.set_other_nodes(other_nodes(sql, node).await?);
        Ok(Self {
            seen: SeenChanges::all(sql).await?,
            database,
            node,
            changes,
            heard: Arc::default(),
            client: None,
            untold: PendingChanges::default(),
            deleted_at: Instant::now(),
            is_failing: false,
        })
    }

    /// Runs until it is told to stop. Then it tells what is left.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let heard = Arc::clone(&self.heard);
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_stopping = false;
        while !is_stopping {
            let mut kind = RoundKind::Prompted;
            tokio::select! {
                _ = &mut stop => is_stopping = true,
                _ = ticks.tick() => kind = RoundKind::Regular,
                () = self.changes.woken() => {}
                () = heard.notified() => {}
            }
            let outcome = timeout(ROUND_LIMIT, self.round(kind)).await;
            self.note(outcome.unwrap_or_else(|_| Err(StoreError::slow_database(ROUND_LIMIT))));
            if !is_stopping {
                tokio::select! {
                    _ = &mut stop => {
                        // The last round tells what was announced in the pause.
                        drop(timeout(ROUND_LIMIT, self.round(RoundKind::Prompted)).await);
                        is_stopping = true;
                    }
                    () = sleep(PAUSE) => {}
                }
            }
        }
        self.changes.close();
    }

    fn note(&mut self, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.client = None;
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        %error,
                        "changes of other nodes cannot be read; it is tried again every second"
                    );
                }
            }
        }
    }

    /// Tells other nodes of changes, and reads theirs.
    async fn round(&mut self, kind: RoundKind) -> Result<(), StoreError> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await?,
        };
        if kind == RoundKind::Regular {
            self.changes.set_other_nodes(other_nodes(&client, self.node).await?);
            if self.deleted_at.elapsed() > SETTLES_WITHIN {
                self.deleted_at = Instant::now();
                delete_old(&client).await?;
            }
        }
        self.tell(&client).await?;
        self.read(&client).await?;
        self.client = Some(client);
        Ok(())
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        let (heard, own) = (Arc::clone(&self.heard), self.node.to_string());
        let client = self
            .database
            .connect_listening(move |payload| {
                if payload != own {
                    heard.notify_one();
                }
            })
            .await?;
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        Ok(client)
    }

    async fn tell(&mut self, sql: &Client) -> Result<(), StoreError> {
        self.changes.take_pending(&mut self.untold);
        if self.untold.is_empty() {
            return Ok(());
        }
        let changes = self.untold.to_save();
        let bodies = changes.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let bodies: Vec<_> = bodies.iter().map(|body| Text(body)).collect();
        let sessions = changes.iter().map(|change| change.session().map(|id| Text(id.as_str())));
        let sessions: Vec<_> = sessions.collect();
        only_row(
            sql,
            "WITH added AS (
                INSERT INTO changes (node, target, body)
                SELECT $1, sessions.node, one.body
                FROM unnest($2::text[], $3::text[]) AS one (body, session)
                LEFT JOIN sessions ON sessions.id = one.session
             ) SELECT 1 FROM pg_notify($4, $5)",
            args![self.node, bodies, sessions, Text(CHANNEL), Text(&self.node.to_string())],
        )
        .await?;
        self.untold = PendingChanges::default();
        Ok(())
    }

    async fn read(&mut self, sql: &Client) -> Result<(), StoreError> {
        let now = Instant::now();
        self.seen.settle(now);
        let seen: Vec<i64> = self.seen.later.keys().copied().collect();
        let found = rows(
            sql,
            "SELECT id, CASE WHEN node = $3 OR target <> $3 THEN NULL ELSE body END FROM changes
             WHERE id > $1 AND NOT (id = ANY ($2)) ORDER BY id",
            args![self.seen.through, seen, self.node],
        )
        .await?;
        for row in found {
            self.seen.add(get_i64(&row, 0)?, now);
            // A newer version may know changes that this one does not know.
            let change = find_text(&row, 1)?.and_then(|body| serde_json::from_str(&body).ok());
            if let Some(change) = change {
                self.changes.deliver(change);
            }
        }
        Ok(())
    }
}

/// Addresses of the other nodes that live, each `None` if nobody reaches that node.
async fn other_nodes(sql: &Client, node: i64) -> Result<Vec<Option<String>>, StoreError> {
    let others = rows(
        sql,
        "SELECT url FROM nodes
         WHERE state = 'live' AND incarnation <> $1 AND lease_until > clock_timestamp()
         ORDER BY incarnation",
        args![node],
    )
    .await?;
    others.iter().map(|row| find_text(row, 0)).collect()
}

async fn delete_old(sql: &Client) -> Result<(), StoreError> {
    let delete = format!(
        "DELETE FROM changes WHERE at < clock_timestamp() - interval '{KEPT_MINUTES} minutes'"
    );
    execute(sql, &delete, args![]).await?;
    Ok(())
}
