//! A script: a session's core, its inputs, and its effects as short lines.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use thoughtwire_proto::{
    ApprovalAbout, CommandId, Event, Input, InputEvent, ItemId, Policy, Record, Refusal,
    RefusalCode, ResumeReason, Seq, SessionCommand, SessionEvent, State, StreamKind, Timestamp,
    ToolStatus, TurnEvent, TurnId, Verdict,
};
use thoughtwire_session::{
    Admission, AgentError, AgentExit, AgentSenders, CallQuestion, CommandRequest, HandOver,
    IdempotencyKey, LoadedSession, Now, SeenKeys, SessionCore, SessionHost, SessionInput,
    SessionOptions, SessionRequest, StoredState, TurnVerb,
};

use crate::effect_line::line;

/// A host whose ids count up and whose senders are names.
#[derive(Default)]
pub(crate) struct ScriptHost {
    pub(crate) turns: u32,
    pub(crate) items: u32,
    /// Whether workers run the agent.
    pub(crate) is_offered: bool,
    /// Permits that are free.
    pub(crate) free: VecDeque<u8>,
    /// Permit of the running turn, if it may be handed over.
    pub(crate) kept: Option<u8>,
    /// Whether an interrupted turn ends.
    pub(crate) ends_interrupted: bool,
    /// Whether other sessions wait for a permit.
    pub(crate) is_wanted: bool,
}

impl AgentSenders for ScriptHost {
    type SeqSender = &'static str;
    type FinishSender = &'static str;
    type SteeredSender = &'static str;
    type CallSender = &'static str;
    type EventExtras = Option<&'static str>;
}

impl SessionHost for ScriptHost {
    type Messages = Self;
    type CommandSender = &'static str;
    type BeginSender = &'static str;
    type TurnPermit = u8;

    fn new_turn_id(&mut self) -> TurnId {
        self.turns += 1;
        format!("t-{}", self.turns).parse().unwrap()
    }

    fn new_item_id(&mut self) -> ItemId {
        self.items += 1;
        format!("i-{}", self.items).parse().unwrap()
    }

    fn resumes_interrupted(&self) -> bool {
        !self.ends_interrupted
    }

    fn needs_permit(&self) -> bool {
        self.is_offered
    }

    fn admit(&mut self) -> Admission<u8> {
        if !self.is_offered {
            return Admission::Open;
        }
        self.free.pop_front().map_or(Admission::Wait, Admission::Permit)
    }

    fn hand_over(&mut self, rule: HandOver) -> Admission<u8> {
        if !self.is_offered {
            return Admission::Open;
        }
        let is_free = rule == HandOver::IfKept || !self.is_wanted;
        self.kept.take_if(|_| is_free).map_or(Admission::Wait, Admission::Permit)
    }

    fn release_claim(&mut self) {}

    fn absence(&self) -> Option<String> {
        None
    }
}

pub(crate) const OPTIONS: SessionOptions = SessionOptions {
    queued_inputs: 2,
    open_approvals: 2,
    turn_within: Duration::from_secs(3600),
    resting: false,
};

/// How an open turn was left.
#[derive(Default, Clone, Copy)]
pub(crate) struct TurnLeft {
    pub(crate) was_stopped: bool,
    pub(crate) time_spent: Duration,
}

/// A session's core at a time.
pub(crate) struct SessionScript {
    pub(crate) core: SessionCore<ScriptHost>,
    now: Now,
}

impl SessionScript {
    /// A session in which nothing was said.
    pub(crate) fn new() -> Self {
        Self::with(ScriptHost::default(), OPTIONS)
    }

    pub(crate) fn with(host: ScriptHost, options: SessionOptions) -> Self {
        Self::load(&[], host, options, SeenKeys::new(Some(Vec::new())))
    }

    /// A session as it is loaded after a log, with the lines of its start not checked.
    pub(crate) fn after(log: &[(Option<&str>, Event)]) -> Self {
        Self::load(log, ScriptHost::default(), OPTIONS, SeenKeys::new(Some(Vec::new())))
    }

