//! The session that a request of another protocol names.

use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{AgentProfile, Refusal, RefusalCode, SessionCommand, SessionId};

use crate::access::Identity;
use crate::rest::{RestRefusal, RestState};

/// Number of hexadecimal digits of our sessions' ids.
const ID_DIGITS: usize = 32;

/// Name of a session in another protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionName {
    /// One of the caller's sessions, by its id.
    Id(SessionId),
    /// A name that the client chose.
    Thread(String),
}

impl SessionName {
    /// Reads a name; `None` if it is empty. A text in the form of our sessions' ids is an id.
    pub(crate) fn read(name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let is_id = name.len() == ID_DIGITS
            && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        Some(match SessionId::new(name) {
            Ok(id) if is_id => Self::Id(id),
            Ok(_) | Err(_) => Self::Thread(name.to_owned()),
        })
    }
}

/// Finds and opens sessions of one agent for a caller.
pub(crate) struct SessionOpener<'a> {
    pub(crate) rest: &'a RestState,
    pub(crate) caller: &'a Identity,
    pub(crate) agent: &'a AgentProfile,
    /// Name of the endpoint, which the log records.
    pub(crate) from: &'static str,
}

impl SessionOpener<'_> {
    /// Finds the session of a name. A thread may have none yet.
    ///
    /// # Errors
    /// When an id is not that of a session of the caller and the agent.
    pub(crate) async fn find(&self, name: &SessionName) -> Result<Option<SessionId>, Refusal> {
        match name {
            SessionName::Id(id) => {
                self.check(id).await?;
                Ok(Some(id.clone()))
            }
            SessionName::Thread(name) => {
                Threads::new(&self.rest.hub).find(&self.caller.user, self.agent, name).await
            }
        }
    }

    /// Finds the session of a name, or opens it with `seed`. One that exists gets the seed's
    /// instructions only.
    ///
    /// # Errors
    /// When an id is not that of a session of the caller and the agent, or nothing can be saved.
    pub(crate) async fn open(
        &self,
        name: SessionName,
        seed: ThreadSeed,
    ) -> Result<SessionId, Refusal> {
        let user = &self.caller.user;
        let id = match name {
            SessionName::Id(id) => id,
            SessionName::Thread(name) => {
                let threads = Threads::new(&self.rest.hub);
                let made = threads.named(user, self.agent, &name, seed.clone()).await?;
                if !made.duplicate {
                    return Ok(made.thing);
                }
                made.thing
            }
        };
        self.check(&id).await?;
        if let Some(instructions) = seed.instructions {
            let (from, command) =
                (Some(self.from.to_owned()), SessionCommand::Instruct { instructions });
            self.rest.hub.execute(user, from, None, id.clone(), command).await?;
        }
        Ok(id)
    }

    /// Checks that a session is the caller's and the agent's.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn check(&self, session: &SessionId) -> Result<(), Refusal> {
        let stored = self.rest.own(&self.caller.user, session).await;
        let stored = stored.map_err(|RestRefusal(refusal)| refusal)?;
        if stored.agent == self.agent.id {
            return Ok(());
        }
        let name = &self.agent.spec.name;
        let reason = format!("session {session} is not a session of the agent {name}");
        Err(Refusal::new(RefusalCode::UnknownSession, reason))
    }
}
