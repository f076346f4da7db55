//! Everything that clients saw and were told: the model to which the hub is held.

use std::collections::HashSet;
use std::sync::Arc;

use thoughtwire_hub::{Changed, Read, TailEntry};
use thoughtwire_proto::{
    Attached, Command, CommandId, CommandReply, DirectoryCommand, Emission, Record, Refusal,
    RefusalCode, SessionCommand, SessionId, Start,
};

use super::asked::{Asked, content, is_duplicate, is_of_the_store, made_session, position};
use super::budgets::TimeLimit;
use super::effects::Effects;
use super::heard::Heard;
use super::interruptions::Interruptions;
use super::linear::{SendOutcome, Timeline};
use super::place::ReadPlace;
use super::room::SimRoom;
use super::tally::Tally;
use super::texts::ShownTexts;
use super::waiting::Waits;
use super::working::VerbLedger;

/// The words with which subscribers are told that a session is gone.
pub(crate) const DELETED: &str = "the session was deleted";

/// All that outlives a crash: people's eyes.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) rooms: Vec<SimRoom>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) places: Vec<ReadPlace>,
    /// Clients of the older wires.
    pub(crate) callers: Vec<Heard>,
    /// How often the wall clock jumped.
    pub(crate) jumps: u64,
    /// The newest time at which a connection of theirs was closed, and old proofs thrown away.
    pub(crate) swept: i64,
    /// Sessions that were there when this life began, or of which the list told since.
    pub(super) listed: HashSet<SessionId>,
    pub(super) complaints: Vec<String>,
    /// The disk fails now, or the server is stopping: refusals and failing reads are expected.
    pub(crate) excused: bool,
    /// The disk has failed in this life: a sentence that was being said then may have been cut.
    pub(crate) shaken: bool,
    pub(crate) tally: Tally,
    /// Callers that wait for turns, as REST does.
    pub(crate) waits: Waits,
    /// Answers to the verbs of workers.
    pub(crate) verbs: VerbLedger,
    pub(crate) effects: Effects,
    pub(crate) interruptions: Interruptions,
    pub(crate) texts: ShownTexts,
    /// How long turns may take in this history.
    pub(crate) time_limit: Option<TimeLimit>,
    pub(crate) timeline: Timeline,
    /// Whether several nodes share the store.
    pub(crate) has_nodes: bool,
    /// Whether no node is killed, paused or refused anything.
    pub(crate) is_calm: bool,
}

impl Ledger {
    pub(crate) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    pub(crate) fn complaint(&self) -> Option<&String> {
        self.complaints.first()
    }

