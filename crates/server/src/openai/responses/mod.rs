//! Responses.

mod chunks;
mod continuing;
mod encode;
mod events;
mod id;
mod input_items;
mod items;
mod live_items;
mod object;
mod open_text;
mod run;
mod stored;
mod wire;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use thoughtwire_proto::{Refusal, RefusalCode};

use super::body::OpenAiBody;
use super::session::NamedSession;
use super::tools::OfferedTools;
use super::turn_request::{FollowedTurn, TurnRequest, returned_calls};
use super::{OpenAiRefusal, OpenAiResult};
use crate::access::Identity;
use crate::endpoint::{CallAnswer, RequestConversation, stream_events};
use crate::rest::{IdempotencyHeader, PathParams, QueryParams, RestRefusal, SharedRest};
use continuing::Continuation;
use encode::ResponseEncoder;
use id::{ResponseId, read_approval};
use input_items::InputItemsQuery;
use object::ResponseFrame;
use run::ResponseRun;
use stored::{StoredResponse, no_response};
use wire::{ResponseInput, ResponseQuery, ResponseRequest};

/// Makes a response.
pub(super) async fn create(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    OpenAiBody(mut request): OpenAiBody<ResponseRequest>,
) -> OpenAiResult<Response> {
    request.check()?;
    let functions = request.take_functions()?;
    let tools =
        OfferedTools::new(functions, request.tool_choice.as_ref(), request.parallel_tool_calls)?;
    let input = request.take_input()?;
    let turn = TurnRequest::new(&rest, &caller, &request.model, tools, &key).await?;
    let held = rest.hold(&caller.user)?;
    let run = begin(&turn, &request, input).await?;
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
    let run = StoredResponse::find(&rest, &caller, &id).await?.follow().await?;
    if !query.stream {
        return Ok(Json(run.snapshot().await?).into_response());
    }
    Ok(stream_events(run.stream(query.starting_after), held))
}

/// Lists the input of a response.
pub(super) async fn input_items(
    State(rest): SharedRest,
    caller: Identity,
    id: Result<PathParams<String>, RestRefusal>,
    query: Result<QueryParams<InputItemsQuery>, RestRefusal>,
) -> OpenAiResult<Json<Value>> {
    let (PathParams(id), QueryParams(query)) = (id?, query?);
    let response = StoredResponse::find(&rest, &caller, &id).await?;
    input_items::list(&response, &query).await.map(Json)
}

/// Cancels a response, if it has not ended.
pub(super) async fn cancel(
    State(rest): SharedRest,
    caller: Identity,
    id: Result<PathParams<String>, RestRefusal>,
) -> OpenAiResult<Json<Value>> {
    let PathParams(id) = id?;
    let _held = rest.hold(&caller.user)?;
    StoredResponse::find(&rest, &caller, &id).await?.cancel().await.map(Json)
}

/// Deletes a response, if its session has no other.
pub(super) async fn delete(
    State(rest): SharedRest,
    caller: Identity,
    id: Result<PathParams<String>, RestRefusal>,
) -> OpenAiResult<Json<Value>> {
    let PathParams(id) = id?;
    let response = StoredResponse::find(&rest, &caller, &id).await?;
    let _locked = rest.locks.lock(&response.session.id).await;
    response.delete().await.map(Json)
}

/// Begins a response: answers calls that wait, or says what is new.
async fn begin(
    turn: &TurnRequest<'_>,
    request: &ResponseRequest,
    input: ResponseInput,
) -> OpenAiResult<ResponseRun> {
    let named = request.session()?;
    let previous = previous(turn, request, &named).await?;
    let ResponseInput { messages, approvals } = input;
    let conversation = RequestConversation::new(messages);
    if approvals.is_empty() {
        super::check_news(&conversation, "input")?;
    }
    let of_answers = match &previous {
        Some(previous) => NamedSession::Id(previous.session.id.clone()),
        None => named.clone(),
    };
    let decisions = approvals
        .iter()
        .map(|(id, approve)| read_approval(id).map(|call| (call, CallAnswer::Decided(*approve))));
    let answers = returned_calls(&conversation).chain(decisions).collect();
    let FollowedTurn { session, reader, place } =
        match turn.answer(answers, &of_answers, conversation.said()).await? {
            Some(followed) => followed,
            None if !approvals.is_empty() => return Err(no_approval()),
            None => say(turn, request, named, previous.as_ref(), conversation).await?,
        };
    let has_tools = !turn.tools.declarations.is_empty();
    let frame = ResponseFrame {
        id: ResponseId { session, place, has_tools },
        model: request.model.clone(),
        background: request.background == Some(true),
        store: request.store != Some(false),
        instructions: request.instructions.clone(),
        previous: request.previous_response_id.clone(),
    };
    let encoder = ResponseEncoder::new(frame, turn.tools.names.clone());
    Ok(ResponseRun::new(turn.rest, turn.caller, reader, encoder, &turn.agent))
}

/// The response that the request names as the one before it.
async fn previous<'a>(
    turn: &TurnRequest<'a>,
    request: &ResponseRequest,
    named: &NamedSession,
) -> OpenAiResult<Option<StoredResponse<'a>>> {
    let Some(id) = request.previous_response_id.as_deref() else { return Ok(None) };
    const PARAM: &str = "previous_response_id";
    let found = StoredResponse::find(turn.rest, turn.caller, id).await;
    let previous = found.map_err(|no| no.about(PARAM))?;
    if previous.session.agent != turn.agent.id {
        return Err(no_response(id).about(PARAM));
    }
    if *named != NamedSession::Nothing && *named != NamedSession::Id(previous.session.id.clone()) {
        let message = "the response is in another session than the one that the request names";
        return Err(OpenAiRefusal::of_param(PARAM, message));
    }
    Ok(Some(previous))
}

/// Says what is new in the input.
async fn say(
    turn: &TurnRequest<'_>,
    request: &ResponseRequest,
    named: NamedSession,
    previous: Option<&StoredResponse<'_>>,
    conversation: RequestConversation,
) -> OpenAiResult<FollowedTurn> {
    let (mut seed, text) = conversation.into_seed();
    let both = request.instructions.clone().into_iter().chain(seed.instructions.take());
    let both: Vec<String> = both.filter(|text| !text.is_empty()).collect();
    seed.instructions = (!both.is_empty()).then(|| both.join("\n\n"));
    // A response that is stored stays, as its session does.
    let keep = (request.store == Some(false)).then_some(turn.rest.keep_completions);
    let Some(previous) = previous else { return turn.say(named, seed, keep, text).await };
    let session = previous.session.id.clone();
    // Only one of two requests behind a response goes on in its session.
    let _locked = turn.rest.locks.lock(&session).await;
    let continuation = match named {
        // The session is meant, whatever was said there.
        NamedSession::Id(_) | NamedSession::Thread(_) => Continuation::Session,
        NamedSession::Nothing => Continuation::behind(previous, turn).await?,
    };
    match continuation {
        Continuation::Session => turn.say(NamedSession::Id(session), seed, keep, text).await,
        Continuation::Branch(past) => {
            let instructions = seed.instructions.or(past.instructions);
            let seed = thoughtwire_hub::ThreadSeed { instructions, ..past };
            turn.say(NamedSession::Nothing, seed, keep, text).await
        }
    }
}

fn no_approval() -> OpenAiRefusal {
    let refusal = Refusal::new(RefusalCode::UnknownCall, "no call waits for this approval");
    OpenAiRefusal::from(refusal).about("input")
}
