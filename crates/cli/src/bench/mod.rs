//! `thoughtwire bench`: puts a server under load and checks what it delivers.
//!
//! ```text
//! sessions ◀── inputs ── loop (closed, or open at a fixed rate)
//!   ▲ sent by the first reader of each session
//! readers ── pieces ──▶ delivery: order, gaps, duplicates
//!         └─ latency ─▶ counters: histograms
//! ```
//!
//! The generator is one thread, so that it can be pinned to a core and its own share measured.

mod connect;
mod counters;
mod delivery;
mod dialect;
mod fixtures;
mod mark;
mod meter;
mod plan;
mod reader;
mod report;
mod session;
mod worker;

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::cli::{BenchDialect, BenchFlags};
use crate::out::{self, TextStyle};
use crate::rest::{RestClient, ServerAddress};
use crate::{CommandStatus, rest};
use counters::RunCounters;
use delivery::DeliveryFaults;
use fixtures::BenchFixtures;
use meter::{UsageMeter, as_f64};
use plan::{BenchPlan, InputLimit};
use reader::BenchReader;
use report::{BenchReport, LatencyQuantiles, StalledFigures, TurnFigures};
use session::BenchSession;

/// Connections that are opened at the same time: fewer than a listener's backlog.
const AT_ONCE: usize = 64;
/// Time that a server gets which does not report when it is ready.
const SETTLE: Duration = Duration::from_secs(1);
/// Interval of the checks whether the run is over.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Interval of the samples of the server's memory.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) async fn run(flags: BenchFlags) -> anyhow::Result<CommandStatus> {
    let server = match flags.dialect {
        BenchDialect::Native | BenchDialect::Memgpt | BenchDialect::Sparky => {
            Some(flags.target.server().await?)
        }
        BenchDialect::Plain => None,
    };
    let plan = Rc::new(BenchPlan::new(&flags, server.as_ref()).await?);
    let owner = server.map(|server| match &flags.owner {
        Some(owner) => ServerAddress { base: owner.trim_end_matches('/').to_owned(), ..server },
        None => server,
    });
    let rest = owner.map(RestClient::new).transpose()?;
    if let Some(rest) = &rest
        && !rest.transport.is_there().await
    {
        return Err(rest::no_server(&rest.transport.server().base));
    }
    let fixtures = BenchFixtures::create(rest, &plan).await?;
    let run = BenchRun::new(&plan, &fixtures, flags.dialect)?;
    let readers = LocalSet::new();
    let outcome = tokio::select! {
        outcome = readers.run_until(run.carry_out()) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted before the end")),
    };
    if !plan.keeps {
        fixtures.delete().await?;
    }
    let report = outcome?;
    if flags.output.json {
        out::json(&report)?;
        report.remark();
    } else {
        report.print(&plan)?;
    }
    Ok(if report.is_good() { CommandStatus::Done } else { CommandStatus::Failed })
}

/// A running benchmark.
struct BenchRun {
    plan: Rc<BenchPlan>,
    dialect: BenchDialect,
    counters: Rc<RunCounters>,
    bench_sessions: Vec<Rc<BenchSession>>,
    readers: Vec<Rc<BenchReader>>,
}

impl BenchRun {
    fn new(
        plan: &Rc<BenchPlan>,
        fixtures: &BenchFixtures,
        dialect: BenchDialect,
    ) -> anyhow::Result<Self> {
        let counters = Rc::new(RunCounters::new(plan.timed.clone())?);
        let bench_sessions: Vec<_> = fixtures
            .sessions
            .iter()
            .map(|place| Rc::new(BenchSession::new(place.clone())))
            .collect();
        let readers = bench_sessions
            .iter()
            .cycle()
            .take(plan.connections)
            .enumerate()
            .map(|(who, session)| BenchReader::new(plan, &counters, session, who))
            .collect();
        Ok(Self { plan: Rc::clone(plan), dialect, counters, bench_sessions, readers })
    }