    /// A session with an interrupted turn, as it is loaded, and the lines of its start.
    pub(crate) fn interrupted(
        log: &[(Option<&str>, Event)],
        host: ScriptHost,
        left: TurnLeft,
    ) -> (Self, Vec<String>) {
        let mut script = Self::loaded(log, host, OPTIONS, SeenKeys::new(Some(Vec::new())), left);
        let lines = script.take(SessionInput::Start);
        (script, lines)
    }

    /// A session of which more commands are stored than are kept in memory.
    pub(crate) fn with_unknown_keys() -> Self {
        Self::load(&[], ScriptHost::default(), OPTIONS, SeenKeys::new(None))
    }

    fn load(
        log: &[(Option<&str>, Event)],
        host: ScriptHost,
        options: SessionOptions,
        seen_keys: SeenKeys,
    ) -> Self {
        let mut script = Self::loaded(log, host, options, seen_keys, TurnLeft::default());
        drop(script.take(SessionInput::Start));
        script
    }

    fn loaded(
        log: &[(Option<&str>, Event)],
        host: ScriptHost,
        options: SessionOptions,
        seen_keys: SeenKeys,
        left: TurnLeft,
    ) -> Self {
        let TurnLeft { was_stopped, time_spent } = left;
        let loaded = LoadedSession {
            id: "s-1".parse().unwrap(),
            stored: stored(log),
            seen_keys,
            resumes: true,
            was_stopped,
            interrupted_by: ResumeReason::Restart,
            time_spent,
            stop_at: None,
        };
        let wall = Timestamp::from_millis(1_000_000);
        let now = Now { wall, elapsed: Duration::from_secs(100) };
        Self { core: SessionCore::new(loaded, options, host), now }
    }

    /// Hands an input in and compares the effects.
    #[track_caller]
    pub(crate) fn on(&mut self, input: SessionInput<ScriptHost>, expected: &[&str]) -> &mut Self {
        let lines = self.take(input);
        assert_eq!(lines, expected);
        self
    }

    pub(crate) fn take(&mut self, input: SessionInput<ScriptHost>) -> Vec<String> {
        self.core.handle(input, self.now).iter().map(line).collect()
    }

    /// Hands an input in whose effects are another test's.
    pub(crate) fn skip(&mut self, input: SessionInput<ScriptHost>) -> &mut Self {
        drop(self.take(input));
        self
    }

    /// Lets the time pass, also the wall clock's.
    pub(crate) fn wait(&mut self, millis: u64) -> &mut Self {
        self.now.elapsed += Duration::from_millis(millis);
        let wall = self.now.wall.as_millis() + i64::try_from(millis).unwrap();
        self.now.wall = Timestamp::from_millis(wall);
        self
    }

    /// Sets the wall clock without time passing.
    pub(crate) fn jump(&mut self, millis: i64) -> &mut Self {
        self.now.wall = Timestamp::from_millis(self.now.wall.as_millis() + millis);
        self
    }

    /// How long until the core wants to be woken, in milliseconds.
    pub(crate) fn timeout(&self) -> Option<u128> {
        let at = self.core.next_timeout(self.now)?;
        Some(at.saturating_sub(self.now.elapsed).as_millis())
    }

    pub(crate) fn in_millis(&self, millis: i64) -> Timestamp {
        Timestamp::from_millis(self.now.wall.as_millis() + millis)
    }

    /// The deadline of a stop that begins now.
    pub(crate) fn stop_in(&self, millis: u64) -> SessionInput<ScriptHost> {
        SessionInput::Stop { deadline: self.now.elapsed + Duration::from_millis(millis) }
    }
}

/// The stored state after a log that begins with `session_opened`.
pub(crate) fn stored(log: &[(Option<&str>, Event)]) -> StoredState {
    let opened = Event::Session(SessionEvent::Opened {
        agent: "a-1".parse().unwrap(),
        instructions: None,
        history: Vec::new(),
    });
    let mut state = State::default();
    state.apply(None, &opened).unwrap();
    let mut inputs = HashMap::new();
    for (turn, event) in log {
        let turn = turn.map(|turn| turn.parse().unwrap());
        state.apply(turn.as_ref(), event).unwrap();
        if let Event::Input(InputEvent::UserMessage { item, text, .. }) = event {
            let (item, text) = (item.clone(), text.clone());
            inputs.insert(item.clone(), Input { item, text, attachments: Vec::new() });
        }
    }
    StoredState { state, inputs, unseen: Vec::new() }
}

