//! What everybody saw and was told: the model to which the hub is held.

use std::collections::{BTreeMap, HashMap, HashSet};

use thoughtwire_hub::Batch;
use thoughtwire_proto::{
    Answer, Attached, CallId, Command, CommandId, Disposition, Emission, Event, ItemId, Outcome, Record, Refusal, RefusalCode, SessionId,
    Start, State, TurnId,
};
use thoughtwire_store::SessionNum;

/// All that outlives a crash: people's eyes.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) rooms: Vec<Room>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) places: Vec<Place>,
    ran: HashSet<CallId>,
    complaints: Vec<String>,
    /// The disk fails now, or the server is stopping: refusals and failing reads are to be expected.
    pub(crate) excused: bool,
    /// The disk has failed in this life: a sentence that was being said then may have been cut.
    pub(crate) shaken: bool,
    pub(crate) tally: Tally,
}

/// How much was done.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    pub(crate) acknowledged: u64,
    pub(crate) repeated: u64,
    pub(crate) refused: u64,
    pub(crate) read: u64,
    pub(crate) pieces: u64,
    pub(crate) attached: u64,
}

/// One session as it was seen.
pub(crate) struct Room {
    pub(crate) session: SessionId,
    pub(crate) num: SessionNum,
    seen: BTreeMap<u64, Record>,
    pub(crate) inputs: Vec<ItemId>,
    pub(crate) turns: Vec<TurnId>,
    pub(crate) questions: Vec<CallId>,
    pub(crate) outside: Vec<CallId>,
}

/// A command, however often it was asked.
pub(crate) struct Asked {
    pub(crate) id: Option<CommandId>,
    pub(crate) room: usize,
    /// What makes its effect known: its words, or who asked.
    pub(crate) tag: String,
    pub(crate) command: Command,
    yes: Option<Answer>,
    /// Answers that did not say `duplicate`.
    first_answers: u32,
    /// Asked, and not answered yet.
    pub(crate) under_way: u32,
    /// Asked, and never to be answered: a crash came.
    lost: u32,
}

/// A subscriber's place, kept while it is away.
pub(crate) struct Place {
    pub(crate) room: usize,
    /// The last position it has; nothing before it was ever there.
    pub(crate) cursor: Option<u64>,
    caught_up: bool,
    /// Open items as it knows them.
    open: HashMap<ItemId, Open>,
}

struct Open {
    turn: TurnId,
    /// The next piece's number.
    next: u64,
    text: String,
}

