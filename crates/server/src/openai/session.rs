//! The session that a request is about.

use serde_json::{Map, Value};
use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{AgentProfile, CommandId, Refusal, RefusalCode, SessionCommand, SessionId};

use super::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::access::Identity;
use crate::endpoint::once_id;
use crate::rest::{IdempotencyHeader, RestState};

/// Number of hexadecimal digits of our sessions' ids.
const ID_DIGITS: usize = 32;

/// The session that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NamedSession {
    /// None: the request gets one of its own.
    Nothing,
    /// One of the caller's sessions, by its id.
    Id(SessionId),
    /// A name that the client chose.
    Thread(String),
}

impl NamedSession {
    /// Reads `metadata.session`.
    pub(super) fn of_metadata(metadata: Option<&Map<String, Value>>) -> OpenAiResult<Self> {
        match metadata.and_then(|metadata| metadata.get("session")) {
            None | Some(Value::Null) => Ok(Self::Nothing),
            Some(Value::String(name)) => Self::of_text(name, "metadata.session"),
            Some(_) => Err(OpenAiRefusal::of_param("metadata.session", "it has to be a text")),
        }
    }

    /// Reads a name. A text in the form of our sessions' ids is an id.
    pub(super) fn of_text(name: &str, param: &str) -> OpenAiResult<Self> {
        if name.is_empty() {
            return Err(OpenAiRefusal::of_param(param, "the name of a session is empty"));
        }
        let is_id = name.len() == ID_DIGITS
            && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match SessionId::new(name) {
            Ok(id) if is_id => Ok(Self::Id(id)),
            Ok(_) | Err(_) => Ok(Self::Thread(name.to_owned())),
        }
    }
}

/// Finds the session that a request names, or opens one with `seed`.
pub(super) async fn choose(
    rest: &RestState,
    caller: &Identity,
    agent: &AgentProfile,
    name: NamedSession,
    seed: ThreadSeed,
    once: Option<&CommandId>,
) -> OpenAiResult<SessionId> {
    let (user, threads) = (&caller.user, Threads::new(&rest.hub));
    let id = match name {
        NamedSession::Nothing => {
            let keep = rest.keep_completions;
            return Ok(threads.fresh(user, once.cloned(), agent, seed, Some(keep)).await?.thing);
        }
        NamedSession::Id(id) => id,
        NamedSession::Thread(name) => {
            let made = threads.named(user, agent, &name, seed.clone()).await?;
            if !made.duplicate {
                return Ok(made.thing);
            }
            made.thing
        }
    };
    own(rest, caller, agent, &id).await?;
    if let Some(instructions) = seed.instructions {
        let command = SessionCommand::Instruct { instructions };
        rest.hub.execute(user, Some(CLIENT_NAME.to_owned()), None, id.clone(), command).await?;
    }
    Ok(id)
}

/// Checks that a session is the caller's and the agent's.
pub(super) async fn own(
    rest: &RestState,
    caller: &Identity,
    agent: &AgentProfile,
    session: &SessionId,
) -> OpenAiResult<()> {
    let stored = rest.own(&caller.user, session).await?;
    if stored.agent == agent.id {
        return Ok(());
    }
    let name = &agent.spec.name;
    let reason = format!("session {session} is not a session of the model {name}");
    Err(Refusal::new(RefusalCode::UnknownSession, reason).into())
}

/// The id under which a request with the header `Idempotency-Key` takes effect once.
pub(super) fn once(key: &IdempotencyHeader) -> OpenAiResult<Option<CommandId>> {
    let key = key.text()?;
    Ok(key.map(|key| once_id(CLIENT_NAME, key)).transpose()?)
}
