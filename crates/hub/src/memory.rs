//! Core memory: the order of the edits of an agent's blocks, whoever makes them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thoughtwire_proto::{
    AgentId, AgentProfile, Refusal, RefusalCode, SessionReply, UserId, new_name, nfc,
};
use thoughtwire_store::{Block, BlockEdit, Store};
use tokio::sync::oneshot;

use crate::Hub;
use crate::hub::lost;
use crate::session::What;
use crate::turn_message::TurnError;

/// The core memory of all agents.
///
/// Invariant: of one agent's blocks only one edit is under way at a time, from reading the block to
/// its being on disk, whichever sessions the edits come from.
pub(crate) struct Memory {
    store: Arc<Store>,
    owners: Mutex<HashMap<AgentId, Weak<tokio::sync::Mutex<()>>>>,
}

/// Why a memory block was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It may not be so; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// The turn has ended, or the edit could not be saved.
    #[error(transparent)]
    TurnError(#[from] TurnError),
}

/// What an owner wants of a block; what is absent stays.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BlockChange {
    /// Its text.
    pub text: Option<String>,
    /// The most characters it may have.
    pub limit: Option<usize>,
    /// What it is for.
    pub description: Option<String>,
}

impl Memory {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, owners: Mutex::new(HashMap::new()) }
    }

    /// Who holds this edits the agent's blocks.
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
        let blocks = self.store.memory().blocks(agent).await;
        blocks.map_err(|error| EditError::Refused(format!("The memory cannot be read: {error}.")))
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

impl Hub {
    /// Edits a memory block for its owner, or makes one. The edit is an event of the agent's main session.
    ///
    /// # Errors
    /// When there is no such agent, the text does not fit, or nothing can be saved.
    pub async fn edit_block(
        &self,
        user: &UserId,
        agent: &str,
        label: &str,
        change: BlockChange,
    ) -> Result<Block, Refusal> {
        let profile = self.find_agent(user, agent).await?;
        let owner = self.shared.memory.owner(&profile.id);
        let _turn = owner.lock().await;
        let blocks =
            self.shared.memory.blocks(&profile.id).await.map_err(|error| refused(&error))?;
        let before = match find(blocks, label) {
            Some(block) => block,
            None => Block {
                label: new_name(label).map_err(|bad| {
                    Refusal::new(RefusalCode::BadRequest, format!("the block's label: {bad}"))
                })?,
                text: String::new(),
                limit: Block::LIMIT,
                description: String::new(),
            },
        };
        let label = before.label.clone();
        let BlockChange { text, limit, description } = change;
        let after = Block {
            label: label.clone(),
            text: text.unwrap_or_else(|| before.text.clone()),
            limit: limit.unwrap_or(before.limit),
            description: description.unwrap_or(before.description),
        };
        let characters = after.text.chars().count();
        if characters > after.limit {
            let reason = format!(
                "`{label}` may have {} characters, and this has {characters}; shorten it or raise the limit",
                after.limit
            );
            return Err(Refusal::new(RefusalCode::BadRequest, reason));
        }
        let edit = BlockEdit { agent: profile.id.clone(), label, to: Some(after.clone()) };
        self.remember(user, &profile, edit, before.text).await?;
        Ok(after)
    }

    /// Takes a memory block away.
    ///
    /// # Errors
    /// When there is no such agent or block, or nothing can be saved.
    pub async fn delete_block(
        &self,
        user: &UserId,
        agent: &str,
        label: &str,
    ) -> Result<(), Refusal> {
        let profile = self.find_agent(user, agent).await?;
        let owner = self.shared.memory.owner(&profile.id);
        let _turn = owner.lock().await;
        let before =
            self.shared.memory.block(&profile.id, label).await.map_err(|error| refused(&error))?;
        let Block { label, text, .. } = before;
        let edit = BlockEdit { agent: profile.id.clone(), label, to: None };
        self.remember(user, &profile, edit, text).await.map(drop)
    }

    async fn remember(
        &self,
        user: &UserId,
        profile: &AgentProfile,
        edit: BlockEdit,
        before: String,
    ) -> Result<SessionReply, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.shared.ask(user, &profile.main_session, What::Remember { edit, before, reply }).await;
        answer.await.map_err(|_| lost())?
    }
}

/// The block of a label as it is written, or else of its composed form.
fn find(mut blocks: Vec<Block>, label: &str) -> Option<Block> {
    let at = |label: &str| blocks.iter().position(|block| block.label == label);
    let at = at(label).or_else(|| at(&nfc(label)))?;
    Some(blocks.swap_remove(at))
}

fn refused(error: &EditError) -> Refusal {
    let code = match error {
        EditError::Refused(_) => RefusalCode::BadRequest,
        EditError::TurnError(_) => RefusalCode::StoreFailed,
    };
    Refusal::new(code, error.to_string())
}
