//! Chat completions.

mod encode;
mod wire;

use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use axum::response::sse::Event as SseEvent;
use axum::response::{IntoResponse as _, Response};
use thoughtwire_proto::{Refusal, SessionId};

use super::session::NamedSession;
use super::tools::{ClientCall, OfferedTools};
use super::turn_request::{FollowedTurn, TurnRequest, returned_calls};
use super::{OpenAiRefusal, OpenAiResult};
use crate::access::Identity;
use crate::endpoint::{
    RequestConversation, SseEvents, TurnEvents, TurnReader, TurnStep, stream_events, turn_stream,
};
use crate::openai::body::OpenAiBody;
use crate::openai::error::OpenAiError;
use crate::rest::{IdempotencyHeader, SharedRest};
use encode::{ChatEncoder, ChatEnd};
use wire::{
    ChatChoice, ChatChunk, ChatCompletion, ChatReply, ChatRequest, ChunkChoice, ChunkDelta,
    FinishReason, SessionMetadata,
};

/// Runs a chat completion.
pub(super) async fn complete(
    State(rest): SharedRest,
    caller: Identity,
    key: IdempotencyHeader,
    OpenAiBody(mut request): OpenAiBody<ChatRequest>,
) -> OpenAiResult<Response> {
    request.check()?;
    let functions = request.take_functions()?;
    let tools =
        OfferedTools::new(functions, request.tool_choice.as_ref(), request.parallel_tool_calls)?;
    let name = match NamedSession::of_metadata(request.metadata.as_ref())? {
        NamedSession::Nothing => match request.user.as_deref().filter(|user| !user.is_empty()) {
            Some(user) => NamedSession::of_text(user, "user")?,
            None => NamedSession::Nothing,
        },
        named @ (NamedSession::Id(_) | NamedSession::Thread(_)) => named,
    };
    let conversation = RequestConversation::new(request.take_messages()?);
    super::check_news(&conversation, "messages")?;
    let turn = TurnRequest::new(&rest, &caller, &request.model, tools, &key).await?;
    let held = rest.hold(&caller.user)?;
    let run = ChatRun::begin(&turn, name, conversation, &request).await?;
    if request.stream == Some(true) {
        return Ok(stream_events(turn_stream(run), held));
    }
    run.whole().await
}

/// A completion under way.
struct ChatRun {
    reader: TurnReader,
    encoder: ChatEncoder,
    id: String,
    session: SessionId,
    model: String,
    includes_usage: bool,
    /// Seconds since 1970 at which the input was accepted.
    created: i64,
}

impl ChatRun {
    /// Sends what is new in the messages, and follows the turn.
    async fn begin(
        turn: &TurnRequest<'_>,
        name: NamedSession,
        conversation: RequestConversation,
        request: &ChatRequest,
    ) -> OpenAiResult<Self> {
        // The ids of calls say which session is meant.
        let results = returned_calls(&conversation).collect();
        let answered = turn.answer(results, &NamedSession::Nothing, conversation.said()).await?;
        let FollowedTurn { session, reader, place } = match answered {
            Some(followed) => followed,
            None => {
                let (seed, input) = conversation.into_seed();
                turn.say(name, seed, Some(turn.rest.keep_completions), input).await?
            }
        };
        let of_call = session.clone();
        let client_call =
            move |call| ClientCall { session: of_call.clone(), before: place.before, call };
        let options = request.stream_options.as_ref();
        Ok(Self {
            reader,
            encoder: ChatEncoder::new(client_call, turn.tools.names.clone()),
            id: format!("chatcmpl-{session}-{}", place.shown_after),
            session,
            model: request.model.clone(),
            includes_usage: options.is_some_and(|options| options.include_usage == Some(true)),
            created: 0,
        })
    }

