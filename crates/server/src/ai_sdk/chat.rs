//! Handlers: an answer to a message, its resumption, and its end.

use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use thoughtwire_hub::{ThreadSeed, check_tool};
use thoughtwire_proto::{
    AgentProfile, ApprovalAbout, Event, InputEvent, OpenCall, Record, Refusal, RefusalCode, Seq,
    SessionCommand, SessionId, State as SessionState, ToolDeclaration, TurnEvent,
};

use super::encode::UiMessageEncoder;
use super::ids;
use super::ui_chunk::UiChunk;
use super::ui_message::{UiAnswers, UiRequest, UiTask};
use super::{AiSdkResult, CLIENT_NAME};
use crate::access::Identity;
use crate::endpoint::{
    CallAnswer, ClientTools, InputSender, SessionName, SessionOpener, SseEvents, StreamCut,
    TurnEvents, TurnPlace, TurnReader, end_turn, once_id, stream_events, turn_stream,
};
use crate::rest::{HeldPermits, JsonBody, PathParams, RestRefusal, RestState, SharedRest, read};

/// Header by which the SDK's clients know the stream.
const STREAM_HEADER: (HeaderName, &str) =
    (HeaderName::from_static("x-vercel-ai-ui-message-stream"), "v1");

/// Number of records that are read at once.
const PAGE: usize = 1_000;

type Path<T> = Result<PathParams<T>, RestRefusal>;

/// The chat of a request.
struct UiChat<'a> {
    rest: &'a RestState,
    caller: &'a Identity,
    agent: AgentProfile,
    id: &'a str,
}

/// An answer under way.
struct UiRun {
    reader: TurnReader,
    encoder: UiMessageEncoder,
}

/// Body of a request that ends an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UiStopRequest {
    /// The assistant's message as the client has it. A newer answer is not ended.
    #[serde(default)]
    assistant_message: Option<StoppedMessage>,
}

#[derive(Debug, Deserialize)]
struct StoppedMessage {
    id: String,
}

/// Answer to a request that ends an answer.
#[derive(Debug, Serialize)]
struct UiStopReply {
    success: bool,
}

/// Says what is new in a chat, and answers with the stream of its turn.
pub(super) async fn send(
    State(rest): SharedRest,
    caller: Identity,
    agent: Path<String>,
    body: JsonBody<UiRequest>,
) -> AiSdkResult<Response> {
    let PathParams(agent) = agent?;
    let mut request = read(body)?;
    let tools = request.take_tools();
    tools.0.iter().try_for_each(check_tool)?;
    let id = request.id.clone();
    let task = request.task()?;
    let chat = UiChat::find(&rest, &caller, &agent, &id).await?;
    let held = rest.hold(&caller.user)?;
    let run = match task {
        UiTask::Say { key, text } => chat.say(Some(&key), text, tools).await?,
        UiTask::SayAgain { text } => match chat.running().await? {
            // Its answer is on the way.
            Some((session, asked)) => chat.follow(session, asked).await?,
            None => chat.say(None, text, tools).await?,
        },
        UiTask::GoOn(answers) => chat.go_on(answers, tools).await?,
    };
    Ok(answer(run, held))
}

/// Streams the running turn from its beginning. If nothing runs, the answer is empty.
pub(super) async fn resume(
    State(rest): SharedRest,
    caller: Identity,
    path: Path<(String, String)>,
) -> AiSdkResult<Response> {
    let PathParams((agent, id)) = path?;
    let chat = UiChat::find(&rest, &caller, &agent, &id).await?;
    let Some((session, asked)) = chat.running().await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let held = rest.hold(&caller.user)?;
    Ok(answer(chat.follow(session, asked).await?, held))
}

/// Ends the turn that [`resume`] would stream.
pub(super) async fn stop(
    State(rest): SharedRest,
    caller: Identity,
    path: Path<(String, String)>,
    body: Result<Option<Json<UiStopRequest>>, JsonRejection>,
) -> AiSdkResult<Response> {
    let PathParams((agent, id)) = path?;
    let UiStopRequest { assistant_message } = read(body.map(Option::unwrap_or_default))?;
    let chat = UiChat::find(&rest, &caller, &agent, &id).await?;
    if let Some(session) = chat.session().await? {
        let stored = rest.own(&caller.user, &session).await?;
        let is_meant = |asked: Seq| {
            assistant_message.is_none_or(|message| message.id == ids::message_id(asked.previous()))
        };
        let command = match running_input(&stored.state) {
            Some(asked) if is_meant(asked) => stop_command(&stored.state),
            Some(_) | None => None,
        };
        if let Some(command) = command {
            end_turn(&rest, &caller, CLIENT_NAME, session, command).await?;
        }
    }
    Ok(Json(UiStopReply { success: true }).into_response())
}

