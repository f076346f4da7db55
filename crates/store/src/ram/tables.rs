//! The data in memory. Cloning it is cheap: rows are shared until they change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{
    AgentId, AgentProfile, CallId, CommandId, Epoch, ItemId, PeerRef, Record, Seq, SessionId,
    State, Timestamp, UserId,
};

use super::nodes::{ChangeRow, NodeRow};
use crate::tickets::LocalTickets;
use crate::{
    Batch, Block, Key, Note, OpenItem, Receipt, Retention, SearchedTexts, StoreError, StoredSession,
};

/// Receipts by user and command.
pub(super) type Receipts = HashMap<(UserId, CommandId), Receipt>;

/// All data. A write changes a clone, which takes the place of the original when it commits.
#[derive(Clone, Default)]
pub(super) struct Tables {
    /// In the order of creation.
    pub(super) agents: Vec<Arc<AgentRow>>,
    /// By number, in the order of creation.
    pub(super) sessions: BTreeMap<u64, Arc<SessionRow>>,
    pub(super) session_numbers: HashMap<SessionId, u64>,
    pub(super) next_session: u64,
    /// Number of the next record of any log.
    pub(super) next_record: u64,
    pub(super) next_note: i64,
    /// By number; the newest of a text counts.
    pub(super) vectors: BTreeMap<i64, Arc<VectorRow>>,
    pub(super) last_vector: i64,
    /// Rises with each deletion of messages.
    pub(super) erased: i64,
    /// Receipts of commands that belong to no session.
    pub(super) receipts: Receipts,
    pub(super) peers: Vec<PeerRow>,
    /// By user, name space and name.
    pub(super) chats: BTreeMap<(UserId, String, String), ChatRow>,
    /// By peer, session and connection.
    pub(super) proven: HashMap<(PeerKey, SessionId, String), ProvenRow>,
    pub(super) keys: Vec<(String, Key)>,
    pub(super) secrets: HashMap<&'static str, Vec<u8>>,
    pub(super) tickets: Arc<LocalTickets>,
    pub(super) clocks: HashMap<&'static str, Timestamp>,
    /// Time of the disk's clock, by which leases go.
    pub(super) time: Duration,
    pub(super) nodes: Vec<NodeRow>,
    pub(super) changes: Arc<Vec<ChangeRow>>,
    /// By work, the node that does it and until when.
    pub(super) claims: HashMap<&'static str, (u64, Duration)>,
    /// The node whose transaction is under way.
    pub(super) writer: Option<u64>,
}

/// A peer's user and name.
pub(super) type PeerKey = (UserId, PeerRef);

#[derive(Clone)]
pub(super) struct AgentRow {
    pub(super) user: UserId,
    pub(super) profile: AgentProfile,
    pub(super) blocks: Vec<Block>,
    pub(super) notes: Vec<Note>,
}

/// The vector of a text.
pub(super) struct VectorRow {
    pub(super) agent: AgentId,
    pub(super) of: SearchedTexts,
    pub(super) model: String,
    pub(super) text: i64,
    pub(super) vector: Vec<f32>,
}

#[derive(Clone)]
pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) user: UserId,
    pub(super) agent: AgentId,
    pub(super) epoch: Epoch,
    /// The node that has it.
    pub(super) node: Option<u64>,
    pub(super) first: Seq,
    pub(super) state: State,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) keep: Retention,
    /// Milliseconds without a new record after which it is deleted.
    pub(super) keep_idle: Option<i64>,
    /// In order, each with its number among the records of all logs.
    pub(super) records: Vec<(u64, Arc<Record>)>,
    pub(super) outputs: HashMap<CallId, String>,
    pub(super) provider_replies: BTreeMap<Seq, String>,
    pub(super) open_items: BTreeMap<ItemId, OpenItem>,
    pub(super) receipts: Receipts,
}

#[derive(Clone)]
pub(super) struct PeerRow {
    pub(super) key: PeerKey,
    pub(super) chats: Vec<String>,
    pub(super) selected: Option<(String, Timestamp)>,
}

#[derive(Clone)]
pub(super) struct ChatRow {
    pub(super) session: SessionId,
    pub(super) archived_at: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct ProvenRow {
    pub(super) seq: Seq,
    pub(super) closed_at: Option<Timestamp>,
    /// The node whose connection it is.
    pub(super) node: Option<u64>,
}

impl Tables {
    /// Closes the connections of processes that have ended: all but those of live nodes.
    pub(super) fn close_connections(&mut self, now: Timestamp) {
        let mut proven = std::mem::take(&mut self.proven);
        for row in proven.values_mut() {
            if row.node.is_none_or(|node| !self.is_live(node)) {
                row.closed_at.get_or_insert(now);
            }
        }
        self.proven = proven;
    }

