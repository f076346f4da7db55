//! A data directory that no server runs on, opened under its lock.

use std::path::Path;

use anyhow::Context as _;
use thoughtwire_hub::{new_id, now};
use thoughtwire_proto::{AgentProfile, AgentSpec, Record, Seq, SessionId, SessionListing, UserId, check_name};
use thoughtwire_store::{NewAgent, SessionFilter, Store, StoredSession};

use crate::rest::{AgentPage, BlockPage, SessionPage};

/// An open data directory.
pub(crate) struct Local {
    store: Store,
    owner: UserId,
}

impl Local {
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let store = Store::open(dir, now()).with_context(|| format!("{} cannot be opened", dir.display()))?;
        Ok(Self { store, owner: UserId::new("local")? })
    }

    pub(crate) fn agents(&self) -> anyhow::Result<Vec<AgentProfile>> {
        Ok(self.store.agents(&self.owner)?)
    }

    pub(crate) fn agent(&self, agent: &str) -> anyhow::Result<AgentPage> {
        let agent = self.profile(agent)?;
        let block = |block: thoughtwire_store::Block| BlockPage {
            label: block.label,
            text: block.text,
            limit: block.limit as u64,
            description: block.description,
        };
        let blocks = self.store.blocks(&agent.id)?.into_iter().map(block).collect();
        Ok(AgentPage { agent, blocks })
    }

    pub(crate) async fn create_agent(&self, spec: AgentSpec) -> anyhow::Result<AgentProfile> {
        check_name(&spec.name)?;
        let (id, main_session, epoch) = (new_id(), new_id(), new_id());
        let new = NewAgent { id, user: self.owner.clone(), spec, main_session, epoch, at: now(), receipt: None };
        Ok(self.store.create_agent(new).await?)
    }

    pub(crate) fn sessions(&self, agent: Option<&str>, limit: Option<usize>) -> anyhow::Result<Vec<SessionListing>> {
        let agent = agent.map(|agent| self.profile(agent)).transpose()?.map(|profile| profile.id);
        Ok(self.store.sessions(&self.owner, &SessionFilter { agent, limit, ..SessionFilter::default() })?)
    }

    pub(crate) fn session(&self, session: &SessionId) -> anyhow::Result<SessionPage> {
        let stored = self.stored(session)?;
        let filter = SessionFilter { id: Some(session.clone()), ..SessionFilter::default() };
        let listing = self.store.sessions(&self.owner, &filter)?.pop();
        let session = listing.with_context(|| format!("there is no session {session}"))?;
        let instructions = stored.state.instructions().map(str::to_owned);
        Ok(SessionPage { session, epoch: stored.epoch, first: stored.first, instructions })
    }

    pub(crate) fn events(&self, session: &SessionId, after: Seq, limit: u64) -> anyhow::Result<Vec<Record>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.store.events(self.stored(session)?.num, after, limit)?)
    }

    pub(crate) async fn delete_session(&self, session: &SessionId) -> anyhow::Result<()> {
        let stored = self.stored(session)?;
        if stored.is_main {
            anyhow::bail!("{session} is its agent's main session, which lives as long as the agent");
        }
        Ok(self.store.delete_session(session, None).await?)
    }

    fn profile(&self, agent: &str) -> anyhow::Result<AgentProfile> {
        self.store.agent(&self.owner, agent)?.with_context(|| format!("there is no agent {agent:?}"))
    }

    fn stored(&self, session: &SessionId) -> anyhow::Result<StoredSession> {
        let stored = self.store.session(session)?.filter(|stored| stored.user == self.owner);
        stored.with_context(|| format!("there is no session {session}"))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.store.close();
    }
}