impl<'a> UiChat<'a> {
    async fn find(
        rest: &'a RestState,
        caller: &'a Identity,
        agent: &str,
        id: &'a str,
    ) -> AiSdkResult<Self> {
        let agent = rest.hub.directory().find_agent(&caller.user, agent).await?;
        Ok(Self { rest, caller, agent, id })
    }

    /// The name of the chat's session. An id in the form of our sessions' ids may be that of one of
    /// the caller's sessions with the agent.
    async fn name(&self) -> SessionName {
        match SessionName::read(self.id) {
            Some(SessionName::Id(id)) if self.opener().check(&id).await.is_ok() => {
                SessionName::Id(id)
            }
            Some(SessionName::Id(_) | SessionName::Thread(_)) | None => {
                SessionName::Thread(self.id.to_owned())
            }
        }
    }

    /// The chat's session, if it has one.
    async fn session(&self) -> AiSdkResult<Option<SessionId>> {
        Ok(self.opener().find(&self.name().await).await?)
    }

    fn opener(&self) -> SessionOpener<'_> {
        let (rest, caller, agent, from) = (self.rest, self.caller, &self.agent, CLIENT_NAME);
        SessionOpener { rest, caller, agent, from }
    }

    /// The chat's session and the position of the input that is answered in it, or else of the
    /// first that waits for its turn.
    async fn running(&self) -> AiSdkResult<Option<(SessionId, Seq)>> {
        let Some(session) = self.session().await? else { return Ok(None) };
        let stored = self.rest.own(&self.caller.user, &session).await?;
        Ok(running_input(&stored.state).map(|asked| (session, asked)))
    }

    /// Says a text, once for each key.
    async fn say(
        &self,
        key: Option<&str>,
        text: String,
        tools: (Vec<ToolDeclaration>, ClientTools),
    ) -> AiSdkResult<UiRun> {
        let session = self.opener().open(self.name().await, ThreadSeed::default()).await?;
        let once = key.map(|key| once_id(CLIENT_NAME, key)).transpose()?;
        let (reader, place) = self.sender(session, tools).send(once, text).await?;
        Ok(UiRun::new(reader.ending_at_questions(place.before), place))
    }

    /// Streams the turn of the input at a position from its beginning.
    async fn follow(&self, session: SessionId, asked: Seq) -> AiSdkResult<UiRun> {
        let before = asked.previous();
        let place = TurnPlace { before, shown_after: before };
        let sender = self.sender(session, (Vec::new(), ClientTools::Any));
        let reader = sender.attach(Some(before)).await?;
        let reader = TurnReader::new(reader, place, sender.names)?;
        Ok(UiRun::new(reader.ending_at_questions(before), place))
    }

    /// Answers calls, and streams the turn from where the client's message ends.
    async fn go_on(
        &self,
        answers: UiAnswers,
        tools: (Vec<ToolDeclaration>, ClientTools),
    ) -> AiSdkResult<UiRun> {
        let UiAnswers { before, answers, shown } = answers;
        let unknown = || Refusal::new(RefusalCode::UnknownCall, "this chat has no such call");
        let session = self.session().await?.ok_or_else(unknown)?;
        let stored = self.rest.own(&self.caller.user, &session).await?;
        if stored.state.head() <= before {
            return Err(unknown().into());
        }
        let store = self.rest.hub.store().for_user(self.caller.user.as_str());
        let input = store.logs().records_after(&session, before, 1).await?;
        let is_input =
            |record: &Record| matches!(record.event, Event::Input(InputEvent::UserMessage { .. }));
        if !input.first().is_some_and(is_input) {
            return Err(unknown().into());
        }
        let sender = self.sender(session.clone(), tools);
        let reader = sender.attach(Some(before)).await?;
        let head = reader.head();
        let shown = shown.filter(|(of, seq)| *of == session && (before < *seq && *seq <= head));
        let place = TurnPlace { before, shown_after: shown.map_or(head, |(_, seq)| seq) };
        let open = stored.state.turn().map_or(&[][..], |turn| &turn.calls);
        let mut awaited = Vec::new();
        for (call, answer) in answers {
            // The others were answered before, by this client or by another one.
            if let Some(open) = open.iter().find(|open| open.call == call && open.waits())
                && self.answers_question(&session, open, &answer).await?
            {
                awaited.push((call, answer));
            }
        }
        let answered = sender.answer(awaited).await?.unwrap_or(before);
        let reader = TurnReader::new(reader, place, sender.names)?;
        Ok(UiRun::new(reader.ending_at_questions(answered), place))
    }

    /// Whether an answer is about the question that waits. If a call was interrupted after its
    /// approval, an old answer must not run it again.
    async fn answers_question(
        &self,
        session: &SessionId,
        open: &OpenCall,
        answer: &CallAnswer,
    ) -> AiSdkResult<bool> {
        let CallAnswer::DecidedAt { asked, .. } = answer else { return Ok(true) };
        if open.about == ApprovalAbout::Run {
            return Ok(true);
        }
        let settles = |record: &Record| {
            matches!(&record.event, Event::Turn(TurnEvent::ApprovalSettled { call, .. })
                if *call == open.call)
        };
        let store = self.rest.hub.store().for_user(self.caller.user.as_str());
        let mut after = *asked;
        loop {
            let page = store.logs().records_after(session, after, PAGE).await?;
            if page.iter().any(settles) {
                return Ok(false);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.seq,
                Some(_) | None => return Ok(true),
            }
        }
    }

    fn sender(
        &self,
        session: SessionId,
        (tools, names): (Vec<ToolDeclaration>, ClientTools),
    ) -> InputSender<'_> {
        let (rest, caller, from) = (self.rest, self.caller, CLIENT_NAME);
        InputSender { rest, caller, from, session, tools, names }
    }
}

