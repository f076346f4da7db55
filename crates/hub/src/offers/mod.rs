//! Agents that programs outside run: who offers which, who gets a turn, and who comes back to it.
//!
//! A session that has an input for such an agent claims a [`Slot`]; with it the turn starts, and its
//! future ([`Offers::run`]) stands in for an agent's: it hands the turn to the slot's worker and waits
//! until that ended it. What the worker says in between goes through the turn's own interface, so the
//! session cannot tell such an agent from one that is built in.

mod briefing;
mod desk;
mod link;
mod permits;
mod run;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use thoughtwire_proto::{
    AgentId, AgentProfile, Directive, OFFERED, Permission, Record, SessionId, ToolDeclaration,
    TurnId, WorkerId,
};
use tokio::sync::oneshot;

use crate::agent::Turn;
use crate::{Agent, AgentError};
use desk::{Claim, Desk, Terms, Worker};
use link::Mail;
use run::{Heard, Run};

pub use link::Link;

/// Whether programs outside run this agent.
pub(crate) fn is_offered(profile: &AgentProfile) -> bool {
    profile.spec.model.as_deref() == Some(OFFERED)
}

/// All offers of a hub.
pub(crate) struct Offers {
    board: Mutex<Board>,
    /// Knows the permissions of tools.
    agent: Arc<dyn Agent>,
    grace: Duration,
    /// The hub stops: turns that merely wait go on at its next start, and programs wait for them.
    stops: AtomicBool,
}

/// What stands on it, under one lock that is never held across an await.
#[derive(Default)]
struct Board {
    desks: HashMap<AgentId, Desk>,
    /// The turns that programs run.
    runs: HashMap<TurnId, Arc<Run>>,
    /// Tells one stay of a worker from the next.
    stays: u64,
}

/// Leave to run one turn, at one worker. Dropping it gives the place to whoever waits.
pub(crate) struct Slot {
    /// None where it was never given.
    offers: Option<Arc<Offers>>,
    agent: AgentId,
    worker: WorkerId,
    /// Which worker of that name.
    born: u64,
}

impl Slot {
    /// Whether its worker is here, and wants as many turns as it has.
    pub(crate) fn is_kept(&self) -> bool {
        self.desk(|desk| desk.keeps(self.born))
    }

    /// Whether other sessions wait for a place with this agent.
    pub(crate) fn is_wanted(&self) -> bool {
        self.desk(Desk::is_waited_for)
    }

    fn desk(&self, asks: impl FnOnce(&Desk) -> bool) -> bool {
        self.offers
            .as_ref()
            .is_some_and(|offers| offers.board.lock().desks.get(&self.agent).is_some_and(asks))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(offers) = self.offers.take() else { return };
        let mut board = offers.board.lock();
        if let Some(desk) = board.desks.get_mut(&self.agent) {
            desk.release(self.born);
            drop(desk.serve(&offers));
            if desk.is_empty() {
                board.desks.remove(&self.agent);
            }
        }
    }
}

/// Where a turn's end is told.
type Over = oneshot::Sender<Result<(), AgentError>>;

/// A session's slot, on its way from one turn to the next.
pub(crate) type SlotCell = Arc<Mutex<Option<Slot>>>;

impl Offers {
    /// No offers yet; the turns of a program that goes away will wait this long for it.
    pub(crate) fn new(grace: Duration, agent: Arc<dyn Agent>) -> Self {
        Self { board: Mutex::default(), agent, grace, stops: AtomicBool::new(false) }
    }

    /// The permission of a tool, whatever the program checks itself.
    fn permission(&self, agent: &AgentProfile, tool: &str) -> Permission {
        self.agent.permission(&agent.spec, tool)
    }

    /// Number of calls of a run's worker that wait for the owner's permission.
    fn held(&self, run: &Run) -> usize {
        let mut board = self.board.lock();
        let worker = board.desks.get_mut(run.agent()).and_then(|desk| desk.worker(&run.worker));
        worker.map_or(0, |worker| worker.runs.iter().map(|run| run.held()).sum())
    }

    /// From now on programs are not told that turns are over: who comes back is told which go on.
    pub(crate) fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// Asks for a place with one of an agent's workers; it comes when there is one. `turn` is the one that
    /// goes on there, where it was parked.
    pub(crate) fn claim(
        self: &Arc<Self>,
        agent: &AgentId,
        session: &SessionId,
        turn: Option<TurnId>,
    ) -> oneshot::Receiver<Slot> {
        let (given, slot) = oneshot::channel();
        let mut board = self.board.lock();
        let desk = board.desks.entry(agent.clone()).or_insert_with(|| Desk::new(agent.clone()));
        desk.wait(Claim { session: session.clone(), turn, given });
        drop(desk.serve(self));
        slot
    }

    /// Whether nobody at all offers an agent.
    pub(crate) fn is_deserted(&self, agent: &AgentId) -> bool {
        self.board.lock().desks.get(agent).is_none_or(Desk::is_deserted)
    }

