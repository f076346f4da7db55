//! A subscriber: a cursor in one session, not a queue.

use std::sync::Arc;

use thoughtwire_proto::{Emission, Refusal, RefusalCode, Seq, SessionId};
use thoughtwire_session::unknown_session;
use thoughtwire_store::{LogPage, SessionNum, Store};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::tail::{DELETED, Entry, Found, Lent, MOST, Outlet, Reader, Tail};

/// Records read from the log at a time, and about how many bytes of them.
const PAGE: u64 = 256;
const PAGE_BYTES: usize = 256 << 10;

/// A cursor in one session. Its cost does not depend on how far it is behind.
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
    /// It has read everything up to the tail and has not said so yet; the position in the tail.
    CaughtUp(u64),
    /// On the tail, at this position.
    Tail(u64),
    /// Nothing follows.
    Ended(Ended),
}

/// Why a subscription ended.
#[derive(Debug, Clone)]
enum Ended {
    Trimmed,
    Closed(String),
}

/// The result of one read of a subscription.
#[must_use]
pub enum Read {
    /// The next entries.
    Entries {
        /// In emission order; empty when nothing is new.
        entries: Vec<Arc<Entry>>,
        /// When the first of them was published; absent if they were read back from the log.
        since: Option<Instant>,
    },
    /// Every record up to this position was handed out. Comes once per subscription.
    CaughtUp(Seq),
    /// Retention deleted records behind the cursor that were not handed out. Nothing follows; a new
    /// attachment begins where the log begins now.
    Trimmed,
    /// The session was deleted or could not go on; the reason. Nothing follows.
    Closed(String),
}

impl From<Ended> for Read {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Trimmed => Self::Trimmed,
            Ended::Closed(reason) => Self::Closed(reason),
        }
    }
}

impl Subscription {
    pub(crate) fn new(
        store: &Arc<Store>,
        metrics: &Metrics,
        session: SessionNum,
        tail: Arc<Tail>,
        reader: Arc<Reader>,
        after: Seq,
    ) -> Self {
        metrics.subscribers.inc();
        Self {
            store: Arc::clone(store),
            session,
            tail,
            reader,
            place: Place::Log,
            seen: after,
            told_caught_up: false,
            metrics: metrics.clone(),
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
    /// tells when to ask again; after [`Read::Trimmed`] or [`Read::Closed`] it never does.
    #[must_use]
    pub fn has_news(&self) -> bool {
        match self.place {
            Place::Log | Place::CaughtUp(_) => true,
            Place::Tail(position) => self.tail.has_news(position),
            Place::Ended(_) => false,
        }
    }

    /// Lends its place to the tail: what comes goes to `outlet`, until the place is taken back.
    /// Whoever did not read up to the tail yet keeps it, and is woken as always.
    ///
    /// Between the two nothing else may be asked of the subscription, and nobody but the outlet
    /// write where it writes.
    pub fn lend(&mut self, outlet: &Arc<dyn Outlet>) {
        if let Place::Tail(position) = self.place {
            *self.reader.lent.lock() = Some(Lent::new(Arc::clone(outlet), position, self.seen));
            self.tail.start_pushing();
        }
    }

    /// Takes its place back, if it is lent. What the outlet took up to now is read.
    pub fn take_back(&mut self) {
        if let Some(lent) = self.reader.lent.lock().take() {
            self.place = Place::Tail(lent.position);
            self.seen = lent.seen;
        }
    }

    /// Reads what lies behind the cursor, at most a page of it. After [`Read::Trimmed`] and
    /// [`Read::Closed`] it reads the same again. A caller that reads in a loop yields to other
    /// tasks.
    ///
    /// # Errors
    /// When the log cannot be read; asking again later may work.
    pub async fn next(&mut self) -> Result<Read, Refusal> {
        // Reading the tail never waits: without this, a loop of reads could hold its worker.
        tokio::task::coop::consume_budget().await;
        match &self.place {
            Place::Ended(ended) => return Ok(ended.clone().into()),
            Place::CaughtUp(position) => {
                self.place = Place::Tail(*position);
                return Ok(Read::CaughtUp(self.seen));
            }
            Place::Tail(position) => match self.tail.take(*position, MOST) {
                Found::Entries(entries, position) => {
                    self.place = Place::Tail(position);
                    self.note(&entries);
                    let since = entries.first().map(|entry| entry.at());
                    return Ok(Read::Entries { entries, since });
                }
                Found::Closed(reason) => return Ok(self.end(Ended::Closed(reason))),
                // Too slow for the ring: back to the log, at our own pace. Deltas missed are
                // superseded by the partials that come when stepping back on.
                Found::Behind => {
                    self.place = Place::Log;
                    self.is_slow(true);
                }
            },
            Place::Log => {}
        }
        if let Some((entries, position)) = self.tail.step_on(self.seen) {
            self.is_slow(false);
            self.note(&entries);
            let is_first = !std::mem::replace(&mut self.told_caught_up, true);
            self.place = if is_first { Place::CaughtUp(position) } else { Place::Tail(position) };
            if is_first && entries.is_empty() {
                self.place = Place::Tail(position);
                return Ok(Read::CaughtUp(self.seen));
            }
            return Ok(Read::Entries { entries, since: None });
        }
        if self.is_trimmed() {
            return Ok(self.end(Ended::Trimmed));
        }
        // Boxed: a subscription on the tail does not come here again and need not hold the space.
        match (Box::pin(self.page()).await, self.tail.closed()) {
            // Trimmed while the page was read.
            (Ok(entries), _)
                if entries
                    .first()
                    .and_then(|entry| entry.seq())
                    .is_some_and(|seq| seq != self.seen.next()) =>
            {
                Ok(self.end(Ended::Trimmed))
            }
            (Err(_), None) if self.is_trimmed() => Ok(self.end(Ended::Trimmed)),
            (Ok(entries), _) => {
                self.note(&entries);
                Ok(Read::Entries { entries, since: None })
            }
            // The log went with its session.
            (Err(_), Some(reason)) => Ok(self.end(Ended::Closed(reason))),
            // The session's task has not come to say so yet.
            (Err(refusal), None) if refusal.code == RefusalCode::UnknownSession => {
                Ok(self.end(Ended::Closed(DELETED.to_owned())))
            }
            (Err(refusal), None) => Err(refusal),
        }
    }

    fn is_trimmed(&self) -> bool {
        self.seen.next() < self.tail.first()
    }

    fn end(&mut self, ended: Ended) -> Read {
        self.place = Place::Ended(ended.clone());
        self.is_slow(false);
        ended.into()
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
