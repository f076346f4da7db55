//! The turn that a request is about: of a new input, or of calls that it answers.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_hub::ThreadSeed;
use thoughtwire_proto::{AgentProfile, CommandId, Refusal, RefusalCode, SessionCommand, SessionId};

use super::session::{self, ChosenSession, NamedSession};
use super::tools::{ClientCall, OfferedTools};
use super::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::access::Identity;
use crate::endpoint::{
    CallAnswer, InputSender, RequestConversation, SessionOpener, TurnPlace, TurnReader,
};
use crate::rest::{IdempotencyHeader, RestState};

/// A request for a reply, with what it needs to begin.
pub(super) struct TurnRequest<'a> {
    pub(super) rest: &'a Arc<RestState>,
    pub(super) caller: &'a Identity,
    pub(super) agent: AgentProfile,
    pub(super) tools: OfferedTools,
    /// The id under which the request takes effect once.
    pub(super) once: Option<CommandId>,
}

/// The turn that answers a request.
pub(super) struct FollowedTurn {
    pub(super) session: SessionId,
    pub(super) reader: TurnReader,
    pub(super) place: TurnPlace,
}

/// A call, and the client's answer to it.
pub(super) type AnsweredCall = (ClientCall, CallAnswer);

/// New results of functions as answers to calls; `None` for ids that are not ours.
pub(super) fn returned_calls(
    conversation: &RequestConversation,
) -> impl Iterator<Item = Option<AnsweredCall>> + '_ {
    conversation.results().iter().map(|result| {
        ClientCall::read(&result.id).map(|call| (call, CallAnswer::Returned(result.text.clone())))
    })
}

impl<'a> TurnRequest<'a> {
    /// Finds the agent that `model` names.
    pub(super) async fn new(
        rest: &'a Arc<RestState>,
        caller: &'a Identity,
        model: &str,
        tools: OfferedTools,
        key: &IdempotencyHeader,
    ) -> OpenAiResult<Self> {
        let once = session::once(key)?;
        let agent = rest.hub.directory().find_agent(&caller.user, model).await;
        let agent = agent.map_err(|no| OpenAiRefusal::from(no).about("model"))?;
        Ok(Self { rest, caller, agent, tools, once })
    }

    /// The sessions of the caller and the agent.
    pub(super) fn sessions(&self) -> SessionOpener<'_> {
        let Self { rest, caller, agent, .. } = self;
        SessionOpener { rest, caller, agent, from: CLIENT_NAME }
    }

    /// Says a text to the session that the request names. A new one begins with `seed`, and is
    /// deleted once it is idle for `keep`.
    pub(super) async fn say(
        &self,
        named: NamedSession,
        seed: ThreadSeed,
        keep: Option<Duration>,
        text: String,
    ) -> OpenAiResult<FollowedTurn> {
        let ChosenSession { id: session, is_new } =
            session::choose(self, named, seed, keep).await?;
        match self.sender(session.clone()).send(self.once.clone(), text).await {
            Ok((reader, place)) => Ok(FollowedTurn { session, reader, place }),
            Err(refusal) => {
                // A repetition with the same key says its text to the same session.
                if is_new && self.once.is_none() {
                    self.withdraw(session).await;
                }
                Err(refusal.into())
            }
        }
    }

    /// Deletes a session that was opened for a text which was then refused.
    async fn withdraw(&self, session: SessionId) {
        let (user, from) = (&self.caller.user, Some(CLIENT_NAME.to_owned()));
        let deleted =
            self.rest.hub.execute(user, from, None, session, SessionCommand::Delete).await;
        if let Err(refusal) = deleted {
            tracing::warn!(%refusal, "a session whose first input was refused stays");
        }
    }

    /// Answers calls of one turn that wait for the client or its approval. `said` joins the turn.
    /// `None` if no call waits for these answers; `answers` is `None` if an id is not one of ours.
    pub(super) async fn answer(
        &self,
        answers: Option<Vec<AnsweredCall>>,
        named: &NamedSession,
        said: Option<String>,
    ) -> OpenAiResult<Option<FollowedTurn>> {
        let Some(answers) = answers else { return Ok(None) };
        let Some((first, _)) = answers.first() else { return Ok(None) };
        let (session, before) = (first.session.clone(), first.before);
        let is_one_turn =
            answers.iter().all(|(call, _)| (&call.session, call.before) == (&session, before));
        let fits = match named {
            NamedSession::Id(id) => *id == session,
            NamedSession::Nothing | NamedSession::Thread(_) => true,
        };
        if !is_one_turn || !fits || self.sessions().check(&session).await.is_err() {
            return Ok(None);
        }
        let answers: Vec<_> =
            answers.into_iter().map(|(call, answer)| (call.call, answer)).collect();
        for (at, (call, _)) in answers.iter().enumerate() {
            if answers.iter().take(at).any(|(other, _)| other == call) {
                let reason = format!("call {call} is answered twice");
                return Err(Refusal::new(RefusalCode::BadRequest, reason).into());
            }
        }
        match self.sender(session.clone()).answer_calls(before, answers, said).await {
            Ok((reader, place)) => Ok(Some(FollowedTurn { session, reader, place })),
            // A call that took too long, or whose turn was cancelled.
            Err(refusal) if refusal.code == RefusalCode::UnknownCall => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn sender(&self, session: SessionId) -> InputSender<'_> {
        InputSender {
            rest: self.rest,
            caller: self.caller,
            from: CLIENT_NAME,
            session,
            tools: self.tools.declarations.clone(),
            names: self.tools.names.clone(),
        }
    }
}
