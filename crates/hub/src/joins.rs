//! Chats that peers open, told to the same peer's other connections and to nobody else.

use std::collections::HashMap;

use parking_lot::Mutex;
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{PeerRef, UserId};
use tokio::sync::broadcast;

/// Chats that a connection may be behind with before it has to begin anew.
const UNTOLD: usize = 256;

/// Who follows which peer.
#[derive(Default)]
pub(crate) struct Joins(Mutex<Followed>);

#[derive(Default)]
struct Followed {
    peers: HashMap<(UserId, PeerRef), broadcast::Sender<Joined>>,
    /// So many were left when those that nobody follows any more were last looked for.
    left: usize,
}

impl Joins {
    pub(crate) fn follow(&self, user: &UserId, peer: &PeerRef) -> broadcast::Receiver<Joined> {
        let mut followed = self.0.lock();
        if followed.peers.len() > 2 * followed.left + UNTOLD {
            followed.peers.retain(|_, told| told.receiver_count() > 0);
            followed.left = followed.peers.len();
        }
        let told = followed
            .peers
            .entry((user.clone(), peer.clone()))
            .or_insert_with(|| broadcast::Sender::new(UNTOLD));
        told.subscribe()
    }

    pub(crate) fn tell(&self, user: &UserId, joined: Joined) {
        let key = (user.clone(), joined.peer.clone());
        if let Some(told) = self.0.lock().peers.get(&key) {
            // Nobody following any more is no error.
            drop(told.send(joined));
        }
    }
}
