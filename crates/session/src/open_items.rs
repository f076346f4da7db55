//! Open items of the running turn: the text that was streamed so far, and its checkpoints.

use std::time::Duration;

use thoughtwire_proto::{Delta, Event, ItemId, Refusal, StreamKind, TurnId};

use crate::OpenItemText;

/// How often open items are checkpointed: a crash costs at most this much of an unfinished
/// sentence.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(900);

/// The only copy of the accepted text of open items.
#[derive(Default)]
pub(crate) struct OpenItems {
    items: Vec<StreamedItem>,
    /// Items that have a checkpoint in the store.
    checkpointed: Vec<ItemId>,
    due: Option<Duration>,
    /// Items of the checkpoint under way.
    saving: Vec<ItemId>,
}

struct StreamedItem {
    item: ItemId,
    kind: StreamKind,
    /// Number of deltas.
    count: u64,
    text: String,
    /// The cut item whose text this one continues.
    continues: Option<ItemId>,
    /// Whether `text` has grown since its last checkpoint, or that checkpoint failed.
    is_dirty: bool,
}

impl OpenItems {
    /// Adds a piece to its item and returns its number, counted from 0.
    pub(crate) fn extend(&mut self, piece: &Delta, elapsed: Duration) -> u64 {
        self.due.get_or_insert_with(|| elapsed + CHECKPOINT_EVERY);
        if let Some(open) = self.items.iter_mut().find(|open| open.item == piece.item) {
            open.text.push_str(&piece.text);
            open.is_dirty = true;
            open.count += 1;
            return open.count - 1;
        }
        self.items.push(StreamedItem {
            item: piece.item.clone(),
            kind: piece.kind,
            count: 1,
            text: piece.text.clone(),
            continues: piece.continues.clone(),
            is_dirty: true,
        });
        0
    }

    /// Removes an item's text, since its event is said whole.
    pub(crate) fn forget(&mut self, item: &ItemId) {
        self.items.retain(|open| open.item != *item);
    }

    /// Closes an item. Returns true if it has a checkpoint, which the same append deletes.
    pub(crate) fn close(&mut self, item: &ItemId) -> bool {
        self.forget(item);
        let before = self.checkpointed.len();
        self.checkpointed.retain(|known| known != item);
        before != self.checkpointed.len()
    }

    /// Events that end the open items as incomplete.
    pub(crate) fn closing_events(&self) -> Vec<Event> {
        let incomplete = |open: &StreamedItem| {
            let (item, text) = (open.item.clone(), open.text.clone());
            open.kind.incomplete_item(item, text, open.continues.clone())
        };
        self.items.iter().filter_map(incomplete).collect()
    }

    /// Ends the open items of a turn that goes on elsewhere. Arguments and empty texts leave no
    /// event, and may be streamed again from their beginning.
    pub(crate) fn cut(&mut self) -> Vec<Event> {
        let events = self.closing_events();
        self.items.clear();
        events
    }

    /// When the next checkpoint is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Texts to checkpoint, once that is due. Only one checkpoint is under way at a time: copies of
    /// the text would pile up in front of a disk that stands still.
    pub(crate) fn checkpoint(&mut self, turn: &TurnId, elapsed: Duration) -> Vec<OpenItemText> {
        if self.due.is_none_or(|due| due > elapsed) { Vec::new() } else { self.save(turn, elapsed) }
    }

    /// Whether a checkpoint is under way.
    pub(crate) fn is_saving(&self) -> bool {
        !self.saving.is_empty()
    }

    /// Texts to checkpoint now; none while a checkpoint is under way.
    pub(crate) fn save(&mut self, turn: &TurnId, elapsed: Duration) -> Vec<OpenItemText> {
        if self.is_saving() {
            self.due = Some(elapsed + CHECKPOINT_EVERY);
            return Vec::new();
        }
        self.due = None;
        let mut texts = Vec::new();
        for open in &mut self.items {
            let is_kept = !open.text.is_empty() && !matches!(open.kind, StreamKind::ToolArgs);
            if !open.is_dirty || !is_kept {
                continue;
            }
            open.is_dirty = false;
            if !self.checkpointed.contains(&open.item) {
                self.checkpointed.push(open.item.clone());
            }
            self.saving.push(open.item.clone());
            let (item, kind, text) = (open.item.clone(), open.kind, open.text.clone());
            let (turn, continues) = (turn.clone(), open.continues.clone());
            texts.push(OpenItemText { item, turn, kind, text, continues });
        }
        texts
    }

    /// Ends the checkpoint under way. One that failed is repeated with the whole text of its items
    /// as far as they are still open. Appends report the disk's state.
    pub(crate) fn checkpoint_settled(&mut self, outcome: &Result<(), Refusal>, elapsed: Duration) {
        let saving = std::mem::take(&mut self.saving);
        if outcome.is_ok() {
            return;
        }
        for open in self.items.iter_mut().filter(|open| saving.contains(&open.item)) {
            open.is_dirty = true;
            self.due.get_or_insert(elapsed + CHECKPOINT_EVERY);
        }
    }
}
