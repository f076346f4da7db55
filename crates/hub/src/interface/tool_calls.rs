//! Verbs about tool calls: calls, results, approvals, tools that clients run.

use serde_json::{Map, Value};
use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, Event, ItemId, RetryReason, StreamKind, Timestamp,
    ToolDeclaration, ToolStatus, TurnEvent,
};

use super::Interface;
use crate::clock::new_call_id;
use crate::item_writer::Final;
use crate::turn_message::{
    AgentExtras, AgentVerb, CallQuestion, CallReply, Called, ClientResult, TurnError,
};

/// The verbs of an [`Interface`] about tool calls.
#[derive(Clone, Copy)]
pub struct ToolCalls<'a> {
    interface: &'a Interface,
}

impl<'a> ToolCalls<'a> {
    pub(super) fn new(interface: &'a Interface) -> Self {
        Self { interface }
    }

    /// Says that a tool is called. Returns when that is on disk, so that the tool may run.
    ///
    /// # Errors
    /// When the turn has ended or the session cannot be saved.
    pub async fn called(
        self,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<CallId, TurnError> {
        let call = new_call_id();
        self.called_as(call.clone(), name, args).await?;
        Ok(call)
    }

    /// [`ToolCalls::called`] under an id that the caller made, such as one whose arguments were
    /// streamed.
    ///
    /// # Errors
    /// As [`ToolCalls::called`].
    pub async fn called_as(
        self,
        call: CallId,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<(), TurnError> {
        let event = Event::Turn(TurnEvent::ToolCalled { call, name: name.into(), args });
        self.interface.sender.commit(vec![event], AgentExtras::default()).await.map(drop)
    }

    /// [`ToolCalls::called_as`] for calls that are made together. They are one batch: after a
    /// crash the log has all of them or none.
    ///
    /// # Errors
    /// As [`ToolCalls::called`].
    pub async fn called_together(self, calls: Vec<Called>) -> Result<(), TurnError> {
        self.called_keeping(calls, None).await
    }

    /// [`ToolCalls::called_together`] with JSON that the model's provider wants back with these
    /// calls. [`Turn::kept`](crate::Turn::kept) returns it; no client is shown it.
    ///
    /// # Errors
    /// As [`ToolCalls::called`].
    pub async fn called_keeping(
        self,
        calls: Vec<Called>,
        kept: Option<String>,
    ) -> Result<(), TurnError> {
        let mut events = Vec::with_capacity(calls.len());
        for Called { call, name, args, client_until } in calls {
            events.push(Event::Turn(TurnEvent::ToolCalled { call: call.clone(), name, args }));
            events.extend(
                client_until
                    .map(|expires_at| Event::Turn(TurnEvent::ToolAwaited { call, expires_at })),
            );
        }
        let extras = AgentExtras { kept, ..AgentExtras::default() };
        self.interface.sender.commit(events, extras).await.map(drop)
    }

    /// Streams a piece of a call's arguments, before [`ToolCalls::called_as`] with the same id.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn stream_args(
        self,
        call: &CallId,
        piece: impl Into<String>,
    ) -> Result<(), TurnError> {
        let item = ItemId::new(call.as_str()).map_err(|bad| TurnError::Illegal(bad.to_string()))?;
        let (kind, text) = (StreamKind::ToolArgs, piece.into());
        let delta = AgentVerb::Delta { item, kind, text, continues: None };
        self.interface.sender.send(delta).await
    }

    /// Says what a call returned.
    ///
    /// # Errors
    /// As [`ToolCalls::called`], and when the call is not open.
    pub async fn returned(
        self,
        call: &CallId,
        name: impl Into<String>,
        status: ToolStatus,
        text: impl Into<String>,
        content: Option<Value>,
    ) -> Result<(), TurnError> {
        let (call, name, text) = (call.clone(), name.into(), text.into());
        let event = Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content });
        self.interface.sender.append(vec![event]).await.map(drop)
    }

    /// Says a message as the work of a call: the message and the call's `tool_returned` are one
    /// batch. So a call that has not returned has not said its message whole.
    ///
    /// # Errors
    /// As [`ToolCalls::returned`], and when the message is empty.
    pub async fn returned_saying(
        self,
        call: &CallId,
        name: impl Into<String>,
        text: impl Into<String>,
        message: Final,
    ) -> Result<(), TurnError> {
        let (call, name, text) = (call.clone(), name.into(), text.into());
        let (status, content) = (ToolStatus::Success, None);
        let returned = Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content });
        self.interface.sender.append(vec![message.into_event(), returned]).await.map(drop)
    }

    /// [`ToolCalls::returned`] with a part of a text. The whole text is stored beside the log.
    ///
    /// # Errors
    /// As [`ToolCalls::returned`].
    pub async fn returned_part(
        self,
        call: &CallId,
        name: impl Into<String>,
        status: ToolStatus,
        part: impl Into<String>,
        whole: String,
        content: Option<Value>,
    ) -> Result<(), TurnError> {
        let (name, text) = (name.into(), part.into());
        let event = Event::Turn(TurnEvent::ToolReturned {
            call: call.clone(),
            name,
            status,
            text,
            content,
        });
        let output = Some((call.clone(), whole));
        let extras = AgentExtras { output, ..AgentExtras::default() };
        self.interface.sender.append_extras(vec![event], extras).await.map(drop)
    }

    /// Says that an open call whose outcome is unknown is made again. Returns when that is on disk,
    /// so that the tool may run. `attempt` is the number of the repetition, from 1.
    ///
    /// # Errors
    /// As [`ToolCalls::called`], and when the call is not open.
    pub async fn retried(
        self,
        call: &CallId,
        attempt: u32,
        reason: RetryReason,
    ) -> Result<(), TurnError> {
        let event = Event::Turn(TurnEvent::ToolRetried { call: call.clone(), attempt, reason });
        self.interface.sender.commit(vec![event], AgentExtras::default()).await.map(drop)
    }

    /// Asks the owner whether an open call whose outcome is unknown is made again. Returns `None`
    /// if so, and the `tool_retried` is on disk then. Otherwise it returns the call's result, which
    /// the session has written: what the owner said, or that nobody decided until the deadline. A
    /// question from before a restart keeps its own deadline.
    ///
    /// # Errors
    /// As [`ToolCalls::approval`].
    pub async fn retry_approval(
        self,
        call: &CallId,
        name: impl Into<String>,
        expires_at: Timestamp,
    ) -> Result<Option<ClientResult>, TurnError> {
        let about = ApprovalAbout::Retry;
        let question = CallQuestion::Approval { name: name.into(), about, expires_at };
        match self.wait(call, question).await? {
            CallReply::Decided(_) => Ok(None),
            CallReply::Returned(result) => Ok(Some(result)),
            CallReply::Refused(reason) => Err(TurnError::Refused(reason)),
        }
    }

    /// Asks the owner to approve an open call. Returns the decision, or `Expired` after the
    /// deadline. A question from before a restart keeps its own deadline.
    ///
    /// # Errors
    /// When the turn has ended, or too many calls wait for approval.
    pub async fn approval(
        self,
        call: &CallId,
        name: impl Into<String>,
        expires_at: Timestamp,
    ) -> Result<Decision, TurnError> {
        let about = ApprovalAbout::Run;
        let question = CallQuestion::Approval { name: name.into(), about, expires_at };
        match self.wait(call, question).await? {
            CallReply::Decided(decision) => Ok(decision),
            CallReply::Refused(reason) => Err(TurnError::Refused(reason)),
            CallReply::Returned(_) => Err(TurnError::Illegal(
                "the call waited for a client, not for an approval".to_owned(),
            )),
        }
    }

    /// Tools that attached clients run, as they declared them. Of two with one name the first
    /// counts.
    #[must_use]
    pub fn client_tools(self) -> Vec<ToolDeclaration> {
        self.interface.tail.tools()
    }

    /// Has a client run an open call. Returns the result, or an error result after the deadline.
    /// The session writes the call's `tool_returned` itself.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn client_runs(
        self,
        call: &CallId,
        expires_at: Timestamp,
    ) -> Result<ClientResult, TurnError> {
        match self.wait(call, CallQuestion::Client { expires_at }).await? {
            CallReply::Returned(returned) => Ok(returned),
            CallReply::Refused(reason) => Err(TurnError::Refused(reason)),
            CallReply::Decided(_) => Err(TurnError::Illegal(
                "the call waited for an approval, not for a client".to_owned(),
            )),
        }
    }

    async fn wait(self, call: &CallId, question: CallQuestion) -> Result<CallReply, TurnError> {
        let call = call.clone();
        let verb = |reply| AgentVerb::Await { call, question, reply, asked: None };
        self.interface.sender.ask(verb).await
    }
}
