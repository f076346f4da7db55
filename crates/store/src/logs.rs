//! Logs: the records of sessions, and what is saved beside them.

use thoughtwire_proto::{
    CallId, CommandId, Event, ItemId, Record, Seq, SessionId, StreamKind, Timestamp, TurnEvent,
    TurnId, UserId,
};

use crate::{Batch, Commit, Receipt, StoreRead, StoredSession};

/// The logs of all sessions.
///
/// Reads of a session that does not exist find nothing; only writes tell it.
pub trait LogStore: Send + Sync {
    /// Appends a batch. Batches of one session take effect in the order of these calls.
    ///
    /// Resolves to [`HeadMoved`](crate::StoreError::HeadMoved) when the log does not end at
    /// [`Batch::after`].
    fn append(&self, batch: Batch) -> Commit<()>;

    /// Saves the text so far of an open item, in case the process dies before its event. Nobody
    /// waits for it, so it may take a tenth of a second until other writes share its transaction.
    fn checkpoint(&self, session: &SessionId, item: OpenItem) -> Commit<()>;

    /// Reads a session for the task that is going to own it, and recovers it first: texts that a
    /// crash cut become incomplete items. The turn stays open. The records of the recovery, at time
    /// `now`, are on disk when this resolves; a second load adds none.
    fn load(&self, session: &SessionId, now: Timestamp) -> StoreRead<Option<StoredSession>>;

    /// Sessions that a start has to load: those with an open turn or with queued inputs.
    fn sessions_with_work(&self) -> StoreRead<Vec<SessionId>>;

    /// Finds at most `limit` sessions with work that no process has, where several processes share
    /// the data: those that this one is to load. Each process finds others.
    fn orphans(&self, limit: usize) -> StoreRead<Vec<SessionId>>;

    /// Reads at most `limit` records behind a position, in order.
    fn records_after(
        &self,
        session: &SessionId,
        after: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>>;

    /// Reads the newest `limit` records before a position, in order.
    fn records_before(
        &self,
        session: &SessionId,
        before: Seq,
        limit: usize,
    ) -> StoreRead<Vec<Record>>;

    /// Reads the page of a log that contains the record behind `after`. The boundaries of pages
    /// depend on the log alone, so that all its readers share them. A page ends after every
    /// `limit` positions, or earlier before it would exceed about `bytes` bytes.
    fn page(&self, session: &SessionId, after: Seq, limit: u64, bytes: usize)
    -> StoreRead<LogPage>;

    /// Reads the whole output of a call that has returned, also where its event has only a part.
    fn tool_output(&self, session: &SessionId, call: &CallId) -> StoreRead<Option<String>>;

    /// Reads what providers want back with the calls at positions behind `after`, up to
    /// `through`: JSON by the position of each reply's first call.
    fn provider_replies(
        &self,
        session: &SessionId,
        after: Seq,
        through: Seq,
    ) -> StoreRead<Vec<(Seq, String)>>;

    /// Finds the receipt of a command of a session, if it took effect before.
    fn receipt(
        &self,
        user: &UserId,
        session: &SessionId,
        id: &CommandId,
    ) -> StoreRead<Option<Receipt>>;

    /// Reads the ids of all commands that took effect in a session; `None` if there are more than
    /// `most`.
    fn receipt_ids(
        &self,
        user: &UserId,
        session: &SessionId,
        most: usize,
    ) -> StoreRead<Option<Vec<String>>>;

    /// Position of the last `turn_ended` at a position or before it.
    fn last_turn_end(&self, session: &SessionId, at_most: Seq) -> StoreRead<Option<Seq>>;
}

/// The text so far of an open item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenItem {
    /// The item.
    pub item: ItemId,
    /// Its turn.
    pub turn: TurnId,
    /// Its kind.
    pub kind: StreamKind,
    /// The text.
    pub text: String,
    /// The cut item whose text this one continues.
    pub continues: Option<ItemId>,
}

/// A page of a log: see [`LogStore::page`].
#[derive(Debug, Clone, PartialEq)]
pub struct LogPage {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Whether the page will never have more.
    pub is_whole: bool,
}

/// The call that returned with an event.
pub(crate) fn returned_call(event: &Event) -> Option<&CallId> {
    match event {
        Event::Turn(TurnEvent::ToolReturned { call, .. }) => Some(call),
        Event::Session(_)
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. },
        )
        | Event::Other(_) => None,
    }
}

/// The stored name of a stream's kind.
pub(crate) fn kind_name(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Thought => "thought",
        StreamKind::Message => "message",
        StreamKind::ToolArgs => "tool_args",
    }
}
