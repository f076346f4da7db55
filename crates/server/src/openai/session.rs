//! The session that a request is about.

use std::time::Duration;

use serde_json::{Map, Value};
use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{CommandId, Refusal, RefusalCode, SessionCommand, SessionId};
use thoughtwire_store::StoredSession;

use super::turn_request::TurnRequest;
use super::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::endpoint::once_id;
use crate::rest::IdempotencyHeader;

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

/// The session in which a request takes effect.
pub(super) struct ChosenSession {
    pub(super) id: SessionId,
    /// Whether it was opened for the request.
    pub(super) is_new: bool,
}

/// Finds the session that a request names, or opens one with `seed`. One without a name is deleted
/// once it is idle for `keep`.
pub(super) async fn choose(
    request: &TurnRequest<'_>,
    name: NamedSession,
    seed: ThreadSeed,
    keep: Option<Duration>,
) -> OpenAiResult<ChosenSession> {
    let TurnRequest { rest, caller, agent, once, .. } = request;
    let (user, threads) = (&caller.user, Threads::new(&rest.hub));
    let made = match name {
        NamedSession::Nothing => threads.fresh(user, once.clone(), agent, seed, keep).await?,
        NamedSession::Id(id) => return entered(request, id, seed.instructions).await,
        NamedSession::Thread(name) => {
            let made = threads.named(user, agent, &name, seed.clone()).await?;
            if made.duplicate {
                return entered(request, made.thing, seed.instructions).await;
            }
            made
        }
    };
    Ok(ChosenSession { id: made.thing, is_new: !made.duplicate })
}

/// Goes on in a session that exists, with new instructions if there are any.
async fn entered(
    request: &TurnRequest<'_>,
    id: SessionId,
    instructions: Option<String>,
) -> OpenAiResult<ChosenSession> {
    own(request, &id).await?;
    // A repetition does not bring earlier instructions back.
    if let Some(instructions) = instructions
        && !took_effect(request, &id).await?
    {
        let (user, from) = (&request.caller.user, Some(CLIENT_NAME.to_owned()));
        let command = SessionCommand::Instruct { instructions };
        request.rest.hub.execute(user, from, None, id.clone(), command).await?;
    }
    Ok(ChosenSession { id, is_new: false })
}

/// Whether a request with the same key took effect in a session before.
pub(super) async fn took_effect(
    request: &TurnRequest<'_>,
    session: &SessionId,
) -> OpenAiResult<bool> {
    match &request.once {
        Some(id) => has_receipt(request, session, id).await,
        None => Ok(false),
    }
}

/// Whether a command with an id took effect in a session.
pub(super) async fn has_receipt(
    request: &TurnRequest<'_>,
    session: &SessionId,
    id: &CommandId,
) -> OpenAiResult<bool> {
    let logs = request.rest.hub.store().logs();
    Ok(logs.receipt(&request.caller.user, session, id).await?.is_some())
}

/// Finds a session of the caller and the agent.
pub(super) async fn own(
    request: &TurnRequest<'_>,
    session: &SessionId,
) -> OpenAiResult<StoredSession> {
    let TurnRequest { rest, caller, agent, .. } = request;
    let stored = rest.own(&caller.user, session).await?;
    if stored.agent == agent.id {
        return Ok(stored);
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
