//! Responses.

mod chunks;
mod encode;
mod events;
mod id;
mod items;
mod live_items;
mod open_text;
mod run;
mod wire;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{AgentProfile, CommandId, Refusal, RefusalCode, SessionId};

use super::body::OpenAiBody;
use super::session::{self, NamedSession};
use super::tools::{ClientCall, OfferedTools};
use super::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::access::Identity;
use crate::endpoint::{
    CallAnswer, InputSender, RequestConversation, SessionReader, TurnPlace, TurnReader,
    stream_events,
};
use crate::rest::{IdempotencyHeader, PathParams, QueryParams, RestRefusal, RestState, SharedRest};
use encode::{ResponseEncoder, ResponseFrame};
use id::ResponseId;
use run::ResponseRun;
use wire::{ResponseInput, ResponseQuery, ResponseRequest};

/// Makes a response.
pub(super) async fn create(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    OpenAiBody(mut request): OpenAiBody<ResponseRequest>,
) -> OpenAiResult<Response> {
    request.check()?;
    let once = session::once(&key)?;
    let functions = request.take_functions()?;
    let tools =
        OfferedTools::new(functions, request.tool_choice.as_ref(), request.parallel_tool_calls)?;
    let input = request.take_input()?;
    let agent = rest.hub.directory().find_agent(&caller.user, &request.model).await;
    let agent = agent.map_err(|no| OpenAiRefusal::from(no).about("model"))?;
    let held = rest.hold(&caller.user)?;
    let begin = ResponseBeginning { rest: &rest, caller: &caller, agent: &agent, tools, once };
    let run = begin.run(&request, input).await?;
    match (request.stream == Some(true), request.background == Some(true)) {
        (true, _) => Ok(stream_events(run.stream(None), held)),
        (false, true) => Ok(Json(run.snapshot().await?).into_response()),
        (false, false) => Ok(Json(run.whole().await?).into_response()),
    }
}

/// Shows a response, as it is now or as a stream behind a position.
pub(super) async fn show(
    State(rest): SharedRest,
    caller: Identity,
    id: Result<PathParams<String>, RestRefusal>,
    query: Result<QueryParams<ResponseQuery>, RestRefusal>,
) -> OpenAiResult<Response> {
    let (PathParams(id), QueryParams(query)) = (id?, query?);
    let held = rest.hold(&caller.user)?;
    let run = existing(&rest, &caller, &id).await?;
    if !query.stream {
        return Ok(Json(run.snapshot().await?).into_response());
    }
    Ok(stream_events(run.stream(query.starting_after), held))
}

/// Cancels a response, if it has not ended.
pub(super) async fn cancel(
    State(rest): SharedRest,
    caller: Identity,
    id: Result<PathParams<String>, RestRefusal>,
) -> OpenAiResult<Response> {
    let PathParams(id) = id?;
    let _held = rest.hold(&caller.user)?;
    let mut run = existing(&rest, &caller, &id).await?;
    run.catch_up().await?;
    if let Some(command) = run.cancel_command() {
        let (user, session) = (&caller.user, run.session().clone());
        let from = Some(CLIENT_NAME.to_owned());
        match rest.hub.execute(user, from, None, session, command).await {
            // It ended meanwhile.
            Err(refusal)
                if matches!(refusal.code, RefusalCode::NoTurn | RefusalCode::UnknownInput) => {}
            outcome => drop(outcome?),
        }
    }
    Ok(Json(run.whole().await?).into_response())
}

/// Follows a response of the caller.
async fn existing(rest: &RestState, caller: &Identity, id: &str) -> OpenAiResult<ResponseRun> {
    let unknown = || no_response(id);
    let read = ResponseId::read(id).ok_or_else(unknown)?;
    let stored = rest.own(&caller.user, &read.session).await.map_err(|_| unknown())?;
    if stored.state.head() <= read.place.before {
        return Err(unknown());
    }
    let profile = rest.hub.store().directory().agent_by_id(&stored.agent).await?;
    let profile = profile.ok_or_else(unknown)?;
    let after = Some(read.place.before);
    let (hub, session) = (&rest.hub, &read.session);
    let reader = SessionReader::attach(hub, caller, session, after, Vec::new()).await?;
    let reader = TurnReader::new(reader, read.place, read.tools())?;
    let tools = read.tools();
    let frame = ResponseFrame {
        model: profile.spec.name.clone(),
        background: false,
        store: true,
        instructions: stored.state.instructions().map(str::to_owned),
        previous: None,
        id: read,
    };
    let encoder = ResponseEncoder::new(frame, tools);
    Ok(ResponseRun::new(rest, caller, reader, encoder, &profile))
}

fn no_response(id: &str) -> OpenAiRefusal {
    let message = format!("there is no response {id:?}");
    OpenAiRefusal::of_request(StatusCode::NOT_FOUND, "response_not_found", message)
}

/// Everything that a response begins with.
struct ResponseBeginning<'a> {
    rest: &'a Arc<RestState>,
    caller: &'a Identity,
    agent: &'a AgentProfile,
    tools: OfferedTools,
    once: Option<CommandId>,
}

/// The turn that a response follows.
type Followed = (SessionId, TurnReader, TurnPlace);

