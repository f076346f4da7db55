//! The interface through which an agent speaks: the verbs of `MemGPT`'s `AgentInterface`, and what
//! those could not say (deltas, calls with ids, usage, approvals, cancel).

use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{CallId, Decision, Event, ItemId, Refusal, Seq, SessionId, StreamKind, Timestamp, ToolStatus, TurnId, Usage};
use thoughtwire_store::BlockEdit;
use tokio::sync::{mpsc, oneshot};

use crate::clients::{Client, ClientId, Clients};
use crate::clock::{new_call_id, new_item_id};
use crate::tail::Tail;
use crate::{Input, function_message};

/// Why a verb was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silenced {
    /// The turn was ended: cancelled, interrupted or finished. The agent should return.
    #[error("the turn has ended")]
    Ended,
    /// What was said cannot be said here, such as an empty message.
    #[error("{0}")]
    Illegal(String),
    /// It could not be saved.
    #[error("{0}")]
    Unsaved(String),
}

/// How [`Interface::finish`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The turn is over.
    Ended,
    /// Inputs joined the turn meanwhile; the message was said, and the turn goes on with them.
    Steered(Vec<Input>),
}

/// What the agent says, on its way to the session's task.
pub(crate) struct Voice {
    pub(crate) turn: TurnId,
    pub(crate) word: Word,
}

/// One verb.
pub(crate) enum Word {
    /// Events that go out as one append. `settled` answers when accepted or, if `durable`, when committed.
    Say { events: Vec<Event>, block: Option<BlockEdit>, durable: bool, settled: oneshot::Sender<Result<Seq, Silenced>> },
    /// A piece of an open item.
    Piece { item: ItemId, kind: StreamKind, text: String },
    /// A status line.
    Status { text: String },
    /// The turn's end.
    Finish { events: Vec<Event>, settled: oneshot::Sender<Result<Finish, Silenced>> },
    /// Inputs that joined the turn since the last question.
    Steered { settled: oneshot::Sender<Vec<Input>> },
    /// Leave for a call.
    Approval { call: CallId, expires_at: Timestamp, settled: oneshot::Sender<Decision> },
}

/// An agent's voice in one turn; cheap to clone.
#[derive(Clone)]
pub struct Interface {
    pub(crate) session: SessionId,
    pub(crate) turn: TurnId,
    pub(crate) voice: mpsc::Sender<Voice>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) input: Arc<Input>,
}

impl Interface {
    /// The session that is spoken in.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The turn that is spoken in.
    #[must_use]
    pub fn turn(&self) -> &TurnId {
        &self.turn
    }

    /// Registers a client on the session: from now on it is streamed every frame, in this encoding,
    /// whatever turns come and go.
    ///
    /// # Errors
    /// When the session is gone.
    pub async fn register_client(&self, encoding: Encoding) -> Result<Client, Refusal> {
        self.clients.register(encoding).await
    }

    /// Ends a client's stream. Unknown ids are ignored: the client has left already.
    pub fn unregister_client(&self, client: ClientId) {
        self.clients.unregister(client);
    }

    /// What the agent was told. The log has it already.
    #[must_use]
    pub fn user_message(&self) -> &str {
        &self.input.text
    }

    /// Says a whole thought.
    ///
    /// # Errors
    /// When the turn has ended, the text is empty, or the session cannot be saved.
    pub async fn internal_monologue(&self, text: impl Into<String>) -> Result<ItemId, Silenced> {
        let item = new_item_id();
        self.say(Event::Thought { item: item.clone(), text: text.into(), complete: true }).await?;
        Ok(item)
    }

