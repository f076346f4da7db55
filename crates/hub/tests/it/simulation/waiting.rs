//! Retention, and callers that wait for a turn in one request, as `POST …/inputs?wait=` does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thoughtwire_hub::AwaitedTurn;
use thoughtwire_proto::{
    Command, CommandReply, Event, InputEvent, ItemId, Record, Refusal, RefusalCode, SessionCommand,
    SessionReply, TurnEvent,
};
use thoughtwire_store::Retention;

use super::history::History;
use super::ledger::Ledger;
use super::life::{Life, pass};

/// Answers to callers that waited for turns.
#[derive(Default)]
pub(crate) struct Waits {
    /// Those that still wait in this life.
    pub(crate) under_way: u32,
    /// By room: the input, where it stands, and all that was told of its turn.
    told: Vec<(usize, ItemId, u64, Vec<Record>)>,
}

impl Waits {
    /// Holds what was told against the log: the whole turn, without a hole.
    pub(crate) fn check(&mut self, room: usize, records: &[Record]) -> Vec<String> {
        let told = self.told.extract_if(.., |(of, ..)| *of == room);
        let wrong = told.filter_map(|(_, input, seq, told)| {
            let expected = turn_of(&input, seq, records);
            (told != expected).then(|| {
                format!("the turn of {input} at {seq} was told as {told:?}, and is {expected:?}")
            })
        });
        wrong.collect()
    }
}

/// An input and all events of its turn from the input on.
fn turn_of(input: &ItemId, seq: u64, records: &[Record]) -> Vec<Record> {
    let from = || records.iter().filter(|record| record.seq.0 >= seq);
    let turn = from().find_map(|record| match &record.event {
        Event::Input(InputEvent::UserMessage { item, .. }) if item == input => record.turn.clone(),
        Event::Turn(TurnEvent::Started { input: started }) if started == input => {
            record.turn.clone()
        }
        _ => None,
    });
    let is_its = |record: &&Record| match &record.event {
        Event::Input(InputEvent::UserMessage { item, .. }) if item == input => true,
        Event::Input(InputEvent::Withdrawn { input: withdrawn }) => withdrawn == input,
        _ => turn.is_some() && record.turn == turn,
    };
    from().filter(is_its).cloned().collect()
}

impl History {
    /// Somebody says how much of a log is kept, and a retention job runs.
    pub(crate) fn trim(&mut self, life: &mut Life) {
        if life.sweep.as_ref().is_some_and(|sweep| !sweep.is_finished()) {
            return;
        }
        let (there, number) = (self.rooms_there(), self.dice.usize(0..1_000));
        let (room, session) = there[number % there.len()].clone();
        // How a session was opened is known to everybody who has seen its beginning.
        if !self.ledger.lock().unwrap().rooms[room].seen.contains_key(&1) {
            return;
        }
        let events = self.dice.u64(1..40);
        self.note(format!("room {room} keeps {events} events"));
        self.ledger.lock().unwrap().rooms[room].keep(events);
        let keep = Retention { days: None, events: Some(events) };
        let (hub, user, ledger) = (life.hub.clone(), self.user.clone(), Arc::clone(&self.ledger));
        life.sweep = Some(tokio::spawn(async move {
            // The next sweep does what a failing disk or a deletion prevented.
            drop(hub.keep(&user, &session, keep).await);
            let shortened = hub.sweep().await.unwrap_or(0);
            ledger.lock().unwrap().tally.shortened += shortened as u64;
        }));
    }

    /// Lets a retention job that runs come to its end.
    pub(crate) async fn finish_sweep(&mut self, life: &mut Life) {
        for _ in 0..1_000 {
            if life.sweep.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                return;
            }
            life.write(1024);
            pass(10).await;
        }
        panic!("a retention job does not end");
    }

    /// Somebody waits for the turn of an input, of now or of long ago.
    pub(crate) fn wait_for_turn(&mut self, life: &mut Life) {
        let inputs: Vec<_> = {
            let ledger = self.ledger.lock().unwrap();
            let input = |number: usize| {
                let asked = &ledger.asked[number];
                match (&asked.command, &asked.yes) {
                    (
                        Command::Session { session, command: SessionCommand::Send { .. } },
                        Some(CommandReply::Session(SessionReply::Input { seq, input, .. })),
                    ) => Some((asked.room?, session.clone(), *seq, input.clone())),
                    _ => None,
                }
            };
            (0..ledger.asked.len()).filter_map(input).collect()
        };
        let Some((room, session, seq, input)) = self.dice.choice(inputs) else { return };
        let limit = Duration::from_millis(self.dice.u64(1..400_000));
        self.note(format!("somebody waits {limit:?} for the turn of the input at {seq}"));
        let (hub, user) = (life.hub.clone(), self.user.clone());
        let waiting = Waiting::new(&self.ledger);
        tokio::spawn(async move {
            let turn = hub.await_turn(&user, &session, seq, &input);
            let outcome = tokio::time::timeout(limit, turn).await;
            let mut ledger = waiting.ledger.lock().unwrap();
            match outcome {
                Ok(Ok(AwaitedTurn::Ended(records))) => {
                    ledger.tally.waited += 1;
                    ledger.waits.told.push((room, input, seq.0, records));
                }
                Ok(Ok(AwaitedTurn::Trimmed(_))) => {
                    (ledger.tally.waited, ledger.tally.waited_trimmed) =
                        (ledger.tally.waited + 1, ledger.tally.waited_trimmed + 1);
                    let fits = ledger.rooms[room].is_trimmed;
                    ledger.hold(fits, || format!("room {room} is not trimmed, it was told so"));
                }
                Ok(Err(refusal)) => ledger.wait_refused(room, &refusal),
                Err(_) => ledger.tally.waited_late += 1,
            }
            drop(ledger);
        });
    }
}

impl Ledger {
    fn wait_refused(&mut self, room: usize, refusal: &Refusal) {
        let doomed = self.is_doomed(room);
        let fits = match refusal.code {
            RefusalCode::UnknownSession => doomed,
            code => self.is_hindrance(code) && (self.excused || doomed),
        };
        self.hold(fits, || {
            format!("who waits for a turn in room {room} was refused for no reason: {refusal:?}")
        });
    }
}

/// A caller that waits, counted.
struct Waiting {
    ledger: Arc<Mutex<Ledger>>,
}

impl Waiting {
    fn new(ledger: &Arc<Mutex<Ledger>>) -> Self {
        ledger.lock().unwrap().waits.under_way += 1;
        Self { ledger: Arc::clone(ledger) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Ok(mut ledger) = self.ledger.lock() {
            ledger.waits.under_way = ledger.waits.under_way.saturating_sub(1);
        }
    }
}