/// A log with a queued input, and with its turn if `turn` names one.
pub(crate) fn asked(turn: Option<&'static str>) -> Vec<(Option<&'static str>, Event)> {
    let item: ItemId = "i-0".parse().unwrap();
    let text = "before".to_owned();
    let message = Event::Input(InputEvent::UserMessage {
        item: item.clone(),
        text,
        attachments: Vec::new(),
        from: None,
    });
    let mut log = vec![(None, message)];
    log.extend(turn.map(|turn| (Some(turn), Event::Turn(TurnEvent::Started { input: item }))));
    log
}

pub(crate) fn command(
    reply: &'static str,
    key: Option<(&str, &str)>,
    command: SessionCommand,
) -> SessionInput<ScriptHost> {
    let key = key.map(|(id, digest)| IdempotencyKey {
        id: id.parse::<CommandId>().unwrap(),
        digest: digest.to_owned(),
    });
    let request = CommandRequest { command, from: None, key, reply };
    SessionInput::Request(SessionRequest::Command(request))
}

pub(crate) fn send(reply: &'static str) -> SessionInput<ScriptHost> {
    send_as(reply, Policy::Queue)
}

pub(crate) fn send_as(reply: &'static str, policy: Policy) -> SessionInput<ScriptHost> {
    let (text, attachments) = ("hello".to_owned(), Vec::new());
    command(reply, None, SessionCommand::Send { text, attachments, policy })
}

pub(crate) fn send_once(reply: &'static str, id: &str, digest: &str) -> SessionInput<ScriptHost> {
    let (text, attachments, policy) = ("hello".to_owned(), Vec::new(), Policy::Queue);
    command(reply, Some((id, digest)), SessionCommand::Send { text, attachments, policy })
}

pub(crate) fn cancel(reply: &'static str) -> SessionInput<ScriptHost> {
    command(reply, None, SessionCommand::Cancel { turn: None })
}

pub(crate) fn withdraw(reply: &'static str, input: &str) -> SessionInput<ScriptHost> {
    command(reply, None, SessionCommand::Withdraw { input: input.parse().unwrap() })
}

pub(crate) fn decide(reply: &'static str, call: &str, approve: bool) -> SessionInput<ScriptHost> {
    answer(reply, call, if approve { Verdict::Approved } else { Verdict::Denied }, None)
}

/// The owner answers, with the result of a call that is done.
pub(crate) fn answer(
    reply: &'static str,
    call: &str,
    decision: Verdict,
    result: Option<&str>,
) -> SessionInput<ScriptHost> {
    let (call, result) = (call.parse().unwrap(), result.map(str::to_owned));
    command(reply, None, SessionCommand::Decide { call, decision, result })
}

pub(crate) fn tool_return(reply: &'static str, call: &str) -> SessionInput<ScriptHost> {
    let (call, text) = (call.parse().unwrap(), "dug".to_owned());
    let status = ToolStatus::Success;
    command(reply, None, SessionCommand::ToolReturn { call, status, text, content: None })
}

pub(crate) fn agent(turn: &str, verb: TurnVerb<ScriptHost>) -> SessionInput<ScriptHost> {
    SessionInput::Agent { turn: turn.parse().unwrap(), verb }
}

/// The agent says something, and waits for the disk if `durable`.
pub(crate) fn say(turn: &str, reply: &'static str, durable: bool) -> SessionInput<ScriptHost> {
    let item = format!("m-{reply}").parse().unwrap();
    let events = vec![Event::Turn(TurnEvent::Message {
        item,
        text: "words".to_owned(),
        complete: true,
        continues: None,
    })];
    agent(turn, TurnVerb::Append { events, extras: None, durable, reply })
}

