//! Registered clients: frames of a session for a program that embeds the hub.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::{Emission, Event, Refusal, TurnEvent};
use tokio::sync::Notify;

use crate::subscription::{Read, Subscription};
use crate::tail::{Frames, TailEntry, TailReader};

/// Id of a registered client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(u64);

/// Attaches a reader at the head of the clients' session.
pub(crate) type AttachReader =
    Box<dyn Fn(Arc<TailReader>) -> BoxFuture<'static, Result<Subscription, Refusal>> + Send + Sync>;

/// The registered clients of one session.
pub(crate) struct Clients {
    attach: AttachReader,
    next: AtomicU64,
    ends: Mutex<HashMap<ClientId, Arc<ClientEnding>>>,
}

/// Signal that a client was unregistered.
struct ClientEnding {
    ended: AtomicBool,
    wake: Arc<Notify>,
}

/// A registered client: the stream of a session's frames from its registration on.
pub struct Client {
    id: ClientId,
    subscription: Subscription,
    encoding: Encoding,
    ending: Arc<ClientEnding>,
    ready: VecDeque<(Frames, usize)>,
}

impl Clients {
    pub(crate) fn new(attach: AttachReader) -> Arc<Self> {
        Arc::new(Self { attach, next: AtomicU64::new(0), ends: Mutex::new(HashMap::new()) })
    }

    pub(crate) async fn register(&self, encoding: Encoding) -> Result<Client, Refusal> {
        let wake = Arc::new(Notify::new());
        let reader = TailReader::new(Arc::clone(&wake), 1, Vec::new());
        let subscription = (self.attach)(reader).await?;
        let id = ClientId(self.next.fetch_add(1, Ordering::Relaxed));
        let ending = Arc::new(ClientEnding { ended: AtomicBool::new(false), wake });
        self.ends.lock().insert(id, Arc::clone(&ending));
        Ok(Client { id, subscription, encoding, ending, ready: VecDeque::new() })
    }

    pub(crate) fn unregister(&self, client: ClientId) {
        if let Some(ending) = self.ends.lock().remove(&client) {
            ending.ended.store(true, Ordering::Release);
            ending.wake.notify_one();
        }
    }
}

impl Client {
    /// Id of the client, for `unregister_client`.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Returns the next frame. Returns `None` when the client was unregistered, the session is
    /// gone, or retention deleted events that the client had not read. A client that does not read
    /// costs no memory: it reads on from its cursor.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((frames, at)) = self.ready.front_mut() {
                if let Some(frame) = frames.get(*at) {
                    *at += 1;
                    return Some(String::from_utf8_lossy(frame).into_owned());
                }
                self.ready.pop_front();
                continue;
            }
            if self.ending.ended.load(Ordering::Acquire) {
                return None;
            }
            if !self.subscription.has_news() {
                self.ending.wake.notified().await;
                continue;
            }
            let entries = match self.subscription.next().await.ok()? {
                Read::Entries { entries, .. } => entries,
                Read::CaughtUp(_) => continue,
                Read::Trimmed | Read::Closed(_) => return None,
            };
            for entry in entries {
                if self.shows(&entry) {
                    self.ready.push_back((entry.frames(&self.encoding, FrameLimit::default()), 0));
                }
            }
        }
    }

    /// Whether the client is sent an entry. On `MemGPT`'s wire a turn's start and end go only to
    /// the client that sent the input, and a registered client sends none.
    fn shows(&self, entry: &TailEntry) -> bool {
        match (&self.encoding, &entry.emitted().emission) {
            (Encoding::Memgpt, Emission::Record(record)) => !matches!(
                record.event,
                Event::Turn(TurnEvent::Started { .. } | TurnEvent::Ended { .. })
            ),
            (
                Encoding::Memgpt | Encoding::Native | Encoding::Sparky { .. },
                Emission::Record(_)
                | Emission::Delta(_)
                | Emission::Partial(_)
                | Emission::Status { .. }
                | Emission::Presence { .. },
            ) => true,
        }
    }
}
