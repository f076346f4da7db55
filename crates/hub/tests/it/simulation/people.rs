//! Steps of people with a server.

use std::sync::{Arc, Mutex};

use thoughtwire_proto::{
    AgentSettings, AgentSpec, Command, CommandReply, Cursor, DirectoryCommand, OnCrash, Policy,
    Refusal, Request, Seq, SessionCommand, Start, ToolStatus, Verdict,
};

use super::actor::script;
use super::asked::Asked;
use super::history::History;
use super::ledger::Ledger;
use super::life::Life;
use super::place::ReadPlace;
use super::reader::{Pace, Reader};
use super::worker::OFFERED_AGENT;

/// How many clients follow at most.
const PLACES: usize = 6;
/// How many sessions there are at most.
const ROOMS: usize = 6;

impl History {
    pub(crate) fn send(&mut self, life: &mut Life) {
        let (room, with_id) = (self.room(), self.dice.u8(0..4) != 0);
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let policy =
            [Policy::Queue, Policy::Queue, Policy::Interrupt, Policy::Reject, Policy::Steer]
                [self.dice.usize(0..5)];
        let script = script(&mut self.dice);
        self.ask(life, Some(room), with_id, |tag| {
            SessionCommand::Send {
                text: format!("{tag} {script}"),
                attachments: Vec::new(),
                policy,
            }
            .on(session)
        });
    }

    /// Has a text streamed that a crash or a stop will cut, while somebody reads it.
    pub(crate) fn stream_before_end(&mut self, life: &mut Life) {
        let there = self.rooms_there();
        let (room, session) = there[self.dice.usize(0..there.len())].clone();
        let script = match self.dice.u8(0..4) {
            0 => "open hang".to_owned(),
            1 => format!("open ask:{}", self.dice.u32(10_000..20_000)),
            _ => format!("drip:{} finish", self.dice.u32(5..60)),
        };
        self.ask(life, Some(room), true, |tag| {
            let policy = Policy::Interrupt;
            let text = format!("{tag} {script}");
            SessionCommand::Send { text, attachments: Vec::new(), policy }.on(session.clone())
        });
        let number = {
            let mut ledger = self.ledger.lock().unwrap();
            let its = ledger.places.iter().position(|place| place.room == room);
            its.unwrap_or_else(|| ledger.add_place(room))
        };
        life.readers.entry(number).or_insert_with(|| {
            let (start, pace) = (Start::Head, Pace::Eager);
            let (hub, user, ledger) = (&life.hub, &self.user, &self.ledger);
            Reader::attach(hub, user, &session, number, start, pace, ledger)
        });
    }

    /// Asks something once more under its id, answered or not.
    pub(crate) fn again(&mut self, life: &mut Life) {
        let rare = self.dice.bool();
        let with_id: Vec<usize> = {
            let ledger = self.ledger.lock().unwrap();
            let is_meant = |asked: &Asked| {
                !rare
                    || asked.room.is_none()
                    || matches!(
                        asked.command,
                        Command::Session { command: SessionCommand::Delete, .. }
                    )
            };
            (0..ledger.asked.len())
                .filter(|number| {
                    ledger.asked[*number].id.is_some() && is_meant(&ledger.asked[*number])
                })
                .collect()
        };
        let Some(number) = self.dice.choice(with_id) else { return };
        self.submit(life, number);
    }

