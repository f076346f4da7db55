//! One connection of a worker: its offers, its verbs, and the directives for it.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use thoughtwire_proto::cluster_offers::NodeTerms;
use thoughtwire_proto::{
    AgentId, AgentProfile, AgentSpec, CommandId, ConnectionReply, Directive, OFFERED, Offer,
    Refusal, RefusalCode, TurnId, UserId, Verb, WorkerId,
};

use crate::Hub;
use crate::clock::new_id;
use crate::cluster::WaitingSay;
use crate::hub::check_tool;
use crate::services::Services;
use crate::turn_message::{AgentError, Replying};
use crate::workers::{InboxEntry, OfferRegistry, WorkerInbox, WorkerTurn, is_offered};

/// Most turns that one worker may run at once.
const TURNS: u64 = 1_000;
/// Most records of history that come with a turn.
const HISTORY: u64 = 1_000;
/// Most agents that one connection may offer.
const OFFERS: usize = 64;

/// A worker's connection to the hub. Dropping it disconnects the workers that it offered as.
pub struct WorkerConnection {
    hub: Hub,
    user: UserId,
    inbox: Arc<WorkerInbox>,
    offered: Vec<(AgentId, WorkerId)>,
    directives: DirectiveReader,
    /// Number of the connection, by which other nodes know it.
    number: u64,
    /// Verbs that waited for another node in turns that this node has now.
    returned: VecDeque<WaitingSay>,
}

/// The directives for a worker, in their order.
pub(crate) struct DirectiveReader {
    inbox: Arc<WorkerInbox>,
    /// The turn that is being handed over.
    briefing: Option<PendingBriefing>,
}

/// A turn whose history is being read.
struct PendingBriefing {
    turn: Arc<WorkerTurn>,
    directive: BoxFuture<'static, Result<Directive, AgentError>>,
}

impl Hub {
    /// Opens a connection over which a user's program may offer to run agents.
    #[must_use]
    pub fn worker_connection(&self, user: &UserId) -> WorkerConnection {
        let inbox = Arc::<WorkerInbox>::default();
        WorkerConnection {
            number: self.shared.shared_offers.open(&inbox),
            hub: self.clone(),
            user: user.clone(),
            directives: DirectiveReader::new(Arc::clone(&inbox)),
            inbox,
            offered: Vec::new(),
            returned: VecDeque::new(),
        }
    }
}

impl WorkerConnection {
    /// Offers to run an agent's turns. With `may_make` an agent that does not exist is made.
    ///
    /// # Errors
    /// When the agent does not exist, the server runs it itself, or a limit is passed.
    pub async fn offer(
        &mut self,
        offer: Offer,
        may_make: bool,
    ) -> Result<ConnectionReply, Refusal> {
        let (turns, history) = (offer.turns.unwrap_or(1), offer.history.unwrap_or(0));
        if turns > TURNS || history > HISTORY {
            return Err(bad_request(format!(
                "at most {TURNS} turns may be run at once, \
                 and at most {HISTORY} records come with one"
            )));
        }
        offer.tools.iter().try_for_each(check_tool)?;
        let agent = offered_agent(&self.hub, &self.user, &offer.agent, may_make).await?;
        let worker = offer.worker.unwrap_or_else(new_id);
        let place = (agent.id.clone(), worker.clone());
        if !self.offered.contains(&place) {
            if self.offered.len() >= OFFERS {
                return Err(bad_request(format!(
                    "one connection offers at most {OFFERS} agents; open another one"
                )));
            }
            self.offered.push(place);
        }
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let terms = NodeTerms {
            turns: size(turns),
            history: size(history),
            memory: offer.memory.unwrap_or(false),
            tools: offer.tools,
            resumable: offer.resumable.unwrap_or(false),
            known: offer.cursors,
        };
        let Services { workers, shared_offers, .. } = &*self.hub.shared;
        let joined = workers.join(&agent.id, &worker, terms.clone().into(), &self.inbox);
        let place = (agent.id.clone(), worker.clone());
        let elsewhere = shared_offers.offer(self.number, place, joined.since, terms).await;
        let turns = joined.turns.into_iter().chain(elsewhere).collect();
        Ok(ConnectionReply::Offered { agent: Box::new(agent), worker, turns })
    }

    /// Takes a verb of the worker in a turn. Verbs of one turn must come here in their order, each
    /// after this has returned for the one before. The answer comes when the verb is on disk.
    pub async fn say(
        &mut self,
        turn: &TurnId,
        id: Option<CommandId>,
        verb: Verb,
    ) -> Replying<ConnectionReply> {
        self.bring_home(turn);
        self.say_returned().await;
        let Services { workers, shared_offers, .. } = &*self.hub.shared;
        if workers.running(turn, &self.inbox).is_none()
            && let Some(reply) = shared_offers.say(self.number, turn, id.as_ref(), &verb).await
        {
            return reply;
        }
        say_in(workers, &self.offered, &self.inbox, turn, id, verb).await
    }

