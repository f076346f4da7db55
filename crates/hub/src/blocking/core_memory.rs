//! [`crate::CoreMemory`] for synchronous agents.

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
}
