//! The tail of a live session: what its subscribers read, in emission order.

mod pushing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::{FrameLimit, encode};
use thoughtwire_proto::{
    CallId, Delta, Emission, Event, InputEvent, Partial, Record, Seq, SessionEmission,
    SessionEvent, SessionId, ToolDeclaration, TurnEvent, TurnId,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use pushing::Group;
pub(crate) use pushing::Lent;
pub use pushing::Outlet;

/// Why a deleted session's tail is closed.
pub(crate) const DELETED: &str = "the session was deleted";

/// Bytes of emissions that a tail keeps. Enough for a burst between two wakes of a busy reader; who
/// falls further behind reads the log instead.
const TAIL_BYTES: usize = 1 << 20;
/// How long it keeps them: who has not read them by then reads the log, and a thousand sessions that say
/// a little now and then do not fill the memory with what everybody has.
const TAIL_KEEPS: Duration = Duration::from_secs(5);
/// Entries taken from the tail at a time, so that one busy session does not starve the others of a connection.
pub(crate) const MOST: usize = 256;

/// One emission, encoded at most once per encoding.
pub struct Entry {
    emitted: SessionEmission,
    /// When it came.
    at: Instant,
    /// By encoding and limit: hardly ever more than two, which are found soonest by looking.
    frames: Mutex<Vec<(Encoding, FrameLimit, Frames)>>,
}

/// An emission's frames in one encoding, shared by all who read them.
pub type Frames = Arc<[Bytes]>;

impl Entry {
    pub(crate) fn new(session: &SessionId, emission: Emission) -> Arc<Self> {
        Arc::new(Self {
            emitted: SessionEmission { session: session.clone(), emission },
            at: Instant::now(),
            frames: Mutex::default(),
        })
    }

    /// What is shown.
    #[must_use]
    pub fn emitted(&self) -> &SessionEmission {
        &self.emitted
    }

    /// Its frames in an encoding, each within the limit. Encoded once and shared by all callers.
    #[must_use]
    pub fn frames(&self, encoding: &Encoding, limit: FrameLimit) -> Frames {
        let mut cache = self.frames.lock();
        let known = cache.iter().find(|(known, within, _)| known == encoding && *within == limit);
        if let Some((_, _, frames)) = known {
            return Arc::clone(frames);
        }
        let frames: Frames =
            encode(encoding, &self.emitted, limit).into_iter().map(Bytes::from).collect();
        cache.push((encoding.clone(), limit, Arc::clone(&frames)));
        frames
    }

    /// When it was published, or read back from the log.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    pub(crate) fn seq(&self) -> Option<Seq> {
        match &self.emitted.emission {
            Emission::Record(record) => Some(record.seq),
            Emission::Delta(_)
            | Emission::Partial(_)
            | Emission::Status { .. }
            | Emission::Presence { .. } => None,
        }
    }

    fn weight(&self) -> usize {
        let text = match &self.emitted.emission {
            Emission::Record(record) => match &record.event {
                Event::Turn(TurnEvent::Thought { text, .. } | TurnEvent::Message { text, .. })
                | Event::Input(InputEvent::UserMessage { text, .. }) => text.len(),
                Event::Turn(TurnEvent::ToolReturned { text, content, .. }) => {
                    text.len() + content.as_ref().map_or(0, |content| content.to_string().len())
                }
                Event::Session(SessionEvent::Compacted { summary, .. }) => summary.len(),
                Event::Session(SessionEvent::MemoryEdited { before, after, .. }) => {
                    before.len() + after.len()
                }
                Event::Session(
                    SessionEvent::Opened { .. }
                    | SessionEvent::Renamed { .. }
                    | SessionEvent::InstructionsChanged { .. },
                )
                | Event::Input(InputEvent::Withdrawn { .. })
                | Event::Turn(
                    TurnEvent::Started { .. }
                    | TurnEvent::ToolCalled { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::Usage(_)
                    | TurnEvent::Ended { .. },
                )
                | Event::Other(_) => 256,
            },
            Emission::Delta(delta) => delta.text.len(),
            Emission::Partial(partial) => partial.text.len(),
            Emission::Status { text, .. } => text.len(),
            Emission::Presence { .. } => 0,
        };
        // Its frames in two encodings and the entry itself.
        text * 3 + 512
    }
}

/// Wakes a connection; one per connection, whatever number of sessions it reads.
pub type Wake = Arc<Notify>;

/// The ring of recent emissions and the open items' text so far.
pub(crate) struct Tail {
    session: SessionId,
    ring: Mutex<Ring>,
    /// How many emissions were ever published: lets a reader see without the lock that there is nothing new.
    published: AtomicU64,
    /// Whether any of its readers ever lent its place.
    pushes: AtomicBool,
    head: watch::Sender<Seq>,
    /// Where the log begins.
    first: AtomicU64,
    /// Somebody came or left.
    presence: Notify,
    /// Whole pages of the log that subscribers read back, newest last.
    pages: Mutex<Vec<Page>>,
}

/// A page of the log as entries, so that what is read back is encoded once and shared as well.
pub(crate) type Page = Arc<[Arc<Entry>]>;

/// Pages kept for sharing: those that clients that reconnect together read at about the same time.
const PAGES: usize = 8;

struct Ring {
    entries: VecDeque<Arc<Entry>>,
    /// The position of the first entry kept.
    base: u64,
    bytes: usize,
    open: Vec<Partial>,
    calls: Vec<(CallId, String, TurnId)>,
    groups: Vec<Arc<Group>>,
    closed: Option<String>,
    /// A status that holds for as long as it stands here, and which those who come are told.
    standing: Option<String>,
}

/// A subscriber as the tail knows it.
pub(crate) struct Reader {
    pub(crate) wake: Wake,
    /// Whether it counts as present: what the server itself reads for a REST caller does not.
    pub(crate) present: bool,
    /// The tools that it runs.
    pub(crate) tools: Vec<ToolDeclaration>,
    /// When it came.
    since: Instant,
    /// Its place, while it sleeps.
    pub(crate) lent: Mutex<Option<Lent>>,
    /// Said before the tail is told: somebody who brings it news may hold it a little longer.
    has_left: AtomicBool,
}

impl Reader {
    pub(crate) fn new(wake: Wake, present: bool, tools: Vec<ToolDeclaration>) -> Arc<Self> {
        Arc::new(Self {
            wake,
            present,
            tools,
            since: Instant::now(),
            lent: Mutex::default(),
            has_left: AtomicBool::new(false),
        })
    }

    pub(crate) fn leave(&self, tail: &Tail) {
        drop(self.lent.lock().take());
        self.has_left.store(true, Ordering::Release);
        tail.presence.notify_one();
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }
}

/// What a reader finds behind its position.
pub(crate) enum Found {
    /// These, and its new position.
    Entries(Vec<Arc<Entry>>, u64),
    /// The ring has moved on: read the log.
    Behind,
    /// The session is gone; why.
    Closed(String),
}

impl Tail {
    pub(crate) fn new(session: SessionId, first: Seq, head: Seq) -> Arc<Self> {
        let ring = Ring {
            entries: VecDeque::new(),
            base: 0,
            bytes: 0,
            open: Vec::new(),
            calls: Vec::new(),
            groups: Vec::new(),
            closed: None,
            standing: None,
        };
        Arc::new(Self {
            session,
            ring: Mutex::new(ring),
            published: AtomicU64::new(0),
            pushes: AtomicBool::new(false),
            head: watch::Sender::new(head),
            first: AtomicU64::new(first.0),
            presence: Notify::new(),
            pages: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn session(&self) -> &SessionId {
        &self.session
    }

    /// A page that has the record behind a position.
    pub(crate) fn cached_page(&self, after: Seq) -> Option<Page> {
        let wanted = after.next();
        let has = |page: &&Page| {
            let (first, last) = (
                page.first().and_then(|entry| entry.seq()),
                page.last().and_then(|entry| entry.seq()),
            );
            first.is_some_and(|first| first <= wanted) && last.is_some_and(|last| last >= wanted)
        };
        self.pages.lock().iter().find(has).cloned()
    }

    pub(crate) fn cache_page(&self, page: &Page) {
        let mut pages = self.pages.lock();
        if pages.len() >= PAGES {
            pages.remove(0);
        }
        pages.push(Arc::clone(page));
    }

    /// The committed head.
    pub(crate) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Resolves when the committed head has reached a position.
    pub(crate) async fn reached(&self, seq: Seq) {
        // The sender lives in this very value, so the watch cannot end first.
        let _ = self.head.subscribe().wait_for(|head| *head >= seq).await;
    }

    /// Puts emissions on the tail, for everybody. Records must come in order and be committed.
    pub(crate) fn publish(self: &Arc<Self>, emissions: impl IntoIterator<Item = Emission>) {
        let mut ring = self.ring.lock();
        let mut head = None;
        for emission in emissions {
            ring.fold(&emission);
            let entry = Entry::new(&self.session, emission);
            head = entry.seq().or(head);
            ring.bytes += entry.weight();
            ring.entries.push_back(entry);
        }
        let now = Instant::now();
        let is_old = |entry: &Arc<Entry>| now.duration_since(entry.at) > TAIL_KEEPS;
        while ring.entries.len() > 1
            && (ring.bytes > TAIL_BYTES || ring.entries.front().is_some_and(is_old))
        {
            if let Some(old) = ring.entries.pop_front() {
                ring.bytes -= old.weight();
                ring.base += 1;
            }
        }
        self.published.store(ring.end(), Ordering::SeqCst);
        if let Some(head) = head {
            self.head.send_replace(head);
        }
        self.tell_all(&mut ring);
    }

    /// The log begins at a position from now on: nothing before it is handed out any more.
    pub(crate) fn forget(&self, first: Seq) {
        let mut ring = self.ring.lock();
        self.first.store(first.0, Ordering::Release);
        self.pages.lock().clear();
        let gone = ring
            .entries
            .iter()
            .rposition(|entry| entry.seq().is_some_and(|seq| seq < first))
            .map_or(0, |last| last + 1);
        let weight: usize = ring.entries.drain(..gone).map(|entry| entry.weight()).sum();
        ring.bytes -= weight;
        ring.base += gone as u64;
    }

    /// Where the log begins.
    pub(crate) fn first(&self) -> Seq {
        Seq(self.first.load(Ordering::Acquire))
    }

    /// Ends the tail: the session was deleted or could not go on.
    pub(crate) fn close(self: &Arc<Self>, reason: &str) {
        let mut ring = self.ring.lock();
        ring.closed = Some(reason.to_owned());
        self.published.fetch_add(1, Ordering::SeqCst);
        self.tell_all(&mut ring);
    }

    fn tell_all(self: &Arc<Self>, ring: &mut Ring) {
        ring.groups.retain(|group| !group.is_empty());
        let pushes = self.pushes.load(Ordering::SeqCst);
        for group in &ring.groups {
            if pushes { group.push(self) } else { group.wake() }
        }
    }

    /// From now on what is published is brought, and not only told.
    pub(crate) fn start_pushing(&self) {
        self.pushes.store(true, Ordering::SeqCst);
    }

    /// Why the tail was closed, if it was.
    pub(crate) fn closed(&self) -> Option<String> {
        self.ring.lock().closed.clone()
    }

    pub(crate) fn join(&self, reader: &Arc<Reader>) {
        let mut ring = self.ring.lock();
        // Most often the newest has room.
        if !ring.groups.iter().rev().any(|group| group.join(reader)) {
            let group = Arc::<Group>::default();
            group.join(reader);
            ring.groups.push(group);
        }
        drop(ring);
        self.presence.notify_one();
    }

    /// Resolves when somebody came or left since the last time.
    pub(crate) async fn presence_changed(&self) {
        self.presence.notified().await;
    }

    /// The tools that attached clients run; of two with one name that of who came first.
    pub(crate) fn tools(&self) -> Vec<ToolDeclaration> {
        let mut tools: Vec<ToolDeclaration> = Vec::new();
        let mut readers: Vec<_> =
            self.ring.lock().groups.iter().flat_map(|group| group.readers()).collect();
        readers.sort_by_key(|reader| reader.since);
        for reader in readers {
            for tool in &reader.tools {
                if tools.iter().all(|known| known.name != tool.name) {
                    tools.push(tool.clone());
                }
            }
        }
        tools
    }

    /// How many clients are present. Forgets those that left.
    pub(crate) fn presence(&self) -> u64 {
        self.ring
            .lock()
            .groups
            .iter()
            .flat_map(|group| group.readers())
            .filter(|reader| reader.present)
            .count() as u64
    }

    pub(crate) fn has_readers(&self) -> bool {
        !self.ring.lock().groups.iter().all(|group| group.is_empty())
    }

    /// Whether something was published behind a position.
    pub(crate) fn has_news(&self, position: u64) -> bool {
        self.published() > position
    }

    /// How much was published, ever.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    /// Takes at most `most` entries from a position on.
    pub(crate) fn take(&self, position: u64, most: usize) -> Found {
        let ring = self.ring.lock();
        if position < ring.base {
            return Found::Behind;
        }
        let skip = usize::try_from(position - ring.base).unwrap_or(usize::MAX);
        let entries: Vec<_> = ring.entries.iter().skip(skip).take(most).cloned().collect();
        match &ring.closed {
            Some(reason) if entries.is_empty() => return Found::Closed(reason.clone()),
            Some(_) | None => {}
        }
        let position = position + entries.len() as u64;
        Found::Entries(entries, position)
    }

    /// Steps a reader that has everything up to `after` onto the tail in one step: the records it
    /// lacks, the open items' text, and its position. Nothing when the ring no longer has those records.
    pub(crate) fn step_on(&self, after: Seq) -> Option<(Vec<Arc<Entry>>, u64)> {
        let ring = self.ring.lock();
        let head = *self.head.borrow();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        if after < head {
            let mut expected = after.next();
            for entry in &ring.entries {
                match entry.seq() {
                    Some(seq) if seq == expected => {
                        entries.push(Arc::clone(entry));
                        expected = expected.next();
                    }
                    Some(seq) if seq > expected => return None,
                    Some(_) | None => {}
                }
            }
            if expected <= head {
                return None;
            }
        }
        entries.extend(
            ring.open
                .iter()
                .map(|partial| Entry::new(&self.session, Emission::Partial(partial.clone()))),
        );
        let standing = ring.standing.clone().map(|text| Emission::Status { turn: None, text });
        entries.extend(standing.map(|status| Entry::new(&self.session, status)));
        Some((entries, ring.end()))
    }

    /// Has those who come told a status, until it is taken back.
    pub(crate) fn stands(&self, status: Option<String>) {
        self.ring.lock().standing = status;
    }

    /// The records behind one position and before another; nothing when the ring no longer has them all.
    pub(crate) fn records(&self, after: Seq, before: Seq) -> Option<Vec<Record>> {
        let ring = self.ring.lock();
        let mut records = Vec::new();
        for entry in ring.entries.iter().rev() {
            if let Emission::Record(record) = &entry.emitted.emission {
                if record.seq <= after {
                    break;
                }
                if record.seq < before {
                    records.push(record.clone());
                }
            }
        }
        records.reverse();
        (records.len() as u64 == before.0.saturating_sub(after.0 + 1)).then_some(records)
    }

    /// The calls of a turn that have not returned, with their tools; the newest last.
    pub(crate) fn open_calls(&self, turn: &TurnId) -> Vec<(CallId, String)> {
        let ring = self.ring.lock();
        ring.calls
            .iter()
            .filter(|(_, _, of)| of == turn)
            .map(|(call, name, _)| (call.clone(), name.clone()))
            .collect()
    }
}

impl Ring {
    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Keeps `open` and `calls` in step with what was published.
    fn fold(&mut self, emission: &Emission) {
        match emission {
            Emission::Delta(delta) => self.extend(delta),
            Emission::Record(record) => match &record.event {
                Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) => {
                    self.open.retain(|partial| partial.item != *item);
                }
                Event::Turn(TurnEvent::ToolCalled { call, name, .. }) => {
                    self.open.retain(|partial| partial.item.as_str() != call.as_str());
                    if let Some(turn) = &record.turn {
                        self.calls.push((call.clone(), name.clone(), turn.clone()));
                    }
                }
                Event::Turn(TurnEvent::ToolReturned { call, .. }) => {
                    self.calls.retain(|(open, _, _)| open != call);
                }
                Event::Turn(TurnEvent::Ended { .. }) => {
                    self.open.clear();
                    self.calls.clear();
                }
                Event::Session(_)
                | Event::Input(_)
                | Event::Turn(
                    TurnEvent::Started { .. }
                    | TurnEvent::ToolAwaited { .. }
                    | TurnEvent::ApprovalAsked { .. }
                    | TurnEvent::ApprovalSettled { .. }
                    | TurnEvent::Usage(_),
                )
                | Event::Other(_) => {}
            },
            Emission::Partial(_) | Emission::Status { .. } | Emission::Presence { .. } => {}
        }
    }

    fn extend(&mut self, delta: &Delta) {
        match self.open.iter_mut().find(|partial| partial.item == delta.item) {
            Some(partial) => {
                partial.text.push_str(&delta.text);
                partial.n = delta.n + 1;
            }
            None => self.open.push(Partial {
                turn: delta.turn.clone(),
                item: delta.item.clone(),
                n: delta.n + 1,
                kind: delta.kind,
                text: delta.text.clone(),
            }),
        }
    }
}