    /// The tools that an agent's programs have declared; of two with one name the first.
    pub(crate) fn tools(&self, agent: &AgentId) -> Vec<ToolDeclaration> {
        self.board.lock().desks.get(agent).map(Desk::tools).unwrap_or_default()
    }

    /// Runs a turn at a worker: hands it over, and waits until it is ended.
    pub(crate) async fn run(self: Arc<Self>, turn: Turn, slot: SlotCell) -> Result<(), AgentError> {
        let (over, ended) = oneshot::channel();
        let so_far = if turn.goes_on() { turn.so_far().await? } else { Vec::new() };
        let (mut turn, mut over) = (turn, over);
        let run = loop {
            let given = slot.lock().as_ref().map(|slot| slot.worker.clone());
            match given {
                Some(worker) => match self.hand_out(turn, worker, over, &so_far) {
                    Handed::Out(run) => break run,
                    // It left between our look and our knock: somebody else may have room.
                    Handed::Back(same, told) => {
                        (turn, over) = (*same, told);
                        drop(slot.lock().take());
                    }
                },
                // Also when it waited for people while the server was stopped.
                None => {
                    if self.is_deserted(&turn.agent.id) {
                        turn.interface.status(deserted(&turn.agent)).await?;
                    }
                    let Ok(given) =
                        self.claim(&turn.agent.id, &turn.session, Some(turn.id.clone())).await
                    else {
                        return Err(lost());
                    };
                    *slot.lock() = Some(given);
                }
            }
        };
        let _given_back = GivenBack { offers: Arc::clone(&self), run: Arc::clone(&run) };
        run.listen_again(&so_far).await;
        self.deliver(&run);
        ended.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Makes a turn a worker's; gives it back when that worker is gone for good.
    fn hand_out(
        self: &Arc<Self>,
        turn: Turn,
        worker: WorkerId,
        over: Over,
        so_far: &[Record],
    ) -> Handed {
        let mut board = self.board.lock();
        let Some(known) = board.desks.get_mut(&turn.agent.id).and_then(|desk| desk.worker(&worker))
        else {
            return Handed::Back(Box::new(turn), over);
        };
        let run = Arc::new(Run::new(turn, worker, self, over, so_far));
        known.runs.push(Arc::clone(&run));
        board.runs.insert(run.turn().clone(), Arc::clone(&run));
        Handed::Out(run)
    }

    /// Puts a turn into its worker's mail, if that is here and has not got it already.
    fn deliver(&self, run: &Arc<Run>) {
        let mut board = self.board.lock();
        let worker = board.desks.get_mut(run.agent()).and_then(|desk| desk.worker(&run.worker));
        if let Some(mail) = worker.and_then(|worker| worker.mail.as_ref())
            && !run.is_mailed()
        {
            mail.run(Arc::clone(run), run.goes_on());
        }
    }

    /// Tells a turn's worker something, if it is here; one that comes back is told again.
    fn tell(&self, run: &Run, directive: Directive) {
        let mut board = self.board.lock();
        let worker = board.desks.get_mut(run.agent()).and_then(|desk| desk.worker(&run.worker));
        if let Some(mail) = worker.and_then(|worker| worker.mail.as_ref()) {
            mail.tell(directive);
        }
    }

    /// A turn is over, however it came to be.
    fn give_back(&self, run: &Arc<Run>) {
        let mut board = self.board.lock();
        board.runs.remove(run.turn());
        let Some(worker) =
            board.desks.get_mut(run.agent()).and_then(|desk| desk.worker(&run.worker))
        else {
            return;
        };
        worker.runs.retain(|other| !Arc::ptr_eq(other, run));
        worker.remember(run);
        if let Some(mail) = &worker.mail
            && !self.is_stopping()
        {
            mail.over(run);
        }
    }

    /// Begins or renews a worker's stay. Gives the turns that are still its own.
    fn come(
        self: &Arc<Self>,
        agent: &AgentId,
        worker: &WorkerId,
        terms: Terms,
        mail: &Arc<Mail>,
    ) -> Vec<TurnId> {
        let mut board = self.board.lock();
        board.stays += 1;
        let stay = board.stays;
        let desk = board.desks.entry(agent.clone()).or_insert_with(|| Desk::new(agent.clone()));
        let mut running = Vec::new();
        match desk.worker(worker) {
            Some(known) => {
                let before = known.mail.replace(Arc::clone(mail));
                let is_back = before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, mail));
                if let Some(before) = before.filter(|_| is_back) {
                    let reason = format!("another connection offers as {worker}");
                    before.tell(Directive::OfferEnded {
                        agent: agent.clone(),
                        worker: worker.clone(),
                        reason,
                    });
                }
                known.stay = stay;
                known.renew(terms);
                for run in &known.runs {
                    running.push(run.turn().clone());
                    if is_back {
                        mail.run(Arc::clone(run), true);
                    }
                }
            }
            None => desk.add(Worker::new(worker.clone(), stay, terms, Arc::clone(mail))),
        }
        running.extend(
            desk.serve(self).into_iter().filter(|(to, _)| to == worker).map(|(_, turn)| turn),
        );
        // They may become this worker's yet.
        running.extend(desk.parked().cloned());
        running
    }

    /// A worker's connection ended: its turns wait for it a while.
    fn go(self: &Arc<Self>, agent: &AgentId, worker: &WorkerId, mail: &Arc<Mail>) {
        let mut board = self.board.lock();
        let Some(known) = board.desks.get_mut(agent).and_then(|desk| desk.worker(worker)) else {
            return;
        };
        // It is here already again, on another connection.
        if !known.mail.as_ref().is_some_and(|own| Arc::ptr_eq(own, mail)) {
            return;
        }
        known.mail = None;
        if known.runs.is_empty() {
            let stay = known.stay;
            return self.leave_from(board, agent, worker, stay);
        }
        for run in &known.runs {
            run.say_soon(format!(
                "the program that runs this agent went away; it has {} seconds to come back",
                self.grace.as_secs()
            ));
        }
        let (offers, agent, worker, stay, grace) =
            (Arc::downgrade(self), agent.clone(), worker.clone(), known.stay, self.grace);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            if let Some(offers) = offers.upgrade() {
                offers.leave_from(offers.board.lock(), &agent, &worker, stay);
            }
        });
    }

    /// A worker is gone for good, unless it came back meanwhile: whatever it ran fails.
    fn leave_from(
        &self,
        mut board: MutexGuard<'_, Board>,
        agent: &AgentId,
        worker: &WorkerId,
        stay: u64,
    ) {
        let Some(desk) = board.desks.get_mut(agent) else { return };
        let Some(gone) = desk.remove(worker, stay) else { return };
        if desk.is_empty() {
            board.desks.remove(agent);
        }
        drop(board);
        for run in gone.runs {
            run.end(Err(lost()));
        }
    }

    /// Nobody offers this agent any more: it was deleted, or is the server's to run now.
    pub(crate) fn end(&self, agent: &AgentId, reason: &str) {
        let (workers, waiting) = {
            let mut board = self.board.lock();
            board.desks.remove(agent).map(|mut desk| desk.clear()).unwrap_or_default()
        };
        // Who waits asks again, or does not need a place any more.
        drop(waiting);
        for worker in workers {
            if let Some(mail) = &worker.mail {
                mail.tell(Directive::OfferEnded {
                    agent: agent.clone(),
                    worker: worker.id.clone(),
                    reason: reason.to_owned(),
                });
            }
            for run in worker.runs {
                run.end(Err(lost()));
            }
        }
    }

    /// A turn that somebody runs over this connection.
    fn running(&self, turn: &TurnId, mail: &Arc<Mail>) -> Option<Arc<Run>> {
        let mut board = self.board.lock();
        let run = Arc::clone(board.runs.get(turn)?);
        let worker = board.desks.get_mut(run.agent())?.worker(&run.worker)?;
        worker.mail.as_ref().is_some_and(|own| Arc::ptr_eq(own, mail)).then_some(run)
    }

    /// What was said in a turn of one of these that is over, as long as it is remembered.
    fn over(
        &self,
        turn: &TurnId,
        offered: &[(AgentId, WorkerId)],
        mail: &Arc<Mail>,
    ) -> Option<Arc<Heard>> {
        let mut board = self.board.lock();
        offered.iter().find_map(|(agent, worker)| {
            let worker = board.desks.get_mut(agent)?.worker(worker)?;
            worker.mail.as_ref().filter(|own| Arc::ptr_eq(own, mail))?;
            worker.over(turn)
        })
    }

    fn is_stopping(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// What a worker asked to be told with each turn.
    fn terms(&self, run: &Run) -> Terms {
        let mut board = self.board.lock();
        let worker = board.desks.get_mut(run.agent()).and_then(|desk| desk.worker(&run.worker));
        worker.map(|worker| worker.terms_for(run.session())).unwrap_or_default()
    }
}

/// What became of a turn that was to be handed out.
enum Handed {
    Out(Arc<Run>),
    /// Its worker is gone.
    Back(Box<Turn>, Over),
}

/// Gives a turn back when its future is done or dropped.
struct GivenBack {
    offers: Arc<Offers>,
    run: Arc<Run>,
}

impl Drop for GivenBack {
    fn drop(&mut self) {
        self.offers.give_back(&self.run);
    }
}

/// What clients are told while nobody offers the agent that they talk to.
pub(crate) fn deserted(agent: &AgentProfile) -> String {
    format!(
        "{} is run by a program that is not here now; what is said to it waits until it is",
        agent.spec.name
    )
}

fn lost() -> AgentError {
    AgentError::new(
        "agent_lost",
        "The program that runs this agent went away in the middle of the turn and did not come back.",
    )
}
