//! The interface through which an agent speaks in one turn.
//!
//! [`Interface`] has the verbs of `MemGPT`'s `AgentInterface` and streamed items. Its handles have
//! the verbs of one noun each:
//!
//! - [`Interface::tools`]: calls, results, approvals, tools that clients run;
//! - [`Interface::memory`]: edits of the agent's memory blocks;
//! - [`Interface::control`]: inputs that join the turn, and the turn's end from outside.
//!
//! [`blocking`](crate::blocking) has the same verbs for synchronous agents.

mod control;
mod core_memory;
mod tool_calls;

use std::sync::Arc;

use serde_json::Map;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{
    AgentId, Event, Input, ItemId, Refusal, Seq, SessionEvent, SessionId, StreamKind, TurnEvent,
    TurnId, Usage,
};
use tokio_util::task::TaskTracker;

use crate::clients::{Client, ClientId, Clients};
use crate::clock::{new_call_id, new_item_id};
use crate::function_message::{self, MessageLine, ResultOwner};
use crate::item_writer::{Final, ItemWriter};
use crate::memory::Memory;
use crate::tail::Tail;
use crate::turn_message::{AgentExtras, AgentVerb, Finish, TurnError, TurnSender};

pub use control::TurnControl;
pub use core_memory::CoreMemory;
pub use tool_calls::ToolCalls;

/// An agent's interface to its session in one turn. Cheap to clone.
#[derive(Clone)]
pub struct Interface {
    pub(crate) session: SessionId,
    pub(crate) agent: AgentId,
    pub(crate) input: Arc<Input>,
    pub(crate) sender: TurnSender,
    pub(crate) tail: Arc<Tail>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) memory: Arc<Memory>,
    /// Tracks tasks that outlive a cancelled turn; the hub waits for them when it stops.
    pub(crate) tasks: TaskTracker,
}

impl Interface {
    /// Id of the session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Id of the turn.
    #[must_use]
    pub fn turn(&self) -> &TurnId {
        self.sender.turn()
    }

    /// Text of the input that the turn answers. The log has it already.
    #[must_use]
    pub fn user_message(&self) -> &str {
        &self.input.text
    }

