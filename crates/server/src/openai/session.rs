//! The session that a request is about.

use serde_json::{Map, Value};
use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{AgentProfile, CommandId, SessionId};

use super::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::access::Identity;
use crate::endpoint::{SessionName, SessionOpener, once_id};
use crate::rest::{IdempotencyHeader, RestState};

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
        match SessionName::read(name) {
            Some(SessionName::Id(id)) => Ok(Self::Id(id)),
            Some(SessionName::Thread(name)) => Ok(Self::Thread(name)),
            None => Err(OpenAiRefusal::of_param(param, "the name of a session is empty")),
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
    let name = match name {
        NamedSession::Nothing => {
            let (threads, keep) = (Threads::new(&rest.hub), rest.keep_completions);
            let made = threads.fresh(&caller.user, once.cloned(), agent, seed, Some(keep)).await?;
            return Ok(made.thing);
        }
        NamedSession::Id(id) => SessionName::Id(id),
        NamedSession::Thread(name) => SessionName::Thread(name),
    };
    Ok(SessionOpener { rest, caller, agent, from: CLIENT_NAME }.open(name, seed).await?)
}

/// Checks that a session is the caller's and the agent's.
pub(super) async fn own(
    rest: &RestState,
    caller: &Identity,
    agent: &AgentProfile,
    session: &SessionId,
) -> OpenAiResult<()> {
    Ok(SessionOpener { rest, caller, agent, from: CLIENT_NAME }.check(session).await?)
}

/// The id under which a request with the header `Idempotency-Key` takes effect once.
pub(super) fn once(key: &IdempotencyHeader) -> OpenAiResult<Option<CommandId>> {
    let key = key.text()?;
    Ok(key.map(|key| once_id(CLIENT_NAME, key)).transpose()?)
}
