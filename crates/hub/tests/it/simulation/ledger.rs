//! What everybody saw and was told: the model to which the hub is held.

use std::collections::HashSet;
use std::sync::Arc;

use thoughtwire_hub::{Changed, Entry, Read};
use thoughtwire_proto::{
    Attached, CallId, Command, CommandId, CommandReply, DirectoryCommand, Emission, Record,
    Refusal, RefusalCode, SessionCommand, SessionId, Start,
};
use thoughtwire_store::StoredSession;

use super::asked::{
    Asked, Opening, content, is_duplicate, is_of_the_store, made_session, position,
};
use super::heard::Heard;
use super::place::Place;
use super::room::Room;
use super::tally::Tally;
use super::waiting::Waits;

/// The words with which subscribers are told that a session is gone.
pub(crate) const DELETED: &str = "the session was deleted";

/// All that outlives a crash: people's eyes.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) rooms: Vec<Room>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) places: Vec<Place>,
    /// Clients of the older wires.
    pub(crate) callers: Vec<Heard>,
    /// How often the wall clock jumped.
    pub(crate) jumps: u64,
    /// The newest time at which a connection of theirs was closed, and old proofs thrown away.
    pub(crate) swept: i64,
    /// Sessions that were there when this life began, or of which the list told since.
    listed: HashSet<SessionId>,
    ran: HashSet<CallId>,
    complaints: Vec<String>,
    /// The disk fails now, or the server is stopping: refusals and failing reads are to be expected.
    pub(crate) excused: bool,
    /// The disk has failed in this life: a sentence that was being said then may have been cut.
    pub(crate) shaken: bool,
    pub(crate) tally: Tally,
    /// Callers that wait for turns, as REST does.
    pub(crate) waits: Waits,
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

    pub(crate) fn ran(&mut self, call: &CallId) {
        let first = self.ran.insert(call.clone());
        self.hold(first, || format!("call {call} ran twice"));
    }

    // Rooms.

    pub(crate) fn room_of(&self, session: &SessionId) -> Option<usize> {
        self.rooms.iter().position(|room| room.session == *session)
    }

    /// The room of a session, which may be new to everybody.
    pub(crate) fn open_room(&mut self, session: &SessionId, is_main: bool) -> usize {
        self.room_of(session).unwrap_or_else(|| {
            self.rooms.push(Room::new(session.clone(), is_main));
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

    /// The head of a place's room as far as anybody knows, and whether the room is known to be gone.
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
        if !changed.gone {
            self.listed.insert(changed.session.clone());
            return;
        }
        let Some(room) = self.room_of(&changed.session) else {
            return self
                .complain(format!("{} is said to be gone, and nobody knew it", changed.session));
        };
        let fits = self.is_doomed(room);
        self.rooms[room].told_gone += 1;
        let once = self.rooms[room].told_gone == 1;
        self.hold(fits && once, || {
            format!("room {room} is said to be gone; asked for: {fits}, for the first time: {once}")
        });
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
        self.places.push(Place::new(room));
        self.places.len() - 1
    }

    /// `known` is what was known to be on disk when it asked, and whether the session was known to be gone.
    pub(crate) fn attached(
        &mut self,
        number: usize,
        start: &Start,
        known: (u64, bool),
        attached: &Attached,
    ) {
        self.tally.attached += 1;
        let (head, gone) = known;
        self.hold(!gone, || format!("place {number} is attached to what is gone"));
        self.hold(attached.head.0 >= head, || {
            format!("attached at head {} although {head} was known", attached.head)
        });
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

    pub(crate) fn entries(&mut self, number: usize, entries: &[Arc<Entry>]) {
        for entry in entries {
            let shaken = self.shaken;
            let place = &mut self.places[number];
            let wrong = match &entry.emitted().emission {
                Emission::Record(record) => {
                    self.tally.read += 1;
                    let (room, wrong) = (place.room, place.record(record, shaken));
                    self.see(room, record);
                    wrong
                }
                Emission::Delta(delta) => {
                    self.tally.pieces += 1;
                    place.delta(delta)
                }
                Emission::Partial(partial) => place.partial(partial),
                Emission::Status { .. } | Emission::Presence { .. } => None,
            };
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
    pub(crate) fn goes_out(&mut self, number: usize) -> bool {
        self.tally.commands += 1;
        self.asked[number].under_way += 1;
        self.asked[number].room.is_some_and(|room| self.rooms[room].gone)
    }

    /// Who asked is not there any more to hear the answer.
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
        answer: Result<CommandReply, Refusal>,
    ) {
        self.asked[number].under_way -= 1;
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
        let asked = &self.asked[number];
        let (room, deletes) = (
            asked.room,
            matches!(asked.command, Command::Session { command: SessionCommand::Delete, .. }),
        );
        let doomed = room.is_some_and(|room| self.is_doomed(room));
        let said = |what: &str| Some(format!("{} {what}: {refusal:?}", asked.tag));
        match refusal.code {
            code if is_of_the_store(code) && (self.excused || doomed) => None,
            code if is_of_the_store(code) => said("was refused although nothing is wrong"),
            RefusalCode::UnknownSession if !doomed => {
                said("was refused in a session that is there")
            }
            // What was done goes with its session, but for the deletion itself.
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

    // What there is.

    /// A server begins its work; what there is has been looked at.
    pub(crate) fn begins(&mut self, now: i64) {
        (self.excused, self.shaken) = (false, false);
        self.waits.under_way = 0;
        self.callers.iter_mut().for_each(|heard| heard.starts(now));
        for room in &mut self.rooms {
            (room.was_gone, room.told_gone) = (room.gone, 0);
        }
        self.listed = self.rooms.iter().map(|room| room.session.clone()).collect();
    }

    /// Holds the sessions on disk against those that were made and deleted. What is found that
    /// nobody was told of is known from now on.
    pub(crate) fn check_openings(&mut self, openings: &[Opening]) {
        for room in 0..self.rooms.len() {
            let there = openings.iter().any(|opening| opening.session == self.rooms[room].session);
            let (gone, doomed) = (self.rooms[room].gone, self.is_doomed(room));
            self.hold(!(there && gone), || format!("room {room} is gone, and there"));
            self.hold(there || doomed, || {
                format!("room {room} is not there any more, and nobody deleted it")
            });
            if !gone && doomed {
                self.tally.cut_done += u64::from(!there);
                self.tally.cut_undone += u64::from(there);
                self.settle_deletions(room, there);
            }
        }
        let is_gone = |session: &SessionId| {
            self.rooms.iter().any(|room| room.session == *session && room.gone)
        };
        let makers = self.asked.iter().filter(|asked| asked.room.is_none());
        let mut wrong: Vec<String> =
            makers.filter_map(|asked| asked.check_made(openings, is_gone)).collect();
        let is_called =
            |opening: &Opening| self.callers.iter().any(|heard| heard.has(&opening.agent));
        for opening in openings {
            let known = self.room_of(&opening.session).is_some();
            if !known
                && !self.asked.iter().any(|asked| asked.is_made(opening))
                && !is_called(opening)
            {
                wrong.push(format!(
                    "nobody asked for the session of {} with {:?}",
                    opening.agent, opening.instructions
                ));
            }
        }
        for opening in openings {
            self.open_room(&opening.session, opening.is_main);
        }
        self.complaints.extend(wrong);
    }

    /// What became of deletions without an answer is plain to see after a start.
    fn settle_deletions(&mut self, room: usize, there: bool) {
        self.rooms[room].gone = !there;
        if there {
            for asked in self.asked.iter_mut().filter(|asked| asked.deletes(room)) {
                asked.lost = 0;
            }
        }
    }

    /// Holds a room's log on disk against all that was seen and said.
    pub(crate) fn check_log(
        &mut self,
        room: usize,
        records: &[Record],
        stored: &StoredSession,
        at_rest: bool,
    ) {
        // What lies before it may still be on its way out.
        let first = stored.first.0;
        let on_disk: Vec<_> =
            records.iter().filter(|record| record.seq.0 >= first).cloned().collect();
        let log = self.rooms[room].known_log(&on_disk);
        if first > 1 && !self.rooms[room].is_trimmed {
            self.complain(format!("room {room} begins at {first}, and nobody asked for it"));
        }
        if !log.is_whole {
            let wrong = self.rooms[room].check_rest_of(&on_disk);
            self.complaints.extend(wrong);
            on_disk.iter().for_each(|record| self.see(room, record));
            return;
        }
        let records = log.records.as_slice();
        let mut wrong = self.rooms[room].check(records, &stored.state, at_rest);
        wrong.extend(self.waits.check(room, records));
        wrong.extend(
            self.asked
                .iter()
                .filter(|asked| asked.room == Some(room))
                .filter_map(|asked| asked.check(records)),
        );
        for (number, heard) in self.callers.iter_mut().enumerate() {
            wrong.extend(
                heard
                    .check(room, records, first, at_rest)
                    .into_iter()
                    .map(|wrong| format!("caller {number}: {wrong}")),
            );
        }
        self.complaints.extend(wrong);
        for record in records {
            self.see(room, record);
        }
    }

    /// At rest: everybody has everything, every command has its answer, and who had to be told was.
    pub(crate) fn check_rest(
        &mut self,
        head: impl Fn(usize) -> u64,
        there: impl Fn(usize) -> bool,
    ) {
        let mut wrong = Vec::new();
        for (number, place) in self.places.iter().enumerate().filter(|(number, _)| there(*number)) {
            let complaint = match self.rooms[place.room].gone {
                true => {
                    (!place.told_gone).then(|| "was never told that its session is gone".to_owned())
                }
                false => place.check_rest(head(place.room)),
            };
            wrong.extend(complaint.map(|complaint| format!("place {number} {complaint}")));
        }
        if self.waits.under_way > 0 {
            wrong.push(format!("{} still wait for turns that have ended", self.waits.under_way));
        }
        let deaf = self.callers.iter().filter(|heard| !heard.is_attached());
        wrong.extend(deaf.map(|heard| format!("{} is not attached at the end", heard.peer.name)));
        let unlisted =
            self.rooms.iter().filter(|room| !room.gone && !self.listed.contains(&room.session));
        wrong.extend(
            unlisted.map(|room| format!("{} was made, and the list does not say so", room.session)),
        );
        let untold = |room: &&Room| room.gone && !room.was_gone && room.told_gone == 0;
        wrong.extend(
            self.rooms
                .iter()
                .filter(untold)
                .map(|room| format!("{} is gone, and the list does not say so", room.session)),
        );
        wrong.extend(
            self.asked
                .iter()
                .filter(|asked| asked.under_way > 0)
                .map(|asked| format!("{} was never answered", asked.tag)),
        );
        self.complaints.extend(wrong);
    }
}