/// The agent makes calls in one batch.
pub(crate) fn calls(turn: &str, reply: &'static str, names: &[&str]) -> SessionInput<ScriptHost> {
    let called = |name: &&str| {
        Event::Turn(TurnEvent::ToolCalled {
            call: name.parse().unwrap(),
            name: "dig".to_owned(),
            args: serde_json::Map::new(),
        })
    };
    let events = names.iter().map(called).collect();
    agent(turn, TurnVerb::Append { events, extras: None, durable: true, reply })
}

/// The agent asks the owner about a call.
pub(crate) fn ask(
    turn: &str,
    call: &str,
    expires_at: Timestamp,
    reply: &'static str,
    asked: Option<&'static str>,
) -> SessionInput<ScriptHost> {
    ask_about(turn, call, ApprovalAbout::Run, expires_at, (reply, asked))
}

/// The agent asks the owner for what `about` says.
pub(crate) fn ask_about(
    turn: &str,
    call: &str,
    about: ApprovalAbout,
    expires_at: Timestamp,
    (reply, asked): (&'static str, Option<&'static str>),
) -> SessionInput<ScriptHost> {
    let question = CallQuestion::Approval { name: "dig".to_owned(), about, expires_at };
    agent(turn, TurnVerb::Await { call: call.parse().unwrap(), question, reply, asked })
}

/// The agent has a client run a call.
pub(crate) fn client_runs(
    turn: &str,
    call: &str,
    expires_at: Timestamp,
    reply: &'static str,
) -> SessionInput<ScriptHost> {
    let question = CallQuestion::Client { expires_at };
    agent(turn, TurnVerb::Await { call: call.parse().unwrap(), question, reply, asked: None })
}

pub(crate) fn delta(turn: &str, item: &str, text: &str) -> SessionInput<ScriptHost> {
    piece(turn, item, text, None)
}

/// A piece of an item that continues another.
pub(crate) fn rest(turn: &str, item: &str, text: &str, cut: &str) -> SessionInput<ScriptHost> {
    piece(turn, item, text, Some(cut))
}

fn piece(turn: &str, item: &str, text: &str, cut: Option<&str>) -> SessionInput<ScriptHost> {
    let (item, text) = (item.parse().unwrap(), text.to_owned());
    let continues = cut.map(|cut| cut.parse().unwrap());
    agent(turn, TurnVerb::Delta { item, kind: StreamKind::Message, text, continues })
}

pub(crate) fn finish(turn: &str, reply: &'static str) -> SessionInput<ScriptHost> {
    agent(turn, TurnVerb::Finish { events: Vec::new(), failed: None, on_disk: None, reply })
}

pub(crate) fn exited(turn: &str) -> SessionInput<ScriptHost> {
    SessionInput::AgentExited { turn: turn.parse().unwrap(), exit: AgentExit::Completed }
}

pub(crate) fn broke(turn: &str) -> SessionInput<ScriptHost> {
    let exit = AgentExit::Failed(AgentError::new("told_to", "It was told to fail."));
    SessionInput::AgentExited { turn: turn.parse().unwrap(), exit }
}

pub(crate) fn failed(code: RefusalCode) -> SessionInput<ScriptHost> {
    SessionInput::SaveFailed(Refusal::new(code, "the disk failed"))
}

pub(crate) fn reloaded(log: &[(Option<&str>, Event)]) -> SessionInput<ScriptHost> {
    SessionInput::Reloaded(Ok(Some(stored(log))))
}

/// The log as it is on disk, of which subscribers have `session_opened`.
pub(crate) fn reloaded_unseen(log: &[(Option<&str>, Event)]) -> SessionInput<ScriptHost> {
    let records = log.iter().zip(2..).map(|((turn, event), seq)| Record {
        seq: Seq(seq),
        at: Timestamp::from_millis(0),
        turn: turn.map(|turn| turn.parse().unwrap()),
        event: event.clone(),
    });
    let unseen = records.collect();
    SessionInput::Reloaded(Ok(Some(StoredState { unseen, ..stored(log) })))
}

pub(crate) const SAVED: SessionInput<ScriptHost> = SessionInput::Saved;
pub(crate) const TIME: SessionInput<ScriptHost> = SessionInput::TimePassed;
