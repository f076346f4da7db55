//! What the process remembers of providers between requests.

use std::collections::HashSet;
use std::sync::Arc;

use super::tools::LeftOut;
use crate::model::Kept;
use crate::model::remote::Wire;
use parking_lot::{Mutex, MutexGuard};

/// Entries of one kind before all of them are forgotten: users may name any number of models, and
/// clients declare any number of tools.
const MOST: usize = 10_000;

/// What was learned from replies and said in the log; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderMemory(Arc<Mutex<Learned>>);

#[derive(Debug, Default)]
struct Learned {
    /// Tools that the log has warned about, by wire.
    warned: HashSet<(Wire, String)>,
    /// Models that have sent `reasoning_content`, by their [`Kept::maker`].
    reasoners: HashSet<String>,
}

impl ProviderMemory {
    /// Learns from what a provider wants back.
    pub(crate) fn learn(&self, kept: &Kept) {
        if kept.has_reasoning_content() {
            let reasoners = &mut self.learned().reasoners;
            if reasoners.len() >= MOST {
                reasoners.clear();
            }
            reasoners.insert(kept.made_by.clone());
        }
    }

    /// Whether a model has sent `reasoning_content` before.
    pub(super) fn has_reasoned(&self, maker: &str) -> bool {
        self.learned().reasoners.contains(maker)
    }

    /// Warns of tools that are left out of requests, of each once.
    pub(super) fn warn(&self, wire: Wire, left_out: &[LeftOut]) {
        for tool in left_out {
            let warned = &mut self.learned().warned;
            if warned.len() >= MOST {
                warned.clear();
            }
            if warned.insert((wire, tool.name.clone())) {
                tracing::warn!(
                    tool = tool.name,
                    wire = wire.prefix(),
                    "a tool is not offered to the model, which would refuse it: {}",
                    tool.why
                );
            }
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.lock()
    }
}
