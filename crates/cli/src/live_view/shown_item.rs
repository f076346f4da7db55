//! A text on the terminal that may grow.

use thoughtwire_proto::ItemId;
use thoughtwire_proto::transcript::{EntryBody, TranscriptEntry};

use super::OutputPiece;
use crate::out::TextStyle;
use crate::render;
use crate::visible::visible_after;

/// The text that is being streamed. It may come from several items, if it was cut and continued.
#[derive(Debug)]
pub(super) struct ShownItem {
    /// The first of these items.
    pub(super) item: ItemId,
    /// The newest of them.
    pub(super) newest: ItemId,
    /// The text before that of the newest item.
    pub(super) before: String,
    pub(super) look: TextStyle,
    /// The part of the text that is printed.
    pub(super) told: String,
    /// Whether the text is cut. Its end is not printed until it is known that nothing continues it.
    pub(super) is_cut: bool,
}

/// The text of a thought or message.
pub(super) struct Words<'a> {
    pub(super) look: TextStyle,
    pub(super) item: &'a ItemId,
    pub(super) text: &'a str,
    pub(super) complete: bool,
}

pub(super) fn words(entry: &TranscriptEntry) -> Option<Words<'_>> {
    let (look, item, text, complete) = match &entry.body {
        EntryBody::Thought { item, text, complete, .. } => (TextStyle::Dim, item, text, complete),
        EntryBody::Message { item, text, complete, .. } => (TextStyle::Plain, item, text, complete),
        EntryBody::Input { .. }
        | EntryBody::Call(_)
        | EntryBody::Ended { .. }
        | EntryBody::Fact(_) => return None,
    };
    Some(Words { look, item, text, complete: *complete })
}

impl ShownItem {
    /// Whether an entry of this item has the text. An item that was taken for a continuation, and
    /// by its event is none, becomes a text of its own.
    pub(super) fn has(&mut self, item: &ItemId) -> bool {
        if self.item != *item && self.newest == *item {
            let own = self.told.strip_prefix(self.before.as_str()).unwrap_or_default().to_owned();
            (self.item, self.told) = (item.clone(), own);
        }
        self.item == *item
    }

    /// Whether the text has ended when an entry comes, because nothing will continue it.
    pub(super) fn ends_before(&self, body: &EntryBody) -> bool {
        match body {
            EntryBody::Ended { .. } => true,
            EntryBody::Call(_) | EntryBody::Message { .. } => self.is_cut,
            EntryBody::Thought { .. } => self.is_cut && self.look == TextStyle::Dim,
            EntryBody::Input { .. } | EntryBody::Fact(_) => false,
        }
    }

    /// Prints the new part of the item's text.
    pub(super) fn go_on(&mut self, text: &str, pieces: &mut Vec<OutputPiece>) {
        match text.strip_prefix(self.told.as_str()) {
            Some("") => {}
            Some(more) => {
                let before = self.told.chars().next_back();
                pieces.push(OutputPiece::Text(self.look, visible_after(before, more).into_owned()));
            }
            // Printed text cannot be removed: a shorter text is printed already, a different one is
            // printed in full.
            None if self.told.starts_with(text) => return,
            None => {
                pieces.push(OutputPiece::End(self.look));
                pieces.push(OutputPiece::Text(self.look, render::clean(text).into_owned()));
            }
        }
        self.told = text.to_owned();
    }
}
