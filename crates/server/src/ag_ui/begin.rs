//! From a request to the turn that it starts or goes on with.

use std::collections::HashSet;

use axum::http::StatusCode;
use thoughtwire_hub::{ThreadSeed, Threads};
use thoughtwire_proto::{
    AgentProfile, CallId, CommandId, Event, InputEvent, Refusal, RefusalCode, Seq, SessionId,
    ToolDeclaration,
};
use thoughtwire_store::StoredSession;

use super::client_copy::{ClientCallResult, ClientCopy, SortedMessages};
use super::ids::{self, InterruptId, TurnCall};
use super::wire::RunAgentInput;
use super::{AgUiRefusal, AgUiResult, CLIENT_NAME};
use crate::access::Identity;
use crate::endpoint::{
    CallAnswer, ClientTools, InputSender, RequestConversation, SessionName, SessionOpener,
    TurnPlace, TurnReader, once_id,
};
use crate::rest::RestState;

/// Everything that a run begins with.
pub(super) struct RunBeginning<'a> {
    pub(super) rest: &'a RestState,
    pub(super) caller: &'a Identity,
    pub(super) agent: &'a AgentProfile,
    pub(super) input: &'a RunAgentInput,
    pub(super) tools: Vec<ToolDeclaration>,
}

/// A turn that a run follows.
pub(super) struct FollowedRun {
    pub(super) session: SessionId,
    pub(super) reader: TurnReader,
    /// Position before that of the turn's input.
    pub(super) before: Seq,
    /// Position of the last answer to a call, if the request has answers.
    pub(super) answered: Option<Seq>,
    pub(super) copy: ClientCopy,
}

/// Answers of a client to calls of one turn.
struct TurnAnswers {
    before: Seq,
    answers: Vec<(CallId, CallAnswer)>,
    /// Whether the turn goes on for this client in any case: it answers an interrupt, or a call
    /// that waits. A new text of the client is then steered into the turn.
    joins: bool,
}

