//! Open items: thoughts and messages that are written piece by piece.

use thoughtwire_proto::{Event, ItemId, StreamKind, TurnEvent};

use crate::Interface;
use crate::clock::new_item_id;
use crate::turn_message::{TurnError, TurnVerb};

/// What a turn ends with.
pub enum Final {
    /// A whole message.
    Text(String),
    /// A message whose pieces were streamed.
    Open(ItemWriter),
}

impl From<&str> for Final {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Final {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<ItemWriter> for Final {
    fn from(writer: ItemWriter) -> Self {
        Self::Open(writer)
    }
}

/// An open thought or message. Dropped unfinished, it ends with its turn, marked incomplete.
pub struct ItemWriter {
    interface: Interface,
    item: ItemId,
    kind: StreamKind,
    text: String,
}

impl ItemWriter {
    pub(crate) fn new(interface: Interface, kind: StreamKind) -> Self {
        Self { interface, item: new_item_id(), kind, text: String::new() }
    }

    /// The item's id.
    #[must_use]
    pub fn item(&self) -> &ItemId {
        &self.item
    }

    /// What was written so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Streams a piece to whoever listens.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn write(&mut self, piece: &str) -> Result<(), TurnError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.text.push_str(piece);
        self.interface
            .speak(TurnVerb::Delta {
                item: self.item.clone(),
                kind: self.kind,
                text: piece.to_owned(),
            })
            .await
    }

    /// Ends the item: its event supersedes the pieces.
    ///
    /// # Errors
    /// When the turn has ended, or nothing was written.
    pub async fn finish(self) -> Result<ItemId, TurnError> {
        let (interface, item) = (self.interface.clone(), self.item.clone());
        interface.say(self.into_event()).await?;
        Ok(item)
    }

    /// Makes the item a thought: its event is one, whatever its pieces were.
    #[must_use]
    pub fn into_thought(self) -> Self {
        Self { kind: StreamKind::Thought, ..self }
    }

    pub(crate) fn into_event(self) -> Event {
        match self.kind {
            StreamKind::Thought => {
                Event::Turn(TurnEvent::Thought { item: self.item, text: self.text, complete: true })
            }
            // Arguments have no writer of their own.
            StreamKind::Message | StreamKind::ToolArgs => {
                Event::Turn(TurnEvent::Message { item: self.item, text: self.text, complete: true })
            }
        }
    }
}
