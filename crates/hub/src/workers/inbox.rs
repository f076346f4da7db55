//! A worker's inbox: directives on their way to its connection.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_proto::Directive;
use tokio::sync::Notify;

use super::turn::WorkerTurn;

/// Queue of directives for one connection. Its length is bounded by the turns that the
/// connection offered to run.
#[derive(Default)]
pub(crate) struct WorkerInbox {
    entries: Mutex<VecDeque<InboxEntry>>,
    wake: Notify,
}

/// One entry of an inbox.
pub(crate) enum InboxEntry {
    /// A turn to hand over. Its history is read when the entry is taken out.
    Turn { turn: Arc<WorkerTurn>, resumed: bool },
    /// A directive that is complete.
    Directive(Directive),
}

impl WorkerInbox {
    /// Adds a turn, followed by the replies to its open calls if it is resumed.
    pub(super) fn push_turn(&self, turn: Arc<WorkerTurn>, resumed: bool) {
        let replies = turn.enter_inbox();
        let mut entries = self.entries.lock();
        entries.push_back(InboxEntry::Turn { turn, resumed });
        entries.extend(replies.into_iter().map(InboxEntry::Directive));
        drop(entries);
        self.wake.notify_one();
    }

    /// Adds a directive.
    pub(crate) fn push(&self, directive: Directive) {
        self.entries.lock().push_back(InboxEntry::Directive(directive));
        self.wake.notify_one();
    }

    /// Removes a turn that has ended, or cancels it at the worker if it was handed over already.
    pub(super) fn withdraw(&self, turn: &Arc<WorkerTurn>) {
        let mut entries = self.entries.lock();
        let before = entries.len();
        let is_its = |entry: &InboxEntry| match entry {
            InboxEntry::Turn { turn: other, .. } => Arc::ptr_eq(other, turn),
            InboxEntry::Directive(_) => false,
        };
        entries.retain(|entry| !is_its(entry));
        if entries.len() == before && !turn.is_finishing() {
            entries.push_back(InboxEntry::Directive(Directive::Cancel {
                session: turn.session().clone(),
                turn: turn.id().clone(),
            }));
            self.wake.notify_one();
        }
    }

    /// Takes the next entry. Cancel-safe: dropping the future loses no entry.
    pub(crate) async fn next(&self) -> InboxEntry {
        loop {
            let entry = self.entries.lock().pop_front();
            match entry {
                Some(entry) => return entry,
                None => self.wake.notified().await,
            }
        }
    }
}