    pub(super) fn agent(&self, id: &AgentId) -> Option<&AgentRow> {
        self.agents.iter().find(|row| row.profile.id == *id).map(|row| &**row)
    }

    pub(super) fn agent_mut(&mut self, id: &AgentId) -> Result<&mut AgentRow, StoreError> {
        let row = self.agents.iter_mut().find(|row| row.profile.id == *id);
        row.map(Arc::make_mut).ok_or_else(|| StoreError::missing_agent(id))
    }

    pub(super) fn session(&self, id: &SessionId) -> Option<&SessionRow> {
        let number = self.session_numbers.get(id)?;
        self.sessions.get(number).map(|row| &**row)
    }

    pub(super) fn session_mut(&mut self, id: &SessionId) -> Result<&mut SessionRow, StoreError> {
        let number = self.session_numbers.get(id);
        let row = number.and_then(|number| self.sessions.get_mut(number));
        row.map(Arc::make_mut).ok_or_else(|| StoreError::missing_session(id))
    }

    pub(super) fn stored(&self, id: &SessionId) -> Option<StoredSession> {
        let row = self.session(id)?;
        Some(StoredSession {
            taken_from: None,
            id: row.id.clone(),
            user: row.user.clone(),
            agent: row.agent.clone(),
            epoch: row.epoch.clone(),
            first: row.first,
            state: row.state.clone(),
            is_main: self
                .agent(&row.agent)
                .is_some_and(|agent| agent.profile.main_session == row.id),
            created_at: row.created_at,
        })
    }

    /// Appends a batch to its session's log.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (mut next, writer) = (self.next_record, self.writer);
        let row = self.session_mut(batch.session())?;
        if row.state.head() != batch.after() {
            let (found, expected) = (row.state.head().0, batch.after().0);
            return Err(StoreError::HeadMoved { found, expected });
        }
        if row.node.is_some() && row.node != writer {
            return Err(StoreError::Elsewhere { session: batch.session().clone(), url: None });
        }
        row.node = writer;
        let extras = batch.extras();
        add_receipt(&mut row.receipts, extras.receipt.as_ref())?;
        for record in batch.records() {
            row.records.push((next, Arc::new(record.clone())));
            next += 1;
            row.updated_at = row.updated_at.max(record.at);
        }
        row.state = batch.state().clone();
        for item in &extras.closed_items {
            row.open_items.remove(item);
        }
        row.outputs.extend(extras.output.clone());
        if let (Some(reply), Some(first)) = (&extras.provider_reply, batch.records().first()) {
            row.provider_replies.insert(first.seq, reply.clone());
        }
        self.next_record = next;
        if let Some(edit) = &extras.block {
            let blocks = &mut self.agent_mut(&edit.agent)?.blocks;
            blocks.retain(|block| block.label != edit.label);
            blocks.extend(edit.to.clone());
        }
        Ok(())
    }

    /// Sets the vector of a text.
    pub(super) fn set_vector(&mut self, row: VectorRow) {
        self.vectors.retain(|_, known| known.of != row.of || known.text != row.text);
        self.last_vector += 1;
        self.vectors.insert(self.last_vector, Arc::new(row));
    }

    /// Deletes a session with everything that names it.
    pub(super) fn delete_session(&mut self, id: &SessionId) -> Result<(), StoreError> {
        let number =
            self.session_numbers.remove(id).ok_or_else(|| StoreError::missing_session(id))?;
        self.sessions.remove(&number);
        self.erased += 1;
        self.chats.retain(|_, chat| chat.session != *id);
        self.proven.retain(|(_, session, _), _| session != id);
        Ok(())
    }
}

/// Adds a receipt. Fails when its command has one already.
pub(super) fn add_receipt(
    receipts: &mut Receipts,
    receipt: Option<&Receipt>,
) -> Result<(), StoreError> {
    let Some(receipt) = receipt else { return Ok(()) };
    let key = (receipt.user.clone(), receipt.id.clone());
    if receipts.insert(key, receipt.clone()).is_some() {
        let reason = format!("command {} has a receipt already", receipt.id);
        return Err(StoreError::Failed(reason));
    }
    Ok(())
}
