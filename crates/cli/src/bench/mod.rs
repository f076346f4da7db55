//! `thoughtwire bench`: puts a server under load, and checks what it delivers.
//!
//! ```text
//! rooms (sessions) ◀── inputs ── the loop: closed, or open at a rate
//!   ▲ said by the first reader of each
//! seats (readers) ── pieces ──▶ ledger: order, gaps, duplicates
//!                  └─ lateness ─▶ tally: histograms
//! ```
//!
//! All of it runs in one thread, so that it can be pinned to one core and its own part be told.

mod ledger;
mod line;
mod mark;
mod meter;
mod plan;
mod program;
mod report;
mod room;
mod seat;
mod stage;
mod tally;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::cli::{BenchDialect, BenchFlags};
use crate::out::{self, Look};
use crate::rest::RestClient;
use crate::{Outcome, rest};
use ledger::Faults;
use meter::{Meter, as_f64};
use plan::{Plan, Until};
use report::{Latency, Report, Stalled, Turns};
use room::Room;
use seat::Seat;
use stage::Stage;
use tally::Tally;

/// Connections that are made at once: fewer than a listener's backlog.
const AT_ONCE: usize = 64;
/// What a server gets that does not say when it is ready.
const SETTLE: Duration = Duration::from_secs(1);
/// How often the run looks whether it is over.
const GLANCE: Duration = Duration::from_millis(10);
/// How often it looks at the server's memory.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn run(flags: BenchFlags) -> anyhow::Result<Outcome> {
    let server = match flags.dialect {
        BenchDialect::Native | BenchDialect::Memgpt | BenchDialect::Sparky => {
            Some(flags.reach.server().await?)
        }
        BenchDialect::Plain => None,
    };
    let plan = Rc::new(Plan::new(&flags, server.as_ref()).await?);
    let rest = server.map(RestClient::new).transpose()?;
    if let Some(rest) = &rest
        && !rest.transport.is_there().await
    {
        return Err(rest::no_server(&rest.transport.server().base));
    }
    let stage = Stage::set(rest, &plan).await?;
    let run = Run::new(&plan, &stage, flags.dialect)?;
    let readers = LocalSet::new();
    let outcome = tokio::select! {
        outcome = readers.run_until(run.carry_out()) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped before the end")),
    };
    if !plan.keeps {
        stage.clear().await?;
    }
    let report = outcome?;
    if flags.form.json {
        out::json(&report)?;
        report.remark();
    } else {
        report.print(&plan)?;
    }
    Ok(if report.is_good() { Outcome::Done } else { Outcome::Failed })
}

/// A run under way.
struct Run {
    plan: Rc<Plan>,
    dialect: BenchDialect,
    tally: Rc<Tally>,
    rooms: Vec<Rc<Room>>,
    seats: Vec<Rc<Seat>>,
}

impl Run {
    fn new(plan: &Rc<Plan>, stage: &Stage, dialect: BenchDialect) -> anyhow::Result<Self> {
        let tally = Rc::new(Tally::new(plan.timed.clone())?);
        let rooms: Vec<_> =
            stage.places.iter().map(|place| Rc::new(Room::new(place.clone()))).collect();
        let seats = rooms
            .iter()
            .cycle()
            .take(plan.connections)
            .enumerate()
            .map(|(who, room)| Seat::new(plan, &tally, room, who))
            .collect();
        Ok(Self { plan: Rc::clone(plan), dialect, tally, rooms, seats })
    }

