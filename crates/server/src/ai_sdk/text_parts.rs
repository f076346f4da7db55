//! Open text and reasoning parts of an assistant message.

use thoughtwire_proto::{ItemId, StreamKind};

use super::ui_chunk::UiChunk;
use crate::endpoint::common_bytes;

/// The parts that are open, oldest first. Items may overlap: each has a part of its own.
#[derive(Debug, Default)]
pub(super) struct TextParts(Vec<TextPart>);

/// An open part. An item that continues a cut one goes on in its part.
#[derive(Debug)]
struct TextPart {
    /// Id of the part: that of its first item.
    id: String,
    kind: StreamKind,
    /// The item that grows.
    item: ItemId,
    /// Text of that item that was sent.
    sent: String,
    /// Whether the item was cut, so that only another one can continue it.
    is_cut: bool,
}

/// Text that an item has at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum ItemText<'a> {
    /// A piece behind those before.
    Piece(&'a str),
    /// All of it so far.
    SoFar(&'a str),
    /// All of it, in its event.
    Whole { text: &'a str, complete: bool },
}

/// The client has text that the log does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LostText;

impl TextParts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an item belongs to an open part.
    pub(super) fn has(&self, item: &ItemId, continues: Option<&ItemId>) -> bool {
        self.0.iter().any(|part| part.takes(item, continues))
    }

    /// Takes text of an item.
    ///
    /// # Errors
    /// When an item was cut in front of text that the client has.
    pub(super) fn take(
        &mut self,
        kind: StreamKind,
        item: &ItemId,
        continues: Option<&ItemId>,
        text: ItemText<'_>,
        chunks: &mut Vec<UiChunk>,
    ) -> Result<(), LostText> {
        let at = match self.0.iter().position(|part| part.takes(item, continues)) {
            Some(at) => at,
            None => {
                let part = TextPart::new(kind, item);
                chunks.push(part.start());
                self.0.push(part);
                self.0.len() - 1
            }
        };
        let Some(part) = self.0.get_mut(at) else { return Ok(()) };
        if part.item != *item {
            (part.item, part.is_cut) = (item.clone(), false);
            part.sent.clear();
        }
        let new = match text {
            ItemText::Piece(piece) => piece,
            ItemText::SoFar(all) | ItemText::Whole { text: all, .. } => part.unsent(all),
        };
        if !new.is_empty() {
            chunks.push(part.delta(new));
        }
        match text {
            ItemText::Piece(piece) => part.sent.push_str(piece),
            ItemText::SoFar(all) => all.clone_into(&mut part.sent),
            ItemText::Whole { complete: true, .. } => {
                chunks.push(part.end());
                self.0.remove(at);
            }
            ItemText::Whole { text, complete: false } => {
                if part.sent.len() > text.len() {
                    return Err(LostText);
                }
                text.clone_into(&mut part.sent);
                part.is_cut = true;
            }
        }
        Ok(())
    }

    /// Tells that the turn was interrupted: items that were open will not end.
    ///
    /// # Errors
    /// When the client has text of such an item, which was not saved.
    pub(super) fn interrupt(&self) -> Result<(), LostText> {
        let is_lost = self.0.iter().any(|part| !part.is_cut && !part.sent.is_empty());
        if is_lost { Err(LostText) } else { Ok(()) }
    }

    /// Ends the parts whose items were cut: something else follows.
    pub(super) fn end_cut(&mut self, chunks: &mut Vec<UiChunk>) {
        let ended = self.0.extract_if(.., |part| part.is_cut);
        chunks.extend(ended.map(|part| part.end()));
    }

    /// Ends all parts.
    pub(super) fn end_all(&mut self, chunks: &mut Vec<UiChunk>) {
        chunks.extend(self.0.drain(..).map(|part| part.end()));
    }
}

impl TextPart {
    fn new(kind: StreamKind, item: &ItemId) -> Self {
        let (id, item) = (item.to_string(), item.clone());
        Self { id, kind, item, sent: String::new(), is_cut: false }
    }

    fn takes(&self, item: &ItemId, continues: Option<&ItemId>) -> bool {
        self.item == *item || continues == Some(&self.item)
    }

    /// The rest of a text behind the beginning that was sent. If they differ, it is what follows
    /// their common beginning: what was sent cannot be taken back.
    fn unsent<'a>(&self, text: &'a str) -> &'a str {
        text.get(common_bytes(&self.sent, text)..).unwrap_or_default()
    }

    fn start(&self) -> UiChunk {
        let id = self.id.clone();
        match self.kind {
            StreamKind::Thought => UiChunk::ReasoningStart { id },
            StreamKind::Message | StreamKind::ToolArgs => UiChunk::TextStart { id },
        }
    }

    fn delta(&self, delta: &str) -> UiChunk {
        let (id, delta) = (self.id.clone(), delta.to_owned());
        match self.kind {
            StreamKind::Thought => UiChunk::ReasoningDelta { id, delta },
            StreamKind::Message | StreamKind::ToolArgs => UiChunk::TextDelta { id, delta },
        }
    }

    fn end(&self) -> UiChunk {
        let id = self.id.clone();
        match self.kind {
            StreamKind::Thought => UiChunk::ReasoningEnd { id },
            StreamKind::Message | StreamKind::ToolArgs => UiChunk::TextEnd { id },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: StreamKind = StreamKind::Message;

    fn item(id: &str) -> ItemId {
        ItemId::new(id).unwrap()
    }

    fn shown(chunks: &[UiChunk]) -> Vec<String> {
        let show = |chunk: &UiChunk| {
            let chunk = serde_json::to_value(chunk).unwrap();
            let id = chunk["id"].as_str().unwrap();
            match chunk["type"].as_str().unwrap() {
                "text-start" => format!("+{id}"),
                "text-end" => format!("-{id}"),
                _ => format!("{id}:{}", chunk["delta"].as_str().unwrap()),
            }
        };
        chunks.iter().map(show).collect()
    }

    #[test]
    fn items_overlap_and_a_cut_one_is_continued_in_its_part() {
        let (one, two, three) = (item("1"), item("2"), item("3"));
        let (mut parts, mut chunks) = (TextParts::default(), Vec::new());
        let mut take = |item: &ItemId, continues: Option<&ItemId>, text: ItemText<'_>| {
            parts.take(MESSAGE, item, continues, text, &mut chunks).unwrap();
        };
        take(&one, None, ItemText::Piece("Hel"));
        take(&two, None, ItemText::SoFar("Wor"));
        take(&one, None, ItemText::Whole { text: "Hello", complete: false });
        take(&two, None, ItemText::Whole { text: "World", complete: true });
        take(&three, Some(&one), ItemText::Piece(", yo"));
        take(&three, None, ItemText::Whole { text: ", you", complete: true });
        let expected = ["+1", "1:Hel", "+2", "2:Wor", "1:lo", "2:ld", "-2", "1:, yo", "1:u", "-1"];
        assert_eq!(shown(&chunks), expected);
        assert!(parts.is_empty());
    }

    #[test]
    fn text_that_the_log_does_not_have_is_noticed() {
        let one = item("1");
        let (mut parts, mut chunks) = (TextParts::default(), Vec::new());
        parts.take(MESSAGE, &one, None, ItemText::Piece("Hello"), &mut chunks).unwrap();
        assert_eq!(parts.interrupt(), Err(LostText));
        let cut = ItemText::Whole { text: "Hel", complete: false };
        assert_eq!(parts.take(MESSAGE, &one, None, cut, &mut chunks), Err(LostText));
    }
}
