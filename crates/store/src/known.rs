//! What every prompt has of an agent's memory, kept at hand from one turn to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thoughtwire_proto::AgentId;

use crate::{Block, Store, StoreError};

/// Agents of which it is kept: with full blocks about 5 kB each.
const MOST: usize = 1_024;

/// What an agent knows before it looks anything up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its core memory.
    pub blocks: Arc<[Block]>,
    /// How many notes it has in archival memory.
    pub archived: usize,
    /// How many things were said in all of its sessions, as far as they are indexed.
    pub remembered: usize,
}

impl Store {
    /// What an agent knows. Costs no reading while it does not change.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn known(self: &Arc<Self>, agent: &AgentId) -> Result<Arc<Known>, StoreError> {
        let edition = match self.writer.shelf.find(agent) {
            Ok(known) => return Ok(known),
            Err(edition) => edition,
        };
        let wanted = agent.clone();
        let known = self.reading(move |store| {
            // Another that waited for the same has read it meanwhile.
            if let Ok(known) = store.writer.shelf.find(&wanted) {
                return Ok(known);
            }
            let (blocks, archived, remembered) = (
                store.blocks(&wanted)?.into(),
                store.archival_count(&wanted)?,
                store.recall_count(&wanted)?,
            );
            let known = Arc::new(Known { blocks, archived, remembered });
            store.writer.shelf.keep(wanted, &known, edition);
            Ok(known)
        });
        known.await
    }
}

/// Whose memory a write changes.
#[derive(Debug)]
pub(crate) enum Touched {
    Nothing,
    Agent(AgentId),
    /// It is not known before.
    Anybody,
}

/// Invariant: what stands here is what the file has. The writer takes away what a transaction changed
/// before it tells anybody that the transaction is on disk.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    agents: HashMap<AgentId, Arc<Known>>,
    /// Counts the changes: what was read across one is not kept.
    edition: u64,
}

impl Shelf {
    /// What is kept of an agent; the edition otherwise, for [`Shelf::keep`].
    fn find(&self, agent: &AgentId) -> Result<Arc<Known>, u64> {
        let kept = self.kept();
        kept.agents.get(agent).cloned().ok_or(kept.edition)
    }

    fn keep(&self, agent: AgentId, known: &Arc<Known>, edition: u64) {
        let mut kept = self.kept();
        if kept.edition != edition {
            return;
        }
        if kept.agents.len() >= MOST {
            // To read each again costs less than to know which was asked for last.
            kept.agents.clear();
        }
        kept.agents.insert(agent, Arc::clone(known));
    }

    pub(crate) fn forget<'a>(&self, touched: impl Iterator<Item = &'a Touched>) {
        let mut kept = self.kept();
        for touched in touched {
            match touched {
                Touched::Nothing => continue,
                Touched::Agent(agent) => drop(kept.agents.remove(agent)),
                Touched::Anybody => kept.agents.clear(),
            }
            kept.edition += 1;
        }
    }

    /// So many more of the things said by and to agents are indexed.
    pub(crate) fn indexed(&self, said: HashMap<AgentId, usize>) {
        let mut kept = self.kept();
        for (agent, more) in said {
            if let Some(known) = kept.agents.get_mut(&agent) {
                Arc::make_mut(known).remembered += more;
            }
            kept.edition += 1;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
