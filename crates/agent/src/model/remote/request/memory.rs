//! Facts about providers that are remembered between requests.

use std::collections::HashSet;
use std::sync::Arc;

use super::tools::UnfitTool;
use crate::model::ProviderState;
use crate::model::remote::ProviderWire;
use parking_lot::{Mutex, MutexGuard};

/// Largest number of entries of one kind, before all of them are forgotten. Users may name any
/// number of models, and clients declare any number of tools.
const MAX_ENTRIES: usize = 10_000;

/// Facts learned from replies, and warnings already logged. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderMemory(Arc<Mutex<LearnedFacts>>);

#[derive(Debug, Default)]
struct LearnedFacts {
    /// Tools with a warning in the log, by wire.
    warned: HashSet<(ProviderWire, String)>,
    /// Models that have sent `reasoning_content`, by their [`ProviderState::maker`].
    reasoners: HashSet<String>,
}

impl ProviderMemory {
    /// Learns from a reply's provider state.
    pub(crate) fn learn(&self, kept: &ProviderState) {
        if kept.has_reasoning_content() {
            let reasoners = &mut self.learned().reasoners;
            if reasoners.len() >= MAX_ENTRIES {
                reasoners.clear();
            }
            reasoners.insert(kept.made_by.clone());
        }
    }

    /// Whether a model has sent `reasoning_content` before.
    pub(super) fn has_reasoned(&self, maker: &str) -> bool {
        self.learned().reasoners.contains(maker)
    }

    /// Logs a warning for each tool that is left out of requests, once per tool.
    pub(super) fn warn(&self, wire: ProviderWire, left_out: &[UnfitTool]) {
        for tool in left_out {
            let warned = &mut self.learned().warned;
            if warned.len() >= MAX_ENTRIES {
                warned.clear();
            }
            if warned.insert((wire, tool.name.clone())) {
                tracing::warn!(
                    tool = tool.name,
                    wire = wire.prefix(),
                    "a tool is not offered to the model, because the provider would refuse it: {}",
                    tool.why
                );
            }
        }
    }

    fn learned(&self) -> MutexGuard<'_, LearnedFacts> {
        self.0.lock()
    }
}
