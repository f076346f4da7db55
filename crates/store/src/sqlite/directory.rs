//! The directory in SQLite.

use thoughtwire_proto::{AgentId, AgentProfile, CommandId, SessionId, SessionListing, UserId};

use super::erasing::hide_sessions;
use super::receipts::{self, NO_SESSION};
use super::sessions;
use super::summary::Invalidates;
use super::{Handle, agents, listing};
use crate::opening::SessionRole;
use crate::upkeep::Deleted;
use crate::{
    Commit, DirectoryStore, NewAgent, NewSession, Receipt, SessionFilter, StoreError, StoreRead,
    StoredSession,
};

/// [`DirectoryStore`] in SQLite.
pub(super) struct SqliteDirectory(pub(super) Handle);

impl DirectoryStore for SqliteDirectory {
    fn create_agent(&self, new: NewAgent) -> Commit<AgentProfile> {
        self.0.writer().write(move |connection| agents::create(connection, &new))
    }

    fn update_agent(&self, profile: AgentProfile) -> Commit<AgentProfile> {
        self.0.writer().write(move |connection| agents::update(connection, profile))
    }

    fn delete_agent(&self, id: &AgentId) -> Commit<Vec<SessionId>> {
        let id = id.clone();
        let invalidates = Invalidates::Agent(id.clone());
        self.0.writer().write_memory(invalidates, move |connection| agents::delete(connection, &id))
    }

    fn agent(&self, user: &UserId, name_or_id: &str) -> StoreRead<Option<AgentProfile>> {
        let (user, wanted) = (user.clone(), name_or_id.to_owned());
        self.0.read(move |connection| agents::find(connection, &user, &wanted))
    }

    fn agent_by_id(&self, id: &AgentId) -> StoreRead<Option<AgentProfile>> {
        let id = id.clone();
        self.0.read(move |connection| agents::read(connection, &id))
    }

    fn agents(&self, user: &UserId) -> StoreRead<Vec<AgentProfile>> {
        let user = user.clone();
        self.0.read(move |connection| agents::list(connection, &user))
    }

    fn create_session(&self, new: NewSession) -> Commit<StoredSession> {
        self.0
            .writer()
            .write(move |connection| sessions::create(connection, &new, SessionRole::Other))
    }

    fn delete_session(&self, id: &SessionId, receipt: Option<Receipt>) -> Commit<()> {
        let id = id.clone();
        self.0.writer().write_memory(Invalidates::AllAgents, move |connection| {
            if hide_sessions(connection, Deleted::Session, id.as_str())? == 0 {
                return Err(StoreError::missing_session(&id));
            }
            receipts::write(connection, receipt.as_ref(), NO_SESSION)
        })
    }

    fn session(&self, id: &SessionId) -> StoreRead<Option<StoredSession>> {
        let id = id.clone();
        self.0.read(move |connection| sessions::read(connection, &id))
    }

    fn sessions(&self, user: &UserId, filter: &SessionFilter) -> StoreRead<Vec<SessionListing>> {
        let (user, filter) = (user.clone(), filter.clone());
        self.0.read(move |connection| listing::list(connection, &user, &filter))
    }

    fn receipt(&self, user: &UserId, id: &CommandId) -> StoreRead<Option<Receipt>> {
        let (user, id) = (user.clone(), id.clone());
        self.0.read(move |connection| receipts::find(connection, &user, NO_SESSION, &id))
    }
}