    /// The next directive for the worker. Cancel-safe: dropping the future loses none.
    pub async fn next(&mut self) -> Directive {
        self.say_returned().await;
        let directive = self.directives.next().await;
        if let Directive::Run(run) = &directive {
            self.bring_home(&run.turn);
        }
        directive
    }

    /// Takes over what the worker said in a turn that another node had, and that this one has now.
    fn bring_home(&mut self, turn: &TurnId) {
        let Services { workers, shared_offers, .. } = &*self.hub.shared;
        if workers.running(turn, &self.inbox).is_some() {
            self.returned.extend(shared_offers.bring_home(self.number, turn));
        }
    }

    /// Carries out what was taken over. Cancel-safe: a verb that was carried out already has no
    /// second effect.
    async fn say_returned(&mut self) {
        while let Some(next) = self.returned.front() {
            let (workers, id, verb) =
                (&self.hub.shared.workers, next.id.clone(), next.verb.clone());
            let reply = say_in(workers, &self.offered, &self.inbox, &next.turn, id, verb).await;
            if let Some(said) = self.returned.pop_front() {
                // A worker that left needs no answer.
                self.hub.shared.tasks.spawn(async move { drop(said.reply.send(reply.await)) });
            }
        }
    }
}

/// Takes a verb in a turn of this node, from a connection with these offers.
pub(crate) async fn say_in(
    workers: &OfferRegistry,
    offered: &[(AgentId, WorkerId)],
    inbox: &Arc<WorkerInbox>,
    turn: &TurnId,
    id: Option<CommandId>,
    verb: Verb,
) -> Replying<ConnectionReply> {
    if let Some(running) = workers.running(turn, inbox) {
        return running.say(id, verb).await;
    }
    let ended = workers.answers_of(turn, offered, inbox);
    let repeated = ended.zip(id).and_then(|(answers, id)| answers.repeated(&id));
    repeated.unwrap_or_else(|| {
        let refusal = if workers.is_stopping() {
            let reason = "the server is stopping; say it again when it is back";
            Refusal::new(RefusalCode::Stopping, reason)
        } else {
            let reason = format!(
                "turn {turn} is not this program's to speak in: it has ended, or never was"
            );
            Refusal::new(RefusalCode::NoTurn, reason)
        };
        Box::pin(std::future::ready(Err(refusal)))
    })
}

impl DirectiveReader {
    pub(crate) fn new(inbox: Arc<WorkerInbox>) -> Self {
        Self { inbox, briefing: None }
    }

    /// The next directive. Cancel-safe: dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Directive {
        loop {
            if let Some(pending) = &mut self.briefing {
                let directive = (&mut pending.directive).await;
                match (directive, self.briefing.take()) {
                    (Ok(directive), _) => return directive,
                    (Err(error), Some(pending)) => pending.turn.end(Err(error)),
                    (Err(_), None) => {}
                }
            }
            match self.inbox.next().await {
                InboxEntry::Directive(directive) => return directive,
                InboxEntry::Turn { turn, resumed } => {
                    let briefed = Arc::clone(&turn);
                    let directive = Box::pin(async move { briefed.briefing(resumed).await });
                    self.briefing = Some(PendingBriefing { turn, directive });
                }
            }
        }
    }
}

impl Drop for WorkerConnection {
    fn drop(&mut self) {
        for (agent, worker) in &self.offered {
            self.hub.shared.workers.leave(agent, worker, &self.inbox);
        }
        self.hub.shared.shared_offers.close(self.number);
    }
}

/// The agent of an offer, which workers must run.
async fn offered_agent(
    hub: &Hub,
    user: &UserId,
    name: &str,
    may_make: bool,
) -> Result<AgentProfile, Refusal> {
    let agent = if may_make {
        let spec = AgentSpec {
            name: name.to_owned(),
            model: Some(OFFERED.to_owned()),
            ..AgentSpec::default()
        };
        hub.directory().found_or_made(user, spec).await?
    } else {
        match hub.directory().find_agent(user, name).await {
            Err(refusal) if refusal.code == RefusalCode::UnknownAgent => {
                let reason =
                    format!("{refusal}; a key with the scope `agents` makes it by offering it");
                return Err(Refusal::new(refusal.code, reason));
            }
            found => found?,
        }
    };
    if is_offered(&agent) {
        return Ok(agent);
    }
    let reason = format!(
        "{name} is run by this server; give it the model `{OFFERED}` first \
         (thoughtwire agents edit {name} --model {OFFERED}), or offer another name",
        name = agent.spec.name
    );
    Err(Refusal::new(RefusalCode::NotOffered, reason))
}

fn bad_request(reason: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, reason)
}
