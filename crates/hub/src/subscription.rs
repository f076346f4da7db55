//! A subscriber of one session. It is a cursor and not a queue.

use std::sync::Arc;

use thoughtwire_fanout::SharedSink;
use thoughtwire_proto::{Emission, Refusal, RefusalCode, Seq, SessionId};
use thoughtwire_session::unknown_session;
use thoughtwire_store::{LogPage, Store};
use tokio::time::Instant;

use crate::metrics::HubMetrics;
use crate::tail::{DELETED, MAX_READ, Tail, TailEntry, TailRead, TailReader};

/// Records of one page of the log, and about how many bytes they have.
const PAGE: u64 = 256;
const PAGE_BYTES: usize = 256 << 10;

/// A cursor in one session. Its cost does not depend on how far it is behind.
pub struct Subscription {
    store: Arc<Store>,
    tail: Arc<Tail>,
    reader: Arc<TailReader>,
    position: ReadPosition,
    /// The position of the last record that was handed out.
    seen: Seq,
    told_caught_up: bool,
    metrics: HubMetrics,
    /// Whether the tail was too fast for it and it still reads the log.
    slow: bool,
}

/// The place from which a subscription reads next.
enum ReadPosition {
    /// Pages of the log.
    Log,
    /// The tail from this position on, once the subscriber was told that it has caught up.
    CaughtUp(u64),
    /// The tail, from this position on.
    Tail(u64),
    /// Nothing follows.
    Ended(SubscriptionEnd),
}

/// The reason why a subscription ended.
#[derive(Debug, Clone)]
enum SubscriptionEnd {
    Trimmed,
    Closed(String),
}

/// The result of one read of a subscription.
#[must_use]
pub enum Read {
    /// The next entries.
    Entries {
        /// In emission order; empty when nothing is new.
        entries: Vec<Arc<TailEntry>>,
        /// When the first of them was published; absent if they were read back from the log.
        since: Option<Instant>,
    },
    /// Every record up to this position was handed out. This comes once per subscription.
    CaughtUp(Seq),
    /// Retention deleted records behind the cursor that were not handed out. Nothing follows; a new
    /// attachment begins where the log begins now.
    Trimmed,
    /// The session was deleted or could not go on; the reason. Nothing follows.
    Closed(String),
}

impl From<SubscriptionEnd> for Read {
    fn from(ended: SubscriptionEnd) -> Self {
        match ended {
            SubscriptionEnd::Trimmed => Self::Trimmed,
            SubscriptionEnd::Closed(reason) => Self::Closed(reason),
        }
    }
}

