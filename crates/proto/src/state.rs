//! The fold that decides which event may come next in a session.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, ApprovalAbout, CallId, Decision, Event, InputEvent, ItemId, Seq, SessionEvent,
    Timestamp, ToolStatus, TurnEvent, TurnId, Usage,
};

/// State of a session after all events of its log. It stays small for a log of any length.
///
/// Live operation, replay and recovery use the same fold. The state is stored with the records that
/// it results from.
///
/// ```
/// use thoughtwire_proto::{SessionEvent, State};
/// let opened =
///     SessionEvent::Opened { agent: "a-1".parse()?, instructions: None, history: vec![] };
/// let mut state = State::default();
/// state.apply(None, &opened.into())?;
/// assert_eq!(state.head().0, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    head: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn: Option<OpenTurn>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    queue: VecDeque<QueuedInput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compaction: Option<Compaction>,
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    usage: Usage,
}

/// The newest summary of a session's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// Position of the `compacted` event.
    pub seq: Seq,
    /// The last position that the summary covers.
    pub through: Seq,
}

/// The running turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenTurn {
    /// Its id.
    pub id: TurnId,
    /// The input that it runs on.
    pub input: ItemId,
    /// Position of its `turn_started`.
    pub started: Seq,
    /// Position of its input's `user_message`.
    #[serde(default)]
    pub asked: Seq,
    /// Number of interruptions that count against its limit: the newest `turn_resumed` has it.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub attempt: u32,
    /// Calls that have not returned, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<OpenCall>,
}

/// A call that has not returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCall {
    /// Its id.
    pub call: CallId,
    /// The tool.
    pub name: String,
    /// Time at which the waiting approval expires, if one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Timestamp>,
    /// Subject of the newest question to the owner.
    #[serde(default, skip_serializing_if = "ApprovalAbout::is_run")]
    pub about: ApprovalAbout,
    /// Number of times that the call was made again.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub retries: u32,
    /// Time until which a client may run the call, if one is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Timestamp>,
    /// Whether the owner did not approve the call, so that it does not run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_refused: bool,
}

impl OpenTurn {
    /// Whether the turn only waits for people or clients. Such a turn survives a restart.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        OpenCall::all_wait(&self.calls)
    }
}

impl OpenCall {
    /// A call that has just been made.
    fn new(call: CallId, name: String) -> Self {
        let (about, retries) = (ApprovalAbout::Run, 0);
        Self { call, name, approval: None, about, retries, awaited: None, is_refused: false }
    }

    /// Applies the next event of a turn to its open calls, for readers of a part of a log.
    /// [`State::apply`] checks as well whether the event may follow.
    pub fn follow(open: &mut Vec<Self>, event: &TurnEvent) {
        match event {
            TurnEvent::ToolCalled { call, name, .. } => {
                open.push(Self::new(call.clone(), name.clone()));
            }
            TurnEvent::ToolReturned { call, .. } => open.retain(|known| known.call != *call),
            TurnEvent::ToolRetried { call, .. }
            | TurnEvent::ApprovalAsked { call, .. }
            | TurnEvent::ApprovalSettled { call, .. }
            | TurnEvent::ToolAwaited { call, .. } => {
                open.iter_mut()
                    .filter(|known| known.call == *call)
                    .for_each(|known| known.apply(event));
            }
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }

    /// Whether there are open calls and all of them wait for people or clients.
    #[must_use]
    pub fn all_wait(open: &[Self]) -> bool {
        !open.is_empty() && open.iter().all(Self::waits)
    }

    /// Applies an event about this call that leaves it open. Others change nothing.
    fn apply(&mut self, event: &TurnEvent) {
        match event {
            TurnEvent::ToolRetried { attempt, .. } => self.retries = *attempt,
            TurnEvent::ApprovalAsked { about, expires_at, .. } => {
                (self.approval, self.about) = (Some(*expires_at), *about);
            }
            TurnEvent::ApprovalSettled { decision, .. } => {
                self.approval = None;
                self.is_refused = match decision {
                    Decision::Approved | Decision::Done => false,
                    Decision::Denied | Decision::Expired | Decision::Void => true,
                };
            }
            TurnEvent::ToolAwaited { expires_at, .. } => self.awaited = Some(*expires_at),
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::Thought { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::Usage(_)
            | TurnEvent::Ended { .. } => {}
        }
    }

    /// Whether the call waits for an approval or for a client's result.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.approval.is_some() || self.awaited.is_some()
    }

    /// Whether the tool may have run. It has not while the owner did not approve the call for the
    /// first time. A client that the call waits for may have run it.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        let is_held = self.approval.is_some() || self.is_refused;
        !is_held || self.about == ApprovalAbout::Retry || self.retries > 0
    }

