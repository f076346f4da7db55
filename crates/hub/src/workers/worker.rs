//! One worker: a program that offers an agent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use thoughtwire_proto::cluster_offers::NodeTerms;
use thoughtwire_proto::{Seq, SessionId, Timestamp, ToolDeclaration, TurnId, WorkerId};

use super::answers::FirstAnswers;
use super::inbox::WorkerInbox;
use super::turn::WorkerTurn;
use super::worker_node::WorkerNode;

/// Ended turns per worker whose answers are kept, for a worker that repeats its last verbs.
const ENDED_TURNS: usize = 64;
/// Sessions per worker whose known position is kept.
const POSITIONS: usize = 100_000;

/// Position up to which a worker knows a session's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KnownPosition {
    /// Everything up to this record.
    Seq(Seq),
    /// Everything up to the end of this turn, which the worker ran itself.
    Turn(TurnId),
}

/// Terms of an offer: how many turns a worker runs, and what it is handed with each.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfferTerms {
    /// Most turns at once.
    pub(crate) turns: usize,
    /// Most records of the session's past that come with a turn.
    pub(crate) history: usize,
    /// Whether the agent's memory blocks come with a turn.
    pub(crate) memory: bool,
    /// Tools that the worker runs itself.
    pub(crate) tools: Vec<ToolDeclaration>,
    /// Whether the worker goes on with turns that another one began.
    pub(crate) resumable: bool,
    /// Known positions by session; `None` if the worker keeps no past of its own.
    pub(crate) known: Option<BTreeMap<SessionId, KnownPosition>>,
}

impl From<NodeTerms> for OfferTerms {
    fn from(terms: NodeTerms) -> Self {
        let NodeTerms { turns, history, memory, tools, resumable, known } = terms;
        let known = known.map(|known| {
            known.into_iter().map(|(session, seq)| (session, KnownPosition::Seq(seq))).collect()
        });
        Self { turns, history, memory, tools, resumable, known }
    }
}

/// A program that offers an agent, connected or expected back.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// Tells the worker from an earlier one of the same name.
    pub(super) generation: u64,
    /// Number of its latest connection.
    pub(super) connection: u64,
    pub(super) terms: OfferTerms,
    /// Inbox of its connection; `None` while it is disconnected.
    pub(super) inbox: Option<Arc<WorkerInbox>>,
    /// Numbers of the permits in use.
    pub(super) permits: BTreeSet<u64>,
    /// The node to which it is connected, if that is another one.
    pub(super) node: Option<WorkerNode>,
    /// Time of its latest offer.
    pub(super) since: Timestamp,
    pub(super) turns: Vec<Arc<WorkerTurn>>,
    ended: VecDeque<(TurnId, Arc<FirstAnswers>)>,
}

impl Worker {
    pub(super) fn new(
        id: WorkerId,
        connection: u64,
        terms: OfferTerms,
        inbox: Arc<WorkerInbox>,
        since: Timestamp,
    ) -> Self {
        Self {
            id,
            generation: connection,
            connection,
            terms,
            inbox: Some(inbox),
            permits: BTreeSet::new(),
            node: None,
            since,
            turns: Vec::new(),
            ended: VecDeque::new(),
        }
    }

    /// Whether the worker takes another turn. The node to which a worker is connected decides.
    pub(super) fn has_room(&self) -> bool {
        self.node.is_none() && self.inbox.is_some() && self.permits.len() < self.terms.turns
    }

    /// Terms for a turn of one session.
    pub(super) fn terms_for(&self, session: &SessionId) -> OfferTerms {
        let known = self.terms.known.as_ref().map(|known| {
            let position = known.get(session).cloned();
            position.map(|position| (session.clone(), position)).into_iter().collect()
        });
        OfferTerms { known, tools: self.terms.tools.clone(), ..self.terms }
    }

    /// Keeps the answers of a turn that has ended.
    pub(super) fn remember(&mut self, turn: &WorkerTurn) {
        self.ended.push_back((turn.id().clone(), turn.answers()));
        if self.ended.len() > ENDED_TURNS {
            self.ended.pop_front();
        }
        // The worker does not know a turn that it was never handed.
        if let Some(known) = self.terms.known.as_mut().filter(|_| turn.was_handed_over()) {
            if known.len() >= POSITIONS {
                known.clear();
            }
            known.insert(turn.session().clone(), KnownPosition::Turn(turn.id().clone()));
        }
    }

    /// Answers of a turn that has ended, if they are still kept.
    pub(super) fn answers_of(&self, turn: &TurnId) -> Option<Arc<FirstAnswers>> {
        let ended = self.ended.iter().find(|(ended, _)| ended == turn);
        ended.map(|(_, answers)| Arc::clone(answers))
    }
}
