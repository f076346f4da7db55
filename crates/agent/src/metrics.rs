//! Metrics of model calls and of embeddings.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::embedding::EmbeddingMetrics;

type Labelled<M> = Family<[(&'static str, String); 1], M, fn() -> M>;

/// Metrics of model calls, by provider, and of the embedding queue. Clones share the same counters.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    first: Labelled<Histogram>,
    whole: Labelled<Histogram>,
    failures: Labelled<Counter>,
    /// Metrics of the embedding queue, if there is an embedding model.
    embeddings: Option<EmbeddingMetrics>,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.01, 2.0, 16));
        Self {
            first: Labelled::new_with_constructor(seconds),
            whole: Labelled::new_with_constructor(seconds),
            failures: Labelled::new_with_constructor(Counter::default),
            embeddings: None,
        }
    }
}

impl ModelMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "model_first_seconds",
            "From asking a model until the first piece of its reply",
            self.first.clone(),
        );
        registry.register(
            "model_seconds",
            "From asking a model until the end of its reply",
            self.whole.clone(),
        );
        registry.register(
            "model_failures",
            "Replies that did not come to their end",
            self.failures.clone(),
        );
        if let Some(embeddings) = &self.embeddings {
            embeddings.register(registry);
        }
    }

    /// Adds the metrics of the embedding queue.
    pub(crate) fn with_embeddings(self, embeddings: Option<EmbeddingMetrics>) -> Self {
        Self { embeddings, ..self }
    }

    /// Records one model call: the seconds until its first output and until its end.
    pub(crate) fn record_call(&self, model: &str, first: Option<f64>, whole: Option<f64>) {
        let provider = model.split(['/', ':']).next().unwrap_or_default();
        let labels = [("provider", provider.to_owned())];
        if let Some(first) = first {
            self.first.get_or_create(&labels).observe(first);
        }
        match whole {
            Some(whole) => self.whole.get_or_create(&labels).observe(whole),
            None => {
                self.failures.get_or_create(&labels).inc();
            }
        }
    }
}