    async fn carry_out(self) -> anyhow::Result<BenchReport> {
        let (wake, woken) = watch::channel(false);
        let permits = Rc::new(Semaphore::new(AT_ONCE));
        // Dropping the set at the end stops every reader.
        let mut readers = JoinSet::new();
        for reader in &self.readers {
            readers.spawn_local(Rc::clone(reader).run(Rc::clone(&permits), woken.clone()));
        }
        let program = async {
            if self.plan.offers {
                worker::offer(Rc::clone(&self.plan)).await
            } else {
                std::future::pending().await
            }
        };
        tokio::pin!(program);
        tokio::select! {
            gathered = self.gather() => gathered?,
            ended = &mut program => ended?,
        }
        if self.plan.wire.is_ready_at_once() {
            // Another server does not report whether it has handled the greeting.
            tokio::time::sleep(SETTLE).await;
        }
        out::remark(
            TextStyle::Dim,
            &format!(
                "{} connections on {} sessions are ready",
                self.readers.len(),
                self.bench_sessions.len()
            ),
        );
        let mut meter = UsageMeter::begin(self.plan.pids.clone())?;
        self.counters.begin();
        // `watch` ends when everything was read; no input is sent after that.
        let asking = async {
            self.ask(Instant::now()).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.watch(&mut meter) => {}
            () = asking => {}
            ended = &mut program => ended?,
        }
        tokio::time::sleep(self.plan.hold).await;
        meter.look();
        let delivered = self.counters.delivered.get();
        let (server, generator) = meter.end(delivered);
        let stalled = self.stalled(&wake, &mut meter).await;
        Ok(self.report(server, generator, stalled))
    }

