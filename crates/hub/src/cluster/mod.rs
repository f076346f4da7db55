//! Sessions of other nodes: a node that shares a database with others follows the sessions that its
//! clients want and that another node owns.
//!
//! ```text
//! clients ──▶ tail of this node ◀──emissions── owner's tail
//!         ──▶ mailbox ──commands──▶ owner's session
//! ```
//!
//! The log behind the tail is read from the database that both share.
//!
//! Workers serve the sessions of all nodes: each node connects to each other one and repeats its
//! workers' offers there.
//!
//! ```text
//! session ──permit request──▶ OfferRegistry ──wanted──▶ OfferLink ──▶ OfferRegistry   (1: places)
//! session ◀──turn messages─── RemoteWorkers ◀──say──── SharedOffers ◀── worker        (2: turns)
//!   on the session's node                      on the worker's node
//! ```

mod followed;
mod link;
mod offer_link;
mod owner_end;
mod remote_workers;
mod shared_offers;

use std::fmt::Debug;

use futures::future::BoxFuture;
use thoughtwire_proto::Refusal;
use tokio::sync::mpsc;

pub(crate) use followed::{FollowEnd, FollowedSession, fill};
pub(crate) use offer_link::share_offers;
pub use owner_end::{NodeSink, OwnerEnd};
pub(crate) use shared_offers::{SharedOffers, WaitingSay};

/// Opens connections to other nodes.
pub trait NodeConnector: Debug + Send + Sync {
    /// Connects to the node at a URL. The connection carries frames of
    /// [`cluster`](thoughtwire_proto::cluster).
    fn connect(&self, url: &str) -> BoxFuture<'static, Result<NodeLink, Refusal>>;
}

/// A connection to another node. It has ended when either channel is closed.
#[derive(Debug)]
pub struct NodeLink {
    /// Frames to the node.
    pub to: mpsc::UnboundedSender<String>,
    /// Frames from the node.
    pub from: mpsc::Receiver<String>,
}