    /// The events that close the call without a result: its waiting approval becomes void, and it
    /// returns. The status is `unknown` if the tool may have run, and the text says so after the
    /// cause. Otherwise it is `error`, and the text is `abandoned`.
    #[must_use]
    pub fn closing_events(self, cause: &str) -> Vec<Event> {
        let (status, text) = if self.may_have_run() {
            let text = format!("{cause}: the call may or may not have taken effect");
            (ToolStatus::Unknown, text)
        } else {
            (ToolStatus::Error, "abandoned".to_owned())
        };
        let Self { call, name, approval, .. } = self;
        let voided = approval.map(|_| TurnEvent::ApprovalSettled {
            call: call.clone(),
            decision: Decision::Void,
            by: None,
        });
        let returned = TurnEvent::ToolReturned { call, name, status, text, content: None };
        voided.into_iter().chain([returned]).map(Event::Turn).collect()
    }
}

/// An input that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedInput {
    /// The input.
    pub input: ItemId,
    /// Position of its `user_message`.
    pub seq: Seq,
}

/// An event that cannot follow the events before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{kind}` cannot follow here: {reason}")]
pub struct IllegalEvent {
    /// The event's kind.
    pub kind: String,
    /// The reason.
    pub reason: &'static str,
}

impl State {
    /// Position of the last event.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The agent; absent until the session is opened.
    #[must_use]
    pub fn agent(&self) -> Option<&AgentId> {
        self.agent.as_ref()
    }

    /// The title, if there is one.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Instructions of the session, which are added to the agent's persona.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// The running turn.
    #[must_use]
    pub fn turn(&self) -> Option<&OpenTurn> {
        self.turn.as_ref()
    }

    /// Inputs that wait, oldest first.
    #[must_use]
    pub fn queue(&self) -> &VecDeque<QueuedInput> {
        &self.queue
    }

    /// The newest summary of the past, if there is one.
    #[must_use]
    pub fn compaction(&self) -> Option<Compaction> {
        self.compaction
    }

