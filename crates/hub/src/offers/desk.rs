//! One offered agent: who offers it, and who waits for a place.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use thoughtwire_proto::{AgentId, Seq, SessionId, ToolDeclaration, TurnId, WorkerId};
use tokio::sync::oneshot;

use super::link::Mail;
use super::run::{Heard, Run};
use super::{Offers, Slot};

/// Turns that are over and whose last words may still be said again, per worker.
const REMEMBERED: usize = 64;
/// Claims among which dead ones may stand.
const UNLOOKED: usize = 64;
/// Sessions whose position is kept for a program that keeps its own past, per worker.
const POSITIONS: usize = 100_000;

/// Up to where a program has a session's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Have {
    Seq(Seq),
    /// Everything up to the end of this turn, which it ran itself.
    Turn(TurnId),
}

/// What a program asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    pub(super) turns: usize,
    pub(super) history: usize,
    pub(super) memory: bool,
    pub(super) tools: Vec<ToolDeclaration>,
    /// None where it keeps no past of its own.
    pub(super) have: Option<BTreeMap<SessionId, Have>>,
}

/// One program that offers the agent.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// Tells it from an earlier one of the same name.
    pub(super) born: u64,
    /// Tells this stay from an earlier one.
    pub(super) stay: u64,
    terms: Terms,
    /// Where its connection is; none while it is away.
    pub(super) mail: Option<Arc<Mail>>,
    /// Slots given.
    taken: usize,
    pub(super) runs: Vec<Arc<Run>>,
    over: VecDeque<(TurnId, Arc<Heard>)>,
}

impl Worker {
    pub(super) fn new(id: WorkerId, stay: u64, terms: Terms, mail: Arc<Mail>) -> Self {
        Self {
            id,
            born: stay,
            stay,
            terms,
            mail: Some(mail),
            taken: 0,
            runs: Vec::new(),
            over: VecDeque::new(),
        }
    }

    /// It offers again.
    pub(super) fn renew(&mut self, terms: Terms) {
        self.terms = terms;
    }

    fn has_room(&self) -> bool {
        self.mail.is_some() && self.taken < self.terms.turns
    }

    /// What it wants to be told with a turn of this session.
    pub(super) fn terms_for(&self, session: &SessionId) -> Terms {
        let have = self.terms.have.as_ref().map(|all| {
            all.get(session).cloned().map(|have| (session.clone(), have)).into_iter().collect()
        });
        Terms { have, tools: self.terms.tools.clone(), ..self.terms }
    }

    /// Keeps what was said in a turn that is over, for a program that says its last words again.
    pub(super) fn remember(&mut self, run: &Run) {
        self.over.push_back((run.turn().clone(), run.heard()));
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
        // What it was not handed it does not have.
        if let Some(have) = self.terms.have.as_mut().filter(|_| run.was_handed()) {
            if have.len() >= POSITIONS {
                have.clear();
            }
            have.insert(run.session().clone(), Have::Turn(run.turn().clone()));
        }
    }

    pub(super) fn over(&self, turn: &TurnId) -> Option<Arc<Heard>> {
        self.over.iter().find(|(over, _)| over == turn).map(|(_, heard)| Arc::clone(heard))
    }
}

/// One agent's workers, and the sessions that wait for one, the longest first.
pub(super) struct Desk {
    agent: AgentId,
    workers: Vec<Worker>,
    waiting: VecDeque<Claim>,
    /// So many waited when those that wait no longer were last looked for.
    left: usize,
}

/// A session that waits for a place.
pub(super) struct Claim {
    pub(super) session: SessionId,
    /// The turn that goes on there, where one was parked.
    pub(super) turn: Option<TurnId>,
    pub(super) given: oneshot::Sender<Slot>,
}

impl Desk {
    pub(super) fn new(agent: AgentId) -> Self {
        Self { agent, workers: Vec::new(), waiting: VecDeque::new(), left: 0 }
    }