    /// Waits until all readers are attached.
    async fn gather(&self) -> anyhow::Result<()> {
        let mut before = 0;
        let mut since = Instant::now();
        loop {
            let ready = self.counters.ready.get();
            if self.counters.closed.get() > 0 {
                let complaints = self.counters.complaints.borrow();
                let why = complaints.keys().next().map_or("it was closed", String::as_str);
                anyhow::bail!(
                    "{ready} of {} connections were opened, then one failed: {why}",
                    self.readers.len()
                );
            }
            if ready == self.readers.len() {
                return Ok(());
            }
            if ready > before {
                (before, since) = (ready, Instant::now());
            }
            if since.elapsed() > self.plan.patience * 2 {
                anyhow::bail!("only {ready} of {} connections could be opened", self.readers.len());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Requests inputs: each session's first one in a closed loop, all inputs in an open loop.
    async fn ask(&self, begun: Instant) {
        let Some(rate) = self.plan.arrivals else {
            for session in self
                .bench_sessions
                .iter()
                .filter(|session| session.wants_more(self.plan.until, begun))
            {
                session.ask(Instant::now());
            }
            return;
        };
        let most = match self.plan.until {
            InputLimit::Inputs(inputs) => inputs * self.bench_sessions.len() as u64,
            InputLimit::Elapsed(time) => (time.as_secs_f64() * rate) as u64,
        };
        for (number, session) in (0..most).zip(self.bench_sessions.iter().cycle()) {
            // Timed from when the input was due, not from when the generator got to it.
            let due = begun + Duration::from_secs_f64(as_f64(number) / rate);
            tokio::time::sleep_until(due).await;
            session.ask(due);
        }
    }

    /// Waits until every turn has ended and every reader has everything, or no frame arrives any
    /// more.
    async fn watch(&self, meter: &mut UsageMeter) {
        let readers: Vec<_> = self.readers.iter().filter(|reader| !reader.is_stalled()).collect();
        let until = match (self.plan.arrivals, self.plan.until) {
            (Some(rate), InputLimit::Inputs(inputs)) => {
                Duration::from_secs_f64(as_f64(inputs * self.bench_sessions.len() as u64) / rate)
            }
            (_, InputLimit::Elapsed(time)) => time,
            (None, InputLimit::Inputs(_)) => Duration::ZERO,
        };
        let mut looked = Instant::now();
        let mut seen = (0, Instant::now());
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            if looked.elapsed() >= MEMORY_INTERVAL {
                meter.look();
                looked = Instant::now();
            }
            let frames = self.counters.frames.get();
            if frames != seen.0 {
                seen = (frames, Instant::now());
            }
            let is_over = self.counters.started.get().elapsed() >= until
                && self.bench_sessions.iter().all(|session| session.is_quiet());
            if is_over
                && self.counters.passed.get()
                    >= readers.iter().map(|reader| reader.expected()).sum()
            {
                return;
            }
            if seen.1.elapsed() > self.plan.patience {
                self.counters
                    .complain(&format!("no frame arrived for {} s", self.plan.patience.as_secs()));
                return;
            }
        }
    }

    /// Wakes the stalled readers if the plan says so, and waits until they have everything.
    async fn stalled(
        &self,
        wake: &watch::Sender<bool>,
        meter: &mut UsageMeter,
    ) -> Option<StalledFigures> {
        let stalled: Vec<_> = self.readers.iter().filter(|reader| reader.is_stalled()).collect();
        if stalled.is_empty() {
            return None;
        }
        let begun = Instant::now();
        let of = stalled.iter().map(|reader| reader.expected()).sum();
        let has =
            || stalled.iter().map(|reader| reader.view.borrow().delivery.passed()).sum::<u64>();
        let before = self.counters.reconnected.get();
        if self.plan.wakes {
            wake.send_replace(true);
            let mut seen = (0, Instant::now());
            while has() < of && seen.1.elapsed() < self.plan.patience {
                tokio::time::sleep(POLL_INTERVAL).await;
                meter.look();
                if self.counters.frames.get() != seen.0 {
                    seen = (self.counters.frames.get(), Instant::now());
                }
            }
        }
        let mut faults = DeliveryFaults::default();
        if self.plan.wakes {
            stalled.iter().for_each(|reader| faults.add(reader.faults()));
        }
        Some(StalledFigures {
            connections: stalled.len(),
            woke: self.plan.wakes,
            seconds: begun.elapsed().as_secs_f64(),
            has: has(),
            of,
            reconnected: self.counters.reconnected.get() - before,
            repeated: stalled.iter().map(|reader| reader.view.borrow().delivery.repeated()).sum(),
            faults,
            rss_peak: meter.peak(),
        })
    }

    fn report(
        &self,
        server: Option<meter::ServerUsage>,
        generator: meter::GeneratorUsage,
        stalled: Option<StalledFigures>,
    ) -> BenchReport {
        let (plan, counters) = (&self.plan, &self.counters);
        let seconds = as_f64(counters.last.get().saturating_sub(counters.begun.get())) / 1e6;
        let per_second = |count: u64| if seconds > 0.0 { as_f64(count) / seconds } else { 0.0 };
        let mut faults = DeliveryFaults::default();
        let mut superseded = 0;
        for reader in self.readers.iter().filter(|reader| !reader.is_stalled()) {
            faults.add(reader.faults());
            superseded += reader.view.borrow().delivery.superseded();
        }
        let ended = self.bench_sessions.iter().map(|session| session.ended.get()).sum();
        BenchReport {
            dialect: self.dialect,
            connections: plan.connections,
            sessions: plan.sessions,
            items: plan.load.items,
            bytes: plan.load.bytes,
            rate: plan.load.rate,
            deltas: plan.load.deltas,
            seconds,
            delivered: counters.delivered.get(),
            delivered_per_second: per_second(counters.delivered.get()),
            frames: counters.frames.get(),
            frame_bytes: counters.bytes.get(),
            latency_us: LatencyQuantiles::from(&*counters.pieces.borrow()),
            turns: TurnFigures {
                ended,
                per_second: per_second(ended),
                latency_us: LatencyQuantiles::from(&*counters.turns.borrow()),
            },
            faults,
            superseded,
            failed: counters.failed.get(),
            closed: counters.closed.get(),
            stalled,
            server,
            generator,
            complaints: counters
                .complaints
                .borrow()
                .iter()
                .map(|(what, times)| (what.clone(), *times))
                .collect(),
        }
    }
}