    /// Says a whole message.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn assistant_message(&self, text: impl Into<String>) -> Result<ItemId, Silenced> {
        let item = new_item_id();
        self.say(Event::Message { item: item.clone(), text: text.into(), complete: true }).await?;
        Ok(item)
    }

    /// Takes a line as `MemGPT` agents give it: `Running NAME(ARGS)` is a call, `Success: …` and
    /// `Error: …` are the newest open call's result, anything else is shown as a status.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`], and when a result has no open call.
    pub async fn function_message(&self, line: &str) -> Result<(), Silenced> {
        match function_message::parse(line) {
            function_message::Line::Running { name, args } => self.tool_called(name, args).await.map(drop),
            function_message::Line::Returned { status, text } => match self.tail.newest_call(&self.turn) {
                Some(call) => self.tool_returned(&call.0, call.1, status, text, None).await,
                None => Err(Silenced::Illegal("no call is open that this could be the result of".to_owned())),
            },
            function_message::Line::Other => self.status(line).await,
        }
    }

    /// Says that a tool is called, and waits until that is on disk: the tool may run then.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn tool_called(&self, name: impl Into<String>, args: Map<String, Value>) -> Result<CallId, Silenced> {
        let call = new_call_id();
        self.tool_called_as(call.clone(), name, args).await?;
        Ok(call)
    }

    /// [`Interface::tool_called`] with an id that the caller chose, such as one whose arguments were streamed.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn tool_called_as(&self, call: CallId, name: impl Into<String>, args: Map<String, Value>) -> Result<(), Silenced> {
        let event = Event::ToolCalled { call, name: name.into(), args };
        self.append(vec![event], None, true).await.map(drop)
    }

    /// Says what a call came back with.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`], and when the call is not open.
    pub async fn tool_returned(
        &self,
        call: &CallId,
        name: impl Into<String>,
        status: ToolStatus,
        text: impl Into<String>,
        content: Option<Value>,
    ) -> Result<(), Silenced> {
        self.say(Event::ToolReturned { call: call.clone(), name: name.into(), status, text: text.into(), content }).await
    }

    /// Begins a thought that is written piece by piece.
    #[must_use]
    pub fn open_thought(&self) -> ItemWriter {
        ItemWriter { interface: self.clone(), item: new_item_id(), kind: StreamKind::Thought, text: String::new() }
    }

    /// Begins a message that is written piece by piece.
    #[must_use]
    pub fn open_message(&self) -> ItemWriter {
        ItemWriter { interface: self.clone(), item: new_item_id(), kind: StreamKind::Message, text: String::new() }
    }

    /// Streams a piece of a call's arguments, before [`Interface::tool_called_as`] with the same id.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn tool_args(&self, call: &CallId, piece: impl Into<String>) -> Result<(), Silenced> {
        let item = ItemId::new(call.as_str()).map_err(|bad| Silenced::Illegal(bad.to_string()))?;
        self.speak(Word::Piece { item, kind: StreamKind::ToolArgs, text: piece.into() }).await
    }

    /// Shows people what the agent is about; never stored.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn status(&self, text: impl Into<String>) -> Result<(), Silenced> {
        self.speak(Word::Status { text: text.into() }).await
    }

    /// Says what model calls cost, in the middle of a turn; at its end [`Interface::finish`] does.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn usage(&self, usage: Usage) -> Result<(), Silenced> {
        self.say(Event::Usage(usage)).await
    }

    /// Records an edit of a memory block together with the block itself, and waits until both are on disk.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn memory_edited(&self, edit: BlockEdit, before: impl Into<String>, by: impl Into<String>) -> Result<(), Silenced> {
        let event = Event::MemoryEdited { block: edit.label.clone(), before: before.into(), after: edit.text.clone(), by: by.into() };
        self.append(vec![event], Some(edit), true).await.map(drop)
    }

    /// Asks the owner's leave for an open call and waits for the answer, or for the time to run out.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn approval(&self, call: &CallId, expires_at: Timestamp) -> Result<Decision, Silenced> {
        let (settled, answer) = oneshot::channel();
        self.speak(Word::Approval { call: call.clone(), expires_at, settled }).await?;
        answer.await.map_err(|_| Silenced::Ended)
    }

    /// Inputs that joined this turn (policy `steer`) since the last question.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn steered(&self) -> Result<Vec<Input>, Silenced> {
        let (settled, answer) = oneshot::channel();
        self.speak(Word::Steered { settled }).await?;
        answer.await.map_err(|_| Silenced::Ended)
    }

    /// Ends the turn: `usage`, `message` and `turn_ended` go out as one append.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn finish(&self, message: Option<Final>, usage: Option<Usage>) -> Result<Finish, Silenced> {
        let mut events = Vec::new();
        if let Some(usage) = usage {
            events.push(Event::Usage(usage));
        }
        match message {
            Some(Final::Text(text)) => events.push(Event::Message { item: new_item_id(), text, complete: true }),
            Some(Final::Open(writer)) => events.push(writer.into_event()),
            None => {}
        }
        let (settled, answer) = oneshot::channel();
        self.speak(Word::Finish { events, settled }).await?;
        answer.await.map_err(|_| Silenced::Ended)?
    }

    /// Resolves when the turn has ended, for work that must be told to stop.
    pub async fn cancelled(&self) {
        self.voice.closed().await;
    }

    /// Whether the turn has ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.voice.is_closed()
    }

    /// Waits until everything up to a position is on disk.
    pub(crate) async fn committed(&self, seq: Seq) -> Result<(), Silenced> {
        tokio::select! {
            () = self.tail.reached(seq) => Ok(()),
            () = self.cancelled() => Err(Silenced::Ended),
        }
    }

    async fn say(&self, event: Event) -> Result<(), Silenced> {
        self.append(vec![event], None, false).await.map(drop)
    }

    async fn append(&self, events: Vec<Event>, block: Option<BlockEdit>, durable: bool) -> Result<Seq, Silenced> {
        let (settled, answer) = oneshot::channel();
        self.speak(Word::Say { events, block, durable, settled }).await?;
        answer.await.map_err(|_| Silenced::Ended)?
    }

    async fn speak(&self, word: Word) -> Result<(), Silenced> {
        self.voice.send(Voice { turn: self.turn.clone(), word }).await.map_err(|_| Silenced::Ended)
    }
}