    /// The verbs about tool calls.
    #[must_use]
    pub fn tools(&self) -> ToolCalls<'_> {
        ToolCalls::new(self)
    }

    /// The verbs about the agent's memory blocks.
    #[must_use]
    pub fn memory(&self) -> CoreMemory<'_> {
        CoreMemory::new(self)
    }

    /// The verbs about inputs that join the turn, and about its end from outside.
    #[must_use]
    pub fn control(&self) -> TurnControl<'_> {
        TurnControl::new(self)
    }

    /// Registers a client on the session. From now on it is streamed every frame in this encoding,
    /// over the ends of turns.
    ///
    /// # Errors
    /// When the session is gone.
    pub async fn register_client(&self, encoding: Encoding) -> Result<Client, Refusal> {
        self.clients.register(encoding).await
    }

    /// Ends a client's stream. An unknown id does nothing: that client has left already.
    pub fn unregister_client(&self, client: ClientId) {
        self.clients.unregister(client);
    }

    /// Says a whole thought.
    ///
    /// # Errors
    /// When the turn has ended, the text is empty, or the session cannot be saved.
    pub async fn internal_monologue(&self, text: impl Into<String>) -> Result<ItemId, TurnError> {
        let item = new_item_id();
        self.think_as(item.clone(), text.into()).await?;
        Ok(item)
    }

    /// Says a whole message.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn assistant_message(&self, text: impl Into<String>) -> Result<ItemId, TurnError> {
        let item = new_item_id();
        self.say_as(item.clone(), text.into()).await?;
        Ok(item)
    }

    /// Takes a line as `MemGPT` agents give it.
    ///
    /// `Running NAME(ARGS)` is a call. `Success: …` and `Error: …` are the result of the newest
    /// open call; if none is open, a call is made along with its result. Any other line is shown
    /// as a status.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn function_message(&self, line: &str) -> Result<(), TurnError> {
        match function_message::parse(line) {
            MessageLine::Running { name, args } => {
                let called = Event::Turn(TurnEvent::ToolCalled { call: new_call_id(), name, args });
                self.append_visibly(called).await
            }
            MessageLine::Returned { status, text } => {
                let open = self.tail.open_calls(self.turn());
                let open = open.into_iter().map(|(call, name)| ((call, name.clone()), name));
                match function_message::owner_of(&text, open) {
                    ResultOwner::Call((call, name)) => {
                        let returned = Event::Turn(TurnEvent::ToolReturned {
                            call,
                            name,
                            status,
                            text,
                            content: None,
                        });
                        self.append_visibly(returned).await
                    }
                    ResultOwner::Uncalled(name) => {
                        let call = new_call_id();
                        let called = Event::Turn(TurnEvent::ToolCalled {
                            call: call.clone(),
                            name: name.clone(),
                            args: Map::new(),
                        });
                        let returned = Event::Turn(TurnEvent::ToolReturned {
                            call,
                            name,
                            status,
                            text,
                            content: None,
                        });
                        let events = vec![called, returned];
                        self.sender.commit(events, AgentExtras::default()).await.map(drop)
                    }
                }
            }
            MessageLine::Other => self.status(line).await,
        }
    }

    /// Opens a thought that is written piece by piece.
    #[must_use]
    pub fn open_thought(&self) -> ItemWriter {
        ItemWriter::new(self.sender.clone(), StreamKind::Thought)
    }

    /// Opens a message that is written piece by piece.
    #[must_use]
    pub fn open_message(&self) -> ItemWriter {
        ItemWriter::new(self.sender.clone(), StreamKind::Message)
    }

    /// Shows clients a status line. It is never stored.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn status(&self, text: impl Into<String>) -> Result<(), TurnError> {
        self.sender.send(AgentVerb::Status { text: text.into() }).await
    }

    /// Writes the usage of model calls in the middle of a turn. At its end [`Interface::finish`]
    /// writes it.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn usage(&self, usage: Usage) -> Result<(), TurnError> {
        self.sender.append(vec![Event::Turn(TurnEvent::Usage(usage))]).await.map(drop)
    }

    /// Sets the usage of the turn so far. It is written if the turn ends without
    /// [`Interface::finish`], which is given the usage itself.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn spent(&self, usage: Usage) -> Result<(), TurnError> {
        self.sender.send(AgentVerb::Spent(usage)).await
    }

    /// Replaces the conversation up to a position by a summary in later prompts. Returns the
    /// position of the summary's event when that is on disk.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn compacted(
        &self,
        summary: impl Into<String>,
        through: Seq,
    ) -> Result<Seq, TurnError> {
        let event = Event::Session(SessionEvent::Compacted { summary: summary.into(), through });
        self.sender.commit(vec![event], AgentExtras::default()).await
    }

    /// Ends the turn. Usage, message and `turn_ended` are one batch.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn finish(
        &self,
        message: Option<Final>,
        usage: Option<Usage>,
    ) -> Result<Finish, TurnError> {
        let mut events: Vec<Event> = Vec::new();
        events.extend(usage.map(|usage| Event::from(TurnEvent::Usage(usage))));
        events.extend(message.map(Final::into_event));
        let finish = |reply| AgentVerb::Finish { events, failed: None, on_disk: None, reply };
        self.sender.ask(finish).await?
    }

    /// Says a whole thought under an id that the caller made.
    pub(crate) async fn think_as(&self, item: ItemId, text: String) -> Result<(), TurnError> {
        self.sender
            .append(vec![Event::Turn(TurnEvent::Thought {
                item,
                text,
                complete: true,
                continues: None,
            })])
            .await
            .map(drop)
    }

    /// Says a whole message under an id that the caller made.
    pub(crate) async fn say_as(&self, item: ItemId, text: String) -> Result<(), TurnError> {
        self.sender
            .append(vec![Event::Turn(TurnEvent::Message {
                item,
                text,
                complete: true,
                continues: None,
            })])
            .await
            .map(drop)
    }

    /// Appends an event. Returns when the tail shows it, where the next line looks for open calls.
    async fn append_visibly(&self, event: Event) -> Result<(), TurnError> {
        let seq = self.sender.commit(vec![event], AgentExtras::default()).await?;
        self.committed(seq).await
    }

    /// Waits until everything up to a position is on disk and visible in the tail.
    pub(crate) async fn committed(&self, seq: Seq) -> Result<(), TurnError> {
        tokio::select! {
            () = self.tail.reached(seq) => Ok(()),
            () = self.sender.closed() => Err(TurnError::Ended),
        }
    }
}
