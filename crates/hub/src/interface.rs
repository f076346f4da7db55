//! The interface through which an agent speaks: the verbs of `MemGPT`'s `AgentInterface`, and what
//! those could not say (deltas, calls with ids, usage, approvals, cancel).

use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::{
    AgentId, CallId, Decision, Event, ItemId, Refusal, Seq, SessionEvent, SessionId, StreamKind,
    Timestamp, ToolDeclaration, ToolStatus, TurnEvent, TurnId, Usage,
};
use thoughtwire_store::{Block, BlockEdit};
use tokio::sync::{mpsc, oneshot};

use crate::clients::{Client, ClientId, Clients};
use crate::clock::{new_call_id, new_item_id};
use crate::function_message::Of;
use crate::item_writer::{Final, ItemWriter};
use crate::memory::{EditError, Memory};
use crate::tail::Tail;
use crate::turn_message::{
    CallReply, Called, Finish, Question, Returned, TurnError, TurnMessage, TurnVerb,
};
use crate::{Input, function_message};

/// What goes to disk together with events.
#[derive(Default)]
struct Beside {
    /// Memory block that changes with them.
    block: Option<BlockEdit>,
    /// Whole output of a call.
    output: Option<(CallId, String)>,
    /// What the provider wants back with the calls.
    kept: Option<String>,
}

