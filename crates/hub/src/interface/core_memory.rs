//! Verbs about the agent's memory blocks.

use std::sync::Arc;

use thoughtwire_proto::{Event, SessionEvent};
use thoughtwire_store::{Block, BlockEdit};

use super::Interface;
use crate::memory::EditError;
use crate::turn_message::{AgentExtras, TurnError};

/// The verbs of an [`Interface`] about the agent's memory blocks.
#[derive(Clone, Copy)]
pub struct CoreMemory<'a> {
    interface: &'a Interface,
}

impl<'a> CoreMemory<'a> {
    pub(super) fn new(interface: &'a Interface) -> Self {
        Self { interface }
    }

    /// Edits a memory block. Returns the block when the edit is on disk. `change` makes the new
    /// text from the present block, or refuses with a sentence.
    ///
    /// One edit of an agent is under way at a time. An edit that has begun is finished even if
    /// this future is dropped.
    ///
    /// # Errors
    /// When the turn has ended, when there is no such block, and when `change` refuses.
    pub async fn edit(
        self,
        label: impl Into<String>,
        change: impl FnOnce(&Block) -> Result<String, String> + Send + 'static,
    ) -> Result<Block, EditError> {
        let interface = self.interface;
        let (memory, sender) = (Arc::clone(&interface.memory), interface.sender.clone());
        let (agent, label) = (interface.agent.clone(), label.into());
        // A cancelled turn drops its future. The edit has its own task, so that the next edit
        // reads the block only after this one is settled.
        let edit = interface.tasks.spawn(async move {
            let lock = memory.owner(&agent);
            let _guard = lock.lock().await;
            let before = memory.block(&agent, &label).await?;
            let label = before.label.clone();
            let text = change(&before).map_err(EditError::Refused)?;
            let after = Block { text, ..before.clone() };
            if after != before {
                let event = Event::Session(SessionEvent::MemoryEdited {
                    block: label.clone(),
                    before: before.text,
                    after: after.text.clone(),
                    by: "agent".to_owned(),
                });
                let block = Some(BlockEdit { agent, label, to: Some(after.clone()) });
                let extras = AgentExtras { block, ..AgentExtras::default() };
                sender.commit(vec![event], extras).await?;
            }
            Ok(after)
        });
        edit.await.map_err(|_| EditError::TurnError(TurnError::Ended))?
    }
}