impl ResponseBeginning<'_> {
    async fn run(
        self,
        request: &ResponseRequest,
        input: ResponseInput,
    ) -> OpenAiResult<ResponseRun> {
        let named = self.named(request).await?;
        let ResponseInput { messages, approvals } = input;
        let conversation = RequestConversation::new(messages);
        if approvals.is_empty() {
            super::check_news(&conversation, "input")?;
        }
        let followed = match self.answered(&named, &conversation, &approvals).await? {
            Some(followed) => followed,
            None => self.said(request, named, conversation).await?,
        };
        let (session, reader, place) = followed;
        let has_tools = !self.tools.declarations.is_empty();
        let id = ResponseId { session, place, has_tools };
        let frame = ResponseFrame {
            id,
            model: request.model.clone(),
            background: request.background == Some(true),
            store: request.store != Some(false),
            instructions: request.instructions.clone(),
            previous: request.previous_response_id.clone(),
        };
        let encoder = ResponseEncoder::new(frame, self.tools.names.clone());
        Ok(ResponseRun::new(self.rest, self.caller, reader, encoder, self.agent))
    }

    /// The session that the request names, by an earlier response or by itself.
    async fn named(&self, request: &ResponseRequest) -> OpenAiResult<NamedSession> {
        let named = request.session()?;
        let Some(previous) = request.previous_response_id.as_deref() else { return Ok(named) };
        let unknown = || no_response(previous).about("previous_response_id");
        let id = ResponseId::read(previous).ok_or_else(unknown)?;
        session::own(self.rest, self.caller, self.agent, &id.session)
            .await
            .map_err(|_| unknown())?;
        let of_previous = NamedSession::Id(id.session);
        if named != NamedSession::Nothing && named != of_previous {
            return Err(OpenAiRefusal::of_param(
                "previous_response_id",
                "the response is in another session than the one that the request names",
            ));
        }
        Ok(of_previous)
    }

    /// Says what is new in the input to the session.
    async fn said(
        &self,
        request: &ResponseRequest,
        named: NamedSession,
        conversation: RequestConversation,
    ) -> OpenAiResult<Followed> {
        let (mut seed, text) = conversation.into_seed();
        let both = request.instructions.clone().into_iter().chain(seed.instructions.take());
        let both: Vec<String> = both.filter(|text| !text.is_empty()).collect();
        seed.instructions = (!both.is_empty()).then(|| both.join("\n\n"));
        let session = match named {
            // A response that is stored stays, as its session does.
            NamedSession::Nothing if request.store != Some(false) => self.opened(seed).await?,
            named @ (NamedSession::Nothing | NamedSession::Id(_) | NamedSession::Thread(_)) => {
                let (rest, caller, once) = (self.rest, self.caller, self.once.as_ref());
                session::choose(rest, caller, self.agent, named, seed, once).await?
            }
        };
        let sender = self.sender(session.clone());
        let (reader, place) = sender.send(self.once.clone(), text).await?;
        Ok((session, reader, place))
    }

    async fn opened(&self, seed: ThreadSeed) -> OpenAiResult<SessionId> {
        let threads = Threads::new(&self.rest.hub);
        let (user, once) = (&self.caller.user, self.once.clone());
        Ok(threads.fresh(user, once, self.agent, seed, None).await?.thing)
    }

    /// Answers calls that wait for the client or its approval. `None` if no call does.
    async fn answered(
        &self,
        named: &NamedSession,
        conversation: &RequestConversation,
        approvals: &[(String, bool)],
    ) -> OpenAiResult<Option<Followed>> {
        let results = conversation.results().iter().map(|result| {
            ClientCall::read(&result.id)
                .map(|call| (call, CallAnswer::Returned(result.text.clone())))
        });
        let decisions = approvals.iter().map(|(id, approve)| {
            id::read_approval(id).map(|call| (call, CallAnswer::Decided(*approve)))
        });
        let answers: Option<Vec<(ClientCall, CallAnswer)>> = results.chain(decisions).collect();
        let first = answers.as_ref().and_then(|answers| answers.first()).map(|(call, _)| call);
        let (Some(answers), Some(first)) = (&answers, first) else {
            return if approvals.is_empty() { Ok(None) } else { Err(no_approval()) };
        };
        let turn = (&first.session, first.before);
        let is_one_turn = answers.iter().all(|(call, _)| (&call.session, call.before) == turn);
        let fits = match named {
            NamedSession::Id(id) => *id == first.session,
            NamedSession::Nothing | NamedSession::Thread(_) => true,
        };
        let is_own = session::own(self.rest, self.caller, self.agent, &first.session).await.is_ok();
        if !(is_one_turn && fits && is_own) {
            return if approvals.is_empty() { Ok(None) } else { Err(no_approval()) };
        }
        let (session, before) = (first.session.clone(), first.before);
        let answers = answers.iter().map(|(call, answer)| (call.call.clone(), answer.clone()));
        let sender = self.sender(session.clone());
        match sender.answer_calls(before, answers.collect(), conversation.said()).await {
            Ok((reader, place)) => Ok(Some((session, reader, place))),
            // A call that took too long: its result is told in words.
            Err(refusal) if refusal.code == RefusalCode::UnknownCall && approvals.is_empty() => {
                Ok(None)
            }
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

fn no_approval() -> OpenAiRefusal {
    let refusal = Refusal::new(RefusalCode::UnknownCall, "no call waits for this approval");
    OpenAiRefusal::from(refusal).about("input")
}
