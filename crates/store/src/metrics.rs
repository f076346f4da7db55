//! Figures of the store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Figures of the one writer. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(crate) batch: Histogram,
    pub(crate) seconds: Histogram,
    pub(crate) failures: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 15)),
            failures: Counter::default(),
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
    }
}
