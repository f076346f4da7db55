//! The session that a request is about.

use std::time::Duration;

use serde_json::{Map, Value};
use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{CommandId, SessionId};

use super::turn_request::TurnRequest;
use super::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::endpoint::{SessionName, once_id};
use crate::rest::IdempotencyHeader;

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
        NamedSession::Id(id) => return entered(request, id, seed).await,
        NamedSession::Thread(name) => {
            let made = threads.named(user, agent, &name, seed.clone()).await?;
            if made.duplicate {
                return entered(request, made.thing, seed).await;
            }
            made
        }
    };
    Ok(ChosenSession { id: made.thing, is_new: !made.duplicate })
}

/// Goes on in a session that exists, with the seed's instructions if there are any.
async fn entered(
    request: &TurnRequest<'_>,
    id: SessionId,
    mut seed: ThreadSeed,
) -> OpenAiResult<ChosenSession> {
    // A repetition does not bring earlier instructions back.
    if took_effect(request, &id).await? {
        seed.instructions = None;
    }
    let id = request.sessions().open(SessionName::Id(id), seed).await?;
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

/// The id under which a request with the header `Idempotency-Key` takes effect once.
pub(super) fn once(key: &IdempotencyHeader) -> OpenAiResult<Option<CommandId>> {
    let key = key.text()?;
    Ok(key.map(|key| once_id(CLIENT_NAME, key)).transpose()?)
}
