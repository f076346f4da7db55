//! Frames that a client of an older wire has heard, over all its connections.

use std::collections::{BTreeMap, HashSet};

use thoughtwire_proto::{Event, ItemId, Outcome, PeerRef, PeerWire, Record, TurnEvent};

/// For how long a closed connection's proof counts, with room to spare for what is under way.
const PROVEN_FOR: i64 = 3_000_000;
/// How long it is kept.
const KEPT_FOR: i64 = 86_400_000;

pub(crate) struct Heard {
    pub(crate) peer: PeerRef,
    /// The chat that it talks in, or the agent that it talks to.
    pub(crate) with: String,
    /// The connection it listens to, counted from 1.
    connection: u32,
    /// The room that the connection it listens to was attached to last.
    entered: Option<usize>,
    /// Its connections that the server holds open.
    pub(crate) lines: u32,
    /// Inputs of its own, by connection. The `MemGPT` wire shows where their turns start and end.
    own: BTreeMap<u32, HashSet<ItemId>>,
    /// By room.
    pub(crate) followed: BTreeMap<usize, Followed>,
}

/// One session as it was heard.
#[derive(Default)]
pub(crate) struct Followed {
    /// Everything up to here was heard, or was before its time; nothing before it first came.
    covered: Option<u64>,
    /// The last position of the connection it listens to; nothing when it is not attached.
    pub(crate) at: Option<u64>,
    /// Gaps between heard positions. Nothing in them may be an event that has to be shown.
    leaps: Vec<Leap>,
    proofs: BTreeMap<u32, Proof>,
}

/// A connection's proof, as its client can know of it.
struct Proof {
    /// Where the connection began.
    after: u64,
    /// It cannot be behind this.
    least: u64,
    /// Whether it is on disk for sure.
    kept: bool,
    /// Earliest time at which its connection was closed; none while the server takes it for open.
    closed_at: Option<i64>,
}

struct Leap {
    from: u64,
    to: u64,
    connection: u32,
}

/// How an attachment has to be looked at.
pub(crate) struct Joining {
    pub(crate) room: usize,
    pub(crate) connection: u32,
    /// Where it begins.
    pub(crate) after: u64,
    /// The last position anybody knew of when it was asked for.
    pub(crate) known: u64,
    /// The wall clock, if it did not jump and the disk did not fail meanwhile.
    pub(crate) now: Option<i64>,
    /// The newest time at which proofs of before were thrown away.
    pub(crate) swept: i64,
    /// It was asked for as what the peer had proven.
    pub(crate) is_proven: bool,
    /// The server holds no other connection of its peer open.
    pub(crate) alone: bool,
    /// The peer's other clients.
    pub(crate) others: Others,
}

/// Positions of a peer's other clients in a room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Others {
    /// The largest position that one has proven for sure.
    pub(crate) proven: Option<u64>,
    /// The largest position at which one of their connections began.
    pub(crate) began: Option<u64>,
    /// The largest position up to which one has heard everything.
    pub(crate) heard: Option<u64>,
}

/// Whether it has to go on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It has proven something that counts.
    Proven,
    /// Nothing that it has proven counts for sure.
    Open,
}

/// How a client comes to hear a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    First,
    /// It goes on where it was, or before.
    On,
    /// Its proof counts no more, so it goes on at the head.
    FromStart,
}

impl Heard {
    pub(crate) fn new(peer: PeerRef, with: String) -> Self {
        Self {
            peer,
            with,
            connection: 0,
            entered: None,
            lines: 0,
            own: BTreeMap::new(),
            followed: BTreeMap::new(),
        }
    }

    /// It connects again, and listens to nothing else from now on. Gives the connection's number.
    pub(crate) fn connects(&mut self) -> u32 {
        self.connection += 1;
        self.entered = None;
        self.followed.values_mut().for_each(|followed| followed.at = None);
        self.connection
    }

    /// Whether it is attached to anything, or would be if its session were not gone.
    pub(crate) fn is_attached(&self, is_gone: impl Fn(usize) -> bool) -> bool {
        self.followed.values().any(|followed| followed.at.is_some())
            || self.entered.is_some_and(is_gone)
    }

