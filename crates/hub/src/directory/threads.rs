//! Sessions that other protocols name: a thread of theirs is one session of a user and an agent.

use thoughtwire_proto::{
    AgentProfile, CommandId, HistoryEntry, Refusal, RefusalCode, SessionId, UserId,
};
use thoughtwire_session::IdempotencyKey;

use super::{Directory, Made, opened_before, session_title};
use crate::receipts;
use crate::services::task_ended;

/// Most sessions that one thread can have had. Each deletion of its session begins a new one.
const MAX_GENERATIONS: u32 = 1_000;

/// Content of a session that a thread of another protocol begins.
#[derive(Debug, Default, Clone)]
pub struct ThreadSeed {
    /// Title of the session.
    pub title: Option<String>,
    /// Addition to the agent's persona.
    pub instructions: Option<String>,
    /// Messages from before the session.
    pub history: Vec<HistoryEntry>,
}

impl Directory {
    /// Finds the session of a thread, or opens it with `seed`. A thread is named within its user
    /// and agent. If its session was deleted, a new one is opened. The work goes on when the caller
    /// leaves.
    ///
    /// # Errors
    /// When the title is wrong, or nothing can be saved.
    pub async fn thread(
        &self,
        user: &UserId,
        agent: &AgentProfile,
        thread: &str,
        seed: ThreadSeed,
    ) -> Result<Made<SessionId>, Refusal> {
        let (directory, user, agent) = (self.clone(), user.clone(), agent.clone());
        let thread = thread.to_owned();
        self.shared
            .begin(async move {
                for generation in 0..MAX_GENERATIONS {
                    let key = thread_key(&agent, &thread, generation)?;
                    let made = directory.open_once(&user, &agent, &seed, Some(key)).await?;
                    let sessions = directory.shared.store.directory();
                    if !made.duplicate || sessions.session(&made.thing).await?.is_some() {
                        return Ok(made);
                    }
                }
                Err(Refusal::new(
                    RefusalCode::BadRequest,
                    "the session of this name was deleted too often; use another name",
                ))
            })
            .await
    }

    /// Opens a session, once for each idempotency key. `digest` is that of the request with the key.
    async fn open_once(
        &self,
        user: &UserId,
        agent: &AgentProfile,
        seed: &ThreadSeed,
        key: Option<IdempotencyKey>,
    ) -> Result<Made<SessionId>, Refusal> {
        if let Some(id) = self.made_before(user, key.as_ref()).await? {
            return opened_before(id);
        }
        let ThreadSeed { title, instructions, history } = seed.clone();
        let title = title.as_deref().map(session_title).transpose()?;
        let mut new = self.new_session(user, agent, title, instructions, history);
        new.receipt = key.clone().map(|key| receipts::made(user, key, new.id.as_str()));
        match self.shared.store.directory().create_session(new).await {
            Ok(stored) => {
                self.shared.tell(user, &stored.id);
                Ok(Made::new(stored.id))
            }
            Err(error) => match self.made_before(user, key.as_ref()).await? {
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
