//! The tail of a live session: its recent emissions, in order, for its subscribers.

mod entry;
mod page_cache;
mod reader;
mod ring;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use thoughtwire_fanout::{EntrySource, Fanout, PushProgress, PushRun, SharedSink, Unparked};
use thoughtwire_proto::{CallId, Emission, Record, Seq, SessionId, ToolDeclaration, TurnId};
use tokio::sync::{Notify, watch};

pub use entry::{Frames, TailEntry};
use page_cache::{PageCache, SharedPage};
pub(crate) use reader::TailReader;
pub use reader::WakeSignal;
use ring::Ring;
pub(crate) use ring::TailRead;

/// The reason with which a deleted session's tail is closed.
pub(crate) const DELETED: &str = "the session was deleted";

/// Entries of one read, so that one busy session does not starve a connection's others.
pub(crate) const MAX_READ: usize = 256;

/// The ring of recent emissions, its readers, and the text of open items so far.
pub(crate) struct Tail {
    session: SessionId,
    ring: Mutex<Ring>,
    fanout: Fanout<TailReader>,
    /// The committed head.
    head: watch::Sender<Seq>,
    /// The first position of the log.
    first: AtomicU64,
    /// Notified when a reader came or left.
    presence: Notify,
    pages: PageCache,
}

impl Tail {
    pub(crate) fn new(session: SessionId, first: Seq, head: Seq) -> Arc<Self> {
        Arc::new(Self {
            session,
            ring: Mutex::default(),
            fanout: Fanout::default(),
            head: watch::Sender::new(head),
            first: AtomicU64::new(first.0),
            presence: Notify::new(),
            pages: PageCache::default(),
        })
    }

    pub(crate) fn session(&self) -> &SessionId {
        &self.session
    }

    /// A page of the log that has the record behind a position, if one was read lately.
    pub(crate) fn cached_page(&self, after: Seq) -> Option<SharedPage> {
        self.pages.get(after)
    }

    pub(crate) fn cache_page(&self, page: &SharedPage) {
        self.pages.add(page);
    }

    /// The committed head.
    pub(crate) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Waits until the committed head has reached a position.
    pub(crate) async fn reached(&self, seq: Seq) {
        // The sender lives in this very value, so the watch cannot end first.
        let _ = self.head.subscribe().wait_for(|head| *head >= seq).await;
    }

    /// Publishes emissions to all readers. Records must come in order and be committed.
    pub(crate) fn publish(self: &Arc<Self>, emissions: impl IntoIterator<Item = Emission>) {
        let mut ring = self.ring.lock();
        let mut head = None;
        for emission in emissions {
            let entry = TailEntry::new(&self.session, emission);
            head = entry.seq().or(head);
            ring.push(entry);
        }
        ring.trim();
        if let Some(head) = head {
            self.head.send_replace(head);
        }
        let runs = self.fanout.announce(ring.end());
        drop(ring);
        self.drive(runs);
    }

    /// Takes note that the log begins at a position now. Nothing before it is handed out any more.
    pub(crate) fn forget(&self, first: Seq) {
        let mut ring = self.ring.lock();
        self.first.store(first.0, Ordering::Release);
        self.pages.clear();
        ring.forget(first);
    }

    /// The first position of the log.
    pub(crate) fn first(&self) -> Seq {
        Seq(self.first.load(Ordering::Acquire))
    }

    /// Closes the tail: the session was deleted or could not go on.
    pub(crate) fn close(self: &Arc<Self>, reason: &str) {
        let mut ring = self.ring.lock();
        ring.closed = Some(reason.to_owned());
        let runs = self.fanout.announce(self.fanout.published() + 1);
        drop(ring);
        self.drive(runs);
    }

    /// Drives each push run in a task of its own.
    fn drive(self: &Arc<Self>, runs: Vec<PushRun<TailReader>>) {
        for mut run in runs {
            let tail = Arc::clone(self);
            tokio::spawn(async move {
                while run.step(&*tail) == PushProgress::More {
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    /// The reason why the tail was closed, if it was.
    pub(crate) fn closed(&self) -> Option<String> {
        self.ring.lock().closed.clone()
    }

    pub(crate) fn join(&self, reader: &Arc<TailReader>) {
        self.fanout.join(reader);
        self.presence.notify_one();
    }

    /// Parks a reader at a position: until it is unparked, its entries go to `sink`.
    pub(crate) fn park(
        &self,
        reader: &TailReader,
        sink: SharedSink<Arc<TailEntry>>,
        position: u64,
    ) {
        self.fanout.park(reader, sink, position);
    }

    /// Unparks a reader, if it is parked.
    pub(crate) fn unpark(reader: &TailReader) -> Option<Unparked> {
        reader.slot.unpark()
    }

    /// Waits until a reader came or left since the last call.
    pub(crate) async fn presence_changed(&self) {
        self.presence.notified().await;
    }

    /// The tools that attached clients run. Of two with one name, that of the earlier client
    /// counts.
    pub(crate) fn tools(&self) -> Vec<ToolDeclaration> {
        let mut tools: Vec<ToolDeclaration> = Vec::new();
        let mut readers = self.fanout.readers();
        readers.sort_by_key(|reader| reader.joined);
        for reader in readers {
            for tool in &reader.tools {
                if tools.iter().all(|known| known.name != tool.name) {
                    tools.push(tool.clone());
                }
            }
        }
        tools
    }

    /// Number of clients that are present.
    pub(crate) fn presence(&self) -> u64 {
        self.fanout.readers().iter().map(|reader| reader.clients).sum()
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.fanout.has_readers()
    }

    /// Tells whether something was published behind a position.
    pub(crate) fn has_news(&self, position: u64) -> bool {
        self.fanout.published() > position
    }

    /// Reads at most `most` entries from a position on.
    pub(crate) fn read(&self, position: u64, most: usize) -> TailRead {
        self.ring.lock().read(position, most)
    }

    /// Moves a reader that has everything up to `after` from the log onto the tail, in one step.
    ///
    /// The result is the records it lacks, the open items' text, and its position. `None` when the
    /// ring no longer has those records.
    pub(crate) fn enter(&self, after: Seq) -> Option<(Vec<Arc<TailEntry>>, u64)> {
        let ring = self.ring.lock();
        let head = *self.head.borrow();
        let mut entries = ring.records_up_to(after, head)?;
        entries.extend(ring.partials(&self.session));
        Some((entries, ring.end()))
    }

    /// Sets or clears the status that readers are told when they come.
    pub(crate) fn stands(&self, status: Option<String>) {
        self.ring.lock().standing = status;
    }

    /// The records behind one position and before another; `None` when the ring no longer has all.
    pub(crate) fn records(&self, after: Seq, before: Seq) -> Option<Vec<Record>> {
        self.ring.lock().records_between(after, before)
    }

    /// The calls of a turn that have not returned, with their tools; the newest last.
    pub(crate) fn open_calls(&self, turn: &TurnId) -> Vec<(CallId, String)> {
        self.ring.lock().open_calls(turn)
    }
}

impl EntrySource for Tail {
    type Item = Arc<TailEntry>;

    fn published(&self) -> u64 {
        self.fanout.published()
    }

    fn entries_from(&self, position: u64, most: usize) -> Option<Vec<Arc<TailEntry>>> {
        match self.read(position, most) {
            TailRead::Entries(entries, _) => Some(entries),
            TailRead::Behind | TailRead::Closed(_) => None,
        }
    }

    fn seq_of(entry: &Arc<TailEntry>) -> Option<u64> {
        entry.seq().map(|seq| seq.0)
    }
}