impl Ledger {
    pub(crate) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    pub(crate) fn complaint(&self) -> Option<&String> {
        self.complaints.first()
    }

    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.complaints.push(what());
        }
    }

    pub(crate) fn ran(&mut self, call: &CallId) {
        let first = self.ran.insert(call.clone());
        self.hold(first, || format!("call {call} ran twice"));
    }

    pub(crate) fn hindered(&mut self, refusal: &Refusal) {
        let excused = self.excused;
        self.hold(excused, || format!("a reader was refused although nothing is wrong: {refusal:?}"));
    }

    pub(crate) fn add_place(&mut self, room: usize) -> usize {
        self.places.push(Place { room, cursor: None, caught_up: false, open: HashMap::new() });
        self.places.len() - 1
    }

    /// The last position of a room that anybody knows to be on disk.
    pub(crate) fn head(&self, room: usize) -> u64 {
        let seen = self.rooms[room].seen.keys().last().copied().unwrap_or(0);
        let told = self.asked.iter().filter(|asked| asked.room == room).filter_map(|asked| position(asked.yes.as_ref()?));
        told.fold(seen, u64::max)
    }

    pub(crate) fn head_of(&self, number: usize) -> u64 {
        self.head(self.places[number].room)
    }

    /// `known` is what was known to be on disk when it asked.
    pub(crate) fn attached(&mut self, number: usize, start: &Start, known: u64, attached: &Attached) {
        self.tally.attached += 1;
        self.hold(attached.head.0 >= known, || format!("attached at head {} although {known} was known", attached.head));
        let fits = match start {
            Start::After(cursor) if cursor.seq <= attached.head => attached.recovered && attached.after == cursor.seq,
            Start::After(_) => !attached.recovered && attached.after.0 == 0,
            Start::Head => attached.after == attached.head,
            Start::Last(count) => attached.after.0 == attached.head.0.saturating_sub(*count),
            Start::Proven(_) => true,
        };
        self.hold(fits, || format!("asked for {start:?}, attached as {attached:?}"));
        let place = &mut self.places[number];
        place.cursor = Some(attached.after.0);
        place.caught_up = false;
        place.open.clear();
    }

    pub(crate) fn batch(&mut self, number: usize, batch: &Batch) {
        for entry in &batch.entries {
            match &entry.emitted().emission {
                Emission::Record(record) => self.record(number, record),
                Emission::Delta(delta) => {
                    self.tally.pieces += 1;
                    let fresh = || Open { turn: delta.turn.clone(), next: 0, text: String::new() };
                    let open = self.places[number].open.entry(delta.item.clone()).or_insert_with(fresh);
                    let expected = std::mem::replace(&mut open.next, delta.n + 1);
                    let fits = expected == delta.n;
                    open.text.push_str(&delta.text);
                    self.hold(fits, || format!("place {number}: piece {} of {} where {expected} was due", delta.n, delta.item));
                }
                Emission::Partial(partial) => {
                    let place = &mut self.places[number];
                    let open = Open { turn: partial.turn.clone(), next: partial.n, text: partial.text.clone() };
                    let known = place.open.insert(partial.item.clone(), open);
                    let fits = known.is_none_or(|known| partial.text.starts_with(&known.text));
                    self.hold(fits, || format!("place {number}: a partial takes back what was shown of {}", partial.item));
                }
                Emission::Status { .. } | Emission::Presence { .. } => {}
            }
        }
        if let Some(seq) = batch.caught_up {
            let place = &mut self.places[number];
            let fits = !std::mem::replace(&mut place.caught_up, true) && place.cursor == Some(seq.0);
            self.hold(fits, || format!("place {number}: caught up at {seq}, twice or too early"));
        }
        if let Some(reason) = &batch.closed {
            let excused = self.excused;
            self.hold(excused, || format!("place {number}: closed: {reason}"));
        }
    }

    fn record(&mut self, number: usize, record: &Record) {
        self.tally.read += 1;
        let place = &mut self.places[number];
        let (room, cursor) = (place.room, place.cursor);
        place.cursor = Some(record.seq.0);
        self.hold(cursor.map(|cursor| cursor + 1) == Some(record.seq.0), || {
            format!("place {number}: {} came behind {cursor:?}", record.seq)
        });
        if let Event::Thought { item, text, .. } | Event::Message { item, text, .. } = &record.event {
            let shown = self.places[number].open.remove(item);
            let fits = shown.is_none_or(|shown| text.starts_with(&shown.text));
            self.hold(fits, || format!("place {number}: {item} ended with other words than were shown"));
        }
        if let (Event::TurnEnded { .. }, Some(turn)) = (&record.event, &record.turn) {
            let open = &mut self.places[number].open;
            let before = open.len();
            open.retain(|_, open| open.turn != *turn);
            // What a failing disk did not take of a sentence is lost with its turn.
            let fits = open.len() == before || self.shaken;
            self.hold(fits, || format!("place {number}: turn {turn} ended and left items open"));
        }
        self.see(room, record);
    }

    /// Somebody saw a record: from now on it has to stay as it is.
    pub(crate) fn see(&mut self, room: usize, record: &Record) {
        let known = &mut self.rooms[room];
        if let Some(seen) = known.seen.get(&record.seq.0) {
            if seen != record {
                self.complaints.push(format!("{} was {seen:?}, and is {record:?}", record.seq));
            }
            return;
        }
        match &record.event {
            Event::UserMessage { item, .. } => known.inputs.push(item.clone()),
            Event::TurnStarted { .. } => known.turns.extend(record.turn.clone()),
            Event::ApprovalAsked { call, .. } => known.questions.push(call.clone()),
            Event::ToolAwaited { call, .. } => known.outside.push(call.clone()),
            _ => {}
        }
        known.seen.insert(record.seq.0, record.clone());
    }

    /// A command was asked; gives its number.
    pub(crate) fn asks(&mut self, id: Option<CommandId>, room: usize, tag: String, command: Command) -> usize {
        self.tally.commands += 1;
        self.asked.push(Asked { id, room, tag, command, yes: None, first_answers: 0, under_way: 1, lost: 0 });
        self.asked.len() - 1
    }

    pub(crate) fn asks_again(&mut self, number: usize) {
        self.tally.commands += 1;
        self.asked[number].under_way += 1;
    }

    pub(crate) fn answered(&mut self, number: usize, answer: Result<Answer, Refusal>) {
        let excused = self.excused;
        let asked = &mut self.asked[number];
        asked.under_way -= 1;
        let mut complaint = None;
        match answer {
            Ok(answer) => {
                let duplicate = is_duplicate(&answer);
                self.tally.acknowledged += 1;
                self.tally.repeated += u64::from(duplicate);
                asked.first_answers += u32::from(!duplicate);
                if asked.first_answers > 1 {
                    complaint = Some(format!("{} took effect twice, by its answers", asked.tag));
                }
                match &asked.yes {
                    Some(first) if content(first) != content(&answer) => {
                        complaint = Some(format!("{} was answered {first:?}, then {answer:?}", asked.tag));
                    }
                    Some(_) => {}
                    None => asked.yes = Some(answer),
                }
            }
            Err(refusal) => {
                self.tally.refused += 1;
                let store = matches!(refusal.code, RefusalCode::StoreFailed | RefusalCode::Stopping);
                if store && !excused {
                    complaint = Some(format!("{} was refused although nothing is wrong: {refusal:?}", asked.tag));
                } else if !store && asked.yes.is_some() {
                    complaint = Some(format!("{} was done, then refused: {refusal:?}", asked.tag));
                } else if matches!(refusal.code, RefusalCode::IdReused | RefusalCode::Internal | RefusalCode::BadRequest) {
                    complaint = Some(format!("{} was refused for no reason: {refusal:?}", asked.tag));
                }
            }
        }
        self.complaints.extend(complaint);
    }

    /// Everything that was asked and not answered will not be.
    pub(crate) fn crashed(&mut self) {
        for asked in &mut self.asked {
            asked.lost += std::mem::take(&mut asked.under_way);
        }
    }

    /// Holds a room's log on disk against all that was seen and said.
    pub(crate) fn check_log(&mut self, room: usize, records: &[Record], stored: &State, at_rest: bool) {
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
        for (seq, seen) in &self.rooms[room].seen {
            let there = usize::try_from(*seq).ok().and_then(|seq| records.get(seq - 1));
            if there != Some(seen) {
                wrong.push(format!("{seq} was seen as {seen:?}, and on disk is {there:?}"));
            }
        }
        wrong.extend(turns(records, at_rest));
        for asked in self.asked.iter().filter(|asked| asked.room == room) {
            wrong.extend(asked.check(records));
        }
        self.complaints.extend(wrong);
        for record in records {
            self.see(room, record);
        }
    }

    /// At rest: everybody has everything, every command has its answer.
    pub(crate) fn check_rest(&mut self, heads: &[u64], there: impl Fn(usize) -> bool) {
        let mut wrong = Vec::new();
        for (number, place) in self.places.iter().enumerate().filter(|(number, _)| there(*number)) {
            if place.cursor != Some(heads[place.room]) || !place.caught_up {
                wrong.push(format!("place {number} stands at {:?} of {}, caught up: {}", place.cursor, heads[place.room], place.caught_up));
            }
            if !place.open.is_empty() {
                wrong.push(format!("place {number} has open items at the end: {:?}", place.open.keys()));
            }
        }
        wrong.extend(self.asked.iter().filter(|asked| asked.under_way > 0).map(|asked| format!("{} was never answered", asked.tag)));
        self.complaints.extend(wrong);
    }
}

