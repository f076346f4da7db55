//! Figures of the store.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Figures of the one writer. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(crate) batch: Histogram,
    pub(crate) seconds: Histogram,
    pub(crate) failures: Counter,
    /// Absent where the data belongs to one process.
    pub(crate) node: Option<NodeMetrics>,
}

/// Figures of a node. Cheap to clone; all clones count together.
#[derive(Debug, Default, Clone)]
pub(crate) struct NodeMetrics {
    pub(crate) takeovers: Counter,
    pub(crate) lease_seconds: Gauge<f64, AtomicU64>,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 15)),
            failures: Counter::default(),
            node: None,
        }
    }
}

impl StoreMetrics {
    /// Has them shown by a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("commit_batch", "Writes that shared one transaction", self.batch.clone());
        registry.register(
            "commit_seconds",
            "From a transaction's first write until it was on disk",
            self.seconds.clone(),
        );
        registry.register(
            "commit_failures",
            "Transactions that could not be saved",
            self.failures.clone(),
        );
        let Some(node) = &self.node else { return };
        registry.register(
            "takeovers",
            "Nodes that this one declared dead, to take their sessions",
            node.takeovers.clone(),
        );
        registry.register(
            "lease_seconds",
            "Until this node stops by itself, unless it renews its lease",
            node.lease_seconds.clone(),
        );
    }
}
