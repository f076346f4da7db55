//! Metrics of the hub.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use thoughtwire_proto::{Event, Outcome, Record, TurnEvent};

type Labelled<M> = Family<[(&'static str, &'static str); 1], M>;

/// Figures of sessions, turns and subscribers. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct HubMetrics {
    pub(crate) live: Gauge,
    pub(crate) subscribers: Gauge,
    pub(crate) behind: Gauge,
    pub(crate) fell_behind: Counter,
    /// Time from publishing an emission until a socket took it, observed by the socket's task.
    pub fan_out: Histogram,
    /// Commands that another node carries out, since it has their sessions.
    pub(crate) forwarded: Counter,
    events: Counter,
    turns: Labelled<Counter>,
    tokens: Labelled<Counter>,
}

impl Default for HubMetrics {
    fn default() -> Self {
        Self {
            live: Gauge::default(),
            subscribers: Gauge::default(),
            behind: Gauge::default(),
            fell_behind: Counter::default(),
            fan_out: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            forwarded: Counter::default(),
            events: Counter::default(),
            turns: Labelled::default(),
            tokens: Labelled::default(),
        }
    }
}

impl HubMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("live_sessions", "Sessions in memory", self.live.clone());
        registry.register(
            "subscribers",
            "Places that connections have in sessions",
            self.subscribers.clone(),
        );
        registry.register(
            "slow_subscribers",
            "Subscribers that read the log because the tail was too fast for them",
            self.behind.clone(),
        );
        registry.register(
            "subscribers_fell_behind",
            "How often a subscriber became slow",
            self.fell_behind.clone(),
        );
        registry.register(
            "fan_out_seconds",
            "From publishing an emission until a socket took it, for readers of the tail",
            self.fan_out.clone(),
        );
        registry.register(
            "forwarded_commands",
            "Commands that were handed to the node that has the session",
            self.forwarded.clone(),
        );
        registry.register("events", "Events that were committed", self.events.clone());
        registry.register("turns", "Turns that ended, by outcome", self.turns.clone());
        registry.register(
            "tokens",
            "Tokens that models read and wrote, by kind; cached ones are among the input",
            self.tokens.clone(),
        );
    }

    pub(crate) fn committed(&self, records: &[Record]) {
        self.events.inc_by(records.len() as u64);
        for record in records {
            if let Event::Turn(TurnEvent::Ended { outcome, .. }) = &record.event {
                let outcome = match outcome {
                    Outcome::Completed => "completed",
                    Outcome::Cancelled => "cancelled",
                    Outcome::Failed => "failed",
                    Outcome::Interrupted => "interrupted",
                };
                self.turns.get_or_create(&[("outcome", outcome)]).inc();
            } else if let Event::Turn(TurnEvent::Usage(usage)) = &record.event {
                let kinds = [
                    ("input", usage.input_tokens),
                    ("output", usage.output_tokens),
                    ("cached", usage.cached_tokens.unwrap_or(0)),
                ];
                for (kind, tokens) in kinds {
                    self.tokens.get_or_create(&[("kind", kind)]).inc_by(tokens);
                }
            }
        }
    }
}
