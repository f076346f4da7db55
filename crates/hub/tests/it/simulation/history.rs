//! One history: a server's lives, one after the other, on one disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use thoughtwire_hub::{Changed, Clock, Hub, HubOptions};
use thoughtwire_proto::{SessionCommand, Timestamp, UserId};
use thoughtwire_store::{RamDriver, Store};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::actor::Actor;
use super::budgets::TimeLimit;
use super::checking::ready;
use super::count::Done;
use super::disk::{Disk, Moment};
use super::interruptions::Interruptions;
use super::ledger::Ledger;
use super::life::{Life, pass};
use super::reader::Pace;
use super::template::Template;

/// Appends that one session may have under way, and a little for what else is written.
const WAITING: usize = 256;

pub(crate) struct History {
    pub(crate) dice: Rng,
    pub(crate) user: UserId,
    pub(crate) disk: Disk,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// Milliseconds: what the wall clock shows when a life begins.
    pub(crate) wall: Arc<AtomicI64>,
    pub(crate) tags: u32,
    /// Whether the agents of nodes go on with turns that were interrupted.
    pub(crate) resumes: bool,
    /// Log of the steps, for debugging a failure.
    pub(crate) trace: Vec<String>,
    pub(crate) done: Done,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Crashed,
    Stopped,
}

