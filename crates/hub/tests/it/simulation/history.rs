//! One history: a server's lives, one after the other, on one disk, and what people do to it meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use thoughtwire_hub::{Clock, Hub, HubOptions};
use thoughtwire_proto::{Command, Cursor, Policy, Request, Seq, Start, State, Timestamp, ToolStatus, UserId};
use thoughtwire_store::{Pen, Store, Written};
use tokio::time::Instant;

use super::actor::{Actor, script};
use super::disk::{Disk, Image, Moment};
use super::ledger::{Ledger, Room, Tally};
use super::reader::{Pace, Reader};
use super::template::Template;

/// How many clients follow at most.
const PLACES: usize = 6;
/// Appends that one session may have under way, and a little for what else is written.
const WAITING: usize = 256;

pub(crate) struct History {
    dice: Rng,
    user: UserId,
    disk: Disk,
    ledger: Arc<Mutex<Ledger>>,
    /// Milliseconds: what the wall clock shows when a life begins.
    wall: Arc<AtomicI64>,
    tags: u32,
    /// What was done, for whoever has to find out why it went wrong.
    pub(crate) trace: Vec<String>,
    pub(crate) done: Done,
}

/// What a history was made of.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) steps: u64,
    pub(crate) crashes: BTreeMap<Moment, u64>,
    pub(crate) stops: u64,
    pub(crate) faults: u64,
    pub(crate) jumps: u64,
    pub(crate) tally: Tally,
    pub(crate) records: u64,
    pub(crate) turns: u64,
    pub(crate) most_waiting: usize,
}

