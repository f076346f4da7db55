//! Processor time and memory that a run uses, in the server and in the generator.

use std::time::Duration;

use anyhow::Context as _;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::time::Instant;

/// Share of busy time above which the generator may be the bottleneck.
const BUSY: f64 = 0.85;

/// Measures what processes use between two moments.
pub(crate) struct UsageMeter {
    pids: Vec<u32>,
    begun: Instant,
    server: Option<ProcessUsage>,
    own: Duration,
    peak: u64,
}

/// Resources that the server used, or all servers of the run together.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ServerUsage {
    /// User and system time of the process during the load.
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_delivery: f64,
    /// Resident memory in bytes: before the load, its peak, and after the load.
    pub(crate) rss_before: u64,
    pub(crate) rss_peak: u64,
    pub(crate) rss_after: u64,
}

/// Resources that the generator used.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct GeneratorUsage {
    pub(crate) cpu_seconds: f64,
    /// Share of the time in which its single thread was busy.
    pub(crate) busy: f64,
    /// Whether the generator may have limited the figures.
    pub(crate) is_bottleneck: bool,
}

#[derive(Debug, Clone, Copy)]
struct ProcessUsage {
    cpu: Duration,
    rss: u64,
}

impl UsageMeter {
    /// Starts the measurement.
    pub(crate) fn begin(pids: Vec<u32>) -> anyhow::Result<Self> {
        let server = used_by_all(&pids)?;
        Ok(Self {
            pids,
            begun: Instant::now(),
            server,
            own: own(),
            peak: server.map_or(0, |used| used.rss),
        })
    }

    /// Samples the server's memory.
    pub(crate) fn look(&mut self) {
        if let Ok(Some(used)) = used_by_all(&self.pids) {
            self.peak = self.peak.max(used.rss);
        }
    }

    /// Peak memory of the server in bytes, if its process is known.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.server.map(|_| self.peak)
    }

    /// Ends the measurement after this number of deliveries.
    pub(crate) fn end(&self, delivered: u64) -> (Option<ServerUsage>, GeneratorUsage) {
        let server = self.server.and_then(|before| {
            let after = used_by_all(&self.pids).ok()??;
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

/// Converts a count for a division.
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

fn own() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Adds up the usage of processes; `None` where there are none.
fn used_by_all(pids: &[u32]) -> anyhow::Result<Option<ProcessUsage>> {
    let mut sum = None;
    for pid in pids {
        let one = used(*pid)?;
        let before = sum.unwrap_or(ProcessUsage { cpu: Duration::ZERO, rss: 0 });
        sum = Some(ProcessUsage { cpu: before.cpu + one.cpu, rss: before.rss + one.rss });
    }
    Ok(sum)
}

/// Reads a process's usage from `/proc`, see proc(5).
fn used(pid: u32) -> anyhow::Result<ProcessUsage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path).with_context(|| {
            format!("{path} cannot be read; --pid needs a running process and Linux")
        })
    };
    let stat = read("stat")?;
    // The name in parentheses may contain anything. After it come the state, ten numbers, then
    // utime and stime.
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
