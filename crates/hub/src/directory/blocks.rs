//! Edits of memory blocks by their owner. Each is an event of the agent's main session.

use std::sync::Arc;

use thoughtwire_proto::cluster::{NodeBlock, NodeBlockEdit};
use thoughtwire_proto::{
    AgentProfile, Refusal, RefusalCode, SessionId, SessionReply, UserId, new_name,
};
use thoughtwire_session::{BlockChanged, SessionRequest};
use thoughtwire_store::{Block, BlockEdit};
use tokio::sync::oneshot;

use super::Directory;
use crate::Hub;
use crate::memory::{EditError, find};
use crate::registry::SessionRegistry;
use crate::services::task_ended;
use crate::session::{MailUser, SessionMail};
use crate::turn_message::{AgentExtras, Replying};

/// Change of a block by its owner. Absent parts stay.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BlockChange {
    /// Text of the block.
    pub text: Option<String>,
    /// Number of characters that it may have.
    pub limit: Option<usize>,
    /// Description of its use.
    pub description: Option<String>,
}

impl Directory {
    /// Edits a memory block for its owner, or makes one. The edit is an event of the agent's main
    /// session.
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
                "`{label}` may have {} characters, and this has {characters}; \
                 shorten it or raise the limit",
                after.limit
            );
            return Err(Refusal::new(RefusalCode::BadRequest, reason));
        }
        let edit = BlockEdit { agent: profile.id.clone(), label, to: Some(after.clone()) };
        self.remember(user, &profile, edit, before.text).await?;
        Ok(after)
    }

    /// Deletes a memory block.
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
        let caller = MailUser::here(user);
        let reply = submit_edit(&self.sessions, caller, &profile.main_session, edit, before).await;
        reply.await
    }
}

impl Hub {
    /// Saves an edit of a memory block that another node took. When this returns, the edit has its
    /// place in the session's order. The reply resolves when it is on disk.
    pub(crate) async fn edit_block_of_node(
        &self,
        user: &UserId,
        session: &SessionId,
        edit: NodeBlockEdit,
    ) -> Replying<SessionReply> {
        let NodeBlockEdit { agent, label, before, after } = edit;
        let to = after.map(|NodeBlock { text, limit, description }| Block {
            label: label.clone(),
            text,
            limit,
            description,
        });
        let caller = MailUser { user: user.clone(), is_node: true };
        let edit = BlockEdit { agent, label, to };
        submit_edit(&self.sessions, caller, session, edit, before).await
    }
}

/// Hands an edit to its session. The reply resolves when the edit is on disk.
async fn submit_edit(
    sessions: &Arc<SessionRegistry>,
    caller: MailUser,
    session: &SessionId,
    edit: BlockEdit,
    before: String,
) -> Replying<SessionReply> {
    let (reply, answer) = oneshot::channel();
    let after = edit.to.as_ref().map(|block| block.text.clone()).unwrap_or_default();
    let changed = BlockChanged { block: edit.label.clone(), before, after };
    let extras = AgentExtras { block: Some(edit), ..AgentExtras::default() };
    let request = SessionRequest::EditBlock { changed, extras, reply };
    sessions.deliver(session, SessionMail::Request { caller, request }).await;
    Box::pin(async move { answer.await.map_err(|_| task_ended())? })
}

/// An edit in the form in which it travels to the session's owner; `None` if it changes no block.
pub(crate) fn forwarded_edit(changed: BlockChanged, extras: AgentExtras) -> Option<NodeBlockEdit> {
    let BlockEdit { agent, label, to } = extras.block?;
    let after =
        to.map(|Block { text, limit, description, .. }| NodeBlock { text, limit, description });
    Some(NodeBlockEdit { agent, label, before: changed.before, after })
}

fn refused(error: &EditError) -> Refusal {
    match error {
        EditError::Refused(reason) => Refusal::new(RefusalCode::BadRequest, reason.clone()),
        EditError::TurnError(error) => error.to_refusal(),
    }
}
