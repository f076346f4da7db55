//! Open items: thoughts and messages that are written piece by piece.

use thoughtwire_proto::{Event, ItemId, StreamKind, TurnEvent};

use crate::clock::new_item_id;
use crate::turn_message::{AgentVerb, TurnError, TurnSender};

/// Message with which a turn ends.
pub enum Final {
    /// A whole message.
    Text(String),
    /// A message that was streamed.
    Open(ItemDraft),
}

impl Final {
    /// The message's event.
    pub(crate) fn into_event(self) -> Event {
        match self {
            Self::Text(text) => {
                let (item, complete, continues) = (new_item_id(), true, None);
                Event::Turn(TurnEvent::Message { item, text, complete, continues })
            }
            Self::Open(draft) => draft.into_event(),
        }
    }
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
        Self::Open(writer.draft)
    }
}

/// An open item with its text so far.
pub struct ItemDraft {
    item: ItemId,
    kind: StreamKind,
    text: String,
    /// The cut item whose text this one continues.
    continues: Option<ItemId>,
}

impl ItemDraft {
    pub(crate) fn new(kind: StreamKind) -> Self {
        Self { item: new_item_id(), kind, text: String::new(), continues: None }
    }

    /// Id of the item.
    #[must_use]
    pub fn item(&self) -> &ItemId {
        &self.item
    }

    /// Text so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a piece. Returns the message that streams it; none if the piece is empty.
    pub(crate) fn push(&mut self, piece: &str) -> Option<AgentVerb> {
        if piece.is_empty() {
            return None;
        }
        self.text.push_str(piece);
        let (item, text) = (self.item.clone(), piece.to_owned());
        Some(AgentVerb::Delta { item, kind: self.kind, text, continues: self.continues.clone() })
    }

    pub(crate) fn into_thought(self) -> Self {
        Self { kind: StreamKind::Thought, ..self }
    }

    pub(crate) fn continuing(self, cut: ItemId) -> Self {
        Self { continues: Some(cut), ..self }
    }

    /// The event of the whole item.
    pub(crate) fn into_event(self) -> Event {
        let Self { item, kind, text, continues } = self;
        let complete = true;
        match kind {
            StreamKind::Thought => {
                Event::Turn(TurnEvent::Thought { item, text, complete, continues })
            }
            // Arguments are streamed without a writer.
            StreamKind::Message | StreamKind::ToolArgs => {
                Event::Turn(TurnEvent::Message { item, text, complete, continues })
            }
        }
    }
}

/// Writer of an open thought or message. If it is dropped unfinished, the item ends with its turn
/// and is marked incomplete.
pub struct ItemWriter {
    sender: TurnSender,
    draft: ItemDraft,
}

impl ItemWriter {
    pub(crate) fn new(sender: TurnSender, kind: StreamKind) -> Self {
        Self { sender, draft: ItemDraft::new(kind) }
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

    /// Streams a piece to the clients. An empty piece does nothing.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn write(&mut self, piece: &str) -> Result<(), TurnError> {
        match self.draft.push(piece) {
            Some(delta) => self.sender.send(delta).await,
            None => Ok(()),
        }
    }

    /// Ends the item. Its event supersedes the pieces.
    ///
    /// # Errors
    /// When the turn has ended, or nothing was written.
    pub async fn finish(self) -> Result<ItemId, TurnError> {
        let item = self.draft.item.clone();
        self.sender.append(vec![self.draft.into_event()]).await?;
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
