//! The report of a run, as text and as JSON.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::delivery::DeliveryFaults;
use super::meter::{GeneratorUsage, ServerUsage, as_f64};
use super::plan::{BenchLoad, BenchPlan};
use crate::cli::BenchDialect;
use crate::out::{self, TextStyle};

/// The results of a run. The field names are those of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    pub(crate) dialect: BenchDialect,
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) rate: u64,
    pub(crate) deltas: bool,
    /// Seconds from the first input to the last piece.
    pub(crate) seconds: f64,
    /// Pieces that readers received.
    pub(crate) delivered: u64,
    pub(crate) delivered_per_second: f64,
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    /// Microseconds from when a piece was due until it was read.
    pub(crate) latency_us: LatencyQuantiles,
    pub(crate) turns: TurnFigures,
    #[serde(flatten)]
    pub(crate) faults: DeliveryFaults,
    /// Deltas that slow readers did not receive because a later text includes them.
    pub(crate) superseded: u64,
    /// Refused inputs and failed turns.
    pub(crate) failed: u64,
    /// Connections that broke.
    pub(crate) closed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<StalledFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerUsage>,
    pub(crate) generator: GeneratorUsage,
    /// Error messages, and how often each occurred.
    pub(crate) complaints: Vec<(String, u64)>,
}

/// Ended turns, and the microseconds from when an input was due until its turn ended.
#[derive(Debug, Serialize)]
pub(crate) struct TurnFigures {
    pub(crate) ended: u64,
    pub(crate) per_second: f64,
    pub(crate) latency_us: LatencyQuantiles,
}

/// Results of the stalled readers.
#[derive(Debug, Serialize)]
pub(crate) struct StalledFigures {
    pub(crate) connections: usize,
    /// Whether they read at the end; the fields below describe that time.
    pub(crate) woke: bool,
    pub(crate) seconds: f64,
    /// Pieces that they received in the end.
    pub(crate) has: u64,
    pub(crate) of: u64,
    /// Number of reconnects; the server drops a connection that takes nothing for long.
    pub(crate) reconnected: u64,
    /// Pieces that arrived again after a reconnect, which the older protocols permit.
    pub(crate) repeated: u64,
    #[serde(flatten)]
    pub(crate) faults: DeliveryFaults,
    /// Peak memory of the server in bytes while they caught up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_peak: Option<u64>,
}

/// Quantiles of a latency distribution, in microseconds.
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
    /// Whether every reader received everything, once and in order.
    pub(crate) fn is_good(&self) -> bool {
        let stalled =
            self.stalled.as_ref().is_some_and(|stalled| stalled.woke && stalled.faults.any());
        !self.faults.any() && !stalled && self.failed == 0 && self.closed == 0
    }

    /// Prints the report as text.
    pub(crate) fn print(&self, plan: &BenchPlan) -> std::io::Result<()> {
        let BenchLoad { items, bytes, rate, deltas } = plan.load;
        let what = if deltas { "deltas" } else { "messages" };
        let pace =
            if rate == 0 { "as fast as possible".to_owned() } else { format!("at {rate}/s") };
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
                    "{}; after waking, {} of {} pieces in {:.2} s, {} reconnects, {} repeated; {}",
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
                "{:.2} CPU-seconds, {:.2} µs per delivery",
                server.cpu_seconds, server.cpu_us_per_delivery
            );
            row(
                "server",
                format!("{cpu}; memory {before:.1} MiB before, {peak:.1} peak, {after:.1} after"),
            )?;
        }
        row("generator", format!("busy {:.0} % of the time", self.generator.busy * 100.0))?;
        self.remark();
        Ok(())
    }

    /// Prints warnings and error messages to standard error.
    pub(crate) fn remark(&self) {
        if self.generator.is_bottleneck {
            out::remark(
                TextStyle::Bad,
                "the load generator was the bottleneck: times and rates are its own, not the \
                server's",
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
            "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
            ms(self.p50),
            ms(self.p99),
            ms(self.p99_9),
            ms(self.max)
        )
    }
}
