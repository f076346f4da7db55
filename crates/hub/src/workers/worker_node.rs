//! The other node to which a worker is connected, and which decides on its places.

use thoughtwire_proto::AgentId;
use thoughtwire_proto::cluster_offers::OfferAnswer;
use tokio::sync::mpsc;

use super::pool::{PermitRequest, WorkerChoice};

/// A connection of another node, over which that tells of its workers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct WorkerNode(pub(crate) mpsc::UnboundedSender<OfferAnswer>);

impl PartialEq for WorkerNode {
    /// Whether both are the same connection.
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl WorkerNode {
    /// Asks for a place.
    pub(super) fn ask(&self, request: &PermitRequest, agent: &AgentId) {
        self.tell(OfferAnswer::Wanted {
            number: request.number,
            agent: agent.clone(),
            session: request.session.clone(),
            turn: request.turn.clone(),
            resumable: request.takers == WorkerChoice::Resumable,
        });
    }

    /// Gives a place back, or wants it no longer.
    pub(super) fn free(&self, number: u64) {
        self.tell(OfferAnswer::Freed { number });
    }

    fn tell(&self, frame: OfferAnswer) {
        // With the connection, the node takes all places back.
        drop(self.0.send(frame));
    }
}
