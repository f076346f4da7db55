//! Metrics of the embedding queue.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of the embedding queue. Clones share the same figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct EmbeddingMetrics {
    pub(super) waiting: Gauge,
    pub(super) made: Counter,
    pub(super) failures: Counter,
}

impl EmbeddingMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "embedding_waiting",
            "Notes and messages that wait for their vectors, as far as they were counted",
            self.waiting.clone(),
        );
        registry.register(
            "embedded_texts",
            "Notes and messages that got their vectors",
            self.made.clone(),
        );
        registry.register(
            "embedding_failures",
            "Times that the embedding model failed in the background, after its retries",
            self.failures.clone(),
        );
    }
}