    /// Whether an agent is its own.
    pub(crate) fn has(&self, agent: &str) -> bool {
        self.peer.wire == PeerWire::Sparky && agent == format!("sparky:{}", self.peer.space)
    }

    pub(crate) fn listens_to(&self, connection: u32) -> bool {
        self.connection == connection
    }

    /// An input of its own was accepted.
    pub(crate) fn said(&mut self, connection: u32, input: ItemId) {
        self.own.entry(connection).or_default().insert(input);
    }

    /// The server attaches one of its connections, where it was proven to be, or elsewhere.
    pub(crate) fn attached(&mut self, joining: &Joining) -> Result<Certainty, String> {
        let Joining { room, connection, after, known, now, swept, is_proven, alone, others } =
            *joining;
        let followed = self.followed.entry(room).or_default();
        let own = followed.proven(now, swept);
        let began = followed.began().max(others.began);
        // None of the peer's clients may ever have heard of a connection that began further on.
        let certain = own.is_some() && began <= followed.covered.max(others.heard);
        let proven = own.max(others.proven);
        followed
            .proofs
            .insert(connection, Proof { after, least: after, kept: false, closed_at: None });
        if !is_proven {
            // A chat that another connection of the peer has just opened.
            let expected = now.is_none() || !alone;
            return expected
                .then_some(Certainty::Open)
                .ok_or_else(|| "it is not attached where it was proven to be".to_owned());
        }
        match (proven, began) {
            (Some(proven), _) if after < proven => {
                Err(format!("it goes on behind {after}, where {proven} was proven"))
            }
            (None, None) if after < known => {
                Err(format!("it came at {known}, and is told what was before from {after} on"))
            }
            (Some(_) | None, _) => Ok(if certain { Certainty::Proven } else { Certainty::Open }),
        }
    }

    /// It hears everything behind a position from now on. `others` is how far its peer's clients
    /// have heard everything: what they have proven is not repeated to this one.
    pub(crate) fn comes(
        &mut self,
        room: usize,
        after: u64,
        certainty: Certainty,
        others: Option<u64>,
    ) -> Came {
        let followed = self.followed.entry(room).or_default();
        followed.at = Some(after);
        self.entered = Some(room);
        match followed.covered {
            Some(covered) if after <= covered => return Came::On,
            // Passed-over events must be of no interest to it.
            Some(covered) if certainty == Certainty::Proven => {
                let heard = others.map_or(covered, |others| others.max(covered));
                followed.leap(heard, after + 1, 0);
            }
            Some(_) | None => {}
        }
        let is_first = followed.covered.replace(after).is_none();
        match (is_first, certainty) {
            (true, _) => Came::First,
            (false, Certainty::Proven) => Came::On,
            (false, Certainty::Open) => Came::FromStart,
        }
    }

    /// A frame arrived. Tells whether it was there before.
    pub(crate) fn heard(&mut self, room: usize, connection: u32, seq: u64) -> Result<bool, String> {
        let Some(followed) = self.followed.get_mut(&room) else {
            return Err(format!("{seq} of a room it is not in"));
        };
        let Some(at) = followed.at else {
            return Err(format!("{seq} of a room it is not attached to"));
        };
        if seq <= at {
            return Err(format!("{seq} came behind {at}"));
        }
        followed.leap(at, seq, connection);
        followed.at = Some(seq);
        let again = followed.covered.is_some_and(|covered| seq <= covered);
        followed.covered = followed.covered.max(Some(seq));
        Ok(again)
    }

    /// A proof is on disk: from now on it counts.
    pub(crate) fn proved(&mut self, room: usize, connection: u32, seq: u64) {
        if let Some(proof) =
            self.followed.get_mut(&room).and_then(|followed| followed.proofs.get_mut(&connection))
        {
            proof.least = proof.least.max(seq);
            proof.kept = true;
        }
    }

