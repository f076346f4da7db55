//! One node: a hub on a runtime of its own, with a clock of its own, that can be killed and paused.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use thoughtwire_hub::{Clock, Hub, HubOptions};
use thoughtwire_proto::Timestamp;
use thoughtwire_store::{CommittedWrites, NodeIdentity, WriteFault};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::actor::Actor;
use super::super::history::History;
use super::super::life::Life;
use super::list::{SeenList, follow_list};
use super::net::{Net, SimConnector};

/// Milliseconds between two renewals of the lease.
const BEAT_EVERY: u64 = 1_000;

/// Milliseconds that writes take at most: until they are committed, and until their callers hear.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StorePace {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl StorePace {
    pub(crate) const QUICK: Self = Self { before: 10, after: 5 };
}

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Runs,
    /// It has stopped, and may be dropped.
    Stopped,
}

/// A node that runs.
pub(crate) struct SimNode {
    // The clients go before the runtime.
    pub(crate) life: Life,
    pub(crate) list: Arc<Mutex<SeenList>>,
    runtime: Runtime,
    lease: watch::Receiver<bool>,
    pub(crate) pace: StorePace,
    /// A commit of which nobody was told yet, and when they are.
    answer: Option<(u64, CommittedWrites)>,
    commit_at: u64,
    /// When the lease is renewed next.
    pub(crate) beat_at: u64,
    /// Until when nothing of it runs, and how much time it has missed.
    paused_until: u64,
    missed: u64,
    /// When a write arrives at the store that it had sent before a pause.
    arrives_at: Option<u64>,
    away_until: u64,
    stop: Option<(JoinHandle<()>, u64)>,
}

impl SimNode {
    /// Starts the node of a slot.
    pub(crate) fn start(history: &mut History, net: &Arc<Net>, slot: usize, now: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let resumes = history.resumes;
        let base = history.wall.load(Ordering::Relaxed) + i64::try_from(now).unwrap();
        let identity = NodeIdentity::new(format!("n{slot}"), Some(Net::url(slot)));
        let disk = history.disk.shared();
        let (user, ledger) = (history.user.clone(), Arc::clone(&history.ledger));
        let connector = SimConnector { net: Arc::clone(net), slot };
        let (life, list) = runtime.block_on(async {
            let began = Instant::now();
            let clock = Clock::new(move || {
                let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(base + passed)
            });
            let (store, driver) = disk.open_driven_node(&identity, clock.now());
            let options = HubOptions {
                passivate_after: Duration::from_secs(3),
                queued_inputs: 4,
                clock: clock.clone(),
                nodes: Some(Arc::new(connector)),
                ..HubOptions::default()
            };
            let agent = Actor { resumes, clock: clock.clone(), ledger: Arc::clone(&ledger) };
            let hub = Hub::new(Arc::new(store), Arc::new(agent), options).await.unwrap();
            let list = Arc::new(Mutex::new(SeenList::default()));
            let following = follow_list(hub.clone(), user, Arc::clone(&list), Arc::clone(&ledger));
            tokio::spawn(following);
            (Life::new(hub, clock, driver, ledger), list)
        });
        net.add(slot, runtime.handle().clone(), life.hub.clone());
        let lease = life.hub.store().lease().unwrap();
        let (commit_at, beat_at) = (now, now + history.dice.u64(0..BEAT_EVERY));
        Self {
            life,
            list,
            runtime,
            lease,
            pace: StorePace::QUICK,
            answer: None,
            commit_at,
            beat_at,
            paused_until: 0,
            missed: 0,
            arrives_at: None,
            away_until: 0,
            stop: None,
        }
    }

    /// Does something within its runtime.
    pub(crate) fn within<T>(&mut self, work: impl FnOnce(&mut Life) -> T) -> T {
        let _guard = self.runtime.enter();
        work(&mut self.life)
    }