/// What a turn ends with.
pub enum Final {
    /// A whole message.
    Text(String),
    /// A message whose pieces were streamed.
    Open(ItemWriter),
}

impl From<&str> for Final {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Final {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<ItemWriter> for Final {
    fn from(writer: ItemWriter) -> Self {
        Self::Open(writer)
    }
}

/// An open thought or message. Dropped unfinished, it ends with its turn, marked incomplete.
pub struct ItemWriter {
    interface: Interface,
    item: ItemId,
    kind: StreamKind,
    text: String,
}

impl ItemWriter {
    /// The item's id.
    #[must_use]
    pub fn item(&self) -> &ItemId {
        &self.item
    }

    /// What was written so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Streams a piece to whoever listens.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn write(&mut self, piece: &str) -> Result<(), Silenced> {
        if piece.is_empty() {
            return Ok(());
        }
        self.text.push_str(piece);
        self.interface.speak(Word::Piece { item: self.item.clone(), kind: self.kind, text: piece.to_owned() }).await
    }

    /// Ends the item: its event supersedes the pieces.
    ///
    /// # Errors
    /// When the turn has ended, or nothing was written.
    pub async fn finish(self) -> Result<ItemId, Silenced> {
        let (interface, item) = (self.interface.clone(), self.item.clone());
        interface.say(self.into_event()).await?;
        Ok(item)
    }

    fn into_event(self) -> Event {
        match self.kind {
            StreamKind::Thought => Event::Thought { item: self.item, text: self.text, complete: true },
            // Arguments have no writer of their own.
            StreamKind::Message | StreamKind::ToolArgs => Event::Message { item: self.item, text: self.text, complete: true },
        }
    }
}
