//! Chats that peers open, announced to the same peer's other connections and to nobody else.

use std::collections::HashMap;

use parking_lot::Mutex;
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{PeerRef, UserId};
use tokio::sync::broadcast;

/// Chats that a connection may lag behind before it has to list them again.
const UNTOLD: usize = 256;

/// The followers of each peer.
#[derive(Default)]
pub(crate) struct Joins(Mutex<PeerFollowers>);

#[derive(Default)]
struct PeerFollowers {
    peers: HashMap<(UserId, PeerRef), broadcast::Sender<Joined>>,
    /// Number of peers after the last search for those that nobody follows any more.
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
