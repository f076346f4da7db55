//! Nodes that share a disk, as nodes share a PostgreSQL database: leases go by the disk's clock, a
//! session belongs to one node, and what a dead node writes is refused.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::SessionId;
use tokio::sync::watch;

use super::tables::Tables;
use crate::changes::PendingChanges;
use crate::node::{LEASE, OWN_LIMIT};
use crate::{NodeIdentity, PreviousOwner, StoreChange, StoreChanges, StoreError, StoredNode};

/// A process that opened the disk as a node.
#[derive(Clone)]
pub(super) struct NodeRow {
    incarnation: u64,
    id: String,
    url: Option<String>,
    state: NodeState,
    /// By the disk's clock.
    lease_until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeState {
    Live,
    /// Another process has declared it dead.
    Dead,
    /// It gave its lease back.
    Left,
}

/// When a node has sent the statement that commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentAt {
    /// At the commit.
    Commit,
    /// Earlier, while its lease was held: the statement was on its way.
    Earlier,
}

/// A change for other nodes.
#[derive(Clone)]
pub(super) struct ChangeRow {
    /// The node that made it; `None` for what is said of a dead one.
    by: Option<u64>,
    /// The only node that it is for.
    to: Option<u64>,
    change: StoreChange,
}

/// The node of an open store.
pub(super) struct RamNode {
    pub(super) incarnation: u64,
    pub(super) changes: StoreChanges,
    lease: Mutex<OwnLease>,
    /// False once the node was declared dead.
    held: watch::Sender<bool>,
}

/// The lease as the node itself knows it.
struct OwnLease {
    renewed: Duration,
    /// Since when the lease has been renewed without a gap.
    steady_since: Duration,
    /// Number of changes that were read.
    read: usize,
    /// Changes that other nodes were not told of.
    untold: PendingChanges,
}

impl RamNode {
    /// Registers a node. An earlier process of the same node is declared dead.
    pub(super) fn register(tables: &mut Tables, node: &NodeIdentity) -> Self {
        let is_earlier = |row: &NodeRow| row.id == node.id && row.state == NodeState::Live;
        tables.end(is_earlier, NodeState::Dead);
        let incarnation = tables.nodes.len() as u64 + 1;
        tables.nodes.push(NodeRow {
            incarnation,
            id: node.id.clone(),
            url: node.url.clone(),
            state: NodeState::Live,
            lease_until: tables.time + LEASE,
        });
        let changes = StoreChanges::shared();
        changes.set_other_nodes(tables.other_nodes(incarnation));
        let lease = OwnLease {
            renewed: tables.time,
            steady_since: tables.time,
            read: tables.changes.len(),
            untold: PendingChanges::default(),
        };
        Self { incarnation, changes, lease: Mutex::new(lease), held: watch::Sender::new(true) }
    }

    /// Checks, by the node's own clock, that no other may have taken its sessions.
    pub(super) fn check(&self, time: Duration) -> Result<(), StoreError> {
        if !*self.held.borrow() {
            return Err(StoreError::Fenced);
        }
        if time.saturating_sub(self.lease.lock().renewed) >= OWN_LIMIT {
            return Err(StoreError::Away("this node's lease cannot be renewed".to_owned()));
        }
        Ok(())
    }

    /// Checks that the node may write. The node checks its lease before it sends a statement; its
    /// fence is a part of the statement.
    pub(super) fn admit(&self, tables: &Tables, sent: SentAt) -> Result<(), StoreError> {
        if sent == SentAt::Commit {
            self.check(tables.time)?;
        }
        if !tables.is_live(self.incarnation) {
            self.held.send_replace(false);
            return Err(StoreError::Fenced);
        }
        Ok(())
    }

    /// Whether the node may declare others dead. Behind a time in which nobody reached the disk,
    /// every node gets the time to renew its own lease.
    fn may_declare(&self, time: Duration) -> bool {
        let steady_since = self.lease.lock().steady_since;
        self.check(time).is_ok() && time.saturating_sub(steady_since) >= LEASE
    }

    /// Renews the lease, tells other nodes of changes, and reads theirs.
    pub(super) fn beat(&self, tables: &mut Tables) {
        let (time, own) = (tables.time, self.incarnation);
        let found = tables.nodes.iter_mut().find(|row| row.incarnation == own);
        match found.filter(|row| row.state == NodeState::Live) {
            Some(row) => row.lease_until = time + LEASE,
            None => {
                self.held.send_replace(false);
                return;
            }
        }
        let mut lease = self.lease.lock();
        let before = std::mem::replace(&mut lease.renewed, time);
        if time.saturating_sub(before) >= OWN_LIMIT {
            lease.steady_since = time;
        }
        self.changes.set_other_nodes(tables.other_nodes(own));
        self.changes.take_pending(&mut lease.untold);
        for change in std::mem::take(&mut lease.untold).to_save() {
            tables.tell(Some(own), change);
        }
        let is_for_this =
            |row: &&ChangeRow| row.by != Some(own) && row.to.is_none_or(|to| to == own);
        let unread = tables.changes.iter().skip(lease.read).filter(is_for_this);
        unread.for_each(|row| self.changes.deliver(row.change.clone()));
        lease.read = tables.changes.len();
    }