    pub(crate) fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.complaints.push(what());
        }
    }

    /// Whether a refusal is one of a server that cannot do something now.
    pub(super) fn is_hindrance(&self, code: RefusalCode) -> bool {
        is_of_the_store(code) || self.has_nodes && code == RefusalCode::Moved
    }

    // Rooms.

    pub(crate) fn room_of(&self, session: &SessionId) -> Option<usize> {
        self.rooms.iter().position(|room| room.session == *session)
    }

    /// The room of a session, which may be new to everybody.
    pub(crate) fn open_room(&mut self, session: &SessionId, is_main: bool) -> usize {
        self.room_of(session).unwrap_or_else(|| {
            self.rooms.push(SimRoom::new(session.clone(), is_main));
            self.rooms.len() - 1
        })
    }

    /// Whether a deletion was asked for that may have been done by now.
    pub(crate) fn is_doomed(&self, room: usize) -> bool {
        self.rooms[room].gone
            || self.asked.iter().any(|asked| asked.deletes(room) && asked.may_be_done())
    }

    /// The last position of a room that anybody knows to be on disk.
    pub(crate) fn head(&self, room: usize) -> u64 {
        let seen = self.rooms[room].seen.keys().last().copied().unwrap_or(0);
        let told = self
            .asked
            .iter()
            .filter(|asked| asked.room == Some(room))
            .filter_map(|asked| position(asked.yes.as_ref()?));
        told.fold(seen, u64::max)
    }

    /// The known head of a place's room, and whether the room is known to be gone.
    pub(crate) fn known_of(&self, number: usize) -> (u64, bool) {
        let room = self.places[number].room;
        (self.head(room), self.rooms[room].gone)
    }

    /// Somebody saw a record.
    pub(crate) fn see(&mut self, room: usize, record: &Record) {
        let wrong = self.rooms[room].see(record);
        self.complaints.extend(wrong);
    }

    /// The list of sessions says that one changed, or is gone.
    pub(crate) fn listed(&mut self, changed: &Changed) {
        let Changed::Session { session, gone, .. } = changed else { return };
        if !gone {
            self.listed.insert(session.clone());
            return;
        }
        let Some(room) = self.room_of(session) else {
            return self.complain(format!("{session} is said to be gone, and nobody knew it"));
        };
        let fits = self.is_doomed(room);
        self.rooms[room].told_gone += 1;
        let once = self.rooms[room].told_gone == 1;
        self.hold(fits && once, || {
            format!("room {room} is said to be gone; asked for: {fits}, for the first time: {once}")
        });
        self.rooms[room].gone = true;
    }

    /// Followers of the list on one of several nodes are told that a session is gone.
    pub(crate) fn told_gone_on_node(&mut self, session: &SessionId) {
        let Some(room) = self.room_of(session) else { return };
        let fits = self.is_doomed(room);
        self.hold(fits, || format!("room {room} is said to be gone, and nobody deleted it"));
        self.rooms[room].gone = true;
    }

    // Subscribers.

    pub(crate) fn hindered(&mut self, number: usize, refusal: &Refusal) {
        // A log may be gone a moment before its readers are told.
        let excused = self.excused || self.is_doomed(self.places[number].room);
        self.hold(excused, || {
            format!("a reader was refused although nothing is wrong: {refusal:?}")
        });
    }

    pub(crate) fn add_place(&mut self, room: usize) -> usize {
        self.places.push(ReadPlace::new(room));
        self.places.len() - 1
    }

    /// `known` is the head on disk that was known when it asked, and whether the session was known
    /// to be gone.
    pub(crate) fn attached(
        &mut self,
        number: usize,
        start: &Start,
        (known, asked_at): ((u64, bool), u64),
        attached: &Attached,
    ) {
        self.tally.attached += 1;
        let (head, gone) = known;
        self.hold(!gone, || format!("place {number} is attached to what is gone"));
        self.hold(attached.head.0 >= head, || {
            format!("attached at head {} although {head} was known", attached.head)
        });
        let room = self.places[number].room;
        self.timeline.attached(room, attached.head.0, asked_at);
        let wrong = self.places[number].attached(start, attached);
        self.complaints.extend(wrong.map(|wrong| format!("place {number}: {wrong}")));
    }

    /// There is no such session, it is said.
    pub(crate) fn turned_away(&mut self, number: usize) {
        self.tally.turned_away += 1;
        let fits = self.is_doomed(self.places[number].room);
        self.hold(fits, || format!("place {number}: its session is there, and is said not to be"));
        self.places[number].told_gone = true;
    }

    pub(crate) fn entries(&mut self, number: usize, entries: &[Arc<TailEntry>]) {
        for entry in entries {
            let (shaken, has_nodes) = (self.shaken, self.has_nodes);
            let place = &mut self.places[number];
            let (wrong, streamed) = match &entry.emitted().emission {
                Emission::Record(record) => {
                    self.tally.read += 1;
                    let (room, wrong) = (place.room, place.record(record, shaken, has_nodes));
                    self.see(room, record);
                    self.timeline.hear(room, record.seq.0);
                    (wrong, None)
                }
                Emission::Delta(delta) => {
                    self.tally.pieces += 1;
                    (place.delta(delta), Some(&delta.item))
                }
                Emission::Partial(partial) => (place.partial(partial), Some(&partial.item)),
                Emission::Status { .. } | Emission::Presence { .. } => (None, None),
            };
            // A node that takes over a turn goes on from the text on disk.
            if let Some(item) = streamed.filter(|_| !has_nodes) {
                let wrong = self.places[number].shown(item, &mut self.texts);
                self.complaints.extend(wrong);
            }
            self.complaints.extend(wrong.map(|wrong| format!("place {number}: {wrong}")));
        }
    }

    pub(crate) fn read(&mut self, number: usize, read: &Read) {
        match read {
            Read::Entries { entries, .. } => self.entries(number, entries),
            Read::CaughtUp(seq) => {
                let place = &mut self.places[number];
                let fits =
                    !std::mem::replace(&mut place.caught_up, true) && place.cursor == Some(seq.0);
                self.hold(fits, || {
                    format!("place {number}: caught up at {seq}, twice or too early")
                });
            }
            Read::Trimmed => self.trimmed(number),
            Read::Closed(reason) if reason == DELETED => self.told_gone(number),
            Read::Closed(reason) => {
                let excused = self.excused;
                self.hold(excused, || format!("place {number}: closed: {reason}"));
            }
        }
    }

    fn trimmed(&mut self, number: usize) {
        self.tally.trimmed += 1;
        let room = self.places[number].room;
        let fits = self.rooms[room].is_trimmed;
        self.hold(fits, || format!("place {number} is told of a trimmed log, which it is not"));
        self.places[number].told_trimmed = true;
    }

    fn told_gone(&mut self, number: usize) {
        self.tally.told_gone += 1;
        let room = self.places[number].room;
        let fits = self.is_doomed(room);
        self.hold(fits, || {
            format!("place {number} is told that its session is gone, which nobody asked for")
        });
        self.rooms[room].gone = true;
        self.places[number].told_gone = true;
    }

    // Commands.

    /// A command was asked; gives its number.
    pub(crate) fn asks(
        &mut self,
        id: Option<CommandId>,
        room: Option<usize>,
        tag: String,
        command: Command,
    ) -> usize {
        self.asked.push(Asked {
            id,
            room,
            tag,
            command,
            yes: None,
            first_answers: 0,
            under_way: 0,
            lost: 0,
        });
        self.asked.len() - 1
    }

    /// It goes out, for the first time or once more. Tells whether its session is known to be gone.
    /// Gives the number of the attempt as well.
    pub(crate) fn goes_out(&mut self, number: usize) -> (bool, usize) {
        self.tally.commands += 1;
        self.asked[number].under_way += 1;
        let is_gone = self.asked[number].room.is_some_and(|room| self.rooms[room].gone);
        (is_gone, self.timeline.goes_out(number))
    }

    /// The asker has left and does not hear the answer.
    pub(crate) fn abandoned(&mut self, number: usize) {
        self.tally.abandoned += 1;
        let asked = &mut self.asked[number];
        asked.under_way -= 1;
        asked.lost += 1;
    }

    /// `was_gone`: its session was known to be gone when it went out.
    pub(crate) fn answered(
        &mut self,
        number: usize,
        was_gone: bool,
        attempt: usize,
        answer: Result<CommandReply, Refusal>,
    ) {
        self.asked[number].under_way -= 1;
        let outcome = match &answer {
            Ok(answer) => position(answer).map_or(SendOutcome::Unknown, SendOutcome::Acknowledged),
            Err(refusal) if refusal.code == RefusalCode::StoreUnknown => SendOutcome::Unknown,
            Err(_) => SendOutcome::Refused,
        };
        self.timeline.answered(attempt, outcome);
        let complaint = match answer {
            Ok(answer) => self.done(number, was_gone, answer),
            Err(refusal) => self.refused(number, &refusal),
        };
        self.complaints.extend(complaint);
    }

    fn done(&mut self, number: usize, was_gone: bool, answer: CommandReply) -> Option<String> {
        let duplicate = is_duplicate(&answer);
        self.tally.acknowledged += 1;
        self.tally.repeated += u64::from(duplicate);
        if let Some(session) = made_session(&answer) {
            self.tally.made += u64::from(!duplicate);
            self.open_room(
                &session,
                matches!(
                    self.asked[number].command,
                    Command::Directory(DirectoryCommand::CreateAgent(_))
                ),
            );
        }
        let deletes = matches!(
            self.asked[number].command,
            Command::Session { command: SessionCommand::Delete, .. }
        );
        if let (true, Some(room)) = (deletes, self.asked[number].room) {
            self.tally.deleted += u64::from(!duplicate);
            self.rooms[room].gone = true;
            if self.rooms[room].is_main {
                return Some(format!("{} deleted a main session", self.asked[number].tag));
            }
        }
        let asked = &mut self.asked[number];
        asked.first_answers += u32::from(!duplicate);
        if asked.first_answers > 1 {
            return Some(format!("{} took effect twice, by its answers", asked.tag));
        }
        if was_gone && !(deletes && duplicate) {
            return Some(format!("{} was done in a session that is gone: {answer:?}", asked.tag));
        }
        match &asked.yes {
            Some(first) if content(first) != content(&answer) => {
                return Some(format!("{} was answered {first:?}, then {answer:?}", asked.tag));
            }
            Some(_) => {}
            None => asked.yes = Some(answer),
        }
        None
    }

    fn refused(&mut self, number: usize, refusal: &Refusal) -> Option<String> {
        self.tally.refused += 1;
        if refusal.code == RefusalCode::StoreUnknown {
            self.asked[number].lost += 1;
        }
        let asked = &self.asked[number];
        let (room, deletes) = (
            asked.room,
            matches!(asked.command, Command::Session { command: SessionCommand::Delete, .. }),
        );
        let doomed = room.is_some_and(|room| self.is_doomed(room));
        let said = |what: &str| Some(format!("{} {what}: {refusal:?}", asked.tag));
        match refusal.code {
            code if self.is_hindrance(code) && (self.excused || doomed) => None,
            code if self.is_hindrance(code) => said("was refused although nothing is wrong"),
            // A call that has not run cannot be called done.
            RefusalCode::BadRequest if asked.yes.is_none() && asked.says_done() => None,
            RefusalCode::UnknownSession if !doomed => {
                said("was refused in a session that is there")
            }
            // Effects go with their session, except the deletion itself.
            _ if asked.yes.is_some() && (!doomed || deletes) => said("was done, then refused"),
            RefusalCode::Forbidden
                if !(deletes && room.is_some_and(|room| self.rooms[room].is_main)) =>
            {
                said("was forbidden")
            }
            RefusalCode::IdReused
            | RefusalCode::Internal
            | RefusalCode::BadRequest
            | RefusalCode::NameTaken
            | RefusalCode::UnknownAgent
            | RefusalCode::Unsupported => said("was refused for no reason"),
            _ => None,
        }
    }

    // Data on disk.

    /// A server begins its work; what there is has been looked at.
    pub(crate) fn begins(&mut self, now: i64) {
        (self.excused, self.shaken) = (false, false);
        self.waits.under_way = 0;
        self.texts.begins();
        self.callers.iter_mut().for_each(|heard| heard.starts(now));
        for room in &mut self.rooms {
            (room.was_gone, room.told_gone) = (room.gone, 0);
        }
        self.listed = self.rooms.iter().map(|room| room.session.clone()).collect();
    }
}
