//! Histories made up by dice: everything that people, agents, disks and crashes do to a hub, held
//! against what a hub promises.
//!
//! A history is its seed. Virtual time, one thread, and a store whose writes happen when the dice
//! say so make it the same every time. A failing one says how to see it again.
//!
//! - `THOUGHTWIRE_SEED=N` lives through that one, and tells what happened.
//! - `THOUGHTWIRE_HISTORIES=N` says how many; 0 is for ever, from a seed of the day on.

mod actor;
mod asked;
mod budgets;
mod caller;
mod calling;
mod checking;
mod count;
mod disk;
mod effects;
mod heard;
mod history;
mod interruptions;
mod ledger;
mod ledger_checks;
mod life;
mod linear;
pub(crate) mod nodes;
mod people;
mod phoning;
mod place;
mod played_steps;
mod proof;
mod reader;
mod retaining;
mod room;
mod tally;
mod template;
mod texts;
mod waiting;
mod worker;
mod working;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use count::Sum;
use history::History;
use nodes::NodesHistory;
use template::Template;

/// A kind of histories.
struct Kind {
    /// So many in every run of the tests; their seeds are the numbers from 0 on.
    histories: u64,
    has_workers: bool,
    live: fn(u64, &Template) -> (Option<String>, History),
    /// Command that lives through one seed again.
    again: &'static str,
}

/// One server after the other on one disk.
const ONE_SERVER: Kind = Kind {
    histories: 1_000,
    has_workers: true,
    live,
    again: "cargo test -p thoughtwire-hub --test it simulation::what -- --nocapture",
};

/// Several nodes on one store.
const NODES: Kind = Kind {
    histories: 100,
    has_workers: false,
    live: live_on_nodes,
    again: "cargo test -p thoughtwire-hub --test it simulation::on_several -- --nocapture",
};

/// How long one may take; most take less than a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn what_was_promised_holds_in_every_history() {
    live_through(&ONE_SERVER);
}

#[test]
fn on_several_nodes_what_was_promised_holds_in_every_history() {
    live_through(&NODES);
}

fn live_through(kind: &Kind) {
    let template = Template::make(kind.has_workers);
    if let Some(seed) = variable("THOUGHTWIRE_SEED") {
        let (failure, history) = (kind.live)(seed, &template);
        eprintln!("{}\n{:#?}", history.trace.join("\n"), history.done);
        assert_eq!(failure, None, "seed {seed}");
        return;
    }
    let (first, count) = match variable("THOUGHTWIRE_HISTORIES") {
        None => (0, kind.histories),
        Some(0) => (of_the_day(), u64::MAX),
        Some(count) => (of_the_day(), count),
    };
    let soaking = variable("THOUGHTWIRE_HISTORIES").is_some();
    let (next, stop, sum, began) =
        (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Sum::default()), Instant::now());
    // A history that never rests lets no virtual time pass, and cannot be told to stop either.
    let living = Mutex::new(HashMap::<u64, Instant>::new());
    let watch = || {
        while !stop.load(Ordering::Relaxed) && sum.lock().unwrap().histories < count {
            std::thread::sleep(Duration::from_millis(200));
            if let Some((seed, _)) =
                living.lock().unwrap().iter().find(|(_, began)| began.elapsed() > PATIENCE)
            {
                eprintln!("it never rests\nagain: THOUGHTWIRE_SEED={seed} {}", kind.again);
                std::process::exit(1);
            }
        }
    };
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = first.wrapping_add(number);
            living.lock().unwrap().insert(seed, Instant::now());
            let (failure, history) = (kind.live)(seed, &template);
            living.lock().unwrap().remove(&seed);
            let mut sum = sum.lock().unwrap();
            sum.add(&history.done);
            if let Some(failure) = failure {
                stop.store(true, Ordering::Relaxed);
                sum.failures.push((seed, failure));
            }
            if soaking && sum.told.is_none_or(|told| told.elapsed() > Duration::from_secs(60)) {
                sum.told = Some(Instant::now());
                eprintln!("{} s: {sum}", began.elapsed().as_secs());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        scope.spawn(watch);
    });
    let sum = sum.into_inner().unwrap();
    eprintln!("{} s: {sum}", began.elapsed().as_secs());
    for (seed, failure) in &sum.failures {
        eprintln!("{failure}\nagain: THOUGHTWIRE_SEED={seed} {}", kind.again);
    }
    assert!(
        sum.failures.is_empty(),
        "seeds {:?}",
        sum.failures.iter().map(|(seed, _)| seed).collect::<Vec<_>>()
    );
}

/// Without this a failing history could not be looked at again.
#[test]
fn a_seed_is_the_same_history_every_time() {
    for (kind, seeds) in [(ONE_SERVER, 20), (NODES, 8)] {
        let template = Template::make(kind.has_workers);
        for seed in 0..seeds {
            let lives: Vec<_> = (0..2).map(|_| (kind.live)(seed, &template).1).collect();
            assert_eq!(lives[0].trace, lives[1].trace, "seed {seed}");
            let done = lives.iter().map(|life| format!("{:?}", life.done)).collect::<Vec<_>>();
            assert_eq!(done[0], done[1], "seed {seed}");
        }
    }
}

fn live(seed: u64, template: &Template) -> (Option<String>, History) {
    let mut history = History::new(seed, template);
    let outcome = catch_unwind(AssertUnwindSafe(|| history.run()));
    (words_of(outcome), history)
}

fn live_on_nodes(seed: u64, template: &Template) -> (Option<String>, History) {
    let mut nodes = NodesHistory::new(seed, template);
    let outcome = catch_unwind(AssertUnwindSafe(|| nodes.run()));
    (words_of(outcome), nodes.history)
}

/// The words of a panic, if it was one.
fn words_of(outcome: std::thread::Result<()>) -> Option<String> {
    outcome.err().map(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        words.unwrap_or("a panic without words").to_owned()
    })
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| {
        value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}"))
    })
}

fn of_the_day() -> u64 {
    variable("THOUGHTWIRE_FROM")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() << 24)
}