impl RunBeginning<'_> {
    /// Starts the turn of what is new, or goes on with the one that the client has left.
    pub(super) async fn begin(self) -> AgUiResult<FollowedRun> {
        let name = thread_name(&self.input.thread_id)?;
        run_id(&self.input.run_id)?;
        let SortedMessages { copy, messages, results, other_part } =
            SortedMessages::new(&self.input.messages)?;
        let conversation = RequestConversation::new(messages);
        if let Some(kind) = other_part {
            let message = format!(
                "a part of the type {kind:?} cannot be taken yet: this server stores no images, \
                 sound or files; send text"
            );
            return Err(Refusal::new(RefusalCode::Unsupported, message).into());
        }
        let opener = self.opener();
        let session = opener.find(&name).await?;
        let stored = match &session {
            Some(session) => Some(self.rest.own(&self.caller.user, session).await?),
            None => None,
        };
        if let Some(stored) = &stored {
            if let Some(answers) = self.answers(stored, &conversation, results, &copy)? {
                let text = conversation.said();
                match self.go_on(stored, answers, text).await? {
                    Some((reader, before, answered)) => {
                        let session = stored.id.clone();
                        return Ok(FollowedRun { session, reader, before, answered, copy });
                    }
                    // The calls took too long: their results are told in words.
                    None if conversation.has_news() => {}
                    None => return self.follow(stored, &conversation, copy).await,
                }
            } else if !conversation.has_news() {
                return self.follow(stored, &conversation, copy).await;
            }
            self.refuse_before_interrupt(stored).await?;
        } else if let Some(entry) = self.input.resume().first() {
            return Err(no_interrupt(&entry.interrupt_id));
        }
        if !conversation.has_news() {
            return Err(no_news(&conversation));
        }
        let (mut seed, text) = conversation.into_seed();
        if let Some(stored) = &stored {
            self.abandon_calls(stored, &copy).await?;
        }
        seed.instructions = self.instructions(&seed);
        let session = opener.open(name, seed).await?;
        let id = run_id(&self.input.run_id)?;
        let (reader, place) = self.sender(session.clone()).send(Some(id), text).await?;
        Ok(FollowedRun { session, reader, before: place.before, answered: None, copy })
    }

    fn opener(&self) -> SessionOpener<'_> {
        let (rest, caller, agent) = (self.rest, self.caller, self.agent);
        SessionOpener { rest, caller, agent, from: CLIENT_NAME }
    }

    fn sender(&self, session: SessionId) -> InputSender<'_> {
        InputSender {
            rest: self.rest,
            caller: self.caller,
            from: CLIENT_NAME,
            session,
            tools: self.tools.clone(),
            names: no_tools(),
        }
    }

    /// The instructions of the session: those of the messages, and the client's context.
    fn instructions(&self, seed: &ThreadSeed) -> Option<String> {
        let parts: Vec<String> =
            seed.instructions.clone().into_iter().chain(self.input.context()).collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// Answers of the request to calls that wait, or have waited.
    fn answers(
        &self,
        stored: &StoredSession,
        conversation: &RequestConversation,
        results: Vec<ClientCallResult>,
        copy: &ClientCopy,
    ) -> AgUiResult<Option<TurnAnswers>> {
        let mut answers = Vec::new();
        let mut before = None;
        for entry in self.input.resume() {
            let unknown = || no_interrupt(&entry.interrupt_id);
            let question = InterruptId::read(&entry.interrupt_id).ok_or_else(unknown)?;
            let InterruptId { of, asked } = question;
            let is_known = copy.has_call(&ids::call(of.before, &of.call)) || is_open(stored, &of);
            if !is_known || before.is_some_and(|before| before != of.before) {
                return Err(unknown());
            }
            before = Some(of.before);
            let approved = entry.is_approved()?;
            answers.push((of.call, CallAnswer::DecidedAt { asked, approved }));
        }
        let is_resume = before.is_some();
        // A result that stands among older messages may still be awaited.
        let is_last = |result: &ClientCallResult| {
            let ids = conversation.results().iter().filter_map(|new| TurnCall::read(&new.id));
            ids.into_iter().any(|id| id == result.call)
        };
        let wanted: Vec<ClientCallResult> = results
            .into_iter()
            .filter(|result| is_last(result) || is_open(stored, &result.call))
            .collect();
        let before = before.or_else(|| wanted.last().map(|result| result.call.before));
        let Some(before) = before else { return Ok(None) };
        let joins = is_resume || wanted.iter().any(|result| is_open(stored, &result.call));
        answers.extend(wanted.into_iter().filter(|result| result.call.before == before).map(
            |ClientCallResult { call, text, parts, is_error }| {
                let answer = match parts {
                    _ if is_error => CallAnswer::Failed(text),
                    Some(content) => CallAnswer::Output { text, content },
                    None => CallAnswer::Returned(text),
                };
                (call.call, answer)
            },
        ));
        Ok(Some(TurnAnswers { before, answers, joins }))
    }

    /// Answers calls, and follows their turn. `None` if no call waited for a result.
    async fn go_on(
        &self,
        stored: &StoredSession,
        answers: TurnAnswers,
        said: Option<String>,
    ) -> AgUiResult<Option<(TurnReader, Seq, Option<Seq>)>> {
        let TurnAnswers { before, answers, joins } = answers;
        self.check_place(stored, before).await?;
        let sender = self.sender(stored.id.clone());
        // The client's tools have to be known when the turn goes on.
        let reader = sender.attach(Some(before)).await?;
        let run = run_id(&self.input.run_id)?;
        let steer = async || match &said {
            Some(text) => sender.steer(run.clone(), text.clone()).await,
            None => Ok(()),
        };
        if joins {
            steer().await?;
        }
        let mut answered = None;
        for answer in answers {
            match sender.answer(vec![answer]).await {
                Ok(seq) => answered = answered.max(seq),
                // It was answered in another way before.
                Err(refusal) if refusal.code == RefusalCode::IdReused => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        if !joins {
            if answered.is_none() {
                return Ok(None);
            }
            // A repetition, whose text has joined the turn before.
            steer().await?;
        }
        let place = TurnPlace { before, shown_after: before };
        Ok(Some((TurnReader::new(reader, place, no_tools())?, before, answered)))
    }

    /// Follows the turn of the client's last message, which it may have seen in part.
    async fn follow(
        &self,
        stored: &StoredSession,
        conversation: &RequestConversation,
        copy: ClientCopy,
    ) -> AgUiResult<FollowedRun> {
        let last = copy.last_turn().filter(|_| !conversation.has_blank());
        let before = last.ok_or_else(|| no_news(conversation))?;
        self.check_place(stored, before).await?;
        let session = stored.id.clone();
        let reader = self.sender(session.clone()).attach(Some(before)).await?;
        let place = TurnPlace { before, shown_after: before };
        let reader = TurnReader::new(reader, place, no_tools())?;
        Ok(FollowedRun { session, reader, before, answered: None, copy })
    }

    /// Checks that an input follows a position.
    async fn check_place(&self, stored: &StoredSession, before: Seq) -> AgUiResult<()> {
        let logs = self.rest.hub.store().logs();
        let found = logs.records_after(&stored.id, before, 1).await?;
        let is_input = found.first().is_some_and(|record| {
            record.seq == before.next()
                && matches!(record.event, Event::Input(InputEvent::UserMessage { .. }))
        });
        if is_input {
            return Ok(());
        }
        let reason = "the thread has no turn that the messages' ids name";
        Err(Refusal::new(RefusalCode::UnknownInput, reason).into())
    }

    /// Refuses an input while a call waits for approval: it would wait for the owner unseen. The
    /// repetition of a run is not refused.
    async fn refuse_before_interrupt(&self, stored: &StoredSession) -> AgUiResult<()> {
        let waiting = stored.state.turn().is_some_and(|turn| {
            turn.is_parked() && turn.calls.iter().any(|call| call.approval.is_some())
        });
        let (user, id) = (&self.caller.user, run_id(&self.input.run_id)?);
        if !waiting
            || Threads::new(&self.rest.hub).input_sent(user, &stored.id, &id).await?.is_some()
        {
            return Ok(());
        }
        Err(AgUiRefusal::of_request(
            StatusCode::CONFLICT,
            "pending_interrupts",
            "a call of the thread waits for approval; answer it with `resume`, or connect to the \
             thread to learn which one it is",
        ))
    }

    /// Returns calls that the client was to run, and goes on without, as failed. Otherwise the new
    /// input would wait behind them.
    async fn abandon_calls(&self, stored: &StoredSession, copy: &ClientCopy) -> AgUiResult<()> {
        let Some(turn) = stored.state.turn().filter(|turn| turn.is_parked()) else {
            return Ok(());
        };
        let before = turn.asked.previous();
        let is_left = |call: &CallId| copy.has_call(&ids::call(before, call));
        let left = turn.calls.iter().filter(|open| open.awaited.is_some() && is_left(&open.call));
        let failed = CallAnswer::Failed("the client went on without running it".to_owned());
        let answers: Vec<_> = left.map(|open| (open.call.clone(), failed.clone())).collect();
        if !answers.is_empty() {
            let sender = self.sender(stored.id.clone());
            // A request whose tools are refused changes nothing.
            let _reader = sender.attach(None).await?;
            sender.answer(answers).await?;
        }
        Ok(())
    }
}

fn no_news(conversation: &RequestConversation) -> AgUiRefusal {
    if conversation.has_blank() {
        return Refusal::new(RefusalCode::EmptyText, "the user's message is empty").into();
    }
    AgUiRefusal::bad("the last message has to be the user's, or the result of a tool")
}

/// The id under which a run sends its input once.
pub(super) fn run_id(run: &str) -> AgUiResult<CommandId> {
    if run.is_empty() {
        return Err(AgUiRefusal::bad("`runId` is empty"));
    }
    Ok(once_id(CLIENT_NAME, run)?)
}

/// The session's name that a thread's id is.
pub(super) fn thread_name(thread: &str) -> AgUiResult<SessionName> {
    SessionName::read(thread).ok_or_else(|| AgUiRefusal::bad("`threadId` is empty"))
}

fn no_interrupt(id: &str) -> AgUiRefusal {
    let reason = format!("no call of the thread waits for an answer to the interrupt {id:?}");
    Refusal::new(RefusalCode::UnknownCall, reason).into()
}

fn is_open(stored: &StoredSession, call: &TurnCall) -> bool {
    stored.state.turn().is_some_and(|turn| {
        turn.asked == call.before.next() && turn.calls.iter().any(|open| open.call == call.call)
    })
}

/// Runs end by their own rule where calls wait, so that the reader ends at none.
pub(super) fn no_tools() -> ClientTools {
    ClientTools::Named(HashSet::new())
}
