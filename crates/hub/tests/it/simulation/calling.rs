//! The ledger's part about clients of the older wires.

use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::{FrameLimit, encode};
use thoughtwire_proto::{
    Attached, CommandReply, DirectoryReply, Emission, PeerWire, Record, Refusal, RefusalCode,
    SessionEmission, SessionId,
};
use thoughtwire_store::Proven;

use super::asked::is_of_the_store;
use super::heard::{Came, Certainty, Followed, Joining, Others};
use super::ledger::{DELETED, Ledger};

/// The chat of a message to nobody in particular.
const DEFAULT_CHAT: &str = "default";

/// State of a session as it was known when somebody asked to be attached to it.
pub(crate) struct View {
    head: u64,
    gone: bool,
    jumps: u64,
}

impl Ledger {
    pub(crate) fn view(&self, session: &SessionId) -> View {
        let room = self.room_of(session);
        View {
            head: room.map_or(0, |room| self.head(room)),
            gone: room.is_some_and(|room| self.rooms[room].gone),
            jumps: self.jumps,
        }
    }

    /// A connection is attached to a session, of which its client hears later.
    pub(crate) fn joined(
        &mut self,
        (caller, connection): (usize, u32),
        session: &SessionId,
        before: &View,
        attached: &Attached,
        is_proven: bool,
        now: i64,
    ) -> Certainty {
        self.tally.callers_attached += 1;
        let room = self.open_room(session, false);
        let View { head: known, gone, jumps } = *before;
        self.hold(!gone, || format!("caller {caller} is attached to what is gone"));
        self.hold(attached.head.0 >= known, || {
            format!("caller {caller} is attached at head {} of {known}", attached.head)
        });
        let now = (jumps == self.jumps && !self.shaken).then_some(now);
        let peer = &self.callers[caller].peer;
        let of_peer = || self.callers.iter().enumerate().filter(|(_, heard)| heard.peer == *peer);
        let alone = of_peer().map(|(_, heard)| heard.lines).sum::<u32>() == 1;
        let (after, swept) = (attached.after.0, self.swept);
        let mut others = Others::default();
        for followed in self.others_of(caller, room) {
            others.proven = others.proven.max(followed.proven(now, swept));
            others.began = others.began.max(followed.began());
            others.heard = others.heard.max(followed.covered());
        }
        let joining =
            Joining { room, connection, after, known, now, swept, is_proven, alone, others };
        self.callers[caller].attached(&joining).unwrap_or_else(|wrong| {
            self.complain(format!("caller {caller}, room {room}: {wrong}"));
            Certainty::Open
        })
    }

    /// A room as the other clients of a client's peer have heard it.
    fn others_of(&self, caller: usize, room: usize) -> impl Iterator<Item = &Followed> {
        let peer = &self.callers[caller].peer;
        let of_peer = self.callers.iter().enumerate().filter(move |(_, heard)| heard.peer == *peer);
        of_peer
            .filter(move |(other, _)| *other != caller)
            .filter_map(move |(_, heard)| heard.followed.get(&room))
    }

    /// A client begins to hear a session.
    pub(crate) fn comes(
        &mut self,
        caller: usize,
        session: &SessionId,
        after: u64,
        certainty: Certainty,
    ) {
        let room = self.open_room(session, false);
        let others = self.others_of(caller, room).filter_map(Followed::covered).max();
        match self.callers[caller].comes(room, after, certainty, others) {
            Came::First => {}
            Came::On => self.tally.came_back += 1,
            Came::FromStart => self.tally.came_anew += 1,
        }
    }

    /// A client hears no more of a session on this connection.
    pub(crate) fn leaves(&mut self, caller: usize, connection: u32, session: &SessionId) {
        let room = self.open_room(session, false);
        self.callers[caller].left(room, connection);
    }

    pub(crate) fn not_joined(&mut self, caller: usize, session: &SessionId, refusal: &Refusal) {
        let doomed = self.room_of(session).is_some_and(|room| self.is_doomed(room));
        let fits = match refusal.code {
            RefusalCode::UnknownSession => doomed,
            code => is_of_the_store(code) && (self.excused || doomed),
        };
        self.hold(fits, || {
            format!("caller {caller} is not attached although nothing is wrong: {refusal:?}")
        });
    }

