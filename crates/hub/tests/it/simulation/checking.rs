//! Invariants of the data on disk.

use futures::FutureExt as _;
use thoughtwire_proto::{Event, OnCrash, Seq, SessionEvent, SessionId};
use thoughtwire_store::{SessionFilter, Store, StoreRead};

use super::asked::Opening;
use super::history::History;

impl History {
    /// Holds everything on disk against what was seen and said.
    pub(crate) fn check_disk(&mut self, store: &Store, at_rest: bool) {
        self.check_rooms(store);
        for (room, session) in self.rooms_there() {
            let stored = ready(store.directory().session(&session)).unwrap();
            let records = ready(store.logs().records_after(&session, Seq::ZERO, usize::MAX));
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

    /// Compares the sessions on disk with those that were made and deleted.
    pub(crate) fn check_rooms(&mut self, store: &Store) {
        let listed = store.directory().sessions(&self.user, &SessionFilter::default());
        let openings: Vec<Opening> =
            ready(listed).into_iter().map(|listed| self.opening(store, &listed.id)).collect();
        self.ledger.lock().unwrap().check_openings(&openings);
    }

    fn opening(&self, store: &Store, session: &SessionId) -> Opening {
        let on_disk = ready(store.logs().records_after(session, Seq::ZERO, 1));
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
        let profile = ready(store.directory().agent_by_id(&agent)).unwrap();
        Opening {
            session: session.clone(),
            agent: profile.spec.name,
            model: profile.spec.model,
            stops_on_crash: profile.spec.settings.on_crash == Some(OnCrash::Stop),
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

/// Reads at once, as a healthy store in memory does.
pub(crate) fn ready<T>(read: StoreRead<T>) -> T {
    read.now_or_never().expect("a read that does not wait").unwrap()
}
