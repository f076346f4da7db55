//! The AG-UI endpoint: `/ag-ui/{agent}`, with `connect` and `stop` below it.
//!
//! A thread is a session, and a run is a turn or a part of one. PROTOCOL.md has the mapping.

mod begin;
mod client_copy;
mod encode;
mod error;
mod event;
mod ids;
mod run;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod text_stream;
mod wire;

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Serialize;
use thoughtwire_hub::Threads;
use thoughtwire_proto::{
    AgentProfile, Refusal, RefusalCode, SessionCommand, SessionId, ToolDeclaration,
};

pub(crate) use error::AgUiRefusal;

use crate::access::Identity;
use crate::endpoint::{
    SessionOpener, SessionReader, TurnPlace, TurnReader, authorize, end_turn, is_below,
    stream_events,
};
use crate::rest::{JsonBody, PathParams, RestRefusal, RestState, SharedRest, read};
use begin::{FollowedRun, RunBeginning, no_tools, run_id, thread_name};
use client_copy::ClientCopy;
use encode::{RunEncoder, RunFrame};
use event::{AgUiEvent, AgUiMetadata, PROTOCOL_VERSION, RunFacts, RunOutcome};
use run::AgUiRun;
use snapshot::{MOST_RECORDS, SnapshotFold};
use wire::{RunAgentInput, StopRequest};

/// Beginning of the endpoint's paths.
const PREFIX: &str = "/ag-ui";

/// Name of the endpoint as a client of sessions.
const CLIENT_NAME: &str = "ag-ui";

/// Largest body of a request: it has the whole conversation.
const INPUT_BYTES: usize = 16 << 20;

/// Result of a handler.
type AgUiResult<T> = Result<T, AgUiRefusal>;

/// Whether a path is the endpoint's, so that its refusals have the form of AG-UI.
pub(crate) fn is_path(path: &str) -> bool {
    is_below(path, PREFIX)
}

/// The endpoint's routes. All of them need the scope `chat`.
pub(crate) fn router(rest: Arc<RestState>) -> Router {
    let routes = Router::new()
        .route("/{agent}", post(run))
        .route("/{agent}/connect", post(connect))
        .route("/{agent}/stop", post(stop))
        .method_not_allowed_fallback(no_method)
        .fallback(no_path)
        .layer(DefaultBodyLimit::max(INPUT_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&rest), authorize::<AgUiRefusal>));
    Router::new().nest(PREFIX, routes).with_state(rest)
}

/// Runs an agent on a thread.
async fn run(
    State(rest): SharedRest,
    caller: Identity,
    agent: Result<PathParams<String>, RestRefusal>,
    body: JsonBody<RunAgentInput>,
) -> AgUiResult<Response> {
    let PathParams(agent) = agent?;
    let mut input = read(body)?;
    let tools = input.take_tools()?;
    let names = tool_names(&tools);
    let agent = rest.hub.directory().find_agent(&caller.user, &agent).await?;
    let held = rest.hold(&caller.user)?;
    let beginning =
        RunBeginning { rest: &rest, caller: &caller, agent: &agent, input: &input, tools };
    let followed = beginning.begin().await?;
    let opening = RunOpening { rest: &rest, caller: &caller, agent: &agent, input: &input };
    let mut events = vec![opening.started(Some(followed.session.clone()))];
    let run = opening.follow(followed, names, &mut events).await?;
    Ok(stream_events(run.stream(&events), held))
}

/// Shows the past of a thread, and what goes on in it.
async fn connect(
    State(rest): SharedRest,
    caller: Identity,
    agent: Result<PathParams<String>, RestRefusal>,
    body: JsonBody<RunAgentInput>,
) -> AgUiResult<Response> {
    let PathParams(agent) = agent?;
    let mut input = read(body)?;
    let tools = input.take_tools()?;
    let agent = rest.hub.directory().find_agent(&caller.user, &agent).await?;
    let held = rest.hold(&caller.user)?;
    let (name, _) = (thread_name(&input.thread_id)?, run_id(&input.run_id)?);
    let opener = SessionOpener { rest: &rest, caller: &caller, agent: &agent, from: CLIENT_NAME };
    let session = opener.find(&name).await?;
    let opening = RunOpening { rest: &rest, caller: &caller, agent: &agent, input: &input };
    let mut events = vec![opening.started(session.clone())];
    let followed = match session {
        Some(session) => opening.past(session, tools.clone(), &mut events).await?,
        None => {
            events.push(AgUiEvent::MessagesSnapshot { messages: Vec::new() });
            None
        }
    };
    let Some(followed) = followed else {
        events.push(opening.nothing_runs());
        let events: Vec<_> = events.iter().map(|event| Ok(event.encode())).collect();
        return Ok(stream_events(futures::stream::iter(events), held));
    };
    let run = opening.follow(followed, tool_names(&tools), &mut events).await?;
    Ok(stream_events(run.stream(&events), held))
}

/// Whether a run was stopped.
#[derive(Serialize)]
struct StopAnswer {
    stopped: bool,
}

