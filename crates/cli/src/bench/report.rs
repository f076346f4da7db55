//! What a run found, for people and for programs.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::delivery::DeliveryFaults;
use super::meter::{GeneratorUsage, ServerUsage, as_f64};
use super::plan::{BenchLoad, BenchPlan};
use crate::cli::BenchDialect;
use crate::out::{self, TextStyle};

/// What a run found.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    pub(crate) dialect: BenchDialect,
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) rate: u64,
    pub(crate) deltas: bool,
    /// From the first input to the last piece.
    pub(crate) seconds: f64,
    /// Pieces that readers got.
    pub(crate) delivered: u64,
    pub(crate) delivered_per_second: f64,
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    /// From when a piece was due to when it was read, in microseconds.
    pub(crate) latency_us: LatencyQuantiles,
    pub(crate) turns: TurnFigures,
    #[serde(flatten)]
    pub(crate) faults: DeliveryFaults,
    /// Deltas that a slow reader did not get, because something later stood for them.
    pub(crate) superseded: u64,
    /// Inputs that were refused, and turns that failed.
    pub(crate) failed: u64,
    /// Connections that broke.
    pub(crate) closed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<StalledFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerUsage>,
    pub(crate) generator: GeneratorUsage,
    /// What was said against it, with how often.
    pub(crate) complaints: Vec<(String, u64)>,
}

/// TurnFigures that ended, and how long they took: from when an input was due, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct TurnFigures {
    pub(crate) ended: u64,
    pub(crate) per_second: f64,
    pub(crate) latency_us: LatencyQuantiles,
}

/// The readers that did not read.
#[derive(Debug, Serialize)]
pub(crate) struct StalledFigures {
    pub(crate) connections: usize,
    /// Whether they read in the end; what follows is of that time.
    pub(crate) woke: bool,
    pub(crate) seconds: f64,
    /// How many pieces they have in the end, of how many.
    pub(crate) has: u64,
    pub(crate) of: u64,
    /// How often one had to connect again: who takes nothing for long is dropped.
    pub(crate) reconnected: u64,
    /// Pieces that came again behind a reconnect, as the older wires may.
    pub(crate) repeated: u64,
    #[serde(flatten)]
    pub(crate) faults: DeliveryFaults,
    /// The server's memory at most, while they caught up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_peak: Option<u64>,
}

/// A distribution.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct LatencyQuantiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    #[serde(rename = "p99.9")]
    pub(crate) p99_9: u64,
    pub(crate) max: u64,
}

impl From<&Histogram<u64>> for LatencyQuantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max: histogram.max() }
    }
}

impl BenchReport {
    /// Whether every reader got everything, once and in order.
    pub(crate) fn is_good(&self) -> bool {
        let stalled =
            self.stalled.as_ref().is_some_and(|stalled| stalled.woke && stalled.faults.any());
        !self.faults.any() && !stalled && self.failed == 0 && self.closed == 0
    }

    /// For people.
    pub(crate) fn print(&self, plan: &BenchPlan) -> std::io::Result<()> {
        let BenchLoad { items, bytes, rate, deltas } = plan.load;
        let what = if deltas { "deltas" } else { "messages" };
        let pace = if rate == 0 { "as fast as it can".to_owned() } else { format!("at {rate}/s") };
        let wire = format!("{:?}", self.dialect).to_lowercase();
        let row = |name: &str, value: String| out::line(&format!("{name:<11}{value}"));
        out::line(&format!(
            "{wire}: {} connections, {} sessions, {items} {what} of {bytes} B {pace}",
            self.connections, self.sessions
        ))?;
        row(
            "delivered",
            format!(
                "{} in {:.2} s, {:.0}/s",
                self.delivered, self.seconds, self.delivered_per_second
            ),
        )?;
        row("latency", self.latency_us.to_string())?;
        row(
            "turns",
            format!(
                "{}, {:.1}/s; {}",
                self.turns.ended, self.turns.per_second, self.turns.latency_us
            ),
        )?;
        row("faults", faults(&self.faults))?;
        if self.superseded > 0 {
            row("superseded", format!("{} deltas", self.superseded))?;
        }
        if let Some(stalled) = &self.stalled {
            let text = if stalled.woke {
                format!(
                    "{}; woken, they have {} of {} after {:.2} s, {} reconnects, {} repeated; {}",
                    stalled.connections,
                    stalled.has,
                    stalled.of,
                    stalled.seconds,
                    stalled.reconnected,
                    stalled.repeated,
                    faults(&stalled.faults)
                )
            } else {
                stalled.connections.to_string()
            };
            row("stalled", text)?;
        }
        if let Some(server) = &self.server {
            let memory = [server.rss_before, server.rss_peak, server.rss_after]
                .map(|bytes| as_f64(bytes) / 1_048_576.0);
            let [before, peak, after] = memory;
            let cpu = format!(
                "{:.2} CPU-seconds, {:.2} µs a delivery",
                server.cpu_seconds, server.cpu_us_per_delivery
            );
            row(
                "server",
                format!(
                    "{cpu}; memory {before:.1} MiB before, {peak:.1} at most, {after:.1} after"
                ),
            )?;
        }
        row("generator", format!("busy {:.0} % of the time", self.generator.busy * 100.0))?;
        self.remark();
        Ok(())
    }

    /// What is to be said besides, to standard error.
    pub(crate) fn remark(&self) {
        if self.generator.is_bottleneck {
            out::remark(
                TextStyle::Bad,
                "the generator itself had no time left: times and rates are its own, not the server's",
            );
        }
        for (complaint, times) in &self.complaints {
            out::remark(TextStyle::Bad, &format!("{times} times: {complaint}"));
        }
    }
}

fn faults(faults: &DeliveryFaults) -> String {
    let DeliveryFaults { lost, gaps, duplicates, disordered } = faults;
    format!("{lost} lost, {gaps} gaps, {duplicates} duplicates, {disordered} out of order")
}

impl std::fmt::Display for LatencyQuantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |us| as_f64(us) / 1000.0;
        write!(
            f,
            "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, at most {:.2} ms",
            ms(self.p50),
            ms(self.p99),
            ms(self.p99_9),
            ms(self.max)
        )
    }
}
