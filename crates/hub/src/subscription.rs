//! A subscriber: a cursor in one session, not a queue.

use std::sync::Arc;

use thoughtwire_proto::{Emission, Refusal, RefusalCode, Seq, SessionId};
use thoughtwire_store::{LogPage, SessionNum, Store};
use tokio::time::Instant;

use crate::hub::Shared;
use crate::metrics::Metrics;
use crate::session::unknown_session;
use crate::tail::{DELETED, Entry, Found, Lent, MOST, Outlet, Reader, Tail, locked};

/// Records read from the log at a time, and about how many bytes of them.
const PAGE: u64 = 256;
const PAGE_BYTES: usize = 256 << 10;

/// A place in one session. It costs the same however far it is behind.
pub struct Subscription {
    store: Arc<Store>,
    session: SessionNum,
    tail: Arc<Tail>,
    reader: Arc<Reader>,
    place: Place,
    /// The last record handed out.
    seen: Seq,
    told_caught_up: bool,
    metrics: Metrics,
    /// Whether the tail was too fast for it, and it has not stepped back on yet.
    slow: bool,
}

enum Place {
    /// Reading pages of the log.
    Log,
    /// On the tail, at this position.
    Tail(u64),
}

/// What came next.
#[derive(Default)]
pub struct Batch {
    /// In emission order.
    pub entries: Vec<Arc<Entry>>,
    /// When the first of them was published, if they are of now and not of the log.
    pub since: Option<Instant>,
    /// Set once per attachment: behind these entries everything up to this position was handed out.
    pub caught_up: Option<Seq>,
    /// Set when the session ended under the subscriber; why. Nothing follows.
    pub closed: Option<String>,
    /// Set when what lies behind the cursor is kept no longer. Nothing follows; who attaches again
    /// starts over from where the log begins.
    pub shortened: bool,
}

impl Subscription {
    pub(crate) fn new(
        shared: &Shared,
        session: SessionNum,
        tail: Arc<Tail>,
        reader: Arc<Reader>,
        after: Seq,
    ) -> Self {
        shared.metrics.subscribers.inc();
        Self {
            store: Arc::clone(&shared.store),
            session,
            tail,
            reader,
            place: Place::Log,
            seen: after,
            told_caught_up: false,
            metrics: shared.metrics.clone(),
            slow: false,
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        self.tail.session()
    }

    /// The last position handed out.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.seen
    }

    /// Whether [`Subscription::next`] has something to hand out. When not, the wake given at attach
    /// tells when to ask again.
    #[must_use]
    pub fn has_news(&self) -> bool {
        match self.place {
            Place::Log => true,
            Place::Tail(position) => self.tail.has_news(position),
        }
    }

    /// Lends its place to the tail: what comes goes to `outlet`, until the place is taken back. Whoever
    /// did not read up to the tail yet keeps it, and is woken as always.
    ///
    /// Between the two nothing else may be asked of the subscription, and nobody but the outlet write
    /// where it writes.
    pub fn lend(&mut self, outlet: &Arc<dyn Outlet>) {
        if let Place::Tail(position) = self.place {
            *locked(&self.reader.lent) = Some(Lent::new(Arc::clone(outlet), position, self.seen));
            self.tail.start_pushing();
        }
    }

    /// Takes its place back, if it is lent. What the outlet took up to now is read.
    pub fn take_back(&mut self) {
        if let Some(lent) = locked(&self.reader.lent).take() {
            self.place = Place::Tail(lent.position);
            self.seen = lent.seen;
        }
    }

