//! A session as people saw it, and what its log has to be.

use std::collections::{BTreeMap, HashMap, HashSet};

use thoughtwire_proto::{
    CallId, Event, InputEvent, ItemId, Outcome, Record, SessionId, State, TurnEvent, TurnId,
};

pub(crate) struct SimRoom {
    pub(crate) session: SessionId,
    /// Its agent's own, which lives as long as the agent.
    pub(crate) is_main: bool,
    /// Its agent's turns end when they are interrupted.
    pub(crate) stops_on_crash: bool,
    /// Turns that were interrupted and must not go on, whose ends are not known yet.
    to_end: HashSet<TurnId>,
    /// It is known to be deleted.
    pub(crate) gone: bool,
    /// It was so when this life began.
    pub(crate) was_gone: bool,
    /// How often those who follow the list of sessions were told so in this life.
    pub(crate) told_gone: u32,
    pub(crate) seen: BTreeMap<u64, Record>,
    pub(crate) inputs: Vec<ItemId>,
    pub(crate) turns: Vec<TurnId>,
    pub(crate) questions: Vec<CallId>,
    pub(crate) outside: Vec<CallId>,
    /// Somebody said how much of its log is kept.
    pub(crate) is_trimmed: bool,
    /// The least number of events that anybody wanted to be kept.
    pub(crate) least_kept: Option<u64>,
}

/// A room's log as far as it is known: what is on disk, behind what was seen before it was trimmed.
pub(crate) struct KnownLog {
    pub(crate) records: Vec<Record>,
    /// Whether no record is missing in it.
    pub(crate) is_whole: bool,
}

impl SimRoom {
    pub(crate) fn new(session: SessionId, is_main: bool) -> Self {
        let (seen, inputs, turns, questions, outside) = Default::default();
        Self {
            session,
            is_main,
            stops_on_crash: false,
            to_end: HashSet::new(),
            gone: false,
            was_gone: false,
            told_gone: 0,
            seen,
            inputs,
            turns,
            questions,
            outside,
            is_trimmed: false,
            least_kept: None,
        }
    }

    /// The log with what was seen of it before it was trimmed.
    pub(crate) fn known_log(&self, on_disk: &[Record]) -> KnownLog {
        let first = on_disk.first().map_or(1, |record| record.seq.0);
        let mut records: Vec<_> = self.seen.range(..first).map(|(_, seen)| seen.clone()).collect();
        records.extend(on_disk.iter().cloned());
        let is_whole = records.iter().zip(1..).all(|(record, seq)| record.seq.0 == seq);
        KnownLog { records, is_whole }
    }

    /// Holds a log of which a part is not known against what was seen of the rest.
    pub(crate) fn check_rest_of(&self, on_disk: &[Record]) -> Vec<String> {
        let gaps = on_disk.windows(2).filter(|two| two[1].seq != two[0].seq.next());
        let mut wrong: Vec<_> =
            gaps.map(|two| format!("{} comes behind {}", two[1].seq, two[0].seq)).collect();
        for record in on_disk {
            let seen = self.seen.get(&record.seq.0);
            if seen.is_some_and(|seen| seen != record) {
                wrong.push(format!("{} was seen as {seen:?}, and is {record:?}", record.seq));
            }
        }
        wrong
    }

    /// Somebody saw a record: from now on it has to stay as it is.
    pub(crate) fn see(&mut self, record: &Record) -> Option<String> {
        if let Some(seen) = self.seen.get(&record.seq.0) {
            return (seen != record)
                .then(|| format!("{} was {seen:?}, and is {record:?}", record.seq));
        }
        match &record.event {
            Event::Input(InputEvent::UserMessage { item, .. }) => self.inputs.push(item.clone()),
            Event::Turn(TurnEvent::Started { .. }) => self.turns.extend(record.turn.clone()),
            Event::Turn(TurnEvent::ApprovalAsked { call, .. }) => self.questions.push(call.clone()),
            Event::Turn(TurnEvent::ToolAwaited { call, .. }) => self.outside.push(call.clone()),
            _ => {}
        }
        self.seen.insert(record.seq.0, record.clone());
        None
    }

