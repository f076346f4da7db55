//! [`crate::ToolCalls`] for synchronous agents.

use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Decision, RetryReason, Timestamp, ToolDeclaration, ToolStatus};

use super::pump::VerbPump;
use crate::item_writer::Final;
use crate::turn_message::{Called, ClientResult, TurnError};

/// The verbs of a [`BlockingInterface`](super::Interface) about tool calls.
#[derive(Clone, Copy)]
pub struct BlockingToolCalls<'a> {
    pump: &'a VerbPump,
}

impl<'a> BlockingToolCalls<'a> {
    pub(super) fn new(pump: &'a VerbPump) -> Self {
        Self { pump }
    }

    /// Says that a tool is called. Waits until that is on disk, so that the tool may run.
    ///
    /// # Errors
    /// When an earlier verb failed, the turn has ended, or the session cannot be saved.
    pub fn called(
        self,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<CallId, TurnError> {
        let name = name.into();
        self.pump.wait(move |interface| async move { interface.tools().called(name, args).await })
    }

    /// [`BlockingToolCalls::called`] under an id that the caller made. Waits.
    ///
    /// # Errors
    /// As [`BlockingToolCalls::called`].
    pub fn called_as(
        self,
        call: CallId,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<(), TurnError> {
        let name = name.into();
        self.pump.wait(move |interface| async move {
            interface.tools().called_as(call, name, args).await
        })
    }

    /// [`BlockingToolCalls::called_as`] for calls that are made together, in one batch. Waits.
    ///
    /// # Errors
    /// As [`BlockingToolCalls::called`].
    pub fn called_together(self, calls: Vec<Called>) -> Result<(), TurnError> {
        self.called_keeping(calls, None)
    }

    /// [`BlockingToolCalls::called_together`] with JSON that the model's provider wants back with
    /// these calls. Waits.
    ///
    /// # Errors
    /// As [`BlockingToolCalls::called`].
    pub fn called_keeping(self, calls: Vec<Called>, kept: Option<String>) -> Result<(), TurnError> {
        self.pump.wait(move |interface| async move {
            interface.tools().called_keeping(calls, kept).await
        })
    }

    /// Streams a piece of a call's arguments, before [`BlockingToolCalls::called_as`] with the
    /// same id. Queued.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn stream_args(self, call: &CallId, piece: impl Into<String>) -> Result<(), TurnError> {
        let (call, piece) = (call.clone(), piece.into());
        self.pump.queue(move |interface| async move {
            interface.tools().stream_args(&call, piece).await
        })
    }

    /// Says what a call returned. Queued.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn returned(
        self,
        call: &CallId,
        name: impl Into<String>,
        status: ToolStatus,
        text: impl Into<String>,
        content: Option<Value>,
    ) -> Result<(), TurnError> {
        let (call, name, text) = (call.clone(), name.into(), text.into());
        self.pump.queue(move |interface| async move {
            interface.tools().returned(&call, name, status, text, content).await
        })
    }

    /// Says a message as the work of a call: see
    /// [`ToolCalls::returned_saying`](crate::ToolCalls::returned_saying). Queued.
    ///
    /// # Errors
    /// As [`BlockingToolCalls::returned`].
    pub fn returned_saying(
        self,
        call: &CallId,
        name: impl Into<String>,
        text: impl Into<String>,
        message: Final,
    ) -> Result<(), TurnError> {
        let (call, name, text) = (call.clone(), name.into(), text.into());
        self.pump.queue(move |interface| async move {
            interface.tools().returned_saying(&call, name, text, message).await
        })
    }

    /// [`BlockingToolCalls::returned`] with a part of a text. The whole text is stored beside the
    /// log. Queued.
    ///
    /// # Errors
    /// As [`BlockingToolCalls::returned`].
    pub fn returned_part(
        self,
        call: &CallId,
        name: impl Into<String>,
        status: ToolStatus,
        part: impl Into<String>,
        whole: String,
        content: Option<Value>,
    ) -> Result<(), TurnError> {
        let (call, name, part) = (call.clone(), name.into(), part.into());
        self.pump.queue(move |interface| async move {
            interface.tools().returned_part(&call, name, status, part, whole, content).await
        })
    }

    /// Says that an open call whose outcome is unknown is made again. Waits until that is on disk.
    /// `attempt` is the number of the repetition, from 1.
    ///
    /// # Errors
    /// When an earlier verb failed, the turn has ended, or the call is not open.
    pub fn retried(
        self,
        call: &CallId,
        attempt: u32,
        reason: RetryReason,
    ) -> Result<(), TurnError> {
        let call = call.clone();
        self.pump.wait(move |interface| async move {
            interface.tools().retried(&call, attempt, reason).await
        })
    }

    /// Asks the owner whether an open call whose outcome is unknown is made again. Returns `None`
    /// if so; otherwise the call's result, which the session has written.
    ///
    /// # Errors
    /// As [`BlockingToolCalls::approval`].
    pub fn retry_approval(
        self,
        call: &CallId,
        name: impl Into<String>,
        expires_at: Timestamp,
    ) -> Result<Option<ClientResult>, TurnError> {
        let (call, name) = (call.clone(), name.into());
        self.pump.wait(move |interface| async move {
            interface.tools().retry_approval(&call, name, expires_at).await
        })
    }

    /// Asks the owner to approve an open call. Waits for the decision, or `Expired` after the
    /// deadline. A question from before a restart keeps its own deadline.
    ///
    /// # Errors
    /// When an earlier verb failed, the turn has ended, or too many calls wait for approval.
    pub fn approval(
        self,
        call: &CallId,
        name: impl Into<String>,
        expires_at: Timestamp,
    ) -> Result<Decision, TurnError> {
        let (call, name) = (call.clone(), name.into());
        self.pump.wait(move |interface| async move {
            interface.tools().approval(&call, name, expires_at).await
        })
    }

    /// Tools that attached clients run, as they declared them. Of two with one name the first
    /// counts.
    #[must_use]
    pub fn client_tools(self) -> Vec<ToolDeclaration> {
        self.pump.interface().tools().client_tools()
    }

    /// Has a client run an open call. Waits for the result, or an error result after the
    /// deadline. The session writes the call's `tool_returned` itself.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn client_runs(
        self,
        call: &CallId,
        expires_at: Timestamp,
    ) -> Result<ClientResult, TurnError> {
        let call = call.clone();
        self.pump.wait(move |interface| async move {
            interface.tools().client_runs(&call, expires_at).await
        })
    }
}