    /// Gives the lease back, so that others take the sessions at once.
    pub(super) fn leave(&self, tables: &mut Tables) {
        let own = self.incarnation;
        tables.end(|row| row.incarnation == own && row.state == NodeState::Live, NodeState::Left);
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    /// Takes a session that belongs to nobody, or to a dead node. A node whose lease has ended is
    /// declared dead first. Gives the owner before, if another process had it.
    ///
    /// # Errors
    /// [`StoreError::Elsewhere`] when a live node has it.
    pub(super) fn take(
        &self,
        tables: &mut Tables,
        id: &SessionId,
    ) -> Result<Option<PreviousOwner>, StoreError> {
        let own = self.incarnation;
        let Some(earlier) = tables.session(id).map(|row| row.node) else { return Ok(None) };
        let earlier = earlier.filter(|earlier| *earlier != own);
        if let Some(earlier) = earlier.filter(|earlier| tables.is_live(*earlier)) {
            if self.may_declare(tables.time) {
                tables.declare_dead(|row| row.incarnation == earlier);
            }
            if tables.is_live(earlier) {
                let url = tables.node(earlier).and_then(|row| row.url.clone());
                return Err(StoreError::Elsewhere { session: id.clone(), url });
            }
        }
        tables.session_mut(id)?.node = Some(own);
        let Some(earlier) = earlier else { return Ok(None) };
        let (row, own) = (tables.node(earlier), tables.node(own));
        Ok(Some(PreviousOwner {
            was_stopped: row.is_some_and(|row| row.state == NodeState::Left),
            is_other_node: row.map(|row| &row.id) != own.map(|row| &row.id),
        }))
    }

    /// Declares nodes dead whose leases have ended, and finds this node's part of the sessions with
    /// work that nobody has.
    pub(super) fn orphans(&self, tables: &mut Tables, limit: usize) -> Vec<SessionId> {
        if self.may_declare(tables.time) {
            tables.declare_dead(|row| row.incarnation != self.incarnation);
        }
        let live = || tables.nodes.iter().filter(|row| row.state == NodeState::Live);
        let parts = (live().count() as u64).max(1);
        let part = live().filter(|row| row.incarnation < self.incarnation).count() as u64;
        let rows = tables.sessions.iter().filter(|(number, row)| {
            let has_work = row.state.turn().is_some() || !row.state.queue().is_empty();
            let is_owned = row.node.is_some_and(|node| tables.is_live(node));
            has_work && !is_owned && *number % parts == part
        });
        rows.take(limit).map(|(_, row)| row.id.clone()).collect()
    }
}

impl Tables {
    fn node(&self, incarnation: u64) -> Option<&NodeRow> {
        self.nodes.iter().find(|row| row.incarnation == incarnation)
    }

    pub(super) fn is_live(&self, incarnation: u64) -> bool {
        self.node(incarnation).is_some_and(|row| row.state == NodeState::Live)
    }

    /// Addresses of the other nodes that live.
    fn other_nodes(&self, own: u64) -> Vec<Option<String>> {
        let has_lease = |row: &NodeRow| row.state == NodeState::Live && row.lease_until > self.time;
        let others = self.nodes.iter().filter(|row| row.incarnation != own && has_lease(row));
        others.map(|row| row.url.clone()).collect()
    }

    fn declare_dead(&mut self, is_meant: impl Fn(&NodeRow) -> bool) {
        let time = self.time;
        let is_over = |row: &NodeRow| row.state == NodeState::Live && row.lease_until < time;
        self.end(|row| is_meant(row) && is_over(row), NodeState::Dead);
    }

    fn end(&mut self, is_meant: impl Fn(&NodeRow) -> bool, state: NodeState) {
        let mut ended = Vec::new();
        for row in self.nodes.iter_mut().filter(|row| is_meant(row)) {
            row.state = state;
            ended.push(row.url.clone());
        }
        for url in ended {
            self.tell(None, StoreChange::NodeGone { url });
        }
    }

    /// Records a change that the node which writes makes.
    pub(super) fn record(&mut self, change: StoreChange) {
        if let Some(writer) = self.writer {
            self.tell(Some(writer), change);
        }
    }

    fn tell(&mut self, by: Option<u64>, change: StoreChange) {
        let to = change.session().and_then(|id| self.session(id)).and_then(|row| row.node);
        Arc::make_mut(&mut self.changes).push(ChangeRow { by, to, change });
    }

    /// The nodes, as one of them sees them.
    pub(super) fn stored_nodes(&self, own: u64) -> Vec<StoredNode> {
        let owned = |node: u64| self.sessions.values().filter(|row| row.node == Some(node)).count();
        let listed = self.nodes.iter().filter(|row| row.state != NodeState::Left);
        let stored = listed.map(|row| StoredNode {
            id: row.id.clone(),
            incarnation: row.incarnation,
            state: if row.state == NodeState::Live { "live" } else { "dead" }.to_owned(),
            url: row.url.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease_seconds: row.lease_until.as_secs_f64() - self.time.as_secs_f64(),
            sessions: owned(row.incarnation) as u64,
            is_own: row.incarnation == own,
        });
        stored.collect()
    }
}
