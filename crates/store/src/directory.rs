//! The directory: agents and sessions, and the users they belong to.

use std::time::Duration;

use thoughtwire_proto::{
    AgentId, AgentProfile, AgentSpec, CommandId, Epoch, HistoryEntry, Record, Seq, SessionId,
    SessionListing, State, Timestamp, UserId,
};

use crate::{Block, Commit, NewNote, Receipt, StoreRead};

/// The agents and sessions of all users.
pub trait DirectoryStore: Send + Sync {
    /// Creates an agent with its blocks, its notes and its main session.
    ///
    /// Resolves to [`NameTaken`](crate::StoreError::NameTaken) when the user has one of that name.
    fn create_agent(&self, new: NewAgent) -> Commit<AgentProfile>;

    /// Replaces an agent's settings, and its name with them.
    fn update_agent(&self, profile: AgentProfile) -> Commit<AgentProfile>;

    /// Deletes an agent with its sessions and its memory. Resolves to the deleted sessions. Their
    /// data leaves the file with [`UpkeepStore::erase_deleted`](crate::UpkeepStore::erase_deleted).
    fn delete_agent(&self, id: &AgentId) -> Commit<Vec<SessionId>>;

    /// Finds one of a user's agents, by its id or else by its name.
    fn agent(&self, user: &UserId, name_or_id: &str) -> StoreRead<Option<AgentProfile>>;

    /// Finds an agent of any user by its id.
    fn agent_by_id(&self, id: &AgentId) -> StoreRead<Option<AgentProfile>>;

    /// Lists a user's agents, oldest first.
    fn agents(&self, user: &UserId) -> StoreRead<Vec<AgentProfile>>;

    /// Creates a session, and its log with `session_opened`.
    fn create_session(&self, new: NewSession) -> Commit<StoredSession>;

    /// Deletes a session. Its data leaves the file with
    /// [`UpkeepStore::erase_deleted`](crate::UpkeepStore::erase_deleted).
    fn delete_session(&self, id: &SessionId, receipt: Option<Receipt>) -> Commit<()>;

    /// Reads a session of any user as it was last saved, without recovering it.
    fn session(&self, id: &SessionId) -> StoreRead<Option<StoredSession>>;

    /// Lists a user's sessions, the newest activity first. A turn that a crash cut and that its
    /// recovery will end is not shown as running, also before the session is loaded.
    fn sessions(&self, user: &UserId, filter: &SessionFilter) -> StoreRead<Vec<SessionListing>>;

    /// Finds the receipt of a command that belongs to no session, if it took effect before.
    fn receipt(&self, user: &UserId, id: &CommandId) -> StoreRead<Option<Receipt>>;
}

/// A session as stored.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
    /// The user it belongs to.
    pub user: UserId,
    /// Its agent.
    pub agent: AgentId,
    /// Its log's lifetime.
    pub epoch: Epoch,
    /// The first position of the log that is kept.
    pub first: Seq,
    /// The state at the log's head.
    pub state: State,
    /// Whether it is its agent's main session.
    pub is_main: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// The owner before it was loaded, where several processes share the data.
    pub taken_from: Option<PreviousOwner>,
}

/// The process that had a session before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousOwner {
    /// Whether it left as planned.
    pub was_stopped: bool,
    /// Whether it was of another node, rather than an earlier process of this one.
    pub is_other_node: bool,
}

/// A session to create.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The user it belongs to.
    pub user: UserId,
    /// Its agent.
    pub agent: AgentId,
    /// Its log's lifetime.
    pub epoch: Epoch,
    /// Its title.
    pub title: Option<String>,
    /// Its addition to the agent's persona.
    pub instructions: Option<String>,
    /// Messages from before it.
    pub history: Vec<HistoryEntry>,
    /// The records of another log to continue, without their `session_opened`.
    pub records: Vec<Record>,
    /// Time without a new record after which it is deleted; `None` if it stays.
    pub keep_idle: Option<Duration>,
    /// When it is created.
    pub at: Timestamp,
    /// The receipt of the command that asked for it.
    pub receipt: Option<Receipt>,
}

impl NewSession {
    /// Time without a new record after which it is deleted, in milliseconds.
    pub(crate) fn keep_idle_ms(&self) -> Option<i64> {
        self.keep_idle.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

/// An agent to create, with its main session.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Its id.
    pub id: AgentId,
    /// The user it belongs to.
    pub user: UserId,
    /// Its settings.
    pub spec: AgentSpec,
    /// Its main session's id.
    pub main_session: SessionId,
    /// The lifetime of the main session's log.
    pub epoch: Epoch,
    /// Its blocks, where they are more than `persona` and `human` of the spec.
    pub blocks: Vec<Block>,
    /// Its notes.
    pub notes: Vec<NewNote>,
    /// Sessions to create with it. The first becomes its main session and takes that id.
    pub sessions: Vec<NewSession>,
    /// When it is created.
    pub at: Timestamp,
    /// The receipt of the command that asked for it.
    pub receipt: Option<Receipt>,
}

/// Which sessions to list.
#[derive(Debug, Default, Clone)]
pub struct SessionFilter {
    /// Only this one.
    pub id: Option<SessionId>,
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// Maximum number of sessions.
    pub limit: Option<usize>,
}
