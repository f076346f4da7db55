//! Attaching a client: where it begins to read.

use std::sync::Arc;

use thoughtwire_proto::{Attached, PeerRef, Seq, Start, TurnId};

use super::storage::SessionStorage;
use crate::tail::Tail;

/// A session's log as an attachment sees it.
pub(crate) struct LogView<'a> {
    pub(crate) storage: &'a SessionStorage,
    pub(crate) tail: &'a Arc<Tail>,
    /// Position of the log's first record.
    pub(crate) first: Seq,
    /// The running turn as subscribers know it.
    pub(crate) turn: Option<&'a TurnId>,
}

/// Position behind which a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    after: Seq,
    /// Whether the client's cursor could be honoured.
    recovered: bool,
}

impl LogView<'_> {
    /// Where a client begins.
    ///
    /// # Errors
    /// The peer whose proven position has to be looked up first, for [`LogView::proven`].
    pub(crate) fn begin<'s>(&self, start: &'s Start) -> Result<Begin, &'s PeerRef> {
        let (head, before_first) = (self.tail.head(), self.before_first());
        match start {
            Start::Head => Ok(Begin { after: head, recovered: true }),
            Start::Last(count) => {
                let after = Seq(head.0.saturating_sub(*count)).max(before_first);
                Ok(Begin { after, recovered: true })
            }
            Start::After(cursor) => {
                let is_same_log =
                    cursor.epoch.as_ref().is_none_or(|epoch| *epoch == self.storage.epoch);
                let recovered = is_same_log && cursor.seq <= head && cursor.seq >= before_first;
                let after = if recovered { cursor.seq } else { before_first };
                Ok(Begin { after, recovered })
            }
            Start::Proven(peer) => Err(peer),
        }
    }

    /// Where a peer begins that has proven a position.
    pub(crate) fn proven(&self, proven: Option<Seq>) -> Begin {
        let head = self.tail.head();
        let after = proven.map_or(head, |seq| seq.min(head).max(self.before_first()));
        Begin { after, recovered: true }
    }

    /// The answer to a client that begins there.
    pub(crate) fn attached(&self, begin: Begin) -> Attached {
        Attached {
            session: self.storage.id.clone(),
            agent: self.storage.agent.clone(),
            epoch: self.storage.epoch.clone(),
            first: self.first,
            head: self.tail.head(),
            recovered: begin.recovered,
            after: begin.after,
            turn: self.turn.cloned(),
            unended: Vec::new(),
        }
    }

    fn before_first(&self) -> Seq {
        self.first.previous()
    }
}
