//! The cache of memory summaries: what every prompt needs, kept from one turn to the next.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;
use thoughtwire_proto::AgentId;

use super::{Handle, agents, blocks};
use crate::{MemorySummary, StoreError, StoreRead};

/// Maximum number of agents in the cache; with full blocks about 5 kB each.
const MAX_AGENTS: usize = 1_024;

impl Handle {
    /// Reads an agent's memory summary, or takes it from the cache.
    pub(super) fn summary(&self, agent: AgentId) -> StoreRead<Arc<MemorySummary>> {
        let handle = self.clone();
        Box::pin(async move {
            let cache = Arc::clone(&handle.writer().summaries);
            let version = match cache.find(&agent) {
                Ok(summary) => return Ok(summary),
                Err(version) => version,
            };
            let read = move |connection: &Connection| {
                // Another reader may have cached it while this one waited for its permit.
                if let Ok(summary) = cache.find(&agent) {
                    return Ok(summary);
                }
                let summary = Arc::new(read_summary(connection, &agent)?);
                cache.insert(agent, &summary, version);
                Ok(summary)
            };
            handle.read(read).await
        })
    }
}

fn read_summary(connection: &Connection, agent: &AgentId) -> Result<MemorySummary, StoreError> {
    Ok(MemorySummary {
        blocks: blocks::read(connection, agent)?.into(),
        archived: agents::count(connection, "notes", agent)?,
        remembered: agents::count(connection, "said", agent)?,
    })
}

/// Summaries that a write makes invalid.
#[derive(Debug)]
pub(super) enum Invalidates {
    Nothing,
    Agent(AgentId),
    /// Which ones is not known before the write.
    AllAgents,
}

/// The cache.
///
/// Invariant: a cached summary is the one on disk. The writer removes what a transaction changed
/// before it tells anybody that the transaction is on disk. Test:
/// `memory::a_summary_is_what_is_on_disk_after_every_write`.
#[derive(Default)]
pub(super) struct SummaryCache(Mutex<Summaries>);

#[derive(Default)]
struct Summaries {
    agents: HashMap<AgentId, Arc<MemorySummary>>,
    /// Counts the changes: a summary read across one is not cached.
    version: u64,
}

impl SummaryCache {
    /// The cached summary of an agent, or the version for [`SummaryCache::insert`].
    fn find(&self, agent: &AgentId) -> Result<Arc<MemorySummary>, u64> {
        let cached = self.summaries();
        cached.agents.get(agent).cloned().ok_or(cached.version)
    }

    fn insert(&self, agent: AgentId, summary: &Arc<MemorySummary>, version: u64) {
        let mut cached = self.summaries();
        if cached.version != version {
            return;
        }
        if cached.agents.len() >= MAX_AGENTS {
            // Reading each again costs less than tracking the order of use.
            cached.agents.clear();
        }
        cached.agents.insert(agent, Arc::clone(summary));
    }

    /// Removes what writes made invalid.
    pub(super) fn invalidate<'a>(&self, writes: impl Iterator<Item = &'a Invalidates>) {
        let mut cached = self.summaries();
        for write in writes {
            match write {
                Invalidates::Nothing => continue,
                Invalidates::Agent(agent) => drop(cached.agents.remove(agent)),
                Invalidates::AllAgents => cached.agents.clear(),
            }
            cached.version += 1;
        }
    }

    /// Adds messages that were indexed, by agent.
    pub(super) fn add_indexed(&self, said: HashMap<AgentId, usize>) {
        let mut cached = self.summaries();
        for (agent, more) in said {
            if let Some(summary) = cached.agents.get_mut(&agent) {
                Arc::make_mut(summary).remembered += more;
            }
            cached.version += 1;
        }
    }

    fn summaries(&self) -> MutexGuard<'_, Summaries> {
        self.0.lock()
    }
}
