//! Workers that come, go, crash and repeat themselves; and the answers to their verbs.

use std::collections::{HashMap, HashSet};

use thoughtwire_proto::{
    CallId, CommandId, ConnectionReply, Event, Record, Refusal, RefusalCode, Run, SessionId,
    TurnEvent,
};

use super::asked::is_of_the_store;
use super::history::History;
use super::ledger::Ledger;
use super::life::Life;
use super::worker::SimWorker;

/// Names of workers. One of them is connected at a time: which of two gets a session follows
/// from random ids, and a seed must be the same history every time.
const NAMES: [&str; 2] = ["one", "two"];

/// Answers to the verbs of all workers, over all crashes.
#[derive(Default)]
pub(crate) struct VerbLedger {
    /// By the verb's id, which names its turn.
    verbs: HashMap<CommandId, AnsweredVerb>,
    tools_run: HashSet<CallId>,
}

#[derive(Default)]
struct AnsweredVerb {
    room: Option<usize>,
    /// Position of its event.
    seq: Option<u64>,
    /// Answers that said that it took effect now.
    first_answers: u32,
}

impl VerbLedger {
    /// Holds the answers against a room's log: each acknowledged event is at its position.
    fn check_positions(&self, room: usize, records: &[Record]) -> Vec<String> {
        let its = self.verbs.iter().filter(|(_, verb)| verb.room == Some(room));
        let wrong = its.filter_map(|(id, verb)| {
            let seq = verb.seq?;
            let record = records.iter().find(|record| record.seq.0 == seq);
            record.is_none().then(|| format!("{id} was acknowledged at {seq}, which is not there"))
        });
        wrong.collect()
    }
}

/// No item and no call is in a log twice.
fn check_ids(records: &[Record]) -> Vec<String> {
    let mut known = HashSet::new();
    let said = records.iter().filter_map(|record| match &record.event {
        Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) => {
            Some(item.as_str())
        }
        Event::Turn(TurnEvent::ToolCalled { call, .. }) => Some(call.as_str()),
        _ => None,
    });
    said.filter(|id| !known.insert(*id)).map(|id| format!("{id} was said twice")).collect()
}

impl Ledger {
    /// A turn was handed out: its history must be part of the log, and in order.
    pub(crate) fn handed_out(&mut self, run: &Run) {
        self.tally.handed_out += 1;
        let in_order = run.history.windows(2).all(|two| two[0].seq < two[1].seq);
        self.hold(in_order, || format!("the history of turn {} is out of order", run.turn));
        let attempt = |record: &Record| match record.event {
            Event::Turn(TurnEvent::Resumed { attempt, .. })
                if record.turn.as_ref() == Some(&run.turn) =>
            {
                Some(attempt)
            }
            _ => None,
        };
        let newest = run.history.iter().rev().find_map(attempt);
        self.tally.taken_over += u64::from(run.resumed && newest.is_some());
        self.hold(newest.is_none_or(|newest| run.resumed && newest == run.attempt), || {
            format!("turn {} is handed out as {}, not {newest:?}", run.turn, run.attempt)
        });
        if let Some(room) = self.room_of(&run.session) {
            run.history.iter().for_each(|record| self.see(room, record));
        }
    }

    /// A worker ran a call's tool: the call is on disk then, and it runs again only if the
    /// worker starts its turn over.
    pub(crate) fn worker_ran(&mut self, call: &CallId) {
        self.verbs.tools_run.insert(call.clone());
    }

    pub(crate) fn offer_refused(&mut self, refusal: &Refusal) {
        let fits = is_of_the_store(refusal.code);
        self.hold(fits, || format!("an offer was refused for no reason: {refusal:?}"));
    }

    pub(crate) fn verb_answered(
        &mut self,
        session: &SessionId,
        id: Option<&CommandId>,
        answer: &Result<ConnectionReply, Refusal>,
    ) {
        self.tally.verbs += 1;
        let room = self.room_of(session);
        match answer {
            Ok(ConnectionReply::Said { seq, duplicate, .. }) => {
                self.tally.verbs_repeated += u64::from(*duplicate);
                let Some(id) = id else { return };
                let known = self.verbs.verbs.entry(id.clone()).or_default();
                known.room = room;
                known.first_answers += u32::from(!duplicate);
                let (times, before) = (known.first_answers, known.seq);
                known.seq = known.seq.or(seq.map(|seq| seq.0));
                self.hold(times <= 1, || format!("verb {id} took effect {times} times"));
                let is_same = before.is_none() || before == seq.map(|seq| seq.0);
                self.hold(is_same, || format!("verb {id} was at {before:?}, and is at {seq:?}"));
            }
            Ok(other) => self.complain(format!("a verb was answered {other:?}")),
            Err(refusal) => self.verb_refused(room, id, refusal),
        }
    }

    fn verb_refused(&mut self, room: Option<usize>, id: Option<&CommandId>, refusal: &Refusal) {
        self.tally.verbs_refused += 1;
        let doomed = room.is_none_or(|room| self.is_doomed(room));
        let fits = match refusal.code {
            // The turn has ended, the owner denied a call, or too many calls wait.
            RefusalCode::NoTurn
            | RefusalCode::Forbidden
            | RefusalCode::UnknownCall
            | RefusalCode::QueueFull => true,
            code => is_of_the_store(code) && (self.excused || doomed),
        };
        self.hold(fits, || format!("verb {id:?} was refused for no reason: {refusal:?}"));
    }

    /// Holds a room's whole log against the answers that workers got.
    pub(crate) fn check_verbs(&self, room: usize, records: &[Record]) -> Vec<String> {
        let mut wrong = self.verbs.check_positions(room, records);
        wrong.extend(check_ids(records));
        let is_called = |call: &CallId| {
            records.iter().any(|record| match &record.event {
                Event::Turn(TurnEvent::ToolCalled { call: called, .. }) => called == call,
                _ => false,
            })
        };
        let ran = self.verbs.tools_run.iter().filter(|call| {
            let verb = self.verbs.verbs.get(&CommandId::new(call.as_str()).unwrap());
            verb.is_some_and(|verb| verb.room == Some(room))
        });
        wrong.extend(ran.filter(|call| !is_called(call)).map(|call| {
            format!("a worker ran the tool of {call}, and the call is not in the log")
        }));
        wrong
    }
}

impl History {
    /// A worker connects, as a new one, as one that was here, or in place of itself.
    pub(crate) fn worker_connects(&mut self, life: &mut Life) {
        let (name, turns) = (NAMES[self.dice.usize(0..2)], self.dice.u64(0..4));
        self.connect_worker(life, name, turns);
    }

    fn connect_worker(&mut self, life: &mut Life, name: &'static str, turns: u64) {
        let seed = self.dice.u64(0..u64::MAX);
        self.note(format!("worker {name} offers to run {turns} turns"));
        match life.worker.take() {
            // The hub tells the connection that another one offers under its name.
            Some(before) if before.name == name => life.replaced = Some(before),
            _ => life.replaced = None,
        }
        let (hub, user) = (&life.hub, &self.user);
        life.worker = Some(SimWorker::connect(hub, user, name, turns, seed, &self.ledger));
    }

    /// The worker crashes.
    pub(crate) fn worker_crashes(&mut self, life: &mut Life) {
        (life.worker, life.replaced) = (None, None);
    }

    /// A worker with room for every waiting session connects.
    pub(crate) fn last_worker(&mut self, life: &mut Life) {
        // While reads are slow, an earlier offer under its name could arrive after its own.
        self.worker_crashes(life);
        self.connect_worker(life, NAMES[0], 8);
    }
}
