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
            StoreChange::NodeGone { url } => {
                self.shared.tell_lists();
                self.sessions.note_gone(url.as_deref()).await;
            }
            StoreChange::ChatOpened { user, joined } => self.joins.tell(&user, joined),
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
        self.sessions.note_gone(None).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use thoughtwire_proto::connection::Joined;
    use thoughtwire_proto::{AgentProfile, AgentSpec, PeerRef, PeerWire, SessionId, Timestamp};
    use thoughtwire_store::RamDisk;

    use super::*;
    use crate::embedded::AbsentAgent;
    use crate::{Changed, Hub, HubOptions};

    struct FollowingHub {
        hub: Hub,
        user: UserId,
        ada: AgentProfile,
        /// A live session beside the main one.
        talk: SessionId,
    }

    impl FollowingHub {
        async fn start() -> Self {
            let store = Arc::new(RamDisk::new().open(Timestamp::from_millis(0)));
            let hub = Hub::new(store, Arc::new(AbsentAgent), HubOptions::default()).await.unwrap();
            let user: UserId = "local".parse().unwrap();
            let spec = AgentSpec { name: "ada".into(), ..AgentSpec::default() };
            let ada = hub.directory().create_agent(&user, None, spec).await.unwrap().thing;
            let agent = ada.spec.name.clone();
            let talk = hub.directory().create_session(&user, None, agent, None, None, vec![]);
            let talk = talk.await.unwrap().thing;
            drop(hub.sessions.wake(&talk));
            Self { hub, user, ada, talk }
        }

        /// Follows changes of other nodes that a test makes up.
        fn follow(&self, changes: broadcast::Receiver<StoreChange>) {
            tokio::spawn(follow_other_nodes(self.hub.directory().clone(), changes));
        }

        async fn until_ended(&self, session: &SessionId) {
            while self.hub.sessions.live().contains(session) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn changes_reach_live_sessions_lists_and_peers() {
        let here = FollowingHub::start().await;
        let FollowingHub { hub, user, ada, talk } = &here;
        let changes = broadcast::Sender::new(8);
        here.follow(changes.subscribe());
        let mut told = hub.changes();
        let list = |session: &SessionId, gone| Changed::Session {
            user: user.clone(),
            session: session.clone(),
            gone,
        };

        let listing = (user.clone(), talk.clone());
        changes.send(StoreChange::Listings(vec![listing])).unwrap();
        assert_eq!(told.recv().await.unwrap(), list(talk, false));
        changes.send(StoreChange::AllListings).unwrap();
        assert_eq!(told.recv().await.unwrap(), Changed::Lists);

        hub.store().directory().delete_session(talk, None).await.unwrap();
        let (session, of) = (talk.clone(), user.clone());
        changes.send(StoreChange::SessionDeleted { user: of, session }).unwrap();
        assert_eq!(told.recv().await.unwrap(), list(talk, true));
        here.until_ended(talk).await;

        let wire = PeerWire::Sparky;
        let peer = PeerRef { wire, space: "local".into(), name: "tab".into() };
        let mut joins = hub.joined(user, &peer);
        let session = ada.main_session.clone();
        let joined = Joined { peer, chat: "c-1".into(), session, is_new: true };
        let opened = StoreChange::ChatOpened { user: user.clone(), joined: joined.clone() };
        changes.send(opened).unwrap();
        assert_eq!(joins.recv().await.unwrap(), joined);

        drop(hub.sessions.wake(&ada.main_session));
        let sessions = hub.store().directory().delete_agent(&ada.id).await.unwrap();
        let (user, agent) = (user.clone(), ada.id.clone());
        changes.send(StoreChange::AgentDeleted { user, agent, sessions }).unwrap();
        assert_eq!(told.recv().await.unwrap(), list(&ada.main_session, true));
        here.until_ended(&ada.main_session).await;
    }

    #[tokio::test]
    async fn a_follower_that_missed_changes_looks_at_everything() {
        let here = FollowingHub::start().await;
        let mut told = here.hub.changes();
        here.hub.store().directory().delete_session(&here.talk, None).await.unwrap();
        let changes = broadcast::Sender::new(1);
        let missed = changes.subscribe();
        for _ in 0..3 {
            changes.send(StoreChange::Keys).unwrap();
        }
        here.follow(missed);
        assert_eq!(told.recv().await.unwrap(), Changed::Lists);
        here.until_ended(&here.talk).await;
    }
}