    /// Hands out what lies behind the cursor, at most a page of it; empty when there is nothing.
    ///
    /// # Errors
    /// When the log cannot be read; asking again later may work.
    pub async fn next(&mut self) -> Result<Batch, Refusal> {
        if let Place::Tail(position) = self.place {
            match self.tail.take(position, MOST) {
                Found::Entries(entries, position) => {
                    self.place = Place::Tail(position);
                    self.note(&entries);
                    let since = entries.first().map(|entry| entry.at());
                    return Ok(Batch { entries, since, ..Batch::default() });
                }
                Found::Closed(reason) => {
                    return Ok(Batch { closed: Some(reason), ..Batch::default() });
                }
                // Too slow for the ring: back to the log, at our own pace. Deltas missed are
                // superseded by the partials that come when stepping back on.
                Found::Behind => {
                    self.place = Place::Log;
                    self.is_slow(true);
                }
            }
        }
        if let Some((entries, position)) = self.tail.step_on(self.seen) {
            self.place = Place::Tail(position);
            self.is_slow(false);
            self.note(&entries);
            let caught_up = (!self.told_caught_up).then_some(self.seen);
            self.told_caught_up = true;
            return Ok(Batch { entries, caught_up, ..Batch::default() });
        }
        if self.seen.next() < self.tail.first() {
            return Ok(Batch { shortened: true, ..Batch::default() });
        }
        // In a box: who reads along never comes here again, and need not have the room for it.
        match (Box::pin(self.page()).await, self.tail.closed()) {
            // Shortened while the page was read.
            (Ok(entries), _)
                if entries
                    .first()
                    .and_then(|entry| entry.seq())
                    .is_some_and(|seq| seq != self.seen.next()) =>
            {
                Ok(Batch { shortened: true, ..Batch::default() })
            }
            (Err(_), None) if self.seen.next() < self.tail.first() => {
                Ok(Batch { shortened: true, ..Batch::default() })
            }
            (Ok(entries), _) => {
                self.note(&entries);
                Ok(Batch { entries, ..Batch::default() })
            }
            // The log went with its session.
            (Err(_), Some(reason)) => Ok(Batch { closed: Some(reason), ..Batch::default() }),
            // The session's task has not come to say so yet.
            (Err(refusal), None) if refusal.code == RefusalCode::UnknownSession => {
                Ok(Batch { closed: Some(DELETED.to_owned()), ..Batch::default() })
            }
            (Err(refusal), None) => Err(refusal),
        }
    }

    /// The page of the log behind the cursor, shared with others who read it.
    async fn page(&self) -> Result<Vec<Arc<Entry>>, Refusal> {
        let page = match self.tail.cached_page(self.seen) {
            Some(page) => page,
            None => {
                let (session, after) = (self.session, self.seen);
                let LogPage { records, is_whole } = self
                    .store
                    .reading(move |store| store.log_page(session, after, PAGE, PAGE_BYTES))
                    .await
                    .map_err(|error| Refusal::from(&error))?;
                let page: Arc<[Arc<Entry>]> = records
                    .into_iter()
                    .map(|record| Entry::new(self.tail.session(), Emission::Record(record)))
                    .collect();
                if is_whole {
                    self.tail.cache_page(&page);
                }
                page
            }
        };
        let head = self.tail.head();
        let rest: Vec<_> = page
            .iter()
            .filter(|entry| entry.seq().is_some_and(|seq| seq > self.seen && seq <= head))
            .cloned()
            .collect();
        if rest.is_empty() {
            let id = self.tail.session().clone();
            let stored = self
                .store
                .reading(move |store| store.session(&id))
                .await
                .map_err(|error| Refusal::from(&error))?;
            if stored.is_none() {
                return Err(unknown_session(self.tail.session()));
            }
            return Err(Refusal::new(
                RefusalCode::StoreFailed,
                format!("the log ends at {} although its head is {head}", self.seen),
            ));
        }
        Ok(rest)
    }

    fn is_slow(&mut self, slow: bool) {
        if slow != self.slow {
            self.slow = slow;
            if slow {
                self.metrics.fell_behind.inc();
                self.metrics.behind.inc();
            } else {
                self.metrics.behind.dec();
            }
        }
    }

    fn note(&mut self, entries: &[Arc<Entry>]) {
        if let Some(seq) = entries.iter().rev().find_map(|entry| entry.seq()) {
            self.seen = seq;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.is_slow(false);
        self.metrics.subscribers.dec();
        self.reader.leave(&self.tail);
    }
}
