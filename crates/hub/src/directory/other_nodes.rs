//! Changes that other nodes made, carried over to this node's live sessions and lists.

use std::time::Duration;

use thoughtwire_proto::{AgentId, Refusal, UserId};
use thoughtwire_store::StoreChange;
use tokio::sync::broadcast;

use super::Directory;
use crate::retention;
use crate::session::SessionMail;

/// Number of listings that are told at once. Followers run in between, so that few of them lag.
const TOLD_AT_ONCE: usize = 64;

/// Pause before a change is tried again that could not be read.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Follows the changes of other nodes until the store is closed.
pub(crate) async fn follow_other_nodes(
    directory: Directory,
    mut changes: broadcast::Receiver<StoreChange>,
) {
    loop {
        let outcome = match changes.recv().await {
            Ok(change) => directory.take_until_read(change).await,
            Err(broadcast::error::RecvError::Lagged(_)) => directory.take_missed().await,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if let Err(refusal) = outcome {
            tracing::warn!(%refusal, "a change of another node could not be taken over");
        }
    }
}

impl Directory {
    /// Takes a change over. Tries again while the store cannot be read.
    async fn take_until_read(&self, change: StoreChange) -> Result<(), Refusal> {
        while let Err(refusal) = self.take(change.clone()).await {
            if self.shared.stopping().is_some() {
                return Err(refusal);
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
        Ok(())
    }

    async fn take(&self, change: StoreChange) -> Result<(), Refusal> {
        match change {
            // Those who know keys follow them themselves.
            StoreChange::Keys => {}
            StoreChange::Agent { user, agent } => self.take_settings(&user, &agent).await?,
            StoreChange::AgentDeleted { user, agent, sessions } => {
                self.end_deleted(&user, &agent, &sessions).await;
            }
            StoreChange::SessionDeleted { user, session } => {
                let gone = std::slice::from_ref(&session);
                self.sessions.deliver_live(gone, || SessionMail::Erased).await;
                self.shared.tell_here(&user, &session, true);
            }
            StoreChange::Listings(changed) => {
                for some in changed.chunks(TOLD_AT_ONCE) {
                    for (user, session) in some {
                        self.shared.tell_here(user, session, false);
                    }
                    tokio::task::yield_now().await;
                }
            }
            StoreChange::AllListings => self.shared.tell_lists(),
            // The next sweep tells of it again.
            StoreChange::Overlong(_) if self.shared.stopping().is_some() => {}
            StoreChange::Overlong(overlong) => {
                let (store, sessions) = (self.shared.store.clone(), self.sessions.clone());
                // Other changes do not wait for it.
                self.shared.tasks.spawn(async move {
                    if let Err(refusal) = retention::shorten(&store, &sessions, overlong).await {
                        tracing::debug!(%refusal, "a log was not shortened; the next sweep tells");
                    }
                });
            }
        }
        Ok(())
    }

    async fn take_settings(&self, user: &UserId, agent: &AgentId) -> Result<(), Refusal> {
        match self.shared.store.directory().agent_by_id(agent).await? {
            Some(profile) => self.take_profile(user, &profile).await,
            // Its deletion is told as well.
            None => Ok(()),
        }
    }

    /// Takes over whatever may have changed, after changes were missed.
    async fn take_missed(&self) -> Result<(), Refusal> {
        self.shared.tell_lists();
        let directory = self.shared.store.directory();
        for session in self.sessions.live() {
            match directory.session(&session).await? {
                Some(stored) => self.take_settings(&stored.user, &stored.agent).await?,
                None => {
                    let gone = std::slice::from_ref(&session);
                    self.sessions.deliver_live(gone, || SessionMail::Erased).await;
                }
            }
        }
        Ok(())
    }
}
