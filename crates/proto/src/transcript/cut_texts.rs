//! Texts that were cut, and the items that continue them.

use std::collections::HashMap;

use crate::{ItemId, StreamKind};

/// The cut texts of the running turn.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct CutTexts {
    /// Index of the entry that has the text, by item.
    entries: HashMap<ItemId, usize>,
    thought: Option<LastText>,
    message: Option<LastText>,
}

/// The last text of a kind, if it was cut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LastText {
    /// Index of its entry.
    entry: usize,
    /// Whether the turn was resumed since. Then the next text of the kind likely continues it.
    resumed: bool,
}

impl CutTexts {
    /// Notes an item whose text is in an entry.
    pub(super) fn said(&mut self, kind: StreamKind, item: &ItemId, complete: bool, entry: usize) {
        if !complete {
            self.entries.insert(item.clone(), entry);
        }
        let last = match kind {
            StreamKind::Thought => &mut self.thought,
            StreamKind::Message => &mut self.message,
            StreamKind::ToolArgs => return,
        };
        *last = (!complete).then_some(LastText { entry, resumed: false });
    }

    /// Notes that the turn was resumed.
    pub(super) fn resumed(&mut self) {
        for last in [&mut self.thought, &mut self.message].into_iter().flatten() {
            last.resumed = true;
        }
    }

    /// Index of the entry with the text of an item that was cut.
    pub(super) fn entry(&self, item: &ItemId) -> Option<usize> {
        self.entries.get(item).copied()
    }

    /// Index of the entry that the next text of a kind likely continues.
    pub(super) fn expected(&self, kind: StreamKind) -> Option<usize> {
        let last = match kind {
            StreamKind::Thought => self.thought,
            StreamKind::Message => self.message,
            StreamKind::ToolArgs => None,
        };
        last.filter(|last| last.resumed).map(|last| last.entry)
    }
}
