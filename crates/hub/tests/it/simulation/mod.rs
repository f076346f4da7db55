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
use template::Template;

/// So many in every run of the tests; their seeds are the numbers from 0 on.
const HISTORIES: u64 = 1_000;

/// Command that lives through one seed again.
const AGAIN: &str = "cargo test -p thoughtwire-hub --test it simulation -- --nocapture";

/// How long one may take; most take less than a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn what_was_promised_holds_in_every_history() {
    let template = Template::make();
    if let Some(seed) = variable("THOUGHTWIRE_SEED") {
        let (failure, history) = live(seed, &template);
        eprintln!("{}\n{:#?}", history.trace.join("\n"), history.done);
        assert_eq!(failure, None, "seed {seed}");
        return;
    }
    let (first, count) = match variable("THOUGHTWIRE_HISTORIES") {
        None => (0, HISTORIES),
        Some(0) => (of_the_day(), u64::MAX),
        Some(count) => (of_the_day(), count),
    };
    let soaking = count != HISTORIES || first != 0;
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
                eprintln!("it never rests\nagain: THOUGHTWIRE_SEED={seed} {AGAIN}");
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
            let (failure, history) = live(seed, &template);
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
        eprintln!("{failure}\nagain: THOUGHTWIRE_SEED={seed} {AGAIN}");
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
    let template = Template::make();
    for seed in 0..20 {
        let lives: Vec<_> = (0..2).map(|_| live(seed, &template).1).collect();
        assert_eq!(lives[0].trace, lives[1].trace, "seed {seed}");
        assert_eq!(format!("{:?}", lives[0].done), format!("{:?}", lives[1].done), "seed {seed}");
    }
}

fn live(seed: u64, template: &Template) -> (Option<String>, History) {
    let mut history = History::new(seed, template);
    let outcome = catch_unwind(AssertUnwindSafe(|| history.run()));
    let failure = outcome.err().map(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        words.unwrap_or("a panic without words").to_owned()
    });
    (failure, history)
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
