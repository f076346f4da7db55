//! Offers of the workers that are connected to this node, as it tells other nodes of them, and the
//! turns of other nodes that these workers run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::cluster_offers::{NodeTerms, OfferRequest};
use thoughtwire_proto::dialect::native::{ClientBody, ClientFrame};
use thoughtwire_proto::{
    AgentId, CommandId, ConnectionReply, Directive, Refusal, RefusalCode, SessionId, Timestamp,
    TurnId, Verb, WorkerId,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::turn_message::Replying;
use crate::workers::WorkerInbox;

/// How long an offer waits for the turns that other nodes have for the worker.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Verbs of one connection that may wait for other nodes. Beyond it the connection waits.
const WAITING_VERBS: usize = 256;
/// Turns of a connection of which is known where they run: more than it may run at once.
const KNOWN_TURNS: usize = 4_096;

/// The offers of this node's workers.
#[derive(Default)]
pub(crate) struct SharedOffers(Mutex<SharedState>);

#[derive(Default)]
struct SharedState {
    connections: HashMap<u64, WorkerLine>,
    /// The other nodes, by their addresses.
    nodes: HashMap<String, OtherNode>,
    /// The last number that was given.
    last: u64,
}

/// A worker's connection to this node.
struct WorkerLine {
    inbox: Arc<WorkerInbox>,
    offers: BTreeMap<(AgentId, WorkerId), (Timestamp, NodeTerms)>,
    /// Turns that other nodes gave it, the newest last.
    turns: VecDeque<TurnAway>,
    verbs: Arc<Semaphore>,
}

/// A turn that another node gave to a worker of this one.
struct TurnAway {
    turn: TurnId,
    /// Absent until the worker was told to run it.
    session: Option<SessionId>,
    node: String,
}

/// Another node. It is kept for some time after the connection to it has ended.
#[derive(Default)]
struct OtherNode {
    link: Option<mpsc::UnboundedSender<OfferRequest>>,
    /// Verbs without an answer, in their order. They are sent again on the next connection.
    says: BTreeMap<u64, WaitingSay>,
    offers: HashMap<u64, oneshot::Sender<Vec<TurnId>>>,
    /// Since when it is no node that lives.
    gone_since: Option<Instant>,
}

/// A verb in a turn of another node, until that node has answered it.
pub(crate) struct WaitingSay {
    pub(crate) turn: TurnId,
    pub(crate) id: Option<CommandId>,
    pub(crate) verb: Verb,
    pub(crate) reply: oneshot::Sender<Result<ConnectionReply, Refusal>>,
    connection: u64,
    _place: OwnedSemaphorePermit,
}

impl OtherNode {
    fn tell(&self, request: OfferRequest) {
        if let Some(link) = &self.link {
            // A connection that has ended is told everything again when it is back.
            drop(link.send(request));
        }
    }
}

impl SharedState {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn note_turn(
        &mut self,
        connection: u64,
        turn: &TurnId,
        session: Option<SessionId>,
        node: &str,
    ) {
        let Some(line) = self.connections.get_mut(&connection) else { return };
        let known = line.turns.iter().position(|away| away.turn == *turn);
        let before = known.and_then(|at| line.turns.remove(at));
        let session = session.or_else(|| before.as_ref().and_then(|away| away.session.clone()));
        line.turns.push_back(TurnAway { turn: turn.clone(), session, node: node.to_owned() });
        if line.turns.len() > KNOWN_TURNS {
            line.turns.pop_front();
        }
        // Verbs that wait go to the node that has the turn now.
        if let Some(before) = before.filter(|before| before.node != node) {
            self.move_says(&before.node, node, turn);
        }
    }

    fn move_says(&mut self, from: &str, to: &str, turn: &TurnId) {
        let Some(node) = self.nodes.get_mut(from) else { return };
        let moved: Vec<_> = node.says.extract_if(.., |_, say| say.turn == *turn).collect();
        let node = self.nodes.entry(to.to_owned()).or_default();
        for (number, say) in moved {
            node.tell(say.request(number));
            node.says.insert(number, say);
        }
    }

    fn cancel(&self, connection: u64, away: TurnAway) {
        let line = self.connections.get(&connection);
        if let (Some(line), Some(session)) = (line, away.session) {
            line.inbox.push(Directive::Cancel { session, turn: away.turn });
        }
    }
}

impl WaitingSay {
    fn request(&self, number: u64) -> OfferRequest {
        let body = ClientBody::Say { turn: self.turn.clone(), verb: self.verb.clone() };
        let frame = ClientFrame { id: self.id.clone(), body }.encode();
        OfferRequest::Say { number, connection: self.connection, frame }
    }
}

impl SharedOffers {
    /// Opens a worker's connection. Returns its number.
    pub(crate) fn open(&self, inbox: &Arc<WorkerInbox>) -> u64 {
        let mut state = self.0.lock();
        let number = state.number();
        let line = WorkerLine {
            inbox: Arc::clone(inbox),
            offers: BTreeMap::new(),
            turns: VecDeque::new(),
            verbs: Arc::new(Semaphore::new(WAITING_VERBS)),
        };
        state.connections.insert(number, line);
        number
    }

    /// Tells all other nodes of an offer. Returns the turns that they have for the worker.
    pub(crate) async fn offer(
        &self,
        connection: u64,
        (agent, worker): (AgentId, WorkerId),
        since: Timestamp,
        terms: NodeTerms,
    ) -> Vec<TurnId> {
        let mut answers = Vec::new();
        {
            let mut state = self.0.lock();
            let number = state.number();
            let Some(line) = state.connections.get_mut(&connection) else { return Vec::new() };
            line.offers.insert((agent.clone(), worker.clone()), (since, terms.clone()));
            let offer = OfferRequest::Offer { number, connection, agent, worker, since, terms };
            for node in state.nodes.values_mut().filter(|node| node.link.is_some()) {
                let (answered, answer) = oneshot::channel();
                node.offers.insert(number, answered);
                node.tell(offer.clone());
                answers.push(answer);
            }
        }
        let answers = futures::future::join_all(
            answers.into_iter().map(|answer| timeout(ANSWER_LIMIT, answer)),
        );
        let known = answers.await.into_iter().filter_map(|answer| answer.ok()?.ok());
        known.flatten().collect()
    }

    /// Ends a worker's connection.
    pub(crate) fn close(&self, connection: u64) {
        let mut state = self.0.lock();
        let Some(line) = state.connections.remove(&connection) else { return };
        for node in state.nodes.values_mut() {
            node.says.retain(|_, say| say.connection != connection);
            for (agent, worker) in line.offers.keys().cloned() {
                node.tell(OfferRequest::Leave { connection, agent, worker });
            }
        }
    }

    /// Takes a verb in a turn of another node. `None` if no other node gave the turn to this
    /// connection. The answer comes from that node, or from the one that has the turn next.
    pub(crate) async fn say(
        &self,
        connection: u64,
        turn: &TurnId,
        id: Option<&CommandId>,
        verb: &Verb,
    ) -> Option<Replying<ConnectionReply>> {
        let find = |state: &SharedState| {
            let line = state.connections.get(&connection)?;
            let away = line.turns.iter().rev().find(|away| away.turn == *turn)?;
            Some((Arc::clone(&line.verbs), away.node.clone()))
        };
        let (verbs, _) = find(&self.0.lock())?;
        let place = verbs.acquire_owned().await.ok()?;
        let mut state = self.0.lock();
        // It may have moved meanwhile.
        let (_, url) = find(&state)?;
        let (reply, answer) = oneshot::channel();
        let number = state.number();
        let node = state.nodes.get_mut(&url)?;
        let (turn, id, verb) = (turn.clone(), id.cloned(), verb.clone());
        let say = WaitingSay { turn, id, verb, reply, connection, _place: place };
        node.tell(say.request(number));
        node.says.insert(number, say);
        drop(state);
        Some(Box::pin(async move { answer.await.unwrap_or_else(|_| Err(no_turn())) }))
    }

    /// Takes the verbs that wait for another node in a turn that this node has now.
    pub(crate) fn bring_home(&self, connection: u64, turn: &TurnId) -> Vec<WaitingSay> {
        let mut state = self.0.lock();
        let Some(line) = state.connections.get_mut(&connection) else { return Vec::new() };
        let known = line.turns.iter().position(|away| away.turn == *turn);
        let Some(away) = known.and_then(|at| line.turns.remove(at)) else { return Vec::new() };
        let Some(node) = state.nodes.get_mut(&away.node) else { return Vec::new() };
        node.says.extract_if(.., |_, say| say.turn == *turn).map(|(_, say)| say).collect()
    }

    /// Begins to use a connection to a node. It is told all offers, and the verbs that wait.
    pub(super) fn connected(&self, url: &str, link: &mpsc::UnboundedSender<OfferRequest>) {
        let mut state = self.0.lock();
        let mut offers = Vec::new();
        for (connection, line) in &state.connections {
            for ((agent, worker), (since, terms)) in &line.offers {
                offers.push(OfferRequest::Offer {
                    number: 0,
                    connection: *connection,
                    agent: agent.clone(),
                    worker: worker.clone(),
                    since: *since,
                    terms: terms.clone(),
                });
            }
        }
        let node = state.nodes.entry(url.to_owned()).or_default();
        node.link = Some(link.clone());
        offers.into_iter().for_each(|offer| node.tell(offer));
        for (number, say) in &node.says {
            node.tell(say.request(*number));
        }
    }

    /// Uses a connection to a node no longer.
    pub(super) fn disconnected(&self, url: &str) {
        if let Some(node) = self.0.lock().nodes.get_mut(url) {
            node.link = None;
            node.offers.clear();
        }
    }

    /// Takes a node's answer to an offer. Turns of that node that are not the worker's any more are
    /// cancelled.
    pub(super) fn offered(&self, url: &str, number: u64, connection: u64, turns: Vec<TurnId>) {
        let mut state = self.0.lock();
        for turn in &turns {
            state.note_turn(connection, turn, None, url);
        }
        let asked = state.nodes.get_mut(url).and_then(|node| node.offers.remove(&number));
        match asked {
            // An offer that left meanwhile needs no answer.
            Some(asked) => drop(asked.send(turns)),
            None => state.cancel_ended(url, connection, &turns),
        }
    }

    /// Hands a directive of a node to the worker's connection.
    pub(super) fn directed(&self, url: &str, connection: u64, directive: Directive) {
        let mut state = self.0.lock();
        match &directive {
            Directive::Run(run) => {
                let (turn, session) = (run.turn.clone(), run.session.clone());
                state.note_turn(connection, &turn, Some(session), url);
            }
            // The worker's own node tells it.
            Directive::OfferEnded { .. } => return,
            Directive::Cancel { .. }
            | Directive::ApprovalSettled { .. }
            | Directive::ToolReturned { .. } => {}
        }
        if let Some(line) = state.connections.get(&connection) {
            line.inbox.push(directive);
        }
    }

    /// Answers a verb.
    pub(super) fn said(&self, url: &str, number: u64, outcome: Result<ConnectionReply, Refusal>) {
        let say = self.0.lock().nodes.get_mut(url).and_then(|node| node.says.remove(&number));
        if let Some(say) = say {
            // A worker that left needs no answer.
            drop(say.reply.send(outcome));
        }
    }

    /// Takes note of the nodes that live. Turns of a node that has been gone for `grace`, and that
    /// no other node has given to the worker since, are cancelled.
    pub(super) fn settle(&self, live: &[String], grace: Duration) {
        let mut state = self.0.lock();
        let mut lost = Vec::new();
        for (url, node) in &mut state.nodes {
            if live.contains(url) || node.link.is_some() {
                node.gone_since = None;
            } else if node.gone_since.get_or_insert_with(Instant::now).elapsed() >= grace {
                lost.push(url.clone());
            }
        }
        for url in lost {
            let connections: Vec<_> = state.connections.keys().copied().collect();
            for connection in connections {
                state.cancel_ended(&url, connection, &[]);
            }
            // Dropping its verbs refuses them.
            state.nodes.remove(&url);
        }
    }
}

impl SharedState {
    /// Cancels the turns of a node at a worker's connection, but for some.
    fn cancel_ended(&mut self, url: &str, connection: u64, kept: &[TurnId]) {
        let Some(line) = self.connections.get_mut(&connection) else { return };
        let is_ended = |away: &TurnAway| away.node == url && !kept.contains(&away.turn);
        let (ended, others) = std::mem::take(&mut line.turns).into_iter().partition(is_ended);
        line.turns = others;
        let ended: VecDeque<TurnAway> = ended;
        for away in ended {
            self.cancel(connection, away);
        }
    }
}

fn no_turn() -> Refusal {
    Refusal::new(
        RefusalCode::NoTurn,
        "the turn is not this program's to speak in any more: the node that had it is gone",
    )
}
