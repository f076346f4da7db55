//! The sessions to which one connection is attached, and what its client has proven to have read.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_hub::{DeliveryProof, Read, SharedSink, Subscription, TailEntry};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{PeerRef, Refusal, Seq, SessionId, UserId};
use thoughtwire_store::Proven;
use tokio::time::Instant;

/// The attached sessions of one connection.
pub(super) struct AttachedSessions {
    /// The connection's name among those of its peer.
    connection: String,
    /// In boxes, since a map has room for more than it holds, and most connections have one.
    sessions: HashMap<SessionId, Box<AttachedSession>>,
    proof: Arc<Mutex<DeliveryProof>>,
}

/// One attached session.
pub(super) struct AttachedSession {
    pub(super) subscription: Subscription,
    pub(super) encoding: Encoding,
    /// The client of an older wire, whose proven position is kept.
    pub(super) peer: Option<PeerRef>,
    /// The last position that the client has proven to have read.
    pub(super) proven: Seq,
    /// The sink for entries while the connection is parked, where one is possible.
    pub(super) sink: Option<SharedSink<Arc<TailEntry>>>,
}

impl AttachedSessions {
    pub(super) fn new() -> Self {
        let connection = thoughtwire_hub::new_id::<()>().to_string();
        Self { connection, sessions: HashMap::new(), proof: Arc::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.sessions.keys().cloned().collect()
    }

    pub(super) fn get(&self, session: &SessionId) -> Option<&AttachedSession> {
        self.sessions.get(session).map(|attached| &**attached)
    }

    pub(super) fn insert(&mut self, session: SessionId, attached: AttachedSession) {
        self.sessions.insert(session, Box::new(attached));
    }

    /// Detaches from a session. The result tells whether it was attached.
    pub(super) fn remove(&mut self, session: &SessionId) -> bool {
        self.sessions.remove(session).is_some()
    }

    /// Parks all subscriptions that have a sink: it writes their entries until they are unparked.
    pub(super) fn park(&mut self) {
        for attached in self.sessions.values_mut() {
            if let Some(sink) = &attached.sink {
                attached.subscription.park(sink);
            }
        }
    }

    /// Unparks all subscriptions. From here on nobody else writes to the connection.
    pub(super) fn unpark(&mut self) {
        for attached in self.sessions.values_mut() {
            attached.subscription.unpark();
        }
    }

    /// The sessions that have entries to read.
    pub(super) fn with_news(&self) -> Vec<SessionId> {
        let with_news = self.all().filter(|(_, attached)| attached.subscription.has_news());
        with_news.map(|(session, _)| session.clone()).collect()
    }

    /// Reads on in one session; `None` when it is not attached.
    pub(super) async fn read(&mut self, session: &SessionId) -> Option<Result<Read, Refusal>> {
        Some(self.sessions.get_mut(session)?.subscription.next().await)
    }

    // --- Proof of delivery

    pub(super) fn proof(&self) -> &Arc<Mutex<DeliveryProof>> {
        &self.proof
    }

    pub(super) fn is_proof_due(&self) -> bool {
        self.proof.lock().is_due()
    }

    /// The time at which the proof has to be checked, at the latest.
    pub(super) fn next_proof_check(&self) -> Option<Instant> {
        self.proof.lock().next_check()
    }

    /// Makes the payload of a ping whose pong proves everything that was handed out so far.
    pub(super) fn ping_payload(&self) -> Vec<u8> {
        let of_peers = self.all().filter(|(_, attached)| attached.peer.is_some());
        let cursors = of_peers
            .map(|(session, attached)| (session.clone(), attached.subscription.cursor()))
            .collect();
        self.proof.lock().ping_payload(cursors)
    }

    /// Takes a pong. The result tells whether it proves anything new.
    pub(super) fn acknowledge(&mut self, payload: &[u8]) -> bool {
        let mut has_moved = false;
        for (session, seq) in self.proof.lock().acknowledge(payload) {
            if let Some(attached) = self.sessions.get_mut(&session)
                && seq > attached.proven
            {
                attached.proven = seq;
                has_moved = true;
            }
        }
        has_moved
    }

    /// The proven positions of the client, as the store keeps them.
    pub(super) fn proven(&self, user: &UserId) -> Vec<Proven> {
        self.all()
            .filter_map(|(session, attached)| {
                Some(Proven {
                    user: user.clone(),
                    peer: attached.peer.clone()?,
                    connection: self.connection.clone(),
                    session: session.clone(),
                    seq: attached.proven,
                })
            })
            .collect()
    }

    fn all(&self) -> impl Iterator<Item = (&SessionId, &AttachedSession)> {
        self.sessions.iter().map(|(session, attached)| (session, &**attached))
    }
}
