//! The ledger held against the data on disk.

use thoughtwire_proto::{Record, SessionId};
use thoughtwire_store::StoredSession;

use super::asked::Opening;
use super::interruptions;
use super::ledger::Ledger;
use super::room::{KnownLog, SimRoom};

impl Ledger {
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
            let room = self.open_room(&opening.session, opening.is_main);
            self.rooms[room].stops_on_crash = opening.stops_on_crash;
        }
        self.complaints.extend(wrong);
    }

    /// A start shows whether deletions without an answer were done.
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
        // Records before it may still be on their way out.
        let first = stored.first.0;
        let on_disk: Vec<_> =
            records.iter().filter(|record| record.seq.0 >= first).cloned().collect();
        let log = self.rooms[room].known_log(&on_disk);
        if first > 1 && !self.rooms[room].is_trimmed {
            self.complain(format!("room {room} begins at {first}, and nobody asked for it"));
        }
        let wrong = self.rooms[room].check_retention(stored, &on_disk);
        self.complaints.extend(wrong);
        self.check_order(room, &log, at_rest);
        if !log.is_whole {
            let wrong = self.rooms[room].check_rest_of(&on_disk);
            self.complaints.extend(wrong);
            on_disk.iter().for_each(|record| self.see(room, record));
            return;
        }
        let records = log.records.as_slice();
        if !self.has_nodes {
            let (lost, kept) = self.texts.check(room, records);
            self.complaints.extend(lost);
            self.tally.texts_kept += kept;
        }
        let mut wrong = self.rooms[room].check(records, &stored.state, at_rest);
        wrong.extend(interruptions::check(records, self.rooms[room].stops_on_crash));
        let is_steady = !self.shaken;
        let stopped = self.rooms[room].check_stopped(records, &stored.state, is_steady);
        self.tally.stopped += stopped.ended;
        wrong.extend(stopped.wrong);
        if let Some(limit) = self.time_limit {
            let found = limit.check(records);
            wrong.extend(found.wrong);
            if at_rest {
                self.tally.out_of_time += found.turns;
                self.tally.out_of_time_later += found.resumed;
            }
        }
        wrong.extend(self.effects.check(records));
        wrong.extend(self.waits.check(room, records));
        wrong.extend(self.check_verbs(room, records));
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

    /// Holds all operations on a room to linearizability, at the end of a history. Of a log that is
    /// not known whole, the sends in it could not be told from those that it has lost.
    fn check_order(&mut self, room: usize, log: &KnownLog, at_rest: bool) {
        if at_rest && log.is_whole {
            let (wrong, operations) = self.timeline.check(room, &log.records, &self.asked);
            self.tally.operations += operations;
            let wrong = wrong.into_iter().map(|wrong| format!("room {room}: {wrong}"));
            self.complaints.extend(wrong);
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
        let is_gone = |room: usize| self.rooms[room].gone;
        let deaf = self.callers.iter().filter(|heard| !heard.is_attached(is_gone));
        wrong.extend(deaf.map(|heard| format!("{} is not attached at the end", heard.peer.name)));
        // On several nodes, each list is held against the data.
        let of_one = |_: &&SimRoom| !self.has_nodes;
        let is_listed = |room: &SimRoom| self.listed.contains(&room.session);
        let unlisted =
            self.rooms.iter().filter(of_one).filter(|room| !room.gone && !is_listed(room));
        wrong.extend(
            unlisted.map(|room| format!("{} was made, and the list does not say so", room.session)),
        );
        let untold = |room: &&SimRoom| room.gone && !room.was_gone && room.told_gone == 0;
        wrong.extend(
            self.rooms
                .iter()
                .filter(of_one)
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
