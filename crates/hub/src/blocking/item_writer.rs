//! [`crate::ItemWriter`] for synchronous agents.

use thoughtwire_proto::{ItemId, StreamKind};

use super::pump::VerbPump;
use crate::item_writer::{Final, ItemDraft};
use crate::turn_message::TurnError;

/// Writer of an open thought or message. If it is dropped unfinished, the item ends with its turn
/// and is marked incomplete.
pub struct BlockingItemWriter<'a> {
    pump: &'a VerbPump,
    draft: ItemDraft,
}

impl From<BlockingItemWriter<'_>> for Final {
    fn from(writer: BlockingItemWriter<'_>) -> Self {
        Self::Open(writer.draft)
    }
}

impl<'a> BlockingItemWriter<'a> {
    pub(super) fn new(pump: &'a VerbPump, kind: StreamKind) -> Self {
        Self { pump, draft: ItemDraft::new(kind) }
    }

    /// Id of the item.
    #[must_use]
    pub fn item(&self) -> &ItemId {
        self.draft.item()
    }

    /// Text so far.
    #[must_use]
    pub fn text(&self) -> &str {
        self.draft.text()
    }

    /// Streams a piece to the clients. An empty piece does nothing. Queued.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn write(&mut self, piece: &str) -> Result<(), TurnError> {
        let Some(delta) = self.draft.push(piece) else { return Ok(()) };
        self.pump.queue(move |interface| async move { interface.sender.send(delta).await })
    }

    /// Ends the item. Its event supersedes the pieces. Queued.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn finish(self) -> Result<ItemId, TurnError> {
        let item = self.draft.item().clone();
        let event = self.draft.into_event();
        self.pump.queue(move |interface| async move {
            interface.sender.append(vec![event]).await.map(drop)
        })?;
        Ok(item)
    }

    /// Makes the item a thought, whatever kind its pieces had.
    #[must_use]
    pub fn into_thought(self) -> Self {
        Self { draft: self.draft.into_thought(), ..self }
    }

    /// Makes the item the continuation of one that an interruption of the turn has cut. It is
    /// called before the first piece is written, which tells clients and the store.
    #[must_use]
    pub fn continuing(self, cut: ItemId) -> Self {
        Self { draft: self.draft.continuing(cut), ..self }
    }
}
