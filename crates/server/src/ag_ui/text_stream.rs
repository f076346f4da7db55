//! The text of a message as a stream sends it.

use thoughtwire_proto::{ItemId, StreamKind};

use super::event::AgUiEvent;
use crate::endpoint::common_bytes;

/// A piece is sent once so many bytes are new.
const LEAST_BYTES: usize = 16;
/// A piece is at least this part of what was sent, so that the cost of saving grows with the text.
const PART_OF_SENT: usize = 64;

/// A message that grows. One that an interruption cuts goes on under the same id.
pub(super) struct TextStream {
    id: String,
    is_reasoning: bool,
    /// The item that grows now: the first one, or one that continues it.
    item: ItemId,
    /// The whole text so far.
    text: String,
    /// Where the text of `item` begins.
    begin: usize,
    /// Text that the client has.
    sent: String,
    /// Whether the client was told that the message begins.
    is_begun: bool,
}

impl TextStream {
    /// A message of which the client has `sent`.
    pub(super) fn new(id: String, kind: StreamKind, item: &ItemId, sent: String) -> Self {
        let is_reasoning = match kind {
            StreamKind::Thought => true,
            StreamKind::Message | StreamKind::ToolArgs => false,
        };
        let (text, begin, is_begun) = (String::new(), 0, false);
        Self { id, is_reasoning, item: item.clone(), text, begin, sent, is_begun }
    }

    /// Whether an item is this message's, or goes on with it.
    pub(super) fn takes(&self, item: &ItemId, continues: Option<&ItemId>) -> bool {
        self.item == *item || continues == Some(&self.item)
    }

    /// Whether anything was sent, or is on disk.
    pub(super) fn is_known(&self) -> bool {
        self.is_begun || !self.sent.is_empty() || self.begin > 0
    }

    /// Turns to an item that goes on with the text.
    pub(super) fn turn_to(&mut self, item: &ItemId) {
        if self.item != *item {
            self.item = item.clone();
            self.begin = self.text.len();
        }
    }

    /// Adds a piece to the text of the item.
    pub(super) fn add(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    /// Takes the text of the item so far.
    pub(super) fn reach(&mut self, text: &str) {
        self.text.truncate(self.begin);
        self.text.push_str(text);
    }

    /// Whether enough is new to be saved and sent.
    pub(super) fn has_piece(&self) -> bool {
        let new = self.text.len().saturating_sub(self.sent.len());
        new >= LEAST_BYTES.max(self.sent.len() / PART_OF_SENT)
    }

    /// Sends what the client does not have.
    pub(super) fn send(&mut self, events: &mut Vec<AgUiEvent>) {
        if self.sent.starts_with(&self.text) {
            return;
        }
        let new = self.text.get(common_bytes(&self.sent, &self.text)..).unwrap_or_default();
        if !new.is_empty() {
            let (message_id, delta) = (self.id.clone(), new.to_owned());
            self.begin_message(events);
            events.push(if self.is_reasoning {
                AgUiEvent::ReasoningMessageContent { message_id, delta }
            } else {
                AgUiEvent::TextMessageContent { message_id, delta }
            });
        }
        self.sent.clone_from(&self.text);
    }

    fn begin_message(&mut self, events: &mut Vec<AgUiEvent>) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let message_id = self.id.clone();
        if self.is_reasoning {
            events.push(AgUiEvent::ReasoningStart { message_id: message_id.clone() });
            events.push(AgUiEvent::ReasoningMessageStart { message_id, role: "reasoning" });
        } else {
            events.push(AgUiEvent::TextMessageStart { message_id, role: "assistant" });
        }
    }

    /// Ends the message, which may begin again where it was cut.
    pub(super) fn end(&mut self, events: &mut Vec<AgUiEvent>) {
        if !std::mem::replace(&mut self.is_begun, false) {
            return;
        }
        let message_id = self.id.clone();
        if self.is_reasoning {
            events.push(AgUiEvent::ReasoningMessageEnd { message_id: message_id.clone() });
            events.push(AgUiEvent::ReasoningEnd { message_id });
        } else {
            events.push(AgUiEvent::TextMessageEnd { message_id });
        }
    }
}