    /// Holds the log on disk against itself and against all that was seen.
    pub(crate) fn check(&self, records: &[Record], stored: &State, at_rest: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut state = State::default();
        for (record, expected) in records.iter().zip(1..) {
            if record.seq.0 != expected {
                wrong.push(format!("{} stands where {expected} should", record.seq));
            }
            if let Err(illegal) = state.apply(record.turn.as_ref(), &record.event) {
                wrong.push(format!("the log does not hold together at {}: {illegal}", record.seq));
            }
        }
        if state != *stored {
            wrong.push(format!("the log adds up to {state:?}, and {stored:?} is kept"));
        }
        for (seq, seen) in &self.seen {
            let there = usize::try_from(*seq).ok().and_then(|seq| records.get(seq - 1));
            if there != Some(seen) {
                wrong.push(format!("{seq} was seen as {seen:?}, and on disk is {there:?}"));
            }
        }
        wrong.extend(turns(records, at_rest));
        wrong
    }
}

/// Turns that an interruption has ended.
#[derive(Default)]
pub(crate) struct StoppedTurns {
    pub(crate) wrong: Vec<String>,
    pub(crate) ended: u64,
}

impl SimRoom {
    /// Holds the turns that an interruption has to end to their ends. `is_steady`: the disk did not
    /// fail in the life that ended them, so that no turn ended for that.
    pub(crate) fn check_stopped(
        &mut self,
        records: &[Record],
        stored: &State,
        is_steady: bool,
    ) -> StoppedTurns {
        let mut found = StoppedTurns::default();
        for Record { turn, event, .. } in records {
            if let (Some(turn), Event::Turn(TurnEvent::Ended { outcome, code, .. })) = (turn, event)
                && self.to_end.remove(turn)
                && is_steady
            {
                found.ended += 1;
                let is_interrupted = *outcome == Outcome::Interrupted;
                if !is_interrupted || code.as_deref() != Some("server_stopped") {
                    found.wrong.push(format!("turn {turn} was interrupted, and is {outcome:?}"));
                }
            }
        }
        // One that waits for people or clients goes on waiting.
        let open = stored.turn().filter(|turn| self.stops_on_crash && !turn.is_parked());
        self.to_end.extend(open.map(|turn| turn.id.clone()));
        found
    }
}

/// Every turn begins and ends once, runs an input of its own, and says only what is its own.
fn turns(records: &[Record], at_rest: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut tags: HashMap<&ItemId, &str> = HashMap::new();
    let mut begun: HashMap<&TurnId, &ItemId> = HashMap::new();
    let mut ended: HashSet<&TurnId> = HashSet::new();
    let mut left: HashSet<&ItemId> = HashSet::new();
    for record in records {
        match (&record.event, &record.turn) {
            (Event::Input(InputEvent::UserMessage { item, text, .. }), turn) => {
                let twice = tags.insert(item, text.split(' ').next().unwrap_or_default()).is_some();
                if twice {
                    wrong.push(format!("input {item} is there twice"));
                }
                if turn.is_none() {
                    left.insert(item);
                }
            }
            (Event::Input(InputEvent::Withdrawn { input }), _) => drop(left.remove(input)),
            (Event::Turn(TurnEvent::Started { input }), Some(turn)) => {
                if !left.remove(input) {
                    wrong.push(format!("input {input} ran twice, or was withdrawn"));
                }
                if begun.insert(turn, input).is_some() {
                    wrong.push(format!("turn {turn} began twice"));
                }
            }
            (Event::Turn(TurnEvent::Ended { .. }), Some(turn)) if !ended.insert(turn) => {
                wrong.push(format!("turn {turn} ended twice"));
            }
            (
                Event::Turn(
                    TurnEvent::Thought { text, continues: None, .. }
                    | TurnEvent::Message { text, continues: None, .. },
                ),
                Some(turn),
            ) => {
                let tag =
                    begun.get(turn).and_then(|input| tags.get(input)).copied().unwrap_or_default();
                // A continuation names the cut text, also if it is cut itself.
                if text.split(':').next() != Some(tag) {
                    wrong.push(format!("{text:?} was said in the turn of {tag}"));
                }
            }
            _ => {}
        }
    }
    if at_rest {
        wrong.extend(
            begun
                .keys()
                .filter(|turn| !ended.contains(*turn))
                .map(|turn| format!("turn {turn} never ended")),
        );
        wrong.extend(left.iter().map(|input| format!("input {input} never ran")));
    }
    wrong
}
