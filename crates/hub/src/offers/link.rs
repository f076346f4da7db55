//! One connection's end of its offers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use thoughtwire_proto::{
    AgentId, AgentSpec, CommandId, ConnectionReply, Directive, OFFERED, Offer, Refusal,
    RefusalCode, TurnId, UserId, Verb, WorkerId,
};
use tokio::sync::Notify;

use super::desk::{Have, Terms};
use super::is_offered;
use super::run::Run;
use crate::clock::new_id;
use crate::hub::{Replying, check_tool};
use crate::{AgentError, Hub};

/// The most turns that one worker may run at once.
const TURNS: u64 = 1_000;
/// The most records of history that come with a turn.
const HISTORY: u64 = 1_000;
/// The most agents that one connection may offer.
const OFFERS: usize = 64;

/// What waits to be told to a connection. Its length is bounded by the turns that it offered to run.
#[derive(Default)]
pub(super) struct Mail {
    waiting: Mutex<VecDeque<Letter>>,
    wake: Notify,
}

enum Letter {
    Run { run: Arc<Run>, resumed: bool },
    Directive(Directive),
}

impl Mail {
    /// A turn to run, with what came for its calls if it goes on.
    pub(super) fn run(&self, run: Arc<Run>, resumed: bool) {
        let told = run.mailed();
        let mut waiting = self.waiting.lock();
        waiting.push_back(Letter::Run { run, resumed });
        waiting.extend(told.into_iter().map(Letter::Directive));
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn tell(&self, directive: Directive) {
        self.waiting.lock().push_back(Letter::Directive(directive));
        self.wake.notify_one();
    }

    /// A turn is over: who was not handed it yet never hears of it.
    pub(super) fn over(&self, run: &Arc<Run>) {
        let mut waiting = self.waiting.lock();
        let before = waiting.len();
        waiting.retain(
            |letter| !matches!(letter, Letter::Run { run: other, .. } if Arc::ptr_eq(other, run)),
        );
        if waiting.len() == before && !run.is_finishing() {
            waiting.push_back(Letter::Directive(Directive::Cancel {
                session: run.session().clone(),
                turn: run.turn().clone(),
            }));
            self.wake.notify_one();
        }
    }
}

/// A connection's end of the offers that it makes. Dropping it is the program's going away.
pub struct Link {
    hub: Hub,
    user: UserId,
    mail: Arc<Mail>,
    offered: Vec<(AgentId, WorkerId)>,
    /// A turn that is being made ready: its past is read.
    coming: Option<BoxFuture<'static, Result<Directive, AgentError>>>,
    /// Whose turn that is.
    whose: Option<Arc<Run>>,
}

impl Hub {
    /// The means for a user's program to run agents' turns.
    #[must_use]
    pub fn link(&self, user: &UserId) -> Link {
        Link {
            hub: self.clone(),
            user: user.clone(),
            mail: Arc::default(),
            offered: Vec::new(),
            coming: None,
            whose: None,
        }
    }
}

impl Link {
    /// Offers to run an agent's turns; with `may_make` an agent that is not there is made.
    ///
    /// # Errors
    /// When there is no such agent, the server runs it itself, or more is offered than may be.
    pub async fn offer(
        &mut self,
        offer: Offer,
        may_make: bool,
    ) -> Result<ConnectionReply, Refusal> {
        let bad = |reason: String| Refusal::new(RefusalCode::BadRequest, reason);
        let (turns, history) = (offer.turns.unwrap_or(1), offer.history.unwrap_or(0));
        if turns > TURNS || history > HISTORY {
            return Err(bad(format!(
                "at most {TURNS} turns may be run at once, and at most {HISTORY} records come with one"
            )));
        }
        offer.tools.iter().try_for_each(check_tool)?;
        let agent = if may_make {
            let spec = AgentSpec {
                name: offer.agent.clone(),
                model: Some(OFFERED.to_owned()),
                ..AgentSpec::default()
            };
            self.hub.found_or_made(&self.user, spec).await?
        } else {
            match self.hub.find_agent(&self.user, &offer.agent).await {
                Err(refusal) if refusal.code == RefusalCode::UnknownAgent => {
                    let reason =
                        format!("{refusal}; a key with the scope `agents` makes it by offering it");
                    return Err(Refusal::new(refusal.code, reason));
                }
                found => found?,
            }
        };
        if !is_offered(&agent) {
            let reason = format!(
                "{name} is run by this server; give it the model `{OFFERED}` first (thoughtwire agents edit {name} --model {OFFERED}), or offer another name",
                name = agent.spec.name
            );
            return Err(Refusal::new(RefusalCode::NotOffered, reason));
        }
        let worker = offer.worker.unwrap_or_else(new_id);
        let place = (agent.id.clone(), worker.clone());
        if !self.offered.contains(&place) {
            if self.offered.len() >= OFFERS {
                return Err(bad(format!(
                    "one connection offers at most {OFFERS} agents; open another one"
                )));
            }
            self.offered.push(place);
        }
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let have: Option<BTreeMap<_, _>> = offer.cursors.map(|cursors| {
            cursors.into_iter().map(|(session, seq)| (session, Have::Seq(seq))).collect()
        });
        let terms = Terms {
            turns: size(turns),
            history: size(history),
            memory: offer.memory.unwrap_or(false),
            tools: offer.tools,
            have,
        };
        let turns = self.hub.shared.offers.come(&agent.id, &worker, terms, &self.mail);
        Ok(ConnectionReply::Offered { agent: Box::new(agent), worker, turns })
    }

    /// Takes what the program says in a turn. What is said in one turn must come here in its order,
    /// each when the one before has returned; the answers come when it is on disk.
    pub async fn say(
        &mut self,
        turn: &TurnId,
        id: Option<CommandId>,
        verb: Verb,
    ) -> Replying<ConnectionReply> {
        if let Some(run) = self.hub.shared.offers.running(turn, &self.mail) {
            return run.say(id, verb).await;
        }
        let offers = &self.hub.shared.offers;
        let again = offers
            .over(turn, &self.offered, &self.mail)
            .zip(id)
            .and_then(|(heard, id)| heard.again(&id));
        again.unwrap_or_else(|| {
            let refusal = if offers.is_stopping() {
                Refusal::new(
                    RefusalCode::Stopping,
                    "the server is stopping; say it again when it is back",
                )
            } else {
                Refusal::new(
                    RefusalCode::NoTurn,
                    format!(
                        "turn {turn} is not this program's to speak in: it has ended, or never was"
                    ),
                )
            };
            Box::pin(std::future::ready(Err(refusal)))
        })
    }

    /// The next thing to tell the program. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Directive {
        loop {
            if let Some(coming) = &mut self.coming {
                let handed = coming.await;
                self.coming = None;
                match (handed, self.whose.take()) {
                    (Ok(directive), _) => return directive,
                    (Err(error), Some(run)) => run.end(Err(error)),
                    (Err(_), None) => {}
                }
            }
            let letter = self.mail.waiting.lock().pop_front();
            match letter {
                Some(Letter::Directive(directive)) => return directive,
                Some(Letter::Run { run, resumed }) => {
                    self.whose = Some(Arc::clone(&run));
                    self.coming = Some(Box::pin(async move { run.handed(resumed).await }));
                }
                None => self.mail.wake.notified().await,
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for (agent, worker) in &self.offered {
            self.hub.shared.offers.go(agent, worker, &self.mail);
        }
    }
}