    /// Lets a slice of time pass, which ends at `now`.
    pub(crate) fn drive(&mut self, now: u64, slice: u64, dice: &mut Rng) -> Progress {
        if now <= self.paused_until {
            self.missed += slice;
            if self.answer.is_none() && self.arrives_at.take_if(|at| *at <= now).is_some() {
                let written = self.life.driver.commit_sent(dice.usize(1..64));
                self.answer = written.map(|written| (now, written));
            }
            return Progress::Runs;
        }
        let missed = std::mem::take(&mut self.missed);
        self.runtime.block_on(async {
            if missed > 0 {
                tokio::time::advance(Duration::from_millis(missed)).await;
            }
            tokio::time::sleep(Duration::from_millis(slice)).await;
        });
        if self.away_until > 0 && self.away_until <= now {
            self.away_until = 0;
            self.life.driver.set_away(false);
        }
        self.write(now, dice);
        if self.beat_at <= now {
            self.life.driver.beat();
            self.beat_at = now + BEAT_EVERY;
        }
        self.go_on_stopping(now)
    }

    fn write(&mut self, now: u64, dice: &mut Rng) {
        if let Some((_, written)) = self.answer.take_if(|(at, _)| *at <= now) {
            written.tell();
            self.commit_at = now + dice.u64(0..=self.pace.before);
        }
        if self.answer.is_none() && self.commit_at <= now && self.life.driver.waiting() > 0 {
            let most = dice.usize(1..64);
            let written = self.life.driver.commit(most);
            self.answer = written.map(|written| (now + dice.u64(0..=self.pace.after), written));
        }
    }

    /// A process that has lost its lease stops, as the server does.
    fn go_on_stopping(&mut self, now: u64) -> Progress {
        if self.stop.is_none() && !*self.lease.borrow() {
            self.stop(now, 0);
        }
        let Some((stop, deadline)) = &self.stop else { return Progress::Runs };
        assert!(now < *deadline || self.away_until > 0, "a planned stop does not end");
        if stop.is_finished() && self.answer.is_none() && self.life.driver.waiting() == 0 {
            let store = Arc::clone(self.life.hub.store());
            self.runtime.block_on(store.close());
            return Progress::Stopped;
        }
        Progress::Runs
    }

    /// Begins a planned stop.
    pub(crate) fn stop(&mut self, now: u64, grace: u64) {
        if self.stop.is_some() {
            return;
        }
        let hub = self.life.hub.clone();
        let grace = Duration::from_millis(grace);
        let stop = self.runtime.spawn(async move { hub.stop(grace).await });
        self.stop = Some((stop, now + 120_000));
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// `kill -9`. Now and then a commit goes through of which nobody hears.
    pub(crate) fn kill(mut self, dice: &mut Rng) {
        if dice.bool() && self.answer.is_none() {
            self.answer = self.life.driver.commit(dice.usize(1..20)).map(|written| (0, written));
        }
        drop(self);
    }

    /// Nothing is written before a time.
    pub(crate) fn hold_writes(&mut self, until: u64) {
        self.commit_at = self.commit_at.max(until);
    }

    /// Nothing of it runs until a time. A write that it has sent may reach the store meanwhile.
    pub(crate) fn pause(&mut self, now: u64, until: u64, dice: &mut Rng) {
        self.paused_until = until;
        self.arrives_at = (dice.u8(0..4) > 0).then(|| dice.u64((now + until) / 2..until));
    }

    /// The store cannot be reached from here until a time.
    pub(crate) fn lose_store(&mut self, until: u64) {
        self.away_until = self.away_until.max(until);
        self.life.driver.set_away(true);
    }

    pub(crate) fn set_fault(&mut self, fault: Option<WriteFault>) {
        self.life.driver.set_write_fault(fault);
    }

    /// Ends everything that is wrong with it, but what it missed in a pause.
    pub(crate) fn heal(&mut self) {
        self.set_fault(None);
        self.life.driver.set_read_delay(None);
        self.life.driver.set_away(false);
        (self.away_until, self.paused_until, self.pace) = (0, 0, StorePace::QUICK);
        self.beat_at = 0;
    }
}