/// Stops a run, or what runs on a thread.
async fn stop(
    State(rest): SharedRest,
    caller: Identity,
    agent: Result<PathParams<String>, RestRefusal>,
    body: JsonBody<StopRequest>,
) -> AgUiResult<Response> {
    let PathParams(agent) = agent?;
    let StopRequest { thread_id, run_id: run } = read(body)?;
    let user = &caller.user;
    let agent = rest.hub.directory().find_agent(user, &agent).await?;
    let name = thread_name(&thread_id)?;
    let opener = SessionOpener { rest: &rest, caller: &caller, agent: &agent, from: CLIENT_NAME };
    let session = opener.find(&name).await?.ok_or_else(|| {
        Refusal::new(RefusalCode::UnknownSession, format!("there is no thread {thread_id:?}"))
    })?;
    let stored = rest.own(user, &session).await?;
    let input = match &run {
        Some(run) => Threads::new(&rest.hub).input_sent(user, &session, &run_id(run)?).await?,
        None => None,
    };
    let running = stored.state.turn();
    let command = match input {
        Some(input) if running.is_some_and(|turn| turn.input == input) => {
            running.map(|turn| SessionCommand::Cancel { turn: Some(turn.id.clone()) })
        }
        Some(input) => Some(SessionCommand::Withdraw { input }),
        None => running.map(|turn| SessionCommand::Cancel { turn: Some(turn.id.clone()) }),
    };
    let stopped = match command {
        None => false,
        Some(command) => end_turn(&rest, &caller, CLIENT_NAME, session, command).await?,
    };
    Ok(axum::Json(StopAnswer { stopped }).into_response())
}

/// Maker of the first events of a run.
struct RunOpening<'a> {
    rest: &'a RestState,
    caller: &'a Identity,
    agent: &'a AgentProfile,
    input: &'a RunAgentInput,
}

impl RunOpening<'_> {
    fn started(&self, session: Option<SessionId>) -> AgUiEvent {
        let metadata = session.map(|session| AgUiMetadata { thoughtwire: RunFacts { session } });
        AgUiEvent::RunStarted {
            thread_id: self.input.thread_id.clone(),
            run_id: self.input.run_id.clone(),
            protocol_version: PROTOCOL_VERSION,
            parent_run_id: self.input.parent_run_id.clone(),
            metadata,
        }
    }

    /// The end of a run on a thread where nothing goes on.
    fn nothing_runs(&self) -> AgUiEvent {
        AgUiEvent::RunFinished {
            thread_id: self.input.thread_id.clone(),
            run_id: self.input.run_id.clone(),
            outcome: RunOutcome::Success { pending_tool_call_ids: Vec::new() },
            usage: Vec::new(),
        }
    }

    /// Adds the state to the first events, and makes the run.
    async fn follow(
        &self,
        followed: FollowedRun,
        tools: HashSet<String>,
        events: &mut Vec<AgUiEvent>,
    ) -> AgUiResult<AgUiRun> {
        let FollowedRun { session, reader, before, answered, copy } = followed;
        // Edits up to here are in the snapshot.
        let head = self.rest.own(&self.caller.user, &session).await?.state.head();
        let state =
            state::snapshot(self.rest, self.caller, &self.agent.id, &self.input.state).await?;
        let state_at = state.is_some().then_some(head);
        events.extend(state.map(|snapshot| AgUiEvent::StateSnapshot { snapshot }));
        let (thread, run) = (self.input.thread_id.clone(), self.input.run_id.clone());
        let frame = RunFrame { thread, run, before, answered, tools, state_at };
        Ok(AgUiRun::new(self.rest, self.caller, reader, RunEncoder::new(frame, copy)))
    }

    /// Adds the past of a session to the first events. Returns the running turn, if there is one.
    async fn past(
        &self,
        session: SessionId,
        tools: Vec<ToolDeclaration>,
        events: &mut Vec<AgUiEvent>,
    ) -> AgUiResult<Option<FollowedRun>> {
        let stored = self.rest.own(&self.caller.user, &session).await?;
        let before = stored.state.turn().map(|turn| turn.asked.previous());
        let logs = self.rest.hub.store().logs();
        let end = stored.state.head().next();
        let records = logs.records_before(&session, end, MOST_RECORDS).await?;
        let messages = SnapshotFold::messages(&records);
        let copy = ClientCopy::of_snapshot(&messages);
        events.push(AgUiEvent::MessagesSnapshot { messages });
        let Some(before) = before else { return Ok(None) };
        let (hub, caller) = (&self.rest.hub, self.caller);
        let reader = SessionReader::attach(hub, caller, &session, Some(before), tools).await?;
        let place = TurnPlace { before, shown_after: before };
        let reader = TurnReader::new(reader, place, no_tools())?;
        Ok(Some(FollowedRun { session, reader, before, answered: None, copy }))
    }
}

fn tool_names(tools: &[ToolDeclaration]) -> HashSet<String> {
    tools.iter().map(|tool| tool.name.clone()).collect()
}

async fn no_path(request: Request) -> AgUiRefusal {
    let path = request.uri().path().to_owned();
    let message = format!(
        "there is nothing at {PREFIX}{path}; runs are posted to {PREFIX}/AGENT, and below it are \
         connect and stop"
    );
    AgUiRefusal::of_request(StatusCode::NOT_FOUND, "not_found", message)
}

async fn no_method(request: Request) -> AgUiRefusal {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let message = format!("{method} is not possible at {PREFIX}{path}; POST is");
    AgUiRefusal::of_request(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