/// A server that runs.
struct Life {
    hub: Hub,
    pen: Pen,
    /// A write that is on disk, of which nobody was told yet, and the disk before it.
    held: Option<(Written, Image)>,
    readers: BTreeMap<usize, Reader>,
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
        let mut ledger = Ledger::default();
        ledger.rooms = template.sessions.iter().map(|(session, num)| Room::new(session.clone(), *num)).collect();
        Self {
            user: template.user.clone(),
            disk: Disk::new(&template.file),
            ledger: Arc::new(Mutex::new(ledger)),
            wall: Arc::new(AtomicI64::new(1_767_225_600_000 + dice.i64(0..1_000_000_000))),
            dice,
            tags: 0,
            trace: Vec::new(),
            done: Done::default(),
        }
    }

    /// Lives it through. Panics at the first thing that should not be.
    pub(crate) fn run(&mut self) {
        let lives = self.dice.u32(1..6);
        for life in 1..=lives {
            // A runtime of its own: with it everything dies at once, as a process does.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let end = runtime.block_on(self.live(life == lives));
            drop(runtime);
            self.note(format!("life {life}: {end:?}"));
            self.ledger.lock().unwrap().crashed();
            self.check_complaints();
        }
        // Nothing more comes: what is there after one more start is what there is.
        let (store, _pen) = self.open();
        self.check_disk(&store, true);
        self.done.tally = self.ledger.lock().unwrap().tally;
    }

    async fn live(&mut self, last: bool) -> End {
        self.disk.heal();
        {
            let mut ledger = self.ledger.lock().unwrap();
            (ledger.excused, ledger.shaken) = (false, false);
        }
        let began = Instant::now();
        let wall = Arc::clone(&self.wall);
        let clock = Clock::new(move || {
            let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(wall.load(Ordering::Relaxed) + passed)
        });
        if self.dice.u8(0..8) == 0 {
            let before = self.disk.image();
            let opened = self.open();
            self.disk.crash_inside(&before, &mut self.dice);
            drop(opened);
            self.crashed(Moment::Start);
        }
        let (store, pen) = self.open();
        self.check_disk(&store, false);
        let options =
            HubOptions { passivate_after: Duration::from_secs(3), queued_inputs: 4, clock: clock.clone(), ..HubOptions::default() };
        let agent = Actor { resumes: self.dice.u8(0..5) != 0, clock: clock.clone(), ledger: Arc::clone(&self.ledger) };
        let hub = Hub::new(Arc::new(store), Arc::new(agent), options).unwrap();
        let mut life = Life { hub, pen, held: None, readers: BTreeMap::new() };
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
        for _ in 0..self.dice.u32(0..60) {
            self.done.steps += 1;
            self.step(life).await;
            self.check_complaints();
            let waiting = life.pen.waiting();
            self.done.most_waiting = self.done.most_waiting.max(waiting);
            let most = WAITING * self.ledger.lock().unwrap().rooms.len() + 8;
            assert!(waiting <= most, "{waiting} writes wait");
        }
        if last {
            self.come_to_rest(life).await;
        }
        if last || self.dice.u8(0..4) == 0 {
            self.stop(life).await;
            return End::Stopped;
        }
        self.crash(life);
        End::Crashed
    }

    async fn step(&mut self, life: &mut Life) {
        match self.dice.u8(0..40) {
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
            25 => self.hold(life),
            26..=28 => self.write(life, 1),
            29..=31 => {
                let millis = self.dice.u64(1..3_000);
                pass(millis).await;
            }
            32 => self.jump(),
            33 => self.break_or_heal(),
            34 => self.disk.checkpoint(),
            35 => drop(life.pen.index()),
            36 => self.pass_on_time(life).await,
            _ => {}
        }
        // Some steps follow each other without a breath, some after everybody has done what there was to do.
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
                self.write(life, 1024);
                pass(1).await;
            }
        }
    }

    /// A while with a disk that keeps up.
    async fn pass_on_time(&mut self, life: &mut Life) {
        for _ in 0..self.dice.u32(1..20) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.write(life, 1024);
        }
    }

    fn write(&mut self, life: &mut Life, most: usize) {
        if let Some((written, _)) = life.held.take() {
            written.tell();
        }
        if let Some(written) = life.pen.write(most) {
            written.tell();
        }
    }

    /// Writes, and leaves everybody in the dark about it for a while.
    fn hold(&mut self, life: &mut Life) {
        if life.held.is_none() {
            let before = self.disk.image();
            let most = self.dice.usize(1..6);
            life.held = life.pen.write(most).map(|written| (written, before));
        }
    }

    fn crash(&mut self, life: &mut Life) {
        let moment = match (&life.held, self.dice.u8(0..8)) {
            (Some((_, before)), _) => self.disk.crash_inside(before, &mut self.dice),
            (None, 0) => {
                self.disk.crash_in_checkpoint(&mut self.dice);
                Moment::Checkpoint
            }
            (None, 1) => {
                self.disk.crash(&mut self.dice);
                Moment::Between
            }
            (None, _) => {
                let before = self.disk.image();
                let most = self.dice.usize(1..20);
                // Nobody is told: the process is gone before it could.
                life.held = life.pen.write(most).map(|written| (written, before));
                match &life.held {
                    Some((_, before)) => self.disk.crash_inside(before, &mut self.dice),
                    None => {
                        self.disk.crash(&mut self.dice);
                        Moment::Between
                    }
                }
            }
        };
        self.crashed(moment);
    }

    fn crashed(&mut self, moment: Moment) {
        self.note(format!("crash: {moment:?}"));
        *self.done.crashes.entry(moment).or_default() += 1;
    }

    async fn stop(&mut self, life: &mut Life) {
        self.note("stop".to_owned());
        self.done.stops += 1;
        self.ledger.lock().unwrap().excused = true;
        let grace = self.dice.u64(0..3_000);
        let hub = life.hub.clone();
        let stop = hub.stop(Duration::from_millis(grace));
        tokio::pin!(stop);
        let deadline = Instant::now() + Duration::from_millis(grace) + Duration::from_secs(60);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = tokio::time::sleep(Duration::from_millis(10)) => self.write(life, 1024),
            }
            assert!(Instant::now() < deadline, "a planned stop does not end");
        }
        pass(1).await;
        let under_way = self.ledger.lock().unwrap().asked.iter().find(|asked| asked.under_way > 0).map(|asked| asked.tag.clone());
        assert_eq!(under_way, None, "a planned stop answers everybody");
        life.hub.store().close();
    }

    /// Heals what is broken, and lets everything run to its end.
    async fn come_to_rest(&mut self, life: &mut Life) {
        self.disk.heal();
        let places = self.ledger.lock().unwrap().places.len();
        for number in 0..places {
            match life.readers.get(&number) {
                Some(reader) => reader.pace(Pace::Eager),
                None => self.come_back(life, number),
            }
        }
        let mut rounds = 0;
        loop {
            for _ in 0..20 {
                self.write(life, 1024);
                pass(100).await;
            }
            self.check_complaints();
            self.ledger.lock().unwrap().excused = false;
            let states = states(life.hub.store(), &self.ledger);
            let heads: Vec<u64> = states.iter().map(|state| state.head().0).collect();
            let busy: Vec<usize> =
                (0..states.len()).filter(|room| states[*room].turn().is_some() || !states[*room].queue().is_empty()).collect();
            // A slow reader may be in the middle of its pause.
            if busy.is_empty() && life.pen.waiting() == 0 && rounds > 3 {
                let there: Vec<usize> = life.readers.keys().copied().collect();
                self.ledger.lock().unwrap().check_rest(&heads, |number| there.contains(&number));
                return self.check_complaints();
            }
            rounds += 1;
            assert!(rounds < 100, "it does not come to rest: {states:?}");
            if rounds > 2 {
                for room in busy {
                    let session = self.ledger.lock().unwrap().rooms[room].session.clone();
                    self.ask(life, room, false, |_| Command::Cancel { session, turn: None });
                }
            }
        }
    }

    // What people do.

    fn send(&mut self, life: &Life) {
        let (room, with_id) = (self.room(), self.dice.u8(0..4) != 0);
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let policy = [Policy::Queue, Policy::Queue, Policy::Interrupt, Policy::Reject, Policy::Steer][self.dice.usize(0..5)];
        let script = script(&mut self.dice);
        self.ask(life, room, with_id, |tag| Command::Send { session, text: format!("{tag} {script}"), attachments: Vec::new(), policy });
    }

    /// Asks something once more under its id, answered or not.
    fn again(&mut self, life: &Life) {
        let with_id: Vec<usize> = {
            let ledger = self.ledger.lock().unwrap();
            (0..ledger.asked.len()).filter(|number| ledger.asked[*number].id.is_some()).collect()
        };
        let Some(number) = self.dice.choice(with_id) else { return };
        self.ledger.lock().unwrap().asks_again(number);
        self.submit(life, number);
    }

    fn cancel(&mut self, life: &Life) {
        let room = self.room();
        let (session, turns) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].turns.clone())
        };
        let turn = if self.dice.bool() { turns.last().cloned() } else { None };
        let with_id = self.dice.bool();
        self.ask(life, room, with_id, |_| Command::Cancel { session, turn });
    }

    fn withdraw(&mut self, life: &Life) {
        let room = self.room();
        let (session, inputs) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].inputs.clone())
        };
        let newest = inputs.into_iter().rev().take(4);
        let Some(input) = self.dice.choice(newest.collect::<Vec<_>>()) else { return };
        let with_id = self.dice.bool();
        self.ask(life, room, with_id, |_| Command::Withdraw { session: Some(session), input });
    }

    fn decide(&mut self, life: &Life) {
        let room = self.room();
        let (session, questions) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].questions.clone())
        };
        let call = if self.dice.bool() { questions.last().cloned() } else { None };
        let (with_id, approve) = (self.dice.bool(), self.dice.u8(0..3) != 0);
        self.ask(life, room, with_id, |_| Command::Decide { session: Some(session), call, approve });
    }

    fn bring_result(&mut self, life: &Life) {
        let room = self.room();
        let (session, outside) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].outside.clone())
        };
        let Some(call) = outside.last().cloned() else { return };
        let with_id = self.dice.bool();
        let status = if self.dice.bool() { ToolStatus::Success } else { ToolStatus::Error };
        self.ask(life, room, with_id, |tag| Command::ToolReturn {
            session: Some(session),
            call,
            status,
            text: format!("{tag} result"),
            content: None,
        });
    }

    fn rename(&mut self, life: &Life) {
        let (room, with_id) = (self.room(), self.dice.bool());
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let instruct = self.dice.bool();
        self.ask(life, room, with_id, |tag| match instruct {
            true => Command::Instruct { session, instructions: format!("{tag} be kind") },
            false => Command::Rename { session, title: format!("{tag} title") },
        });
    }

    fn ask(&mut self, life: &Life, room: usize, with_id: bool, command: impl FnOnce(&str) -> Command) {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        let id = with_id.then(|| tag.parse().unwrap());
        let command = command(&tag);
        self.note(format!("{tag} in {room}: {}", told(&command)));
        let number = self.ledger.lock().unwrap().asks(id, room, tag, command);
        self.submit(life, number);
    }

    fn submit(&mut self, life: &Life, number: usize) {
        let (hub, user, ledger) = (life.hub.clone(), self.user.clone(), Arc::clone(&self.ledger));
        let (tag, request) = {
            let ledger = self.ledger.lock().unwrap();
            let asked = &ledger.asked[number];
            (asked.tag.clone(), Request { id: asked.id.clone(), command: asked.command.clone() })
        };
        tokio::spawn(async move {
            let answer = hub.submit(&user, Some(tag), request).await.await;
            ledger.lock().unwrap().answered(number, answer);
        });
    }

    fn attach(&mut self, life: &mut Life) {
        let places = self.ledger.lock().unwrap().places.len();
        let number = match places {
            places if places < PLACES => {
                let room = self.room();
                self.ledger.lock().unwrap().add_place(room)
            }
            places => self.dice.usize(0..places),
        };
        let (room, head) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.places[number].room, ledger.head_of(number))
        };
        let start = match self.dice.u8(0..6) {
            0 => Start::Head,
            1 => Start::Last(self.dice.u64(0..10)),
            // A place that was never reached: the log has to be sent anew.
            2 => Start::After(Cursor { epoch: None, seq: Seq(head + 100_000) }),
            _ => Start::After(Cursor { epoch: None, seq: Seq(self.dice.u64(0..=head)) }),
        };
        self.note(format!("place {number} attaches {start:?}"));
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        life.readers.insert(number, Reader::attach(&life.hub, &self.user, &session, number, start, &self.ledger));
    }

    fn come_back(&mut self, life: &mut Life, number: usize) {
        let (session, cursor) = {
            let ledger = self.ledger.lock().unwrap();
            let place = &ledger.places[number];
            (ledger.rooms[place.room].session.clone(), place.cursor.unwrap_or(0))
        };
        let start = Start::After(Cursor { epoch: None, seq: Seq(cursor) });
        life.readers.insert(number, Reader::attach(&life.hub, &self.user, &session, number, start, &self.ledger));
    }

    /// Somebody is gone, and perhaps comes back at once.
    fn vanish(&mut self, life: &mut Life) {
        let there: Vec<usize> = life.readers.keys().copied().collect();
        let Some(number) = self.dice.choice(there) else { return };
        life.readers.remove(&number);
        if self.dice.bool() {
            self.come_back(life, number);
        }
    }

    fn change_pace(&mut self, life: &mut Life) {
        let there: Vec<usize> = life.readers.keys().copied().collect();
        let Some(number) = self.dice.choice(there) else { return };
        let pace = match self.dice.u8(0..4) {
            0 => Pace::Stalled,
            1 => Pace::Slow(self.dice.u64(1..5_000)),
            _ => Pace::Eager,
        };
        life.readers[&number].pace(pace);
    }

    /// The wall clock jumps: somebody set it, or the machine slept.
    fn jump(&mut self) {
        let millis = self.dice.i64(-900_000_000..900_000_000);
        self.note(format!("the clock jumps {millis} ms"));
        self.done.jumps += 1;
        self.wall.fetch_add(millis, Ordering::Relaxed);
    }

    fn break_or_heal(&mut self) {
        if self.disk.is_broken() || self.dice.bool() {
            self.disk.heal();
            self.note("healed".to_owned());
            return;
        }
        let what = self.disk.break_something(&mut self.dice);
        self.done.faults += 1;
        {
            let mut ledger = self.ledger.lock().unwrap();
            (ledger.excused, ledger.shaken) = (true, true);
        }
        self.note(format!("fault: {what}"));
    }

    fn room(&mut self) -> usize {
        let rooms = self.ledger.lock().unwrap().rooms.len();
        self.dice.usize(0..rooms)
    }

    // What has to hold.

    fn open(&mut self) -> (Store, Pen) {
        Store::open_by_hand(self.disk.dir(), Timestamp::from_millis(self.wall.load(Ordering::Relaxed))).unwrap()
    }

    fn check_disk(&mut self, store: &Store, at_rest: bool) {
        let states = states(store, &self.ledger);
        for (room, state) in states.iter().enumerate() {
            let mut ledger = self.ledger.lock().unwrap();
            let records = store.events(ledger.rooms[room].num, Seq::ZERO, usize::MAX).unwrap();
            ledger.check_log(room, &records, state, at_rest);
            if at_rest {
                self.done.records += records.len() as u64;
                self.done.turns += records.iter().filter(|record| record.event.kind() == "turn_ended").count() as u64;
            }
        }
        self.check_complaints();
    }

    fn check_complaints(&self) {
        let complaint = self.ledger.lock().unwrap().complaint().cloned();
        assert_eq!(complaint, None);
    }

    fn note(&mut self, what: String) {
        self.trace.push(what);
    }
}

/// A command without its ids, which are others every time.
fn told(command: &Command) -> String {
    match command {
        Command::Send { text, policy, .. } => format!("send {policy:?} {text}"),
        Command::Withdraw { .. } => "withdraw".to_owned(),
        Command::Cancel { turn, .. } => format!("cancel, by name: {}", turn.is_some()),
        Command::Decide { call, approve, .. } => format!("decide {approve}, by name: {}", call.is_some()),
        Command::ToolReturn { status, .. } => format!("tool_return {status:?}"),
        Command::Rename { .. } => "rename".to_owned(),
        Command::Instruct { .. } => "instruct".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Virtual time passes when nobody has anything left to do.
async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn states(store: &Store, ledger: &Mutex<Ledger>) -> Vec<State> {
    let sessions: Vec<_> = ledger.lock().unwrap().rooms.iter().map(|room| room.session.clone()).collect();
    sessions.iter().map(|session| store.session(session).unwrap().unwrap().state).collect()
}
