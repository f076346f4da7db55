//! What a run cost: processor time and memory of the server, and of the generator itself.

use std::time::Duration;

use anyhow::Context as _;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::time::Instant;

/// Above this share of its time the generator may be what was measured.
const BUSY: f64 = 0.85;

/// Reads what processes use, from a moment on.
pub(crate) struct UsageMeter {
    pid: Option<u32>,
    begun: Instant,
    server: Option<ProcessUsage>,
    own: Duration,
    peak: u64,
}

/// What the server used.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ServerUsage {
    /// Processor time while the load ran, its own and the kernel's for it.
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_delivery: f64,
    /// Resident memory in bytes: before the load, at most, and after it.
    pub(crate) rss_before: u64,
    pub(crate) rss_peak: u64,
    pub(crate) rss_after: u64,
}

/// What the generator used.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct GeneratorUsage {
    pub(crate) cpu_seconds: f64,
    /// The part of the time in which it had something to do; it has one thread.
    pub(crate) busy: f64,
    /// Whether that was so much that the figures may be its own.
    pub(crate) is_bottleneck: bool,
}

#[derive(Debug, Clone, Copy)]
struct ProcessUsage {
    cpu: Duration,
    rss: u64,
}

impl UsageMeter {
    /// Begins now.
    pub(crate) fn begin(pid: Option<u32>) -> anyhow::Result<Self> {
        let server = pid.map(used).transpose()?;
        Ok(Self {
            pid,
            begun: Instant::now(),
            server,
            own: own(),
            peak: server.map_or(0, |used| used.rss),
        })
    }

    /// Looks at the memory in between.
    pub(crate) fn look(&mut self) {
        if let Some(used) = self.pid.and_then(|pid| used(pid).ok()) {
            self.peak = self.peak.max(used.rss);
        }
    }

    /// The most memory that was seen, where a process is looked at.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.server.map(|_| self.peak)
    }

    /// Ends now, after so many deliveries.
    pub(crate) fn end(&self, delivered: u64) -> (Option<ServerUsage>, GeneratorUsage) {
        let server = self.pid.zip(self.server).and_then(|(pid, before)| {
            let after = used(pid).ok()?;
            let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            Some(ServerUsage {
                cpu_seconds,
                cpu_us_per_delivery: if delivered == 0 {
                    0.0
                } else {
                    cpu_seconds * 1e6 / as_f64(delivered)
                },
                rss_before: before.rss,
                rss_peak: self.peak.max(after.rss),
                rss_after: after.rss,
            })
        });
        let cpu_seconds = own().saturating_sub(self.own).as_secs_f64();
        let busy = cpu_seconds / self.begun.elapsed().as_secs_f64().max(1e-9);
        (server, GeneratorUsage { cpu_seconds, busy, is_bottleneck: busy > BUSY })
    }
}

/// A count as a number to divide by.
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

fn own() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// From `/proc`, as proc(5) describes it.
fn used(pid: u32) -> anyhow::Result<ProcessUsage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path).with_context(|| {
            format!("{path} cannot be read; --pid needs a running process and Linux")
        })
    };
    let stat = read("stat")?;
    // The name, in parentheses, may hold anything; behind it stand the state and ten numbers, then the two.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = read("status")?;
    let rss = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok()
        })
        .unwrap_or(0);
    Ok(ProcessUsage {
        cpu: Duration::from_secs_f64(as_f64(ticks) / as_f64(clock_ticks_per_second())),
        rss: rss * 1024,
    })
}
