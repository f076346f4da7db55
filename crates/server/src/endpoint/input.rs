//! Inputs and tool results of a request, and the turn that they lead to.

use serde_json::Value;
use thoughtwire_hub::command_digest;
use thoughtwire_proto::{
    CallId, CommandId, Policy, Refusal, RefusalCode, Seq, SessionCommand, SessionId, SessionReply,
    ToolDeclaration, ToolStatus, Verdict,
};

use super::{ClientTools, SessionReader, TurnPlace, TurnReader};
use crate::access::Identity;
use crate::rest::RestState;

/// Sends what a client says to a session, and follows the turn.
pub(crate) struct InputSender<'a> {
    pub(crate) rest: &'a RestState,
    pub(crate) caller: &'a Identity,
    /// Name of the endpoint, which the log records.
    pub(crate) from: &'static str,
    pub(crate) session: SessionId,
    /// Tools that the client runs while it reads.
    pub(crate) tools: Vec<ToolDeclaration>,
    /// Tools whose calls end the answer to the request.
    pub(crate) names: ClientTools,
}

/// A client's answer to a call that waits.
#[derive(Debug, Clone)]
pub(crate) enum CallAnswer {
    /// The client ran it, with this result.
    Returned(String),
    /// The client ran it, with a result of any form. `text` is the result for the agent.
    Output { text: String, content: Value },
    /// The client ran it, and it failed.
    Failed(String),
    /// Whether it may run.
    Decided(bool),
    /// Answer to the question at a position. A call is asked about again if it was interrupted.
    DecidedAt { asked: Seq, approved: bool },
}

/// Carries out a command that ends a turn or withdraws an input. Returns whether it did: the turn
/// may have ended meanwhile.
///
/// # Errors
/// The refusal.
pub(crate) async fn end_turn(
    rest: &RestState,
    caller: &Identity,
    from: &str,
    session: SessionId,
    command: SessionCommand,
) -> Result<bool, Refusal> {
    let from = Some(from.to_owned());
    match rest.hub.execute(&caller.user, from, None, session, command).await {
        Ok(_) => Ok(true),
        Err(no) if matches!(no.code, RefusalCode::NoTurn | RefusalCode::UnknownInput) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

impl InputSender<'_> {
    /// Sends an input, once for each `id`.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn send(
        self,
        id: Option<CommandId>,
        text: String,
    ) -> Result<(TurnReader, TurnPlace), Refusal> {
        // Its tools have to be known when the turn starts.
        let reader = self.attach(None).await?;
        let command = SessionCommand::Send { text, attachments: Vec::new(), policy: Policy::Queue };
        let SessionReply::Input { seq, .. } = self.execute(id, command).await? else {
            return Err(mismatch());
        };
        let before = seq.previous();
        // A repetition is answered from the log.
        let reader = if seq > reader.head() { reader } else { self.attach(Some(before)).await? };
        let place = TurnPlace { before, shown_after: before };
        Ok((TurnReader::new(reader, place, self.names)?, place))
    }

    /// Answers calls of the turn whose input is behind `before`, and follows the rest of the turn.
    /// `said` joins the turn. An answer counts once, however often it comes.
    ///
    /// # Errors
    /// The refusal. If it is [`RefusalCode::UnknownCall`], no answer was taken.
    pub(crate) async fn answer_calls(
        self,
        before: Seq,
        answers: Vec<(CallId, CallAnswer)>,
        said: Option<String>,
    ) -> Result<(TurnReader, TurnPlace), Refusal> {
        let reader = self.attach(Some(before)).await?;
        let answered = self.answer(answers).await?;
        let shown_after = answered.ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownCall, "no call waits for these answers")
        })?;
        if let Some(text) = said {
            let command =
                SessionCommand::Send { text, attachments: Vec::new(), policy: Policy::Steer };
            self.execute(None, command).await?;
        }
        let place = TurnPlace { before, shown_after };
        Ok((TurnReader::new(reader, place, self.names)?, place))
    }

    /// Answers calls that wait. Returns the position of the last answer; `None` if no call waited
    /// for one of them. An answer counts once, however often it comes.
    ///
    /// # Errors
    /// The refusal. Answers before the refused one were taken.
    pub(crate) async fn answer(
        &self,
        answers: Vec<(CallId, CallAnswer)>,
    ) -> Result<Option<Seq>, Refusal> {
        let mut last = None;
        for (call, answer) in answers {
            let mut id = call_answer_id(&call)?;
            let decide = |call, approved| {
                let decision = if approved { Verdict::Approved } else { Verdict::Denied };
                SessionCommand::Decide { call, decision, result: None }
            };
            let command = match answer {
                CallAnswer::Returned(text) => {
                    let (status, content) = (ToolStatus::Success, None);
                    SessionCommand::ToolReturn { call, status, text, content }
                }
                CallAnswer::Output { text, content } => {
                    let (status, content) = (ToolStatus::Success, Some(content));
                    SessionCommand::ToolReturn { call, status, text, content }
                }
                CallAnswer::Failed(text) => {
                    let (status, content) = (ToolStatus::Error, None);
                    SessionCommand::ToolReturn { call, status, text, content }
                }
                CallAnswer::Decided(approved) => decide(call, approved),
                CallAnswer::DecidedAt { asked, approved } => {
                    id = once_id("call_answer", &format!("{asked} {call}"))?;
                    decide(call, approved)
                }
            };
            match self.execute(Some(id), command).await {
                Ok(SessionReply::Done { seq: Some(seq), .. }) => last = last.max(Some(seq)),
                Ok(SessionReply::Done { seq: None, .. } | SessionReply::Input { .. }) => {
                    return Err(mismatch());
                }
                // Another client was faster, or the call took too long.
                Err(refusal) if refusal.code == RefusalCode::UnknownCall => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(last)
    }

    /// Has a text join the running turn, once for each `id`.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn steer(&self, id: CommandId, text: String) -> Result<(), Refusal> {
        let command = SessionCommand::Send { text, attachments: Vec::new(), policy: Policy::Steer };
        self.execute(Some(id), command).await.map(drop)
    }

    /// Attaches to the session behind a position, or at its head.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn attach(&self, after: Option<Seq>) -> Result<SessionReader, Refusal> {
        let (hub, tools) = (&self.rest.hub, self.tools.clone());
        SessionReader::attach(hub, self.caller, &self.session, after, tools).await
    }

    async fn execute(
        &self,
        id: Option<CommandId>,
        command: SessionCommand,
    ) -> Result<SessionReply, Refusal> {
        let from = Some(self.from.to_owned());
        let user = &self.caller.user;
        self.rest.hub.execute(user, from, id, self.session.clone(), command).await
    }
}

/// The id under which a call is answered.
///
/// # Errors
/// Never: a digest is a valid id.
pub(crate) fn call_answer_id(call: &CallId) -> Result<CommandId, Refusal> {
    once_id("call_answer", call.as_str())
}

/// An id under which a command takes effect once for each `key`, of any length.
///
/// # Errors
/// Never: a digest is a valid id.
pub(crate) fn once_id(name: &str, key: &str) -> Result<CommandId, Refusal> {
    let digest = command_digest(name, &[key]);
    let short = digest.get(..40).unwrap_or(&digest);
    CommandId::new(format!("once-{short}"))
        .map_err(|bad| Refusal::new(RefusalCode::Internal, bad.to_string()))
}

fn mismatch() -> Refusal {
    Refusal::new(RefusalCode::Internal, "the session gave an answer to another command")
}
