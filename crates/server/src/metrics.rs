//! Metrics of the server, served at `/metrics` as OpenMetrics text.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use thoughtwire_hub::Hub;
use thoughtwire_proto::RefusalCode;

/// The content type of OpenMetrics text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labelled<M> = Family<[(&'static str, &'static str); 1], M>;

/// All figures of one server. Cheap to clone; all clones count together.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    registry: Arc<Registry>,
    hub: Hub,
    pub(crate) fan_out: Histogram,
    connections: Labelled<Gauge>,
    refusals: Labelled<Counter>,
}

impl ServerMetrics {
    pub(crate) fn new(hub: &Hub, models: &thoughtwire_agent::ModelMetrics) -> Self {
        let mut registry = Registry::with_prefix("thoughtwire");
        let (connections, refusals) =
            (Labelled::<Gauge>::default(), Labelled::<Counter>::default());
        registry.register("connections", "Open WebSockets, by dialect", connections.clone());
        registry.register(
            "refusals",
            "Commands, frames and requests that were refused, by code",
            refusals.clone(),
        );
        hub.metrics().register(&mut registry);
        hub.store().metrics().register(&mut registry);
        models.register(&mut registry);
        Self {
            registry: Arc::new(registry),
            hub: hub.clone(),
            fan_out: hub.metrics().fan_out.clone(),
            connections,
            refusals,
        }
    }

    /// The figures as they are now.
    pub(crate) fn show(&self) -> Result<String, std::fmt::Error> {
        self.hub.count_live();
        self.hub.store().measure();
        let mut text = String::new();
        encode(&mut text, &self.registry).map(|()| text)
    }

    pub(crate) fn refused(&self, code: RefusalCode) {
        self.refusals.get_or_create(&[("code", code.as_str())]).inc();
    }

    /// Counts a connection for as long as the answer is held.
    pub(crate) fn connected(&self, dialect: &'static str) -> Connected {
        let gauge = self.connections.get_or_create(&[("dialect", dialect)]).clone();
        gauge.inc();
        Connected(gauge)
    }
}

/// An open connection, counted.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