    /// Cost of all turns.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Applies the next event. `turn` is the record's turn.
    ///
    /// A `user_message` without a turn is queued. With a turn it joins the running one.
    ///
    /// # Errors
    /// The event cannot follow. The state is then unchanged.
    pub fn apply(&mut self, turn: Option<&TurnId>, event: &Event) -> Result<(), IllegalEvent> {
        let illegal = |reason| Err(IllegalEvent { kind: event.kind().to_owned(), reason });
        let opening = matches!(event, Event::Session(SessionEvent::Opened { .. }));
        if !opening && self.agent.is_none() {
            return illegal("the session is not opened");
        }
        match event {
            Event::Session(SessionEvent::Opened { agent, instructions, .. }) => {
                if self.agent.is_some() {
                    return illegal("the session is opened already");
                }
                self.agent = Some(agent.clone());
                self.instructions.clone_from(instructions);
            }
            Event::Session(SessionEvent::Renamed { title }) => self.title = Some(title.clone()),
            Event::Session(SessionEvent::InstructionsChanged { instructions }) => {
                self.instructions = (!instructions.is_empty()).then(|| instructions.clone());
            }
            Event::Input(InputEvent::UserMessage { item, .. }) => match turn {
                Some(turn) => {
                    self.running(turn, event)?;
                }
                None => {
                    if self.queue.iter().any(|queued| queued.input == *item) {
                        return illegal("the input is queued already");
                    }
                    self.queue
                        .push_back(QueuedInput { input: item.clone(), seq: self.head.next() });
                }
            },
            Event::Input(InputEvent::Withdrawn { input }) => {
                let Some(at) = self.queue.iter().position(|queued| queued.input == *input) else {
                    return illegal("the input is not queued");
                };
                self.queue.remove(at);
            }
            Event::Turn(TurnEvent::Started { input }) => {
                let Some(turn) = turn else {
                    return illegal("it names no turn");
                };
                if self.turn.is_some() {
                    return illegal("another turn runs");
                }
                let Some(at) = self.queue.iter().position(|queued| queued.input == *input) else {
                    return illegal("its input is not queued");
                };
                let asked = self.queue.remove(at).map_or(Seq::ZERO, |queued| queued.seq);
                let (id, input, started) = (turn.clone(), input.clone(), self.head.next());
                let (attempt, calls) = (0, Vec::new());
                self.turn = Some(OpenTurn { id, input, started, asked, attempt, calls });
            }
            Event::Turn(TurnEvent::Resumed { attempt, .. }) => {
                self.own_turn(turn, event)?.attempt = *attempt;
            }
            Event::Turn(retried @ TurnEvent::ToolRetried { call, .. }) => {
                let open = self.own_turn(turn, event)?;
                match open.calls.iter_mut().find(|open| open.call == *call) {
                    Some(open) if !open.waits() => open.apply(retried),
                    Some(_) => return illegal("the call waits for somebody"),
                    None => return illegal("the call is not open"),
                }
            }
            Event::Turn(TurnEvent::Thought { text, .. } | TurnEvent::Message { text, .. }) => {
                if text.is_empty() {
                    return illegal("its text is empty");
                }
                self.own_turn(turn, event)?;
            }
            Event::Turn(TurnEvent::Usage(usage)) => {
                self.own_turn(turn, event)?;
                self.usage.add(*usage);
            }
            Event::Turn(TurnEvent::ToolCalled { call, name, .. }) => {
                let open = self.own_turn(turn, event)?;
                if open.calls.iter().any(|open| open.call == *call) {
                    return illegal("the call is open already");
                }
                open.calls.push(OpenCall::new(call.clone(), name.clone()));
            }
            Event::Turn(asked @ TurnEvent::ApprovalAsked { call, .. }) => {
                let open = self.own_turn(turn, event)?;
                match open.calls.iter_mut().find(|open| open.call == *call) {
                    Some(open) if !open.waits() => open.apply(asked),
                    Some(open) if open.awaited.is_some() => {
                        return illegal("a client runs the call already");
                    }
                    Some(_) => return illegal("the approval is asked already"),
                    None => return illegal("the call is not open"),
                }
            }
            Event::Turn(settled @ TurnEvent::ApprovalSettled { call, .. }) => {
                let open = self.own_turn(turn, event)?;
                match open.calls.iter_mut().find(|open| open.call == *call) {
                    Some(open) if open.approval.is_some() => open.apply(settled),
                    Some(_) | None => return illegal("no approval is asked for the call"),
                }
            }
            Event::Turn(awaited @ TurnEvent::ToolAwaited { call, .. }) => {
                let open = self.own_turn(turn, event)?;
                match open.calls.iter_mut().find(|open| open.call == *call) {
                    Some(open) if !open.waits() => open.apply(awaited),
                    Some(open) if open.approval.is_some() => {
                        return illegal("the call waits for an approval");
                    }
                    Some(_) => return illegal("the call is awaited already"),
                    None => return illegal("the call is not open"),
                }
            }
            Event::Turn(TurnEvent::ToolReturned { call, .. }) => {
                let open = self.own_turn(turn, event)?;
                let Some(at) = open.calls.iter().position(|open| open.call == *call) else {
                    return illegal("the call is not open");
                };
                open.calls.remove(at);
            }
            // An owner's edit and a compaction may happen outside any turn.
            Event::Session(SessionEvent::MemoryEdited { .. }) => {
                if let Some(turn) = turn {
                    self.running(turn, event)?;
                }
            }
            Event::Session(SessionEvent::Compacted { through, .. }) => {
                if let Some(turn) = turn {
                    self.running(turn, event)?;
                }
                if *through > self.head {
                    return illegal("it covers what has not happened");
                }
                self.compaction = Some(Compaction { seq: self.head.next(), through: *through });
            }
            Event::Turn(TurnEvent::Ended { input, .. }) => {
                let open = self.own_turn(turn, event)?;
                if open.input != *input {
                    return illegal("its input is another's");
                }
                if !open.calls.is_empty() {
                    return illegal("calls of the turn are open");
                }
                self.turn = None;
            }
            Event::Other(_) => {}
        }
        self.head = self.head.next();
        Ok(())
    }

    fn own_turn(
        &mut self,
        turn: Option<&TurnId>,
        event: &Event,
    ) -> Result<&mut OpenTurn, IllegalEvent> {
        match turn {
            Some(turn) => self.running(turn, event),
            None => Err(IllegalEvent { kind: event.kind().to_owned(), reason: "it names no turn" }),
        }
    }

    fn running(&mut self, turn: &TurnId, event: &Event) -> Result<&mut OpenTurn, IllegalEvent> {
        match &mut self.turn {
            Some(open) if open.id == *turn => Ok(open),
            Some(_) | None => {
                Err(IllegalEvent { kind: event.kind().to_owned(), reason: "its turn does not run" })
            }
        }
    }
}
