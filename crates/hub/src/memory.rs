//! Core memory: the order in which an agent's blocks are edited.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thoughtwire_proto::{AgentId, nfc};
use thoughtwire_store::{Block, Store, StoreError};

use crate::turn_message::TurnError;

/// The core memory of all agents.
///
/// Invariant: an agent's blocks have at most one edit under way, from reading the block until it is
/// on disk, also if edits come from several sessions. Test:
/// `memory::edits_from_many_sessions_lose_nothing`.
pub(crate) struct Memory {
    store: Arc<Store>,
    owners: Mutex<HashMap<AgentId, Weak<tokio::sync::Mutex<()>>>>,
}

/// Error of an edit of a memory block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The edit is not allowed; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// The turn has ended, or the edit could not be saved.
    #[error(transparent)]
    TurnError(#[from] TurnError),
}

impl Memory {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, owners: Mutex::new(HashMap::new()) }
    }

    /// Lock that an edit of the agent's blocks holds.
    pub(crate) fn owner(&self, agent: &AgentId) -> Arc<tokio::sync::Mutex<()>> {
        let mut owners = self.owners.lock();
        if let Some(owner) = owners.get(agent).and_then(Weak::upgrade) {
            return owner;
        }
        owners.retain(|_, owner| owner.strong_count() > 0);
        let owner = Arc::new(tokio::sync::Mutex::new(()));
        owners.insert(agent.clone(), Arc::downgrade(&owner));
        owner
    }

    pub(crate) async fn blocks(&self, agent: &AgentId) -> Result<Vec<Block>, EditError> {
        let blocks = self.read_blocks(agent).await;
        blocks.map_err(|error| EditError::Refused(format!("The memory cannot be read: {error}.")))
    }

    pub(crate) async fn read_blocks(&self, agent: &AgentId) -> Result<Vec<Block>, StoreError> {
        self.store.memory().blocks(agent).await
    }

    pub(crate) async fn block(&self, agent: &AgentId, label: &str) -> Result<Block, EditError> {
        let blocks = self.blocks(agent).await?;
        let labels: Vec<String> = blocks.iter().map(|block| format!("`{}`", block.label)).collect();
        find(blocks, label).ok_or_else(|| {
            EditError::Refused(format!(
                "There is no memory block `{label}`. There are: {}.",
                labels.join(", ")
            ))
        })
    }
}

/// The block with a label as it is written, or else in its composed form.
pub(crate) fn find(mut blocks: Vec<Block>, label: &str) -> Option<Block> {
    let at = |label: &str| blocks.iter().position(|block| block.label == label);
    let at = at(label).or_else(|| at(&nfc(label)))?;
    Some(blocks.swap_remove(at))
}