    pub(super) fn worker(&mut self, id: &WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == *id)
    }

    pub(super) fn add(&mut self, worker: Worker) {
        self.workers.push(worker);
    }

    /// Takes a worker away that is not here since a given stay.
    pub(super) fn remove(&mut self, id: &WorkerId, stay: u64) -> Option<Worker> {
        let is_gone =
            |worker: &Worker| worker.id == *id && worker.mail.is_none() && stay == worker.stay;
        let at = self.workers.iter().position(is_gone)?;
        Some(self.workers.swap_remove(at))
    }

    /// Everybody who is here, and who waits for them.
    pub(super) fn clear(&mut self) -> (Vec<Worker>, VecDeque<Claim>) {
        (std::mem::take(&mut self.workers), std::mem::take(&mut self.waiting))
    }

    /// Turns that go on once there is a place for them.
    pub(super) fn parked(&self) -> impl Iterator<Item = &TurnId> {
        self.waiting
            .iter()
            .filter(|claim| !claim.given.is_closed())
            .filter_map(|claim| claim.turn.as_ref())
    }

    pub(super) fn tools(&self) -> Vec<ToolDeclaration> {
        let mut known = HashSet::new();
        let all = self.workers.iter().flat_map(|worker| &worker.terms.tools);
        all.filter(|tool| known.insert(tool.name.clone())).cloned().collect()
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.workers.iter().all(|worker| worker.mail.is_none())
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.iter().any(|claim| !claim.given.is_closed())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.waiting.is_empty()
    }

    /// Turns that go on stand in front of those that begin.
    pub(super) fn wait(&mut self, claim: Claim) {
        if self.waiting.len() > 2 * self.left + UNLOOKED {
            self.waiting.retain(|claim| !claim.given.is_closed());
            self.left = self.waiting.len();
        }
        let at = if claim.turn.is_some() {
            self.waiting.iter().take_while(|other| other.turn.is_some()).count()
        } else {
            self.waiting.len()
        };
        self.waiting.insert(at, claim);
    }

    /// Whether a worker is here and has not more turns than it wants.
    pub(super) fn keeps(&self, born: u64) -> bool {
        let is_kept = |known: &Worker| {
            known.born == born && known.mail.is_some() && known.taken <= known.terms.turns
        };
        self.workers.iter().any(is_kept)
    }

    pub(super) fn release(&mut self, born: u64) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.born == born) {
            worker.taken = worker.taken.saturating_sub(1);
        }
    }

    /// Gives places to those who wait, as long as there are any. Tells of turns that go on at whom.
    pub(super) fn serve(&mut self, offers: &Arc<Offers>) -> Vec<(WorkerId, TurnId)> {
        let mut going_on = Vec::new();
        while let Some(Claim { session, turn, given }) = self.waiting.pop_front() {
            if given.is_closed() {
                continue;
            }
            // The same session comes to the same worker as long as that has room and the same ones are
            // there (rendezvous hashing: Thaler and Ravishankar, 1998), and nobody has to remember it.
            let free = self.workers.iter_mut().filter(|worker| worker.has_room());
            let Some(worker) = free.max_by_key(|worker| score(&session, &worker.id)) else {
                self.waiting.push_front(Claim { session, turn, given });
                break;
            };
            let slot = Slot {
                offers: Some(Arc::clone(offers)),
                agent: self.agent.clone(),
                worker: worker.id.clone(),
                born: worker.born,
            };
            worker.taken += 1;
            if let Err(mut slot) = given.send(slot) {
                worker.taken -= 1;
                // Its drop would ask for the lock that is held here.
                slot.offers = None;
            } else {
                going_on.extend(turn.map(|turn| (worker.id.clone(), turn)));
            }
        }
        going_on
    }
}

fn score(session: &SessionId, worker: &WorkerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (session.as_str(), worker.as_str()).hash(&mut hasher);
    hasher.finish()
}