impl Subscription {
    pub(crate) fn new(
        store: &Arc<Store>,
        metrics: &HubMetrics,
        tail: Arc<Tail>,
        reader: Arc<TailReader>,
        after: Seq,
    ) -> Self {
        metrics.subscribers.inc();
        Self {
            store: Arc::clone(store),
            tail,
            reader,
            position: ReadPosition::Log,
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

    /// Tells whether [`Subscription::next`] has something to hand out. If not, the wake signal
    /// given at attach tells when to ask again. After [`Read::Trimmed`] or [`Read::Closed`] it
    /// never does.
    #[must_use]
    pub fn has_news(&self) -> bool {
        match self.position {
            ReadPosition::Log | ReadPosition::CaughtUp(_) => true,
            ReadPosition::Tail(position) => self.tail.has_news(position),
            ReadPosition::Ended(_) => false,
        }
    }

    /// Parks: until it is unparked, entries go to `sink`. A subscriber that reads the log does not
    /// park, and is woken as always.
    ///
    /// Between the two nothing else may be asked of the subscription, and nobody but the sink may
    /// write where it writes.
    pub fn park(&mut self, sink: &SharedSink<Arc<TailEntry>>) {
        if let ReadPosition::Tail(position) = self.position {
            self.tail.park(&self.reader, Arc::clone(sink), position);
        }
    }

    /// Unparks, if it is parked. Its cursor is behind what the sink accepted.
    pub fn unpark(&mut self) {
        if let Some(unparked) = Tail::unpark(&self.reader) {
            self.position = ReadPosition::Tail(unparked.position);
            self.seen = unparked.last_seq.map_or(self.seen, Seq);
        }
    }

    /// Reads on behind the cursor, at most a page. After [`Read::Trimmed`] and [`Read::Closed`] it
    /// reads the same again. A caller that reads in a loop yields to other tasks.
    ///
    /// # Errors
    /// When the log cannot be read; asking again later may work.
    pub async fn next(&mut self) -> Result<Read, Refusal> {
        // Reading the tail never waits: without this, a loop of reads could hold its worker.
        tokio::task::coop::consume_budget().await;
        match &self.position {
            ReadPosition::Ended(ended) => return Ok(ended.clone().into()),
            ReadPosition::CaughtUp(position) => {
                self.position = ReadPosition::Tail(*position);
                return Ok(Read::CaughtUp(self.seen));
            }
            ReadPosition::Tail(position) => match self.tail.read(*position, MAX_READ) {
                TailRead::Entries(entries, position) => {
                    self.position = ReadPosition::Tail(position);
                    self.note(&entries);
                    let since = entries.first().map(|entry| entry.at());
                    return Ok(Read::Entries { entries, since });
                }
                TailRead::Closed(reason) => return Ok(self.end(SubscriptionEnd::Closed(reason))),
                // Too slow for the ring: it reads the log at its own pace. The partials that come
                // when it enters the tail again replace the deltas that it missed.
                TailRead::Behind => {
                    self.position = ReadPosition::Log;
                    self.is_slow(true);
                }
            },
            ReadPosition::Log => {}
        }
        if let Some((entries, position)) = self.tail.enter(self.seen) {
            self.is_slow(false);
            self.note(&entries);
            let is_first = !std::mem::replace(&mut self.told_caught_up, true);
            self.position = if is_first {
                ReadPosition::CaughtUp(position)
            } else {
                ReadPosition::Tail(position)
            };
            if is_first && entries.is_empty() {
                self.position = ReadPosition::Tail(position);
                return Ok(Read::CaughtUp(self.seen));
            }
            return Ok(Read::Entries { entries, since: None });
        }
        if self.is_trimmed() {
            return Ok(self.end(SubscriptionEnd::Trimmed));
        }
        // Boxed, so that a subscription on the tail does not hold the space for it.
        match (Box::pin(self.page()).await, self.tail.closed()) {
            // Trimmed while the page was read.
            (Ok(entries), _)
                if entries
                    .first()
                    .and_then(|entry| entry.seq())
                    .is_some_and(|seq| seq != self.seen.next()) =>
            {
                Ok(self.end(SubscriptionEnd::Trimmed))
            }
            (Err(_), None) if self.is_trimmed() => Ok(self.end(SubscriptionEnd::Trimmed)),
            (Ok(entries), _) => {
                self.note(&entries);
                Ok(Read::Entries { entries, since: None })
            }
            // The log went with its session.
            (Err(_), Some(reason)) => Ok(self.end(SubscriptionEnd::Closed(reason))),
            // The session's task has not come to say so yet.
            (Err(refusal), None) if refusal.code == RefusalCode::UnknownSession => {
                Ok(self.end(SubscriptionEnd::Closed(DELETED.to_owned())))
            }
            (Err(refusal), None) => Err(refusal),
        }
    }

    fn is_trimmed(&self) -> bool {
        self.seen.next() < self.tail.first()
    }

    fn end(&mut self, ended: SubscriptionEnd) -> Read {
        self.position = ReadPosition::Ended(ended.clone());
        self.is_slow(false);
        ended.into()
    }

    /// The page of the log behind the cursor, shared with others who read it.
    async fn page(&self) -> Result<Vec<Arc<TailEntry>>, Refusal> {
        let page = match self.tail.cached_page(self.seen) {
            Some(page) => page,
            None => {
                let logs = self.store.logs();
                let LogPage { records, is_whole } =
                    logs.page(self.tail.session(), self.seen, PAGE, PAGE_BYTES).await?;
                let page: Arc<[Arc<TailEntry>]> = records
                    .into_iter()
                    .map(|record| TailEntry::new(self.tail.session(), Emission::Record(record)))
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
            if self.store.directory().session(self.tail.session()).await?.is_none() {
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

    fn note(&mut self, entries: &[Arc<TailEntry>]) {
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
