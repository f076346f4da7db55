//! Workers that are connected to another node, at the node that has the sessions: they offer over
//! the connection between the two nodes.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use thoughtwire_proto::cluster_offers::{NodeTerms, OfferAnswer, OfferRequest};
use thoughtwire_proto::dialect::native::{ClientBody, ClientFrame, ServerFrame};
use thoughtwire_proto::{AgentId, ConnectionReply, Refusal, RefusalCode, Timestamp, WorkerId};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::Hub;
use crate::worker_connection::{DirectiveReader, say_in};
use crate::workers::{NodeOffers, OfferRegistry, WorkerInbox, WorkerNode};

/// The workers of one other node, as this node uses them. Dropping it disconnects them.
pub(super) struct RemoteWorkers {
    workers: Arc<OfferRegistry>,
    /// Frames for the other node. Directives are bounded by the turns that workers offer, and
    /// answers by the verbs that their node lets wait.
    to: mpsc::UnboundedSender<OfferAnswer>,
    from: mpsc::UnboundedReceiver<OfferAnswer>,
    connections: HashMap<u64, RemoteConnection>,
}

type Offered = Vec<(AgentId, WorkerId)>;

/// A worker's connection to the other node.
struct RemoteConnection {
    inbox: Arc<WorkerInbox>,
    offered: Offered,
    /// Verbs, in their order. Their node bounds how many wait for an answer.
    says: mpsc::UnboundedSender<RemoteSay>,
    _task: AbortOnDropHandle<()>,
}

/// A verb with the offers of its connection.
struct RemoteSay {
    number: u64,
    frame: String,
    offered: Offered,
}

impl Hub {
    /// Takes in the workers of another node, over one connection of that node.
    pub(super) fn remote_workers(&self) -> RemoteWorkers {
        let (to, from) = mpsc::unbounded_channel();
        let workers = Arc::clone(&self.shared.workers);
        RemoteWorkers { workers, to, from, connections: HashMap::new() }
    }
}

impl RemoteWorkers {
    /// Takes a frame of the other node.
    pub(super) fn take(&mut self, request: OfferRequest) {
        match request {
            OfferRequest::Offer { number, connection, agent, worker, since, terms } => {
                let offer = (agent, worker);
                let answer = self.offer(number, connection, offer, since, terms);
                drop(self.to.send(answer));
            }
            OfferRequest::Leave { connection, agent, worker } => {
                let Some(known) = self.connections.get_mut(&connection) else { return };
                self.workers.leave(&agent, &worker, &known.inbox);
                known.offered.retain(|offered| *offered != (agent.clone(), worker.clone()));
                if known.offered.is_empty() {
                    self.connections.remove(&connection);
                }
            }
            OfferRequest::Say { number, connection, frame } => {
                let known = self.connections.get(&connection);
                let said = known.is_some_and(|known| {
                    let offered = known.offered.clone();
                    known.says.send(RemoteSay { number, frame, offered }).is_ok()
                });
                if !said {
                    let reason = "this program offers no agent any more";
                    let refusal = Refusal::new(RefusalCode::NoTurn, reason).into();
                    drop(self.to.send(OfferAnswer::SayRefused { number, refusal }));
                }
            }
            OfferRequest::Granted { number, agent, worker } => {
                let node = WorkerNode(self.to.clone());
                NodeOffers(&self.workers).grant(&agent, number, &worker, &node);
            }
        }
    }

    /// The next frame for the other node. Cancel-safe.
    pub(super) async fn next(&mut self) -> OfferAnswer {
        match self.from.recv().await {
            Some(answer) => answer,
            // The sender lives in this very value.
            None => std::future::pending().await,
        }
    }