impl Room {
    pub(crate) fn new(session: SessionId, num: SessionNum) -> Self {
        let (seen, inputs, turns, questions, outside) = Default::default();
        Self { session, num, seen, inputs, turns, questions, outside }
    }
}

impl Asked {
    /// Its effect on a log: once if it was acknowledged, never if it was refused.
    fn check(&self, records: &[Record]) -> Option<String> {
        if let Some(seq) = self.yes.as_ref().and_then(position) {
            let there = usize::try_from(seq).ok().and_then(|seq| records.get(seq - 1));
            if there.is_none_or(|record| !self.is_effect(record)) {
                return Some(format!("{} was acknowledged at {seq}, where there is {there:?}", self.tag));
            }
        }
        // These two can be done by others as well.
        if matches!(self.command, Command::Cancel { .. } | Command::Withdraw { .. }) {
            return None;
        }
        let times = records.iter().filter(|record| self.is_effect(record)).count();
        let fits = match (&self.yes, self.lost + self.under_way) {
            (Some(_), _) => times == 1,
            (None, 0) => times == 0,
            (None, _) => times <= 1,
        };
        (!fits).then(|| format!("{} took effect {times} times; answer {:?}, {} unanswered", self.tag, self.yes, self.lost))
    }

    fn is_effect(&self, record: &Record) -> bool {
        match (&self.command, &record.event) {
            (Command::Send { text: said, .. }, Event::UserMessage { item, text, .. }) => {
                let fits = match &self.yes {
                    Some(Answer::Input { input, disposition, .. }) => {
                        input == item && (*disposition == Disposition::Steered) == record.turn.is_some()
                    }
                    _ => true,
                };
                said == text && fits
            }
            (Command::Rename { title, .. }, Event::SessionRenamed { title: now }) => title == now,
            (Command::Instruct { instructions, .. }, Event::InstructionsChanged { instructions: now }) => instructions == now,
            (Command::Withdraw { input, .. }, Event::InputWithdrawn { input: gone }) => input == gone,
            (Command::Cancel { .. }, Event::TurnEnded { outcome, .. }) => *outcome == Outcome::Cancelled,
            (Command::Decide { .. }, Event::ApprovalSettled { by, .. }) => by.as_ref() == Some(&self.tag),
            (Command::ToolReturn { text, .. }, Event::ToolReturned { text: now, .. }) => text == now,
            _ => false,
        }
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
            (Event::UserMessage { item, text, .. }, turn) => {
                let twice = tags.insert(item, text.split(' ').next().unwrap_or_default()).is_some();
                if twice {
                    wrong.push(format!("input {item} is there twice"));
                }
                if turn.is_none() {
                    left.insert(item);
                }
            }
            (Event::InputWithdrawn { input }, _) => drop(left.remove(input)),
            (Event::TurnStarted { input }, Some(turn)) => {
                if !left.remove(input) {
                    wrong.push(format!("input {input} ran twice, or was withdrawn"));
                }
                if begun.insert(turn, input).is_some() {
                    wrong.push(format!("turn {turn} began twice"));
                }
            }
            (Event::TurnEnded { .. }, Some(turn)) if !ended.insert(turn) => wrong.push(format!("turn {turn} ended twice")),
            (Event::Thought { text, .. } | Event::Message { text, .. }, Some(turn)) => {
                let tag = begun.get(turn).and_then(|input| tags.get(input)).copied().unwrap_or_default();
                if text.split(':').next() != Some(tag) {
                    wrong.push(format!("{text:?} was said in the turn of {tag}"));
                }
            }
            _ => {}
        }
    }
    if at_rest {
        wrong.extend(begun.keys().filter(|turn| !ended.contains(*turn)).map(|turn| format!("turn {turn} never ended")));
        wrong.extend(left.iter().map(|input| format!("input {input} never ran")));
    }
    wrong
}

fn position(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Input { seq, .. } | Answer::Done { seq: Some(seq), .. } => Some(seq.0),
        _ => None,
    }
}

fn is_duplicate(answer: &Answer) -> bool {
    matches!(answer, Answer::Input { duplicate: true, .. } | Answer::Done { duplicate: true, .. })
}

/// An answer without whether it was the first.
fn content(answer: &Answer) -> Answer {
    match answer.clone() {
        Answer::Input { seq, input, disposition, .. } => Answer::Input { seq, input, disposition, duplicate: false },
        Answer::Done { seq, .. } => Answer::Done { seq, duplicate: false },
        other => other,
    }
}