impl History {
    pub(crate) fn new(seed: u64, template: &Template) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut ledger = Ledger { time_limit: TimeLimit::of(seed), ..Ledger::default() };
        for (number, session) in template.sessions.iter().enumerate() {
            ledger.open_room(session, number != 1);
        }
        Self {
            user: template.user.clone(),
            disk: Disk::new(&template.disk),
            ledger: Arc::new(Mutex::new(ledger)),
            wall: Arc::new(AtomicI64::new(1_767_225_600_000 + dice.i64(0..1_000_000_000))),
            dice,
            tags: 0,
            resumes: false,
            trace: Vec::new(),
            done: Done::default(),
        }
    }

    /// Lives it through. Panics at the first thing that should not be.
    pub(crate) fn run(&mut self) {
        // Some servers crash again and again, so that a turn is interrupted too often.
        let loops = self.dice.u8(0..10) == 0;
        let lives = if loops { self.dice.u32(5..10) } else { self.dice.u32(1..6) };
        for life in 1..=lives {
            // A runtime of its own: with it everything dies at once, as a process does.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let end = runtime.block_on(self.live(life == lives));
            drop(runtime);
            self.note(format!("life {life}: {end:?}"));
            self.check_complaints();
        }
        // Nothing more comes: what is there after one more start is what there is.
        let (store, _driver) = self.open();
        self.check_disk(&store, true);
        self.done.tally = self.ledger.lock().unwrap().tally;
    }

    async fn live(&mut self, last: bool) -> End {
        let began = Instant::now();
        let wall = Arc::clone(&self.wall);
        let clock = Clock::new(move || {
            let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(wall.load(Ordering::Relaxed) + passed)
        });
        let (store, driver) = self.open();
        self.disk.heal(&driver);
        self.check_disk(&store, false);
        {
            let noted = ready(store.upkeep().clock("planned_stop"));
            let mut ledger = self.ledger.lock().unwrap();
            ledger.begins(self.wall.load(Ordering::Relaxed));
            ledger.interruptions = Interruptions {
                began: Some(began),
                was_planned: noted.is_some_and(|at| at.as_millis() > 0),
            };
        }
        let defaults = HubOptions::default();
        let options = HubOptions {
            passivate_after: Duration::from_secs(3),
            queued_inputs: 4,
            clock: clock.clone(),
            turn_within: self.time_limit().map_or(defaults.turn_within, |limit| limit.within),
            ..defaults
        };
        let agent = Actor {
            resumes: self.dice.u8(0..5) != 0,
            clock: clock.clone(),
            ledger: Arc::clone(&self.ledger),
        };
        let hub = Hub::new(Arc::new(store), Arc::new(agent), options).await.unwrap();
        tokio::spawn(follow_list(hub.changes(), Arc::clone(&self.ledger)));
        let mut life = Life::new(hub, clock, driver, Arc::clone(&self.ledger));
        let end = self.act(&mut life, last).await;
        self.wall.fetch_add(i64::try_from(began.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
        end
    }

    async fn act(&mut self, life: &mut Life, last: bool) -> End {
        let places = self.ledger.lock().unwrap().places.len();
        for number in 0..places {
            if self.dice.bool() {
                self.come_back(life, number);
            }
        }
        let callers = self.ledger.lock().unwrap().callers.len();
        for number in 0..callers {
            if self.dice.bool() {
                self.connect(life, number);
            }
        }
        if self.dice.bool() {
            self.worker_connects(life);
        }
        for _ in 0..self.dice.u32(0..60) {
            self.done.steps += 1;
            self.step(life).await;
            self.check_complaints();
            let waiting = life.driver.waiting();
            self.done.most_waiting = self.done.most_waiting.max(waiting);
            let most = WAITING * self.ledger.lock().unwrap().rooms.len() + 8;
            assert!(waiting <= most, "{waiting} writes wait");
        }
        if last {
            self.come_to_rest(life).await;
        } else if self.dice.u8(0..2) == 0 {
            self.stream_before_end(life);
            self.pass_on_time(life).await;
        }
        if last || self.dice.u8(0..3) == 0 {
            return self.stop(life, last).await;
        }
        if self.dice.u8(0..4) == 0 {
            self.delete(life);
            tokio::task::yield_now().await;
        }
        let moment = life.crash(&mut self.disk, &mut self.dice);
        self.crashed(moment);
        End::Crashed
    }

    async fn step(&mut self, life: &mut Life) {
        match self.dice.u8(0..58) {
            0..=8 => self.send(life),
            9..=10 => self.again(life),
            11..=12 => self.cancel(life),
            13 => self.withdraw(life),
            14..=16 => self.decide(life),
            17..=18 => self.bring_result(life),
            19 => self.rename(life),
            20..=21 => self.attach(life),
            22 => self.vanish(life),
            23..=24 => self.change_pace(life),
            25 => life.hold(&self.disk, self.dice.usize(1..6)),
            26..=28 => drop(life.write(1)),
            29..=31 => {
                let millis = self.dice.u64(1..3_000);
                pass(millis).await;
            }
            32 => self.jump(),
            33..=34 => self.break_or_heal(life),
            36 => self.pass_on_time(life).await,
            37..=38 => self.make(life),
            39..=40 => self.delete(life),
            41 => self.leave(life),
            42..=43 => self.call(life),
            44..=46 => self.say(life),
            47 => self.hang_up(life),
            48 => self.trim(life),
            49..=50 => self.wait_for_turn(life),
            51..=53 => self.worker_connects(life),
            54 => self.worker_crashes(life),
            55 => {
                let seconds = self.dice.u64(1..40);
                pass(seconds * 1_000).await;
            }
            _ => {}
        }
        // Some steps follow each other at once, others after every task has become idle.
        match self.dice.u8(0..8) {
            0 => {}
            1..=2 => {
                for _ in 0..self.dice.u32(1..30) {
                    tokio::task::yield_now().await;
                }
            }
            3 => pass(1).await,
            _ => {
                pass(1).await;
                life.write(1024);
                pass(1).await;
            }
        }
    }

    /// A while with a disk that keeps up.
    async fn pass_on_time(&mut self, life: &mut Life) {
        for _ in 0..self.dice.u32(1..20) {
            pass(100).await;
            life.write(1024);
        }
    }

    fn crashed(&mut self, moment: Moment) {
        self.note(format!("crash: {moment:?}"));
        *self.done.crashes.entry(moment).or_default() += 1;
    }

    /// A planned stop; a crash may come at any write of it, or behind the last one.
    async fn stop(&mut self, life: &mut Life, last: bool) -> End {
        {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.excused = true;
            ledger.texts.stops();
        }
        let grace = self.dice.u64(0..3_000);
        let mut writes = (!last && self.dice.bool()).then(|| self.dice.u32(0..4));
        self.note(format!("stop within {grace} ms, to be cut behind {writes:?} writes"));
        let hub = life.hub.clone();
        let stop = hub.stop(Duration::from_millis(grace));
        tokio::pin!(stop);
        let deadline = Instant::now() + Duration::from_millis(grace) + Duration::from_secs(60);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = pass(10) => match &mut writes {
                    None => drop(life.write(1024)),
                    Some(0) if life.driver.waiting() > 0 || life.held.is_some() => {
                        return self.cut_stop(life);
                    }
                    Some(0) => {}
                    Some(left) => {
                        let most = self.dice.usize(1..4);
                        *left -= u32::from(life.write(most));
                    }
                },
            }
            assert!(Instant::now() < deadline, "a planned stop does not end");
        }
        pass(1).await;
        if writes.is_some() {
            return self.cut_stop(life);
        }
        // The stop has waited for the sessions that were live. A command that comes after that
        // loads its session, which recovers the turn that was left open, and refuses the command
        // then. The recovery is a write; the server itself drains them when it closes its store.
        life.write(1024);
        pass(1).await;
        let under_way = self
            .ledger
            .lock()
            .unwrap()
            .asked
            .iter()
            .find(|asked| asked.under_way > 0)
            .map(|asked| asked.tag.clone());
        assert_eq!(under_way, None, "a planned stop answers everybody");
        if !self.ledger.lock().unwrap().shaken {
            let noted = ready(life.hub.store().upkeep().clock("planned_stop"));
            assert!(noted.is_some_and(|at| at.as_millis() > 0), "a planned stop is not noted");
        }
        self.done.stops += 1;
        self.ledger.lock().unwrap().texts.stopped();
        life.hub.store().close().await;
        End::Stopped
    }

    fn cut_stop(&mut self, life: &mut Life) -> End {
        let moment = life.crash(&mut self.disk, &mut self.dice);
        self.note(format!("crash in a stop: {moment:?}"));
        *self.done.stops_cut.entry(moment).or_default() += 1;
        End::Crashed
    }

    /// Heals what is broken, and lets everything run to its end.
    async fn come_to_rest(&mut self, life: &mut Life) {
        self.heal(life);
        self.finish_sweep(life).await;
        let places = self.ledger.lock().unwrap().places.len();
        for number in 0..places {
            if !life.readers.contains_key(&number) {
                self.come_back(life, number);
            }
            life.readers[&number].pace(Pace::Eager);
        }
        let callers = self.ledger.lock().unwrap().callers.len();
        for number in 0..callers {
            self.connect(life, number);
            life.callers[&number].pace(Pace::Eager);
        }
        self.last_worker(life);
        let mut rounds = 0;
        loop {
            for _ in 0..20 {
                life.write(1024);
                pass(100).await;
            }
            self.check_complaints();
            self.ledger.lock().unwrap().excused = false;
            let states: BTreeMap<_, _> = self
                .rooms_there()
                .into_iter()
                .filter_map(|(room, session)| {
                    let stored = ready(life.hub.store().directory().session(&session));
                    Some((room, stored?.state))
                })
                .collect();
            let busy: Vec<_> = states
                .iter()
                .filter(|(_, state)| state.turn().is_some() || !state.queue().is_empty())
                .collect();
            // A slow reader may be in the middle of its pause.
            if busy.is_empty() && life.driver.waiting() == 0 && rounds > 3 {
                self.check_rooms(life.hub.store());
                let head = |room| states.get(&room).map_or(0, |state| state.head().0);
                self.ledger
                    .lock()
                    .unwrap()
                    .check_rest(head, |number| life.readers.contains_key(&number));
                return self.check_complaints();
            }
            rounds += 1;
            assert!(rounds < 100, "it does not come to rest: {states:?}");
            if rounds > 2 {
                for room in busy.into_iter().map(|(room, _)| *room).collect::<Vec<_>>() {
                    let session = self.ledger.lock().unwrap().rooms[room].session.clone();
                    self.ask(life, Some(room), false, |_| {
                        SessionCommand::Cancel { turn: None }.on(session)
                    });
                }
            }
        }
    }

    /// The wall clock jumps: somebody set it, or the machine slept.
    fn jump(&mut self) {
        if self.time_limit().is_some_and(|limit| limit.is_checked) {
            return;
        }
        let millis = self.dice.i64(-900_000_000..900_000_000);
        self.note(format!("the clock jumps {millis} ms"));
        self.done.jumps += 1;
        self.ledger.lock().unwrap().jumps += 1;
        self.wall.fetch_add(millis, Ordering::Relaxed);
    }

    fn break_or_heal(&mut self, life: &Life) {
        if self.time_limit().is_some_and(|limit| limit.is_checked) {
            return;
        }
        if self.disk.is_broken() || self.dice.bool() {
            self.heal(life);
            self.note("healed".to_owned());
            return;
        }
        let what = self.disk.break_something(&life.driver, &mut self.dice);
        self.done.faults += 1;
        {
            let mut ledger = self.ledger.lock().unwrap();
            (ledger.excused, ledger.shaken) = (true, true);
            ledger.texts.set_failing(self.disk.is_failing());
        }
        self.note(format!("fault: {what}"));
    }

    fn heal(&mut self, life: &Life) {
        self.disk.heal(&life.driver);
        self.ledger.lock().unwrap().texts.set_failing(false);
    }

    fn time_limit(&self) -> Option<TimeLimit> {
        self.ledger.lock().unwrap().time_limit
    }

    pub(crate) fn open(&mut self) -> (Store, RamDriver) {
        let now = Timestamp::from_millis(self.wall.load(Ordering::Relaxed));
        self.disk.open(now)
    }

    pub(crate) fn note(&mut self, what: String) {
        self.trace.push(what);
    }
}

/// Somebody looks at the list of sessions all the time.
async fn follow_list(mut changes: broadcast::Receiver<Changed>, ledger: Arc<Mutex<Ledger>>) {
    while let Ok(changed) = changes.recv().await {
        ledger.lock().unwrap().listed(&changed);
    }
}
