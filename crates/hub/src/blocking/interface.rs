//! [`crate::Interface`] for synchronous agents.

use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{ItemId, Refusal, RefusalCode, Seq, SessionId, StreamKind, TurnId, Usage};
use tokio::runtime::Handle;

use super::core_memory::BlockingCoreMemory;
use super::embedded::BlockingClient;
use super::item_writer::BlockingItemWriter;
use super::pump::VerbPump;
use super::tool_calls::BlockingToolCalls;
use super::turn_control::BlockingTurnControl;
use crate::clients::ClientId;
use crate::clock::new_item_id;
use crate::item_writer::Final;
use crate::turn_message::{Finish, TurnError};

/// A synchronous agent's interface to its session in one turn. Dropping it never blocks.
pub struct BlockingInterface {
    pump: VerbPump,
}

impl BlockingInterface {
    /// Makes the blocking form of an interface, with a thread of its own. `runtime` is the hub's.
    #[must_use]
    pub fn new(interface: crate::Interface, runtime: Handle) -> Self {
        Self { pump: VerbPump::new(interface, runtime) }
    }

    /// Id of the session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        self.pump.interface().session()
    }

    /// Id of the turn.
    #[must_use]
    pub fn turn(&self) -> &TurnId {
        self.pump.interface().turn()
    }

    /// Text of the input that the turn answers. The log has it already.
    #[must_use]
    pub fn user_message(&self) -> &str {
        self.pump.interface().user_message()
    }

    /// The verbs about tool calls.
    #[must_use]
    pub fn tools(&self) -> BlockingToolCalls<'_> {
        BlockingToolCalls::new(&self.pump)
    }

    /// The verbs about the agent's memory blocks.
    #[must_use]
    pub fn memory(&self) -> BlockingCoreMemory<'_> {
        BlockingCoreMemory::new(&self.pump)
    }

    /// The verbs about inputs that join the turn, and about its end from outside.
    #[must_use]
    pub fn control(&self) -> BlockingTurnControl<'_> {
        BlockingTurnControl::new(&self.pump)
    }

    /// Registers a client on the session. From now on it is streamed every frame in this encoding,
    /// over the ends of turns. Waits.
    ///
    /// # Errors
    /// When the session is gone, or an earlier verb failed.
    pub fn register_client(&self, encoding: Encoding) -> Result<BlockingClient, Refusal> {
        let client = self.pump.wait(move |interface| async move {
            Ok::<_, TurnError>(interface.register_client(encoding).await)
        });
        let failed = |error: TurnError| Refusal::new(RefusalCode::NoTurn, error.to_string());
        Ok(BlockingClient::new(client.map_err(failed)??, self.pump.runtime()))
    }

    /// Ends a client's stream. An unknown id does nothing: that client has left already.
    pub fn unregister_client(&self, client: ClientId) {
        self.pump.interface().unregister_client(client);
    }

    /// Says a whole thought. Queued.
    ///
    /// # Errors
    /// When an earlier verb failed, or the turn has ended.
    pub fn internal_monologue(&self, text: impl Into<String>) -> Result<ItemId, TurnError> {
        let (item, text) = (new_item_id(), text.into());
        let said = item.clone();
        self.pump.queue(move |interface| async move { interface.think_as(said, text).await })?;
        Ok(item)
    }

    /// Says a whole message. Queued.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`].
    pub fn assistant_message(&self, text: impl Into<String>) -> Result<ItemId, TurnError> {
        let (item, text) = (new_item_id(), text.into());
        let said = item.clone();
        self.pump.queue(move |interface| async move { interface.say_as(said, text).await })?;
        Ok(item)
    }

    /// Takes a line as `MemGPT` agents give it; see [`crate::Interface::function_message`].
    /// Queued.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`].
    pub fn function_message(&self, line: impl Into<String>) -> Result<(), TurnError> {
        let line = line.into();
        self.pump.queue(move |interface| async move { interface.function_message(&line).await })
    }

    /// Opens a thought that is written piece by piece.
    #[must_use]
    pub fn open_thought(&self) -> BlockingItemWriter<'_> {
        BlockingItemWriter::new(&self.pump, StreamKind::Thought)
    }

    /// Opens a message that is written piece by piece.
    #[must_use]
    pub fn open_message(&self) -> BlockingItemWriter<'_> {
        BlockingItemWriter::new(&self.pump, StreamKind::Message)
    }

    /// Shows clients a status line. It is never stored. Queued.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`].
    pub fn status(&self, text: impl Into<String>) -> Result<(), TurnError> {
        let text = text.into();
        self.pump.queue(move |interface| async move { interface.status(text).await })
    }

    /// Writes the usage of model calls in the middle of a turn. Queued.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`].
    pub fn usage(&self, usage: Usage) -> Result<(), TurnError> {
        self.pump.queue(move |interface| async move { interface.usage(usage).await })
    }

    /// Sets the usage of the turn so far. It is written if the turn ends without
    /// [`BlockingInterface::finish`]. Queued.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`].
    pub fn spent(&self, usage: Usage) -> Result<(), TurnError> {
        self.pump.queue(move |interface| async move { interface.spent(usage).await })
    }

    /// Replaces the conversation up to a position by a summary in later prompts. Waits until the
    /// summary is on disk, and returns its position.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`], and when the session cannot be saved.
    pub fn compacted(&self, summary: impl Into<String>, through: Seq) -> Result<Seq, TurnError> {
        let summary = summary.into();
        self.pump.wait(move |interface| async move { interface.compacted(summary, through).await })
    }

    /// Ends the turn. Waits until that is accepted.
    ///
    /// # Errors
    /// As [`BlockingInterface::internal_monologue`], and when the message is empty.
    pub fn finish(
        &self,
        message: Option<Final>,
        usage: Option<Usage>,
    ) -> Result<Finish, TurnError> {
        self.pump.wait(move |interface| async move { interface.finish(message, usage).await })
    }

    /// Carries out what is queued and joins the thread. A turn that is not finished ends here.
    ///
    /// # Errors
    /// The error of the first queued verb that failed.
    pub fn close(self) -> Result<(), TurnError> {
        self.pump.close()
    }
}
