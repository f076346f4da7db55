//! [`crate::CoreMemory`] for synchronous agents.

use thoughtwire_proto::CallId;
use thoughtwire_store::Block;

use super::pump::VerbPump;
use crate::memory::EditError;

/// The verbs of a [`BlockingInterface`](super::Interface) about the agent's memory blocks.
#[derive(Clone, Copy)]
pub struct BlockingCoreMemory<'a> {
    pump: &'a VerbPump,
}

impl<'a> BlockingCoreMemory<'a> {
    pub(super) fn new(pump: &'a VerbPump) -> Self {
        Self { pump }
    }

    /// Edits a memory block. Waits until the edit is on disk, and returns the block. `change`
    /// makes the new text from the present block, or refuses with a sentence.
    ///
    /// # Errors
    /// When an earlier verb failed, the turn has ended, there is no such block, or `change`
    /// refuses.
    pub fn edit(
        self,
        label: impl Into<String>,
        change: impl FnOnce(&Block) -> Result<String, String> + Send + 'static,
    ) -> Result<Block, EditError> {
        let label = label.into();
        self.pump.wait(move |interface| async move { interface.memory().edit(label, change).await })
    }

    /// [`BlockingCoreMemory::edit`] as the work of a call: see
    /// [`CoreMemory::edit_returning`](crate::CoreMemory::edit_returning).
    ///
    /// # Errors
    /// As [`BlockingCoreMemory::edit`]. The call stays open then.
    pub fn edit_returning(
        self,
        call: &CallId,
        tool: impl Into<String>,
        label: impl Into<String>,
        change: impl FnOnce(&Block) -> Result<(String, String), String> + Send + 'static,
    ) -> Result<Block, EditError> {
        let (call, tool, label) = (call.clone(), tool.into(), label.into());
        self.pump.wait(move |interface| async move {
            interface.memory().edit_returning(&call, tool, label, change).await
        })
    }
}
