//! Registered clients: frames of a session for a program that embeds the hub, without a server.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::{
    Emission, Event, Refusal, RefusalCode, SessionId, Start, TurnEvent, UserId,
};
use tokio::sync::{Notify, oneshot};

use crate::hub::Shared;
use crate::session::What;
use crate::subscription::{Read, Subscription};
use crate::tail::{Entry, Frames, Reader};

/// Names a registered client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(u64);

/// The registered clients of one session.
pub(crate) struct Clients {
    shared: Weak<Shared>,
    user: UserId,
    session: SessionId,
    next: AtomicU64,
    ends: Mutex<HashMap<ClientId, Arc<Ending>>>,
}

/// How a client learns that it was unregistered.
struct Ending {
    ended: AtomicBool,
    wake: Arc<Notify>,
}

/// A registered client: a stream of one session's frames, from its registration on.
pub struct Client {
    id: ClientId,
    subscription: Subscription,
    encoding: Encoding,
    ending: Arc<Ending>,
    ready: VecDeque<(Frames, usize)>,
}

impl Clients {
    pub(crate) fn new(shared: &Arc<Shared>, user: &UserId, session: &SessionId) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::downgrade(shared),
            user: user.clone(),
            session: session.clone(),
            next: AtomicU64::new(0),
            ends: Mutex::new(HashMap::new()),
        })
    }

    pub(crate) async fn register(&self, encoding: Encoding) -> Result<Client, Refusal> {
        let gone = || Refusal::new(RefusalCode::Stopping, "the hub has stopped");
        let shared = self.shared.upgrade().ok_or_else(gone)?;
        let wake = Arc::new(Notify::new());
        let (reply, answer) = oneshot::channel();
        let reader = Reader::new(Arc::clone(&wake), true, Vec::new());
        shared
            .ask(&self.user, &self.session, What::Attach { start: Start::Head, reader, reply })
            .await;
        let (_, subscription) = answer.await.map_err(|_| gone())??;
        let id = ClientId(self.next.fetch_add(1, Ordering::Relaxed));
        let ending = Arc::new(Ending { ended: AtomicBool::new(false), wake });
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
    /// Its name, for `unregister_client`.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The next frame; nothing when the client was unregistered, the session is gone, or retention
    /// deleted events that it had not read. A client
    /// that does not ask costs no memory: it reads on from its cursor whenever it does.
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

    /// On `MemGPT`'s wire a turn's start and end go only to who asked, and a registered client never asks.
    fn shows(&self, entry: &Entry) -> bool {
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