/// An agent's voice in one turn; cheap to clone.
#[derive(Clone)]
pub struct Interface {
    pub(crate) session: SessionId,
    pub(crate) turn: TurnId,
    pub(crate) messages: mpsc::Sender<TurnMessage>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) input: Arc<Input>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) agent: AgentId,
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
    pub async fn internal_monologue(&self, text: impl Into<String>) -> Result<ItemId, TurnError> {
        let item = new_item_id();
        self.say(Event::Turn(TurnEvent::Thought {
            item: item.clone(),
            text: text.into(),
            complete: true,
        }))
        .await?;
        Ok(item)
    }

    /// Says a whole message.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn assistant_message(&self, text: impl Into<String>) -> Result<ItemId, TurnError> {
        let item = new_item_id();
        self.say(Event::Turn(TurnEvent::Message {
            item: item.clone(),
            text: text.into(),
            complete: true,
        }))
        .await?;
        Ok(item)
    }

    /// Takes a line as `MemGPT` agents give it: `Running NAME(ARGS)` is a call, `Success: …` and
    /// `Error: …` are the newest open call's result, or without one that of a call which is said along
    /// with it; anything else is shown as a status.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn function_message(&self, line: &str) -> Result<(), TurnError> {
        match function_message::parse(line) {
            function_message::Line::Running { name, args } => {
                let called = Event::Turn(TurnEvent::ToolCalled { call: new_call_id(), name, args });
                let seq = self.append(vec![called], true).await?;
                // The next line's result is looked for on the tail.
                self.committed(seq).await
            }
            function_message::Line::Returned { status, text } => {
                let open = self.tail.open_calls(&self.turn);
                let found = function_message::of(
                    &text,
                    open.into_iter().map(|(call, name)| ((call, name.clone()), name)),
                );
                match found {
                    Of::Call((call, name)) => {
                        let returned = Event::Turn(TurnEvent::ToolReturned {
                            call,
                            name,
                            status,
                            text,
                            content: None,
                        });
                        let seq = self.append(vec![returned], true).await?;
                        // The next line's call is looked for on the tail, too.
                        self.committed(seq).await
                    }
                    Of::Unsaid(name) => {
                        let call = new_call_id();
                        let args = Map::new();
                        let called = Event::Turn(TurnEvent::ToolCalled {
                            call: call.clone(),
                            name: name.clone(),
                            args,
                        });
                        let returned = Event::Turn(TurnEvent::ToolReturned {
                            call,
                            name,
                            status,
                            text,
                            content: None,
                        });
                        self.append(vec![called, returned], true).await.map(drop)
                    }
                }
            }
            function_message::Line::Other => self.status(line).await,
        }
    }

    /// Says that a tool is called, and waits until that is on disk: the tool may run then.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn tool_called(
        &self,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<CallId, TurnError> {
        let call = new_call_id();
        self.tool_called_as(call.clone(), name, args).await?;
        Ok(call)
    }

    /// [`Interface::tool_called`] with an id that the caller chose, such as one whose arguments were streamed.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn tool_called_as(
        &self,
        call: CallId,
        name: impl Into<String>,
        args: Map<String, Value>,
    ) -> Result<(), TurnError> {
        let event = Event::Turn(TurnEvent::ToolCalled { call, name: name.into(), args });
        self.append(vec![event], true).await.map(drop)
    }

    /// [`Interface::tool_called_as`] for calls that are made together: one append, so that after a
    /// crash all of them are known or none.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn tools_called(&self, calls: Vec<Called>) -> Result<(), TurnError> {
        self.tools_called_keeping(calls, None).await
    }

    /// [`Interface::tools_called`] with what the model's provider wants back with these calls, as
    /// JSON for [`Turn::kept`](crate::Turn::kept). No client is shown it.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn tools_called_keeping(
        &self,
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
        self.append_with(events, Beside { kept, ..Beside::default() }, true).await.map(drop)
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
    ) -> Result<(), TurnError> {
        self.say(Event::Turn(TurnEvent::ToolReturned {
            call: call.clone(),
            name: name.into(),
            status,
            text: text.into(),
            content,
        }))
        .await
    }

    /// [`Interface::tool_returned`] with a part of a text, the whole of which is kept beside the log.
    ///
    /// # Errors
    /// As [`Interface::tool_returned`].
    pub async fn tool_returned_part(
        &self,
        call: &CallId,
        name: impl Into<String>,
        status: ToolStatus,
        part: impl Into<String>,
        whole: String,
        content: Option<Value>,
    ) -> Result<(), TurnError> {
        let event = Event::Turn(TurnEvent::ToolReturned {
            call: call.clone(),
            name: name.into(),
            status,
            text: part.into(),
            content,
        });
        let beside = Beside { output: Some((call.clone(), whole)), ..Beside::default() };
        self.append_with(vec![event], beside, false).await.map(drop)
    }

    /// Says that the conversation up to a position is summed up by a text from now on; tells where that stands.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn compacted(
        &self,
        summary: impl Into<String>,
        through: Seq,
    ) -> Result<Seq, TurnError> {
        self.append(
            vec![Event::Session(SessionEvent::Compacted { summary: summary.into(), through })],
            true,
        )
        .await
    }

    /// Begins a thought that is written piece by piece.
    #[must_use]
    pub fn open_thought(&self) -> ItemWriter {
        ItemWriter::new(self.clone(), StreamKind::Thought)
    }

    /// Begins a message that is written piece by piece.
    #[must_use]
    pub fn open_message(&self) -> ItemWriter {
        ItemWriter::new(self.clone(), StreamKind::Message)
    }

    /// Streams a piece of a call's arguments, before [`Interface::tool_called_as`] with the same id.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn tool_args(
        &self,
        call: &CallId,
        piece: impl Into<String>,
    ) -> Result<(), TurnError> {
        let item = ItemId::new(call.as_str()).map_err(|bad| TurnError::Illegal(bad.to_string()))?;
        self.speak(TurnVerb::Delta { item, kind: StreamKind::ToolArgs, text: piece.into() }).await
    }

    /// Shows people what the agent is about; never stored.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn status(&self, text: impl Into<String>) -> Result<(), TurnError> {
        self.speak(TurnVerb::Status { text: text.into() }).await
    }

    /// Says what model calls cost, in the middle of a turn; at its end [`Interface::finish`] does.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn usage(&self, usage: Usage) -> Result<(), TurnError> {
        self.say(Event::Turn(TurnEvent::Usage(usage))).await
    }

    /// Edits one of the agent's memory blocks, and waits until that is on disk. `change` makes the new
    /// text from the block as it is, or says why not; of one agent's edits only one is under way at a time.
    ///
    /// # Errors
    /// When the turn has ended, when there is no such block, and when `change` refuses.
    pub async fn edit_memory(
        &self,
        label: impl Into<String>,
        change: impl FnOnce(&Block) -> Result<String, String> + Send + 'static,
    ) -> Result<Block, EditError> {
        let (memory, interface, agent, label) =
            (Arc::clone(&self.memory), self.clone(), self.agent.clone(), label.into());
        // On a task of its own: a cancelled turn drops its future, and the next edit must not read
        // the block before this one is settled.
        let edit = tokio::spawn(async move {
            let owner = memory.owner(&agent);
            let _turn = owner.lock().await;
            let before = memory.block(&agent, &label).await?;
            let label = before.label.clone();
            let after =
                Block { text: change(&before).map_err(EditError::Refused)?, ..before.clone() };
            if after != before {
                let event = Event::Session(SessionEvent::MemoryEdited {
                    block: label.clone(),
                    before: before.text,
                    after: after.text.clone(),
                    by: "agent".to_owned(),
                });
                let edit = BlockEdit { agent, label, to: Some(after.clone()) };
                let beside = Beside { block: Some(edit), ..Beside::default() };
                interface.append_with(vec![event], beside, true).await?;
            }
            Ok(after)
        });
        edit.await.map_err(|_| EditError::TurnError(TurnError::Ended))?
    }

    /// Tells what the turn cost so far. It is written if the turn ends without [`Interface::finish`],
    /// which says so itself.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn spent(&self, usage: Usage) -> Result<(), TurnError> {
        self.speak(TurnVerb::Spent(usage)).await
    }

    /// Asks the owner's leave for an open call and waits for the answer, or for the time to run out.
    /// A question that stood before a restart is waited for again, whatever `expires_at` says.
    ///
    /// # Errors
    /// When the turn has ended, or as many calls wait for leave as may.
    pub async fn approval(
        &self,
        call: &CallId,
        name: impl Into<String>,
        expires_at: Timestamp,
    ) -> Result<Decision, TurnError> {
        match self.wait(call.clone(), Question::Approval { name: name.into(), expires_at }).await? {
            CallReply::Decided(decision) => Ok(decision),
            CallReply::Refused(reason) => Err(TurnError::Refused(reason)),
            CallReply::Returned(_) => Err(TurnError::Illegal(
                "the call waited for a client, not for an approval".to_owned(),
            )),
        }
    }

    /// The tools that attached clients run, as they declared them; of two with one name the first.
    #[must_use]
    pub fn client_tools(&self) -> Vec<ToolDeclaration> {
        self.tail.tools()
    }

    /// Has a client run an open call, and waits for the result, or for the time to run out. The
    /// session writes the call's `tool_returned` itself.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn client_runs(
        &self,
        call: &CallId,
        expires_at: Timestamp,
    ) -> Result<Returned, TurnError> {
        match self.wait(call.clone(), Question::Client { expires_at }).await? {
            CallReply::Returned(returned) => Ok(returned),
            CallReply::Refused(reason) => Err(TurnError::Refused(reason)),
            CallReply::Decided(_) => Err(TurnError::Illegal(
                "the call waited for an approval, not for a client".to_owned(),
            )),
        }
    }

    async fn wait(&self, call: CallId, question: Question) -> Result<CallReply, TurnError> {
        let (reply, answer) = oneshot::channel();
        self.speak(TurnVerb::Await { call, question, reply, asked: None }).await?;
        answer.await.map_err(|_| TurnError::Ended)
    }

    /// Inputs that joined this turn (policy `steer`) since the last question.
    ///
    /// # Errors
    /// When the turn has ended.
    pub async fn steered(&self) -> Result<Vec<Input>, TurnError> {
        let (reply, answer) = oneshot::channel();
        self.speak(TurnVerb::Steered { reply }).await?;
        answer.await.map_err(|_| TurnError::Ended)
    }

    /// Ends the turn: `usage`, `message` and `turn_ended` go out as one append.
    ///
    /// # Errors
    /// As [`Interface::internal_monologue`].
    pub async fn finish(
        &self,
        message: Option<Final>,
        usage: Option<Usage>,
    ) -> Result<Finish, TurnError> {
        let mut events = Vec::new();
        if let Some(usage) = usage {
            events.push(Event::Turn(TurnEvent::Usage(usage)));
        }
        match message {
            Some(Final::Text(text)) => {
                events.push(Event::Turn(TurnEvent::Message {
                    item: new_item_id(),
                    text,
                    complete: true,
                }));
            }
            Some(Final::Open(writer)) => events.push(writer.into_event()),
            None => {}
        }
        let (reply, answer) = oneshot::channel();
        self.speak(TurnVerb::Finish { events, failed: None, on_disk: None, reply }).await?;
        answer.await.map_err(|_| TurnError::Ended)?
    }

    /// Resolves when the turn has ended, for work that must be told to stop.
    pub async fn cancelled(&self) {
        self.messages.closed().await;
    }

    /// Whether the turn has ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.messages.is_closed()
    }

    /// Waits until everything up to a position is on disk.
    pub(crate) async fn committed(&self, seq: Seq) -> Result<(), TurnError> {
        tokio::select! {
            () = self.tail.reached(seq) => Ok(()),
            () = self.cancelled() => Err(TurnError::Ended),
        }
    }

    pub(crate) async fn say(&self, event: Event) -> Result<(), TurnError> {
        self.append(vec![event], false).await.map(drop)
    }

    async fn append(&self, events: Vec<Event>, durable: bool) -> Result<Seq, TurnError> {
        self.append_with(events, Beside::default(), durable).await
    }

    async fn append_with(
        &self,
        events: Vec<Event>,
        beside: Beside,
        durable: bool,
    ) -> Result<Seq, TurnError> {
        let (reply, answer) = oneshot::channel();
        let Beside { block, output, kept } = beside;
        self.speak(TurnVerb::Append { events, block, output, kept, durable, reply }).await?;
        answer.await.map_err(|_| TurnError::Ended)?
    }

    pub(crate) async fn speak(&self, verb: TurnVerb) -> Result<(), TurnError> {
        self.messages
            .send(TurnMessage { turn: self.turn.clone(), verb })
            .await
            .map_err(|_| TurnError::Ended)
    }
}
