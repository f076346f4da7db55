//! What has to hold of the data on disk.

use thoughtwire_proto::{Event, Seq, SessionEvent, SessionId};
use thoughtwire_store::{SessionFilter, Store};

use super::asked::Opening;
use super::history::History;

impl History {
    /// Holds everything on disk against what was seen and said.
    pub(crate) fn check_disk(&mut self, store: &Store, at_rest: bool) {
        self.check_rooms(store);
        for (room, session) in self.rooms_there() {
            let stored = store.session(&session).unwrap().unwrap();
            let records = store.events(stored.num, Seq::ZERO, usize::MAX).unwrap();
            self.ledger.lock().unwrap().check_log(room, &records, &stored, at_rest);
            if at_rest {
                self.done.records += records.len() as u64;
                self.done.turns +=
                    records.iter().filter(|record| record.event.kind() == "turn_ended").count()
                        as u64;
            }
        }
        self.check_complaints();
    }

    /// Holds the sessions on disk against those that were made and deleted; nothing of those is there.
    pub(crate) fn check_rooms(&mut self, store: &Store) {
        let openings: Vec<Opening> = store
            .sessions(&self.user, &SessionFilter::default())
            .unwrap()
            .into_iter()
            .map(|listed| self.opening(store, &listed.id))
            .collect();
        self.ledger.lock().unwrap().check_openings(&openings);
        assert_eq!(self.disk.left_behind(), Vec::<String>::new(), "of sessions that are not there");
    }

    fn opening(&self, store: &Store, session: &SessionId) -> Opening {
        let stored = store.session(session).unwrap().unwrap();
        let on_disk = store.events(stored.num, Seq::ZERO, 1).unwrap();
        let seen = {
            let ledger = self.ledger.lock().unwrap();
            let room = ledger.room_of(session);
            room.and_then(|room| ledger.rooms[room].seen.get(&1).cloned())
        };
        // A log that was trimmed had been seen before.
        let first = on_disk.into_iter().find(|record| record.seq == Seq(1)).or(seen);
        let Some(Event::Session(SessionEvent::Opened { agent, instructions, .. })) =
            first.as_ref().map(|first| first.event.clone())
        else {
            panic!("{session} begins with {first:?}")
        };
        let profile = store.agent_by_id(&agent).unwrap().unwrap();
        Opening {
            session: session.clone(),
            agent: profile.spec.name,
            model: profile.spec.model,
            is_main: profile.main_session == *session,
            instructions,
        }
    }

    pub(crate) fn rooms_there(&self) -> Vec<(usize, SessionId)> {
        let ledger = self.ledger.lock().unwrap();
        ledger
            .rooms
            .iter()
            .enumerate()
            .filter(|(_, room)| !room.gone)
            .map(|(number, room)| (number, room.session.clone()))
            .collect()
    }

    pub(crate) fn check_complaints(&self) {
        let complaint = self.ledger.lock().unwrap().complaint().cloned();
        assert_eq!(complaint, None);
    }
}