/// Position of the input of the running turn, or else of the first that waits for its turn.
fn running_input(state: &SessionState) -> Option<Seq> {
    let asked = state.turn().map(|turn| turn.asked);
    // Turns that began on an old server do not know it.
    asked.or_else(|| Some(state.queue().front()?.seq)).filter(|asked| asked.0 > 0)
}

/// The command that ends the turn of [`running_input`].
fn stop_command(state: &SessionState) -> Option<SessionCommand> {
    match (state.turn(), state.queue().front()) {
        (Some(turn), _) => Some(SessionCommand::Cancel { turn: Some(turn.id.clone()) }),
        (None, Some(queued)) => Some(SessionCommand::Withdraw { input: queued.input.clone() }),
        (None, None) => None,
    }
}

fn answer(run: UiRun, held: HeldPermits) -> Response {
    ([STREAM_HEADER], stream_events(turn_stream(run), held)).into_response()
}

impl UiRun {
    fn new(reader: TurnReader, place: TurnPlace) -> Self {
        let encoder = UiMessageEncoder::new(reader.session().clone(), place);
        Self { reader, encoder }
    }

    async fn next(&mut self) -> Result<Vec<UiChunk>, Refusal> {
        let step = self.reader.next().await?;
        self.encoder.take(step, self.reader.seen()).map_err(|_lost| {
            Refusal::new(RefusalCode::StoreFailed, "text that was sent was not saved")
        })
    }
}

impl TurnEvents for UiRun {
    /// If the server stops, or the client has text that was not saved, the stream breaks off, and
    /// the client resumes it.
    async fn next_events(&mut self) -> ControlFlow<SseEvents, SseEvents> {
        match self.next().await {
            Ok(chunks) => {
                let mut events: SseEvents =
                    chunks.iter().map(|chunk| Ok(UiChunk::event(chunk))).collect();
                if !self.encoder.is_ended() {
                    return ControlFlow::Continue(events);
                }
                events.push(Ok(UiChunk::done()));
                ControlFlow::Break(events)
            }
            Err(refusal) if refusal.code == RefusalCode::Unauthorized => {
                let error = UiChunk::Error { error_text: refusal.reason };
                ControlFlow::Break(vec![Ok(error.event()), Ok(UiChunk::done())])
            }
            Err(refusal) => ControlFlow::Break(vec![Err(StreamCut(refusal.reason))]),
        }
    }
}