    fn offer(
        &mut self,
        number: u64,
        connection: u64,
        (agent, worker): (AgentId, WorkerId),
        since: Timestamp,
        terms: NodeTerms,
    ) -> OfferAnswer {
        let (workers, to) = (&self.workers, &self.to);
        let known = self
            .connections
            .entry(connection)
            .or_insert_with(|| RemoteConnection::open(connection, workers, to));
        let node = (since, WorkerNode(to.clone()));
        let joined = NodeOffers(workers).join(&agent, &worker, terms.into(), &known.inbox, node);
        let offer = (agent.clone(), worker.clone());
        if joined.is_some() && !known.offered.contains(&offer) {
            known.offered.push(offer);
        }
        let (turns, places) =
            joined.map(|joined| (joined.turns, joined.places)).unwrap_or_default();
        OfferAnswer::Offered { number, connection, agent, worker, turns, places }
    }
}

impl Drop for RemoteWorkers {
    fn drop(&mut self) {
        for connection in self.connections.values() {
            for (agent, worker) in &connection.offered {
                self.workers.leave(agent, worker, &connection.inbox);
            }
        }
    }
}

impl RemoteConnection {
    fn open(
        number: u64,
        workers: &Arc<OfferRegistry>,
        to: &mpsc::UnboundedSender<OfferAnswer>,
    ) -> Self {
        let inbox = Arc::<WorkerInbox>::default();
        let (says, said) = mpsc::unbounded_channel();
        let served = ServedConnection {
            number,
            workers: Arc::clone(workers),
            inbox: Arc::clone(&inbox),
            to: to.clone(),
        };
        let task = tokio::spawn(served.run(said));
        Self { inbox, offered: Vec::new(), says, _task: AbortOnDropHandle::new(task) }
    }
}

/// A worker's connection as its task serves it.
struct ServedConnection {
    number: u64,
    workers: Arc<OfferRegistry>,
    inbox: Arc<WorkerInbox>,
    to: mpsc::UnboundedSender<OfferAnswer>,
}

impl ServedConnection {
    async fn run(self, mut said: mpsc::UnboundedReceiver<RemoteSay>) {
        let mut directives = DirectiveReader::new(Arc::clone(&self.inbox));
        let mut replies: FuturesUnordered<BoxFuture<'static, OfferAnswer>> =
            FuturesUnordered::new();
        loop {
            let answer = tokio::select! {
                biased;
                Some(answer) = replies.next() => answer,
                say = said.recv() => match say {
                    Some(say) => {
                        let reply = self.say(say).await;
                        replies.push(reply);
                        continue;
                    }
                    None => return,
                },
                directive = directives.next() => {
                    let frame = ServerFrame::Directed(directive).encode();
                    OfferAnswer::Directed { connection: self.number, frame }
                }
            };
            if self.to.send(answer).is_err() {
                return;
            }
        }
    }

    /// Takes a verb. When this returns, the verb has its place in the turn's order.
    async fn say(&self, say: RemoteSay) -> BoxFuture<'static, OfferAnswer> {
        let RemoteSay { number, frame, offered } = say;
        let reply = match ClientFrame::decode(&frame) {
            Ok(ClientFrame { id, body: ClientBody::Say { turn, verb } }) => {
                Ok(say_in(&self.workers, &offered, &self.inbox, &turn, id, verb).await)
            }
            Ok(_) => Err(Refusal::new(RefusalCode::BadFrame, "no verb of a worker")),
            Err(undecoded) => Err(undecoded.refusal),
        };
        Box::pin(async move {
            let outcome = match reply {
                Ok(reply) => reply.await,
                Err(refusal) => Err(refusal),
            };
            match outcome {
                Ok(ConnectionReply::Said { seq, steered, duplicate }) => {
                    OfferAnswer::Said { number, seq, steered, duplicate }
                }
                Ok(_) => {
                    OfferAnswer::Said { number, seq: None, steered: Vec::new(), duplicate: false }
                }
                Err(refusal) => OfferAnswer::SayRefused { number, refusal: refusal.into() },
            }
        })
    }
}