    /// The next pieces, and the end if it comes with them.
    async fn next(&mut self) -> Result<(Option<ChunkDelta>, Option<ChatEnd>), Refusal> {
        let step = self.reader.next().await?;
        if let TurnStep::Input(record) = &step {
            self.created = record.at.as_millis() / 1_000;
            let role = Some("assistant");
            let content = Some(String::new());
            return Ok((Some(ChunkDelta { role, content, ..ChunkDelta::default() }), None));
        }
        Ok(self.encoder.take(step))
    }

    fn metadata(&self) -> SessionMetadata {
        SessionMetadata { session: self.session.to_string() }
    }

    /// The completion as one answer.
    async fn whole(mut self) -> OpenAiResult<Response> {
        let mut reply = ChatReply { role: "assistant", ..ChatReply::default() };
        let finish_reason = loop {
            let (delta, end) = self.next().await?;
            if let Some(ChunkDelta { content, reasoning_content, tool_calls, role: _ }) = delta {
                extend(&mut reply.content, content);
                extend(&mut reply.reasoning_content, reasoning_content);
                reply.tool_calls.extend(tool_calls);
            }
            match end {
                Some(ChatEnd::Finished(reason)) => break reason,
                Some(ChatEnd::Failed(error)) => return Err(OpenAiRefusal::of_turn(error)),
                None => {}
            }
        };
        for call in &mut reply.tool_calls {
            call.index = None;
        }
        if finish_reason == FinishReason::ToolCalls {
            reply.content = reply.content.filter(|content| !content.is_empty());
        }
        let metadata = self.metadata();
        let completion = ChatCompletion {
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.model,
            choices: [ChatChoice { index: 0, message: reply, logprobs: None, finish_reason }],
            usage: self.encoder.usage().map(Into::into),
            metadata,
        };
        Ok(Json(completion).into_response())
    }

    fn chunk(&self, delta: ChunkDelta, finish_reason: Option<FinishReason>) -> SseEvent {
        let is_first = delta.role.is_some();
        let choices = vec![ChunkChoice { index: 0, delta, logprobs: None, finish_reason }];
        data(&ChatChunk { choices, metadata: is_first.then(|| self.metadata()), ..self.frame() })
    }

    /// A chunk without content.
    fn frame(&self) -> ChatChunk<'_> {
        ChatChunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices: Vec::new(),
            usage: None,
            metadata: None,
        }
    }
}

fn extend(text: &mut Option<String>, piece: Option<String>) {
    if let Some(piece) = piece {
        text.get_or_insert_default().push_str(&piece);
    }
}

fn data(body: &impl serde::Serialize) -> SseEvent {
    // Invariant: our bodies have string keys only, which always serialise.
    SseEvent::default().data(serde_json::to_string(body).unwrap_or_default())
}

fn failed(error: &OpenAiError) -> SseEvent {
    data(&error.body())
}

impl TurnEvents for ChatRun {
    async fn next_events(&mut self) -> ControlFlow<SseEvents, SseEvents> {
        let (delta, end) = match self.next().await {
            Ok(next) => next,
            Err(refusal) => {
                let error = OpenAiRefusal::from(refusal).into_error();
                return ControlFlow::Break(vec![Ok(failed(&error))]);
            }
        };
        let mut events: SseEvents =
            delta.into_iter().map(|delta| Ok(self.chunk(delta, None))).collect();
        match end {
            None => return ControlFlow::Continue(events),
            Some(ChatEnd::Failed(error)) => events.push(Ok(failed(&error))),
            Some(ChatEnd::Finished(reason)) => {
                events.push(Ok(self.chunk(ChunkDelta::default(), Some(reason))));
                // A reply that goes on with results of tools has its cost at its end.
                if let Some(usage) = self.encoder.usage().filter(|_| self.includes_usage) {
                    let usage = Some(usage.into());
                    events.push(Ok(data(&ChatChunk { usage, ..self.frame() })));
                }
                events.push(Ok(SseEvent::default().data("[DONE]")));
            }
        }
        ControlFlow::Break(events)
    }
}
