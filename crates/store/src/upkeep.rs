//! Upkeep: how much of logs is kept, erasing what was deleted, and clocks that outlive a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thoughtwire_proto::{Seq, SessionId, Timestamp, UserId};

use crate::{Commit, StoreRead};

/// Retention, erasing and clocks.
pub trait UpkeepStore: Send + Sync {
    /// Sets how much of a session's log is kept. Where it sets nothing, its agent's setting counts.
    fn set_retention(&self, session: &SessionId, keep: Retention) -> Commit<()>;

    /// Reads how much of a session's log is kept by its own setting.
    fn retention(&self, session: &SessionId) -> StoreRead<Retention>;

    /// Lists the logs that are longer than their retention, and those whose trimmed part is not
    /// erased yet.
    fn overlong(&self, now: Timestamp) -> StoreRead<Vec<Overlong>>;

    /// Lists sessions that had no new record for as long as they are kept without one, with their
    /// users. Those with a turn or queued inputs are not among them.
    fn idle(&self, now: Timestamp) -> StoreRead<Vec<(UserId, SessionId)>>;

    /// Moves the beginning of a log to a position; it never moves back. The part before it is
    /// erased by [`UpkeepStore::erase_trimmed`].
    fn trim(&self, session: &SessionId, first: Seq) -> Commit<()>;

    /// Erases some of what lies before a log's beginning, and from the search index. Resolves to
    /// whether there may be more.
    fn erase_trimmed(&self, session: &SessionId) -> Commit<bool>;

    /// Erases some of what was deleted, and from the search index. Resolves to whether there may
    /// be more.
    fn erase_deleted(&self) -> Commit<bool>;

    /// Reads how far a clock had come when it was last saved.
    fn clock(&self, name: &'static str) -> StoreRead<Option<Timestamp>>;

    /// Saves how far clocks have come, all or none. Nobody waits for it, so it may take a tenth of
    /// a second.
    fn set_clocks(&self, clocks: Vec<(&'static str, Timestamp)>) -> Commit<()>;

    /// Claims work that only one node does at a time. Resolves to whether this node does it now:
    /// true unless another live node has claimed it within the last `every`.
    fn claim(&self, work: &'static str, every: Duration) -> Commit<bool>;

    /// Reads when the newest record of any log was written, as its session says.
    fn newest_record_at(&self) -> StoreRead<Option<Timestamp>>;
}

/// How much of a log is kept, where that is limited.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days after which ended turns are deleted.
    pub days: Option<u32>,
    /// Number of records beyond which the oldest turns are deleted.
    pub events: Option<u64>,
}

/// A log that is longer than its retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlong {
    /// Its session.
    pub session: SessionId,
    /// The last record that may be deleted.
    pub through: Seq,
    /// Whether another live node has the session, and has to shorten it.
    #[serde(skip)]
    pub is_elsewhere: bool,
}

/// The thing that is deleted, by its id.
#[derive(Clone, Copy)]
pub(crate) enum Deleted {
    /// One session.
    Session,
    /// All sessions of an agent.
    Agent,
}
