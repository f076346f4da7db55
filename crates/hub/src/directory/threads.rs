//! Sessions that other protocols name: a thread of theirs is one session of a user and an agent.

use std::time::Duration;

use thoughtwire_proto::{
    AgentProfile, CommandId, HistoryEntry, ItemId, Refusal, RefusalCode, SessionId, UserId,
};
use thoughtwire_session::IdempotencyKey;

use super::{Directory, Made, opened_before, session_title};
use crate::Hub;
use crate::receipts;
use crate::services::task_ended;

/// Most sessions that one thread can have had. Each deletion of its session begins a new one.
const MAX_GENERATIONS: u32 = 1_000;

/// Content of a session that another protocol begins.
#[derive(Debug, Default, Clone)]
pub struct ThreadSeed {
    /// Title of the session.
    pub title: Option<String>,
    /// Addition to the agent's persona.
    pub instructions: Option<String>,
    /// Messages from before the session.
    pub history: Vec<HistoryEntry>,
}

/// Threads of other protocols, as sessions of a hub. Work that has begun goes on when its caller
/// leaves.
#[derive(Clone)]
pub struct Threads(Directory);

impl Threads {
    /// The threads of a hub.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        Self(hub.directory().clone())
    }

    /// Finds the session of a thread, or opens it with `seed`. A thread is named within its user
    /// and agent. If its session was deleted, a new one is opened.
    ///
    /// # Errors
    /// When the title is wrong, or nothing can be saved.
    pub async fn named(
        &self,
        user: &UserId,
        agent: &AgentProfile,
        thread: &str,
        seed: ThreadSeed,
    ) -> Result<Made<SessionId>, Refusal> {
        let (threads, user, agent) = (self.clone(), user.clone(), agent.clone());
        let thread = thread.to_owned();
        let opening = async move {
            for generation in 0..MAX_GENERATIONS {
                let key = thread_key(&agent, &thread, generation)?;
                let made = threads.open(&user, &agent, seed.clone(), None, Some(key)).await?;
                let sessions = threads.0.shared.store.directory();
                if !made.duplicate || sessions.session(&made.thing).await?.is_some() {
                    return Ok(made);
                }
            }
            let reason = "the session of this name was deleted too often; use another name";
            Err(Refusal::new(RefusalCode::BadRequest, reason))
        };
        self.0.shared.begin(opening).await
    }

    /// Finds the session of a thread, if it has one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn find(
        &self,
        user: &UserId,
        agent: &AgentProfile,
        thread: &str,
    ) -> Result<Option<SessionId>, Refusal> {
        let Self(directory) = self;
        for generation in 0..MAX_GENERATIONS {
            let key = thread_key(agent, thread, generation)?;
            let Some(id) = directory.made_before(user, Some(&key)).await? else { return Ok(None) };
            let id = opened_before(id)?.thing;
            if directory.shared.store.directory().session(&id).await?.is_some() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The input that a command of a session has sent; `None` if no command has this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn input_sent(
        &self,
        user: &UserId,
        session: &SessionId,
        id: &CommandId,
    ) -> Result<Option<ItemId>, Refusal> {
        let Self(directory) = self;
        let receipt = directory.shared.store.logs().receipt(user, session, id).await?;
        Ok(receipt.as_ref().and_then(receipts::input_of))
    }

    /// Opens a session, once for each `id`. With `keep_idle` it is deleted once it had no new
    /// record for so long.
    ///
    /// # Errors
    /// When the title is wrong, the id was used for something else, or nothing can be saved.
    pub async fn fresh(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        agent: &AgentProfile,
        seed: ThreadSeed,
        keep_idle: Option<Duration>,
    ) -> Result<Made<SessionId>, Refusal> {
        let key = id.map(|id| {
            let history = serde_json::to_string(&seed.history).unwrap_or_default();
            let instructions = seed.instructions.as_deref().unwrap_or_default();
            let parts = [agent.id.as_str(), instructions, history.as_str()];
            IdempotencyKey { id, digest: receipts::digest("fresh", &parts) }
        });
        let (threads, user, agent) = (self.clone(), user.clone(), agent.clone());
        let opening = async move { threads.open(&user, &agent, seed, keep_idle, key).await };
        self.0.shared.begin(opening).await
    }

    /// Opens a session, once for each key.
    async fn open(
        &self,
        user: &UserId,
        agent: &AgentProfile,
        seed: ThreadSeed,
        keep_idle: Option<Duration>,
        key: Option<IdempotencyKey>,
    ) -> Result<Made<SessionId>, Refusal> {
        let Self(directory) = self;
        if let Some(id) = directory.made_before(user, key.as_ref()).await? {
            return opened_before(id);
        }
        let ThreadSeed { title, instructions, history } = seed;
        let title = title.as_deref().map(session_title).transpose()?;
        let mut new = directory.new_session(user, agent, title, instructions, history);
        new.keep_idle = keep_idle;
        new.receipt = key.clone().map(|key| receipts::made(user, key, new.id.as_str()));
        match directory.shared.store.directory().create_session(new).await {
            Ok(stored) => {
                directory.shared.tell(user, &stored.id);
                Ok(Made::new(stored.id))
            }
            // Another request with the same key was faster.
            Err(error) => match directory.made_before(user, key.as_ref()).await? {
                Some(id) => opened_before(id),
                None => Err(Refusal::from(&error)),
            },
        }
    }
}

/// The key under which a thread's session is found again.
fn thread_key(
    agent: &AgentProfile,
    thread: &str,
    generation: u32,
) -> Result<IdempotencyKey, Refusal> {
    let digest = receipts::digest("thread", &[agent.id.as_str(), thread]);
    let short = digest.get(..40).unwrap_or(&digest);
    let id = CommandId::new(format!("thread-{short}-{generation}")).map_err(|_| task_ended())?;
    Ok(IdempotencyKey { id, digest })
}
