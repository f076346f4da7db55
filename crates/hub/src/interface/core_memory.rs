//! Verbs about the agent's memory blocks.

use std::sync::Arc;

use thoughtwire_proto::{CallId, Event, SessionEvent, ToolStatus, TurnEvent};
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
        let change = |block: &Block| change(block).map(|text| (text, Vec::new()));
        self.edit_with(label.into(), change).await
    }

    /// [`CoreMemory::edit`] as the work of a call: the block, its event and the call's
    /// `tool_returned` are one batch. So a call that has not returned has not edited anything, and
    /// may be made again after a crash. `change` also gives the text of the call's result.
    ///
    /// # Errors
    /// As [`CoreMemory::edit`]. The call stays open then.
    pub async fn edit_returning(
        self,
        call: &CallId,
        tool: impl Into<String>,
        label: impl Into<String>,
        change: impl FnOnce(&Block) -> Result<(String, String), String> + Send + 'static,
    ) -> Result<Block, EditError> {
        let (call, name) = (call.clone(), tool.into());
        let change = move |block: &Block| {
            let (text, result) = change(block)?;
            let (status, content) = (ToolStatus::Success, None);
            let returned = TurnEvent::ToolReturned { call, name, status, text: result, content };
            Ok((text, vec![Event::Turn(returned)]))
        };
        self.edit_with(label.into(), change).await
    }

    /// Edits a block. `change` makes its new text, and the events behind the edit's own.
    async fn edit_with(
        self,
        label: String,
        change: impl FnOnce(&Block) -> Result<(String, Vec<Event>), String> + Send + 'static,
    ) -> Result<Block, EditError> {
        let interface = self.interface;
        let (memory, sender) = (Arc::clone(&interface.memory), interface.sender.clone());
        let agent = interface.agent.clone();
        // A cancelled turn drops its future. The edit has its own task, so that the next edit
        // reads the block only after this one is settled.
        let edit = interface.tasks.spawn(async move {
            let lock = memory.owner(&agent);
            let _guard = lock.lock().await;
            let before = memory.block(&agent, &label).await?;
            let label = before.label.clone();
            let (text, behind) = change(&before).map_err(EditError::Refused)?;
            let after = Block { text, ..before.clone() };
            let (mut events, mut extras) = (Vec::new(), AgentExtras::default());
            if after != before {
                events.push(Event::Session(SessionEvent::MemoryEdited {
                    block: label.clone(),
                    before: before.text,
                    after: after.text.clone(),
                    by: "agent".to_owned(),
                }));
                extras.block = Some(BlockEdit { agent, label, to: Some(after.clone()) });
            }
            events.extend(behind);
            if !events.is_empty() {
                sender.commit(events, extras).await?;
            }
            Ok(after)
        });
        edit.await.map_err(|_| EditError::TurnError(TurnError::Ended))?
    }
}
