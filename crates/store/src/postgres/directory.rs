//! The directory in PostgreSQL.

use thoughtwire_proto::{AgentId, AgentProfile, CommandId, SessionId, SessionListing, UserId};

use super::erasing::hide_sessions;
use super::sessions;
use super::sql::{Text, args, first_row, get_id};
use super::{PostgresHandle, agents, listing, receipts};
use crate::opening::SessionRole;
use crate::upkeep::Deleted;
use crate::{
    Commit, DirectoryStore, NewAgent, NewSession, Receipt, SessionFilter, StoreChange, StoreError,
    StoreRead, StoredSession,
};

/// [`DirectoryStore`] in PostgreSQL.
pub(super) struct PostgresDirectory(pub(super) PostgresHandle);

impl DirectoryStore for PostgresDirectory {
    fn create_agent(&self, new: NewAgent) -> Commit<AgentProfile> {
        let node = self.0.node();
        self.0.write(move |sql| Box::pin(async move { agents::create(sql, node, &new).await }))
    }

    fn update_agent(&self, profile: AgentProfile) -> Commit<AgentProfile> {
        let recorder = self.0.recorder();
        self.0.write(move |sql| {
            Box::pin(async move { agents::update(sql, &recorder, profile).await })
        })
    }

    fn delete_agent(&self, id: &AgentId) -> Commit<Vec<SessionId>> {
        let (id, recorder) = (id.clone(), self.0.recorder());
        self.0.write(move |sql| Box::pin(async move { agents::delete(sql, &recorder, &id).await }))
    }

    fn agent(&self, user: &UserId, name_or_id: &str) -> StoreRead<Option<AgentProfile>> {
        let (user, wanted) = (user.clone(), name_or_id.to_owned());
        self.0.read(move |sql| Box::pin(async move { agents::find(sql, &user, &wanted).await }))
    }

    fn agent_by_id(&self, id: &AgentId) -> StoreRead<Option<AgentProfile>> {
        let id = id.clone();
        self.0.read(move |sql| Box::pin(async move { agents::read(sql, &id).await }))
    }

    fn agents(&self, user: &UserId) -> StoreRead<Vec<AgentProfile>> {
        let user = user.clone();
        self.0.read(move |sql| Box::pin(async move { agents::list(sql, &user).await }))
    }

    fn create_session(&self, new: NewSession) -> Commit<StoredSession> {
        let node = self.0.node();
        self.0.write(move |sql| {
            Box::pin(async move { sessions::create(sql, node, &new, SessionRole::Other).await })
        })
    }

    fn delete_session(&self, id: &SessionId, receipt: Option<Receipt>) -> Commit<()> {
        let (session, recorder) = (id.clone(), self.0.recorder());
        self.0.write(move |sql| {
            Box::pin(async move {
                let select = "SELECT owner FROM sessions WHERE id = $1";
                let owner = first_row(sql, select, args![Text(session.as_str())]).await?;
                let user = owner.map(|row| get_id(&row, 0)).transpose()?;
                let missing = || StoreError::missing_session(&session);
                let user = user.ok_or_else(missing)?;
                if hide_sessions(sql, Deleted::Session, session.as_str()).await? == 0 {
                    return Err(missing());
                }
                recorder.record(sql, &StoreChange::SessionDeleted { user, session }).await?;
                receipts::write(sql, receipt.as_ref()).await
            })
        })
    }

    fn session(&self, id: &SessionId) -> StoreRead<Option<StoredSession>> {
        let id = id.clone();
        self.0.read(move |sql| Box::pin(async move { sessions::read(sql, &id).await }))
    }

    fn sessions(&self, user: &UserId, filter: &SessionFilter) -> StoreRead<Vec<SessionListing>> {
        let (user, filter) = (user.clone(), filter.clone());
        self.0.read(move |sql| Box::pin(async move { listing::list(sql, &user, &filter).await }))
    }

    fn receipt(&self, user: &UserId, id: &CommandId) -> StoreRead<Option<Receipt>> {
        let (user, id) = (user.clone(), id.clone());
        self.0.read(move |sql| Box::pin(async move { receipts::find(sql, &user, None, &id).await }))
    }
}