    /// A frame of an event arrived at a client.
    pub(crate) fn heard(
        &mut self,
        caller: usize,
        connection: u32,
        session: &SessionId,
        record: &Record,
        text: &str,
    ) {
        self.tally.frames += 1;
        let Some(room) = self.room_of(session) else { return };
        self.see(room, record);
        let heard = &mut self.callers[caller];
        if !heard.listens_to(connection) {
            return self.complain(format!("caller {caller} hears a line that is broken"));
        }
        match heard.heard(room, connection, record.seq.0) {
            Ok(again) => self.tally.heard_again += u64::from(again),
            Err(wrong) => self.complain(format!("caller {caller}, room {room}: {wrong}")),
        }
        let peer = &self.callers[caller].peer;
        let sparky = |chat: &str| Encoding::Sparky {
            session_id: peer.name.as_str().into(),
            user_id: peer.space.as_str().into(),
            chat_id: chat.into(),
        };
        let encodings = match peer.wire {
            PeerWire::Memgpt => vec![Encoding::Memgpt],
            PeerWire::Sparky => vec![sparky(&self.callers[caller].with), sparky(DEFAULT_CHAT)],
        };
        let emitted = SessionEmission {
            session: session.clone(),
            emission: Emission::Record(record.clone()),
        };
        let fits = encodings.iter().any(|encoding| {
            encode(encoding, &emitted, FrameLimit::default()).iter().any(|frame| frame == text)
        });
        self.hold(fits, || format!("caller {caller} is shown {record:?} as {text}"));
    }

    /// A frame that is no event's arrived at a client.
    pub(crate) fn heard_word(&mut self, caller: usize, text: &str) {
        self.tally.frames += 1;
        let fits = !text.contains("replied to another command");
        self.hold(fits, || format!("caller {caller} is told {text}"));
    }

    /// A client's connection asked for something that is not said in a session.
    pub(crate) fn called(&mut self, caller: usize, outcome: &Result<CommandReply, Refusal>) {
        match outcome {
            Ok(CommandReply::Directory(DirectoryReply::Chat { session, .. })) => {
                self.open_room(session, false);
            }
            Ok(_) => {}
            Err(refusal) => {
                let fits = is_of_the_store(refusal.code) && self.excused;
                self.hold(fits, || {
                    format!("caller {caller} was refused although nothing is wrong: {refusal:?}")
                });
            }
        }
    }

    /// The server gave up a session on a connection, since it cannot be read.
    pub(crate) fn cut_off(&mut self, caller: usize, session: &SessionId, refusal: &Refusal) {
        let Some(room) = self.room_of(session) else { return };
        let fits = self.excused || self.is_doomed(room);
        self.hold(fits, || {
            format!("caller {caller} is cut off although nothing is wrong: {refusal:?}")
        });
    }

    /// A connection ends, since what it had to be shown was deleted.
    pub(crate) fn cut_short(&mut self, caller: usize, session: &SessionId) {
        self.tally.trimmed += 1;
        let fits = self.room_of(session).is_some_and(|room| self.rooms[room].is_trimmed);
        self.hold(fits, || format!("caller {caller} is told of a trimmed log, which it is not"));
    }

    /// A session ended under a connection. Tells whether it was deleted.
    pub(crate) fn closed_under(
        &mut self,
        caller: usize,
        session: &SessionId,
        reason: &str,
    ) -> bool {
        let Some(room) = self.room_of(session) else { return false };
        if reason != DELETED {
            let excused = self.excused;
            self.hold(excused, || format!("caller {caller}: closed: {reason}"));
            return false;
        }
        self.tally.told_gone += 1;
        let fits = self.is_doomed(room);
        self.hold(fits, || {
            format!("caller {caller} is told that its session is gone, which nobody asked for")
        });
        self.rooms[room].gone = true;
        true
    }

    /// The client went elsewhere.
    pub(crate) fn detached(
        &mut self,
        caller: usize,
        connection: u32,
        session: &SessionId,
        now: i64,
    ) {
        let Some(room) = self.room_of(session) else { return };
        self.closing(caller, Some(room), connection, now);
    }

    /// A connection is over, in one session or in all of them.
    pub(crate) fn closing(
        &mut self,
        caller: usize,
        room: Option<usize>,
        connection: u32,
        now: i64,
    ) {
        self.swept = self.swept.max(now);
        self.callers[caller].closing(room, connection, now);
    }

    /// A proof was handed to the store, which has taken it if nothing was wrong.
    pub(crate) fn proved(&mut self, (caller, connection): (usize, u32), rows: &[Proven]) {
        if self.shaken {
            return;
        }
        self.tally.proofs += 1;
        for row in rows {
            if let Some(room) = self.room_of(&row.session) {
                self.callers[caller].proved(room, connection, row.seq.0);
            }
        }
    }
}