    async fn carry_out(self) -> anyhow::Result<Report> {
        let (wake, woken) = watch::channel(false);
        let doors = Rc::new(Semaphore::new(AT_ONCE));
        // Dropped at the end, and every reader with it.
        let mut readers = JoinSet::new();
        for seat in &self.seats {
            readers.spawn_local(Rc::clone(seat).sit(Rc::clone(&doors), woken.clone()));
        }
        let program = async {
            if self.plan.offers {
                program::offer(Rc::clone(&self.plan)).await
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
            // Whether a server of somebody else's has taken a greeting in cannot be told.
            tokio::time::sleep(SETTLE).await;
        }
        out::remark(
            Look::Dim,
            &format!("{} connections on {} sessions are ready", self.seats.len(), self.rooms.len()),
        );
        let mut meter = Meter::begin(self.plan.pid)?;
        self.tally.begin();
        // The watch ends when all has been read; no input is said after that.
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
        let delivered = self.tally.delivered.get();
        let (server, generator) = meter.end(delivered);
        let stalled = self.stalled(&wake, &mut meter).await;
        Ok(self.report(server, generator, stalled))
    }

    /// Waits until all readers are where they want to be.
    async fn gather(&self) -> anyhow::Result<()> {
        let mut before = 0;
        let mut since = Instant::now();
        loop {
            let ready = self.tally.ready.get();
            if self.tally.closed.get() > 0 {
                let complaints = self.tally.complaints.borrow();
                let why = complaints.keys().next().map_or("it broke", String::as_str);
                anyhow::bail!(
                    "{ready} of {} connections were made, and then one failed: {why}",
                    self.seats.len()
                );
            }
            if ready == self.seats.len() {
                return Ok(());
            }
            if ready > before {
                (before, since) = (ready, Instant::now());
            }
            if since.elapsed() > self.plan.patience * 2 {
                anyhow::bail!("only {ready} of {} connections could be made", self.seats.len());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Has the inputs said: the first of each session in a closed loop, all of them in an open one.
    async fn ask(&self, begun: Instant) {
        let Some(rate) = self.plan.arrivals else {
            for room in self.rooms.iter().filter(|room| room.wants_more(self.plan.until, begun)) {
                room.ask(Instant::now());
            }
            return;
        };
        let most = match self.plan.until {
            Until::Inputs(inputs) => inputs * self.rooms.len() as u64,
            Until::Elapsed(time) => (time.as_secs_f64() * rate) as u64,
        };
        for (number, room) in (0..most).zip(self.rooms.iter().cycle()) {
            // Timed from when it was due, and not from when the generator came to it.
            let due = begun + Duration::from_secs_f64(as_f64(number) / rate);
            tokio::time::sleep_until(due).await;
            room.ask(due);
        }
    }

    /// Waits until every input's turn has ended and every reader has everything, or nothing comes any more.
    async fn watch(&self, meter: &mut Meter) {
        let readers: Vec<_> = self.seats.iter().filter(|seat| !seat.is_stalled()).collect();
        let until = match (self.plan.arrivals, self.plan.until) {
            (Some(rate), Until::Inputs(inputs)) => {
                Duration::from_secs_f64(as_f64(inputs * self.rooms.len() as u64) / rate)
            }
            (_, Until::Elapsed(time)) => time,
            (None, Until::Inputs(_)) => Duration::ZERO,
        };
        let mut looked = Instant::now();
        let mut seen = (0, Instant::now());
        loop {
            tokio::time::sleep(GLANCE).await;
            if looked.elapsed() >= LOOK {
                meter.look();
                looked = Instant::now();
            }
            let frames = self.tally.frames.get();
            if frames != seen.0 {
                seen = (frames, Instant::now());
            }
            let is_over = self.tally.started.get().elapsed() >= until
                && self.rooms.iter().all(|room| room.is_quiet());
            if is_over
                && self.tally.passed.get() >= readers.iter().map(|seat| seat.expected()).sum()
            {
                return;
            }
            if seen.1.elapsed() > self.plan.patience {
                self.tally
                    .complain(&format!("nothing came for {} s", self.plan.patience.as_secs()));
                return;
            }
        }
    }

    /// Wakes those that did not read, where that is wanted, and waits until they have everything.
    async fn stalled(&self, wake: &watch::Sender<bool>, meter: &mut Meter) -> Option<Stalled> {
        let stalled: Vec<_> = self.seats.iter().filter(|seat| seat.is_stalled()).collect();
        if stalled.is_empty() {
            return None;
        }
        let begun = Instant::now();
        let of = stalled.iter().map(|seat| seat.expected()).sum();
        let has = || stalled.iter().map(|seat| seat.view.borrow().ledger.passed()).sum::<u64>();
        let before = self.tally.reconnected.get();
        if self.plan.wakes {
            wake.send_replace(true);
            let mut seen = (0, Instant::now());
            while has() < of && seen.1.elapsed() < self.plan.patience {
                tokio::time::sleep(GLANCE).await;
                meter.look();
                if self.tally.frames.get() != seen.0 {
                    seen = (self.tally.frames.get(), Instant::now());
                }
            }
        }
        let mut faults = Faults::default();
        if self.plan.wakes {
            stalled.iter().for_each(|seat| faults.add(seat.faults()));
        }
        Some(Stalled {
            connections: stalled.len(),
            woke: self.plan.wakes,
            seconds: begun.elapsed().as_secs_f64(),
            has: has(),
            of,
            reconnected: self.tally.reconnected.get() - before,
            repeated: stalled.iter().map(|seat| seat.view.borrow().ledger.repeated()).sum(),
            faults,
            rss_peak: meter.peak(),
        })
    }

    fn report(
        &self,
        server: Option<meter::ServerFigures>,
        generator: meter::OwnFigures,
        stalled: Option<Stalled>,
    ) -> Report {
        let (plan, tally) = (&self.plan, &self.tally);
        let seconds = as_f64(tally.last.get().saturating_sub(tally.begun.get())) / 1e6;
        let per_second = |count: u64| if seconds > 0.0 { as_f64(count) / seconds } else { 0.0 };
        let mut faults = Faults::default();
        let mut superseded = 0;
        for seat in self.seats.iter().filter(|seat| !seat.is_stalled()) {
            faults.add(seat.faults());
            superseded += seat.view.borrow().ledger.superseded();
        }
        let ended = self.rooms.iter().map(|room| room.ended.get()).sum();
        Report {
            dialect: self.dialect,
            connections: plan.connections,
            sessions: plan.sessions,
            items: plan.load.items,
            bytes: plan.load.bytes,
            rate: plan.load.rate,
            deltas: plan.load.deltas,
            seconds,
            delivered: tally.delivered.get(),
            delivered_per_second: per_second(tally.delivered.get()),
            frames: tally.frames.get(),
            frame_bytes: tally.bytes.get(),
            latency_us: Latency::from(&*tally.pieces.borrow()),
            turns: Turns {
                ended,
                per_second: per_second(ended),
                latency_us: Latency::from(&*tally.turns.borrow()),
            },
            faults,
            superseded,
            failed: tally.failed.get(),
            closed: tally.closed.get(),
            stalled,
            server,
            generator,
            complaints: tally
                .complaints
                .borrow()
                .iter()
                .map(|(what, times)| (what.clone(), *times))
                .collect(),
        }
    }
}
