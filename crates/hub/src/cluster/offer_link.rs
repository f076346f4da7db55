//! Connections to the other nodes, over which they use the workers of this one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest, OwnerFrame};
use thoughtwire_proto::cluster_offers::{OfferAnswer, OfferRequest};
use thoughtwire_proto::dialect::native::ServerFrame;
use thoughtwire_proto::{AgentId, ConnectionReply};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::{NodeConnector, NodeLink};
use crate::services::Services;
use crate::workers::{NodeOffers, WorkerChoice, WorkerPermit};

/// Pause before a node is connected to again, and longest time between two looks at what is lost.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Keeps a connection to each other node that lives, as long as the hub runs.
pub(crate) async fn share_offers(
    services: Arc<Services>,
    connector: Arc<dyn NodeConnector>,
    mut addresses: watch::Receiver<Vec<String>>,
) {
    let mut links = JoinSet::new();
    let mut linked: HashMap<String, AbortHandle> = HashMap::new();
    while services.stopping().is_none() {
        let live = addresses.borrow_and_update().clone();
        linked.retain(|url, link| {
            if !live.contains(url) {
                // It may be a node that lives under no lease, so nothing is handed to it any more.
                link.abort();
                services.shared_offers.disconnected(url);
            }
            live.contains(url) && !link.is_finished()
        });
        while links.try_join_next().is_some() {}
        for url in &live {
            if !linked.contains_key(url) {
                let (services, connector) = (Arc::clone(&services), Arc::clone(&connector));
                let link = serve(services, connector, url.clone());
                linked.insert(url.clone(), links.spawn(link));
            }
        }
        services.shared_offers.settle(&live, services.options.offer_grace);
        let pause = tokio::time::sleep(RETRY_DELAY);
        tokio::select! {
            () = pause => {}
            changed = addresses.changed() => if changed.is_err() { return },
        }
    }
}

/// Serves one connection until it ends.
async fn serve(services: Arc<Services>, connector: Arc<dyn NodeConnector>, url: String) {
    let Ok(link) = connector.connect(&url).await else { return };
    let (requests, mut outgoing) = mpsc::unbounded_channel();
    services.shared_offers.connected(&url, &requests);
    let mut offers = OfferLink {
        services,
        url,
        link,
        places: HashMap::new(),
        wanted: HashMap::new(),
        granted: JoinSet::new(),
    };
    loop {
        tokio::select! {
            biased;
            request = outgoing.recv() => match request {
                Some(request) => offers.tell(request),
                None => break,
            },
            text = offers.link.from.recv() => match text.map(|text| NodeAnswer::decode(&text)) {
                Some(Ok(NodeAnswer::Said(OwnerFrame::Offers { frame }))) => offers.take(frame),
                Some(Ok(_)) => {}
                Some(Err(refusal)) => {
                    tracing::warn!(%refusal, "another node sent a frame that cannot be read");
                    break;
                }
                None => break,
            },
            Some(Ok((number, agent, permit))) = offers.granted.join_next() => {
                offers.grant(number, agent, permit);
            }
        }
    }
    offers.services.shared_offers.disconnected(&offers.url);
}

type GrantedPlace = (u64, AgentId, Option<WorkerPermit>);

/// A connection to a node, with the places that it has at this node's workers.
struct OfferLink {
    services: Arc<Services>,
    url: String,
    link: NodeLink,
    places: HashMap<u64, (AgentId, WorkerPermit)>,
    /// Places that the node waits for.
    wanted: HashMap<u64, AbortHandle>,
    granted: JoinSet<GrantedPlace>,
}

impl OfferLink {
    fn tell(&mut self, request: OfferRequest) {
        if let OfferRequest::Leave { agent, worker, .. } = &request {
            // The node tells which places are in use when the worker is back.
            self.places.retain(|_, (of, permit)| of != agent || permit.worker() != worker);
        }
        // A connection that has ended says so with its next frame.
        drop(self.link.to.send(NodeRequest::Offers { frame: request }.encode()));
    }

    fn take(&mut self, answer: OfferAnswer) {
        let offers = &self.services.shared_offers;
        match answer {
            OfferAnswer::Offered { number, connection, agent, worker, turns, places } => {
                for place in places {
                    if !self.places.contains_key(&place)
                        && let Some(permit) =
                            NodeOffers(&self.services.workers).hold(&agent, &worker)
                    {
                        self.places.insert(place, (agent.clone(), permit));
                    }
                }
                offers.offered(&self.url, number, connection, turns);
            }
            OfferAnswer::Directed { connection, frame } => match ServerFrame::decode(&frame) {
                Ok(ServerFrame::Directed(directive)) => {
                    offers.directed(&self.url, connection, directive);
                }
                Ok(_) | Err(_) => tracing::warn!("another node sent an unknown directive"),
            },
            OfferAnswer::Said { number, seq, steered, duplicate } => {
                let reply = ConnectionReply::Said { seq, steered, duplicate };
                offers.said(&self.url, number, Ok(reply));
            }
            OfferAnswer::SayRefused { number, refusal } => {
                offers.said(&self.url, number, Err(refusal.into()));
            }
            OfferAnswer::Wanted { number, agent, session, turn, resumable } => {
                let takers = if resumable { WorkerChoice::Resumable } else { WorkerChoice::Any };
                let workers = NodeOffers(&self.services.workers);
                let permit = workers.request_permit(&agent, &session, turn, takers);
                let given = self.granted.spawn(async move { (number, agent, permit.await.ok()) });
                self.wanted.insert(number, given);
            }
            OfferAnswer::Freed { number } => {
                if let Some(waiting) = self.wanted.remove(&number) {
                    waiting.abort();
                }
                drop(self.places.remove(&number));
            }
        }
    }

    fn grant(&mut self, number: u64, agent: AgentId, permit: Option<WorkerPermit>) {
        // A place that is not wanted any more is free with its permit.
        if self.wanted.remove(&number).is_some()
            && let Some(permit) = permit
        {
            let worker = permit.worker().clone();
            self.places.insert(number, (agent.clone(), permit));
            self.tell(OfferRequest::Granted { number, agent, worker });
        }
    }
}