    pub(crate) fn cancel(&mut self, life: &mut Life) {
        let room = self.room();
        let (session, turns) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].turns.clone())
        };
        let turn = if self.dice.bool() { turns.last().cloned() } else { None };
        let with_id = self.dice.bool();
        self.ask(life, Some(room), with_id, |_| SessionCommand::Cancel { turn }.on(session));
    }

    pub(crate) fn withdraw(&mut self, life: &mut Life) {
        let room = self.room();
        let (session, inputs) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].inputs.clone())
        };
        let newest = inputs.into_iter().rev().take(4);
        let Some(input) = self.dice.choice(newest.collect::<Vec<_>>()) else { return };
        let with_id = self.dice.bool();
        self.ask(life, Some(room), with_id, |_| SessionCommand::Withdraw { input }.on(session));
    }

    pub(crate) fn decide(&mut self, life: &mut Life) {
        let room = self.room();
        let (session, questions) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].questions.clone())
        };
        let call = if self.dice.bool() { questions.last() } else { questions.first() };
        // Without a question, the decision is about a call that nobody has made.
        let call = call.cloned().unwrap_or_else(|| "c-none".parse().unwrap());
        let with_id = self.dice.bool();
        let decision = match self.dice.u8(0..4) {
            0 => Verdict::Denied,
            1 => Verdict::Done,
            _ => Verdict::Approved,
        };
        let result = (decision == Verdict::Done && self.dice.bool()).then(|| "as said".to_owned());
        self.ask(life, Some(room), with_id, |_| {
            SessionCommand::Decide { call, decision, result }.on(session)
        });
    }

    pub(crate) fn bring_result(&mut self, life: &mut Life) {
        let room = self.room();
        let (session, outside) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.rooms[room].session.clone(), ledger.rooms[room].outside.clone())
        };
        let Some(call) = outside.last().cloned() else { return };
        let with_id = self.dice.bool();
        let status = if self.dice.bool() { ToolStatus::Success } else { ToolStatus::Error };
        self.ask(life, Some(room), with_id, |tag| {
            SessionCommand::ToolReturn {
                call,
                status,
                text: format!("{tag} result"),
                content: None,
            }
            .on(session)
        });
    }

    pub(crate) fn rename(&mut self, life: &mut Life) {
        let (room, with_id) = (self.room(), self.dice.bool());
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let instruct = self.dice.bool();
        self.ask(life, Some(room), with_id, |tag| match instruct {
            true => SessionCommand::Instruct { instructions: format!("{tag} be kind") }.on(session),
            false => SessionCommand::Rename { title: format!("{tag} title") }.on(session),
        });
    }

    /// Makes an agent, or a session of one; now and then asked for twice at once.
    pub(crate) fn make(&mut self, life: &mut Life) {
        if self.rooms_there().len() >= ROOMS {
            return;
        }
        let (kind, with_id) = (self.dice.u8(0..8), self.dice.u8(0..4) != 0);
        let number = self.ask(life, None, with_id, |tag| match kind {
            0 | 1 => {
                let name = if kind == 0 { String::new() } else { tag.to_owned() };
                Command::Directory(DirectoryCommand::CreateAgent(Box::new(AgentSpec {
                    name,
                    model: Some(format!("{tag} model")),
                    settings: AgentSettings {
                        on_crash: (kind == 1).then_some(OnCrash::Stop),
                        ..AgentSettings::default()
                    },
                    ..AgentSpec::default()
                })))
            }
            _ => {
                let (title, instructions) = (
                    (kind % 2 == 0).then(|| format!("{tag} title")),
                    Some(format!("{tag} from the start")),
                );
                Command::Directory(DirectoryCommand::CreateSession {
                    agent: if kind < 4 { OFFERED_AGENT } else { "ada" }.to_owned(),
                    title,
                    instructions,
                    history: Vec::new(),
                })
            }
        });
        if with_id && self.dice.u8(0..4) == 0 {
            self.submit(life, number);
        }
    }

    /// Deletes a session with all that is under way in it; now and then asked for twice at once.
    pub(crate) fn delete(&mut self, life: &mut Life) {
        let room = self.room();
        if self.ledger.lock().unwrap().rooms[room].is_main && self.dice.u8(0..8) != 0 {
            return;
        }
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let with_id = self.dice.u8(0..4) != 0;
        let number = self.ask(life, Some(room), with_id, |_| SessionCommand::Delete.on(session));
        if with_id && self.dice.u8(0..4) == 0 {
            self.submit(life, number);
        }
    }

    /// Somebody reads the end of a log from the store, as requests over HTTP do.
    pub(crate) fn read_head(&mut self, life: &mut Life) {
        let room = self.room();
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let (hub, ledger) = (life.hub.clone(), Arc::clone(&self.ledger));
        tokio::spawn(async move {
            let asked_at = ledger.lock().unwrap().timeline.moment();
            let read = hub.store().logs().records_before(&session, Seq(u64::MAX), 1).await;
            if let Some(last) = read.ok().and_then(|records| records.into_iter().next()) {
                ledger.lock().unwrap().timeline.read_store(room, last.seq.0, asked_at);
            }
        });
    }

    /// Somebody leaves with a command under way.
    pub(crate) fn leave(&mut self, life: &mut Life) {
        let newest = life.asking.len().saturating_sub(4);
        if let Some(number) = self.dice.choice(newest..life.asking.len()) {
            life.asking[number].abort();
        }
    }

    pub(crate) fn ask(
        &mut self,
        life: &mut Life,
        room: Option<usize>,
        with_id: bool,
        command: impl FnOnce(&str) -> Command,
    ) -> usize {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        let id = with_id.then(|| tag.parse().unwrap());
        let command = command(&tag);
        self.note(format!("{tag} in {room:?}: {}", told(&command)));
        let number = self.ledger.lock().unwrap().asks(id, room, tag, command);
        self.submit(life, number);
        number
    }

    fn submit(&mut self, life: &mut Life, number: usize) {
        let (hub, user) = (life.hub.clone(), self.user.clone());
        let (tag, request) = {
            let ledger = self.ledger.lock().unwrap();
            let asked = &ledger.asked[number];
            (asked.tag.clone(), Request { id: asked.id.clone(), command: asked.command.clone() })
        };
        let question = Question::new(&self.ledger, number);
        let asking = tokio::spawn(async move {
            let answer = crate::support::carry_out(&hub, &user, Some(tag), request).await.await;
            question.answered(answer);
        });
        life.asking.push(asking.abort_handle());
    }

    pub(crate) fn attach(&mut self, life: &mut Life) {
        let places = self.ledger.lock().unwrap().places.len();
        let number = match places {
            places if places < PLACES => {
                let room = self.room();
                self.ledger.lock().unwrap().add_place(room)
            }
            places => self.dice.usize(0..places),
        };
        let elsewhere = self.room();
        {
            let place = &mut self.ledger.lock().unwrap().places[number];
            if place.told_gone {
                *place = ReadPlace::new(elsewhere);
            }
        }
        let (room, head) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.places[number].room, ledger.known_of(number).0)
        };
        let start = match self.dice.u8(0..6) {
            0 => Start::Head,
            1 => Start::Last(self.dice.u64(0..10)),
            // A place that was never reached: the whole log must be sent.
            2 => Start::After(Cursor { epoch: None, seq: Seq(head + 100_000) }),
            _ => Start::After(Cursor { epoch: None, seq: Seq(self.dice.u64(0..=head)) }),
        };
        self.note(format!("place {number} attaches {start:?}"));
        let session = self.ledger.lock().unwrap().rooms[room].session.clone();
        let pace = self.pace();
        life.readers.insert(
            number,
            Reader::attach(&life.hub, &self.user, &session, number, start, pace, &self.ledger),
        );
    }

    pub(crate) fn come_back(&mut self, life: &mut Life, number: usize) {
        let (session, cursor) = {
            let ledger = self.ledger.lock().unwrap();
            let place = &ledger.places[number];
            (ledger.rooms[place.room].session.clone(), place.cursor.unwrap_or(0))
        };
        let start = Start::After(Cursor { epoch: None, seq: Seq(cursor) });
        let pace = self.pace();
        life.readers.insert(
            number,
            Reader::attach(&life.hub, &self.user, &session, number, start, pace, &self.ledger),
        );
    }

    /// Somebody is gone, and perhaps comes back at once.
    pub(crate) fn vanish(&mut self, life: &mut Life) {
        let there: Vec<usize> = life.readers.keys().copied().collect();
        let Some(number) = self.dice.choice(there) else { return };
        life.readers.remove(&number);
        if self.dice.bool() {
            self.come_back(life, number);
        }
    }

    pub(crate) fn change_pace(&mut self, life: &mut Life) {
        let there: Vec<usize> = life.readers.keys().copied().collect();
        let Some(number) = self.dice.choice(there) else { return };
        let pace = self.pace();
        life.readers[&number].pace(pace);
    }

    pub(crate) fn pace(&mut self) -> Pace {
        match self.dice.u8(0..6) {
            0 => Pace::Stalled,
            1 => Pace::Slow(self.dice.u64(1..5_000)),
            _ => Pace::Eager,
        }
    }

    /// A room, seldom one that is gone.
    fn room(&mut self) -> usize {
        let there = self.rooms_there();
        let rooms = self.ledger.lock().unwrap().rooms.len();
        if self.dice.u8(0..16) == 0 {
            self.dice.usize(0..rooms)
        } else {
            there[self.dice.usize(0..there.len())].0
        }
    }
}