    /// The server says that a connection is over, in one session or in all of them.
    pub(crate) fn closing(&mut self, room: Option<usize>, connection: u32, at: i64) {
        for (_, followed) in
            self.followed.iter_mut().filter(|(known, _)| room.is_none_or(|room| room == **known))
        {
            if let Some(proof) = followed.proofs.get_mut(&connection) {
                proof.closed_at = Some(at);
            }
        }
    }

    /// The session is over for a connection.
    pub(crate) fn left(&mut self, room: usize, connection: u32) {
        if self.listens_to(connection)
            && let Some(followed) = self.followed.get_mut(&room)
        {
            followed.at = None;
            // It starts over, and knows no inputs of its own.
            self.own.remove(&connection);
        }
    }

    /// A server starts: whatever was open has been closed by now, and not before.
    pub(crate) fn starts(&mut self, now: i64) {
        self.connection += 1;
        self.lines = 0;
        for followed in self.followed.values_mut() {
            followed.at = None;
            for proof in followed.proofs.values_mut() {
                proof.closed_at = Some(proof.closed_at.map_or(now, |at| at.min(now)));
            }
        }
    }

    /// Holds the frames heard of a room against its log. No event that has to be shown was passed
    /// over, except those before `first`, which retention has deleted.
    pub(crate) fn check(
        &mut self,
        room: usize,
        records: &[Record],
        first: u64,
        at_rest: bool,
    ) -> Vec<String> {
        let wire = self.peer.wire;
        let Some(followed) = self.followed.get_mut(&room) else { return Vec::new() };
        if let (true, Some(at)) = (at_rest, followed.at) {
            followed.leap(at, records.len() as u64 + 1, self.connection);
        }
        let mut wrong = Vec::new();
        for leap in followed.leaps.drain(..) {
            let own = self.own.get(&leap.connection);
            let is_own = |input: &ItemId| own.is_some_and(|own| own.contains(input));
            let passed = records.iter().filter(|record| {
                record.seq.0 > leap.from && record.seq.0 < leap.to && record.seq.0 >= first
            });
            let missing = passed.filter(|record| is_shown(wire, &record.event, is_own));
            wrong.extend(
                missing.map(|record| format!("{wire:?} {} never heard {record:?}", self.peer.name)),
            );
        }
        wrong
    }
}

impl Followed {
    /// The largest position that was proven for sure, of what still counts.
    pub(crate) fn proven(&self, now: Option<i64>, swept: i64) -> Option<u64> {
        let closed =
            |at: i64| now.is_some_and(|now| at >= now - PROVEN_FOR) && at >= swept - KEPT_FOR;
        let counts = |proof: &&Proof| proof.kept && proof.closed_at.is_none_or(closed);
        self.proofs.values().filter(counts).map(|proof| proof.least).max()
    }

    /// The largest position at which a connection began.
    pub(crate) fn began(&self) -> Option<u64> {
        self.proofs.values().map(|proof| proof.after).max()
    }

    /// The position up to which everything was heard.
    pub(crate) fn covered(&self) -> Option<u64> {
        self.covered
    }

    fn leap(&mut self, from: u64, to: u64, connection: u32) {
        if to > from + 1 {
            self.leaps.push(Leap { from, to, connection });
        }
    }
}

/// Whether an older wire has to show an event.
fn is_shown(wire: PeerWire, event: &Event, is_own: impl Fn(&ItemId) -> bool) -> bool {
    match (event, wire) {
        (
            Event::Turn(
                TurnEvent::Thought { .. }
                | TurnEvent::Message { .. }
                | TurnEvent::ToolCalled { .. }
                | TurnEvent::ToolReturned { .. }
                | TurnEvent::ApprovalAsked { .. },
            ),
            _,
        ) => true,
        (
            Event::Turn(TurnEvent::Started { input } | TurnEvent::Ended { input, .. }),
            PeerWire::Memgpt,
        ) => is_own(input),
        (Event::Turn(TurnEvent::Started { .. } | TurnEvent::Usage(_)), PeerWire::Sparky) => true,
        (Event::Turn(TurnEvent::Ended { outcome, .. }), PeerWire::Sparky) => {
            *outcome != Outcome::Completed
        }
        _ => false,
    }
}