/// A command without its ids, which are others every time.
fn told(command: &Command) -> String {
    match command {
        Command::Session { command: SessionCommand::Send { text, policy, .. }, .. } => {
            format!("send {policy:?} {text}")
        }
        Command::Session { command: SessionCommand::Withdraw { .. }, .. } => "withdraw".to_owned(),
        Command::Session { command: SessionCommand::Cancel { turn, .. }, .. } => {
            format!("cancel, by name: {}", turn.is_some())
        }
        Command::Session { command: SessionCommand::Decide { decision, .. }, .. } => {
            format!("decide {}", decision.name())
        }
        Command::Session { command: SessionCommand::ToolReturn { status, .. }, .. } => {
            format!("tool_return {status:?}")
        }
        Command::Session { command: SessionCommand::Rename { .. }, .. } => "rename".to_owned(),
        Command::Session { command: SessionCommand::Instruct { .. }, .. } => "instruct".to_owned(),
        Command::Session { command: SessionCommand::Delete, .. } => "delete".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A command on its way, and whoever waits for its answer. Dropped, nobody waits any more.
pub(crate) struct Question {
    ledger: Arc<Mutex<Ledger>>,
    number: usize,
    was_gone: bool,
    /// Number of the attempt.
    attempt: usize,
    is_answered: bool,
}

impl Question {
    pub(crate) fn new(ledger: &Arc<Mutex<Ledger>>, number: usize) -> Self {
        let (was_gone, attempt) = ledger.lock().unwrap().goes_out(number);
        Self { ledger: Arc::clone(ledger), number, was_gone, attempt, is_answered: false }
    }

    pub(crate) fn answered(mut self, answer: Result<CommandReply, Refusal>) {
        self.is_answered = true;
        let mut ledger = self.ledger.lock().unwrap();
        ledger.answered(self.number, self.was_gone, self.attempt, answer);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // A panic on the way here says more than a poisoned lock.
        if let (false, Ok(mut ledger)) = (self.is_answered, self.ledger.lock()) {
            ledger.abandoned(self.number);
        }
    }
}
