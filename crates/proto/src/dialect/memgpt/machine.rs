//! The state machine of a `MemGPT` connection. It is on one agent at a time, and carries out one
//! frame after the other.

use std::collections::VecDeque;

use super::codec::{AgentKey, MemgptClientFrame, MemgptFrame, MemgptServerFrame};
use super::earlier_inputs::EarlierInputs;
use super::fit::fit;
use crate::connection::{Encoding, Machine, Outbox, Output, Tag};
use crate::dialect::FrameLimit;
use crate::dialect::python::Json;
use crate::{
    AgentProfile, AgentSpec, Command, CommandReply, ConnectionCommand, DirectoryCommand, Emission,
    Event, InputEvent, ItemId, PeerRef, PeerWire, Policy, Refusal, RefusalCode, Request, Seq,
    SessionCommand, SessionEmission, SessionId, Start, Style, TurnEvent,
};

/// Maximum number of frames that wait for earlier ones.
const MAX_WAITING: usize = 64;

/// A `MemGPT` client's connection.
pub struct MemgptMachine {
    outbox: Outbox,
    /// Name that the client gave, by which it is recognised when it reconnects.
    client: Option<String>,
    peer: Option<PeerRef>,
    agent: Option<CurrentAgent>,
    waiting: VecDeque<MemgptClientFrame>,
    /// The request that the current frame waits for. Without one, the next frame may begin.
    pending: Option<(Tag, MemgptStep)>,
    /// Inputs of this connection whose turns have not ended.
    inputs: Vec<ItemId>,
    /// Inputs that earlier connections of this client sent, and whose turns have not ended.
    earlier: EarlierInputs,
}

/// The agent that the connection is on.
struct CurrentAgent {
    id: String,
    name: String,
    session: SessionId,
}

impl From<AgentProfile> for CurrentAgent {
    fn from(profile: AgentProfile) -> Self {
        let AgentProfile { id, spec, main_session } = profile;
        Self { id: id.to_string(), name: spec.name, session: main_session }
    }
}

/// A step in carrying out a frame.
enum MemgptStep {
    OpeningPeer,
    Creating,
    Finding { name: String, then: AfterSwitch },
    Detaching { agent: CurrentAgent, then: AfterSwitch },
    Attaching { agent: CurrentAgent, then: AfterSwitch },
    Sending,
}

/// Continuation once the connection is on the agent.
enum AfterSwitch {
    Send(String),
    Respond(String),
}

impl MemgptMachine {
    /// Makes the machine of a new connection. `client` is the name in the URL's `?client=`, by
    /// which the client is recognised when it reconnects.
    #[must_use]
    pub fn new(client: Option<String>) -> Self {
        let mut machine = Self {
            outbox: Outbox::default(),
            client,
            peer: None,
            agent: None,
            waiting: VecDeque::new(),
            pending: None,
            inputs: Vec::new(),
            earlier: EarlierInputs::default(),
        };
        if let Some(name) = machine.client.clone() {
            machine.request(
                DirectoryCommand::OpenPeer {
                    wire: PeerWire::Memgpt,
                    space: String::new(),
                    name: Some(name),
                },
                MemgptStep::OpeningPeer,
            );
        }
        machine
    }

    /// Sets another size limit for its own frames.
    #[must_use]
    pub fn with_frame_limit(mut self, limit: FrameLimit) -> Self {
        self.outbox.set_limit(limit);
        self
    }

    fn request(&mut self, command: impl Into<Command>, step: MemgptStep) {
        let tag = self.outbox.request(Request { id: None, command: command.into() });
        self.pending = Some((tag, step));
    }

    fn tell(&mut self, frame: MemgptServerFrame) {
        self.outbox.frame(frame.encode());
    }

    /// Carries out waiting frames until one has to wait.
    fn advance(&mut self) {
        while self.pending.is_none() {
            let Some(frame) = self.waiting.front() else { return };
            if self.switches(frame) && !self.inputs.is_empty() {
                // The connection's own turns must end first. The end of the last one continues
                // here.
                return;
            }
            match self.waiting.pop_front() {
                Some(frame) => self.begin(frame),
                None => return,
            }
        }
    }

    /// Whether a frame switches to another agent.
    fn switches(&self, frame: &MemgptClientFrame) -> bool {
        let Some(agent) = &self.agent else { return false };
        let named = match frame {
            MemgptClientFrame::CreateAgent { .. } => return true,
            MemgptClientFrame::LoadAgent { name: Some(name) } => name,
            MemgptClientFrame::UserMessage {
                agent: AgentKey::Name(name) | AgentKey::Id(name),
                ..
            } => name,
            MemgptClientFrame::LoadAgent { name: None }
            | MemgptClientFrame::UserMessage { agent: AgentKey::Absent, .. } => return false,
        };
        !matches!(named, Json::Null)
            && !matches!(named, Json::Text(named) if *named == agent.id || *named == agent.name)
    }

    fn begin(&mut self, frame: MemgptClientFrame) {
        match frame {
            MemgptClientFrame::CreateAgent { config } => match agent_spec(config.as_ref()) {
                Ok(spec) => {
                    self.request(
                        DirectoryCommand::CreateAgent(Box::new(spec)),
                        MemgptStep::Creating,
                    );
                }
                Err(reason) => self.tell(MemgptServerFrame::command_response(format!(
                    "Error: Failed to init agent - {reason}"
                ))),
            },
            MemgptClientFrame::LoadAgent { name: None | Some(Json::Null) } => {
                self.tell(MemgptServerFrame::command_response("Error: 'name' not provided"));
            }
            MemgptClientFrame::LoadAgent { name: Some(Json::Text(name)) } => {
                let then = AfterSwitch::Respond(format!("OK: Agent '{name}' loaded"));
                self.go_to(name, then);
            }
            MemgptClientFrame::LoadAgent { name: Some(other) } => {
                let reason = format!(
                    "Error: Failed to load agent '{}' - a name is a string",
                    other.to_str()
                );
                self.tell(MemgptServerFrame::command_response(reason));
            }
            MemgptClientFrame::UserMessage { message, agent } => {
                // A message that is not a string reaches the agent as Python prints it, as in the
                // original.
                let text = message.to_str();
                match agent {
                    AgentKey::Name(Json::Text(name)) | AgentKey::Id(Json::Text(name)) => {
                        self.go_to(name, AfterSwitch::Send(text));
                    }
                    AgentKey::Absent | AgentKey::Name(Json::Null) | AgentKey::Id(Json::Null) => {
                        match &self.agent {
                            Some(_) => self.send(text),
                            None => {
                                let reason = "agent_name was not specified in the request, and no \
                                              agent is loaded; load or create one";
                                self.tell(MemgptServerFrame::response_error(reason));
                            }
                        }
                    }
                    AgentKey::Name(other) | AgentKey::Id(other) => {
                        let reason = format!(
                            "No agent has been initialized - an agent is named by a string, not {}",
                            other.kind()
                        );
                        self.tell(MemgptServerFrame::response_error(reason));
                    }
                }
            }
        }
    }

    fn go_to(&mut self, name: String, then: AfterSwitch) {
        match &self.agent {
            Some(agent) if agent.id == name || agent.name == name => self.arrived(then),
            Some(_) | None => self.request(
                DirectoryCommand::FindAgent { agent: name.clone() },
                MemgptStep::Finding { name, then },
            ),
        }
    }

    fn arrived(&mut self, then: AfterSwitch) {
        match then {
            AfterSwitch::Send(text) => self.send(text),
            AfterSwitch::Respond(status) => self.tell(MemgptServerFrame::command_response(status)),
        }
    }

    fn send(&mut self, text: String) {
        let Some(agent) = &self.agent else { return };
        let session = agent.session.clone();
        let command = SessionCommand::Send { text, attachments: Vec::new(), policy: Policy::Queue };
        self.request(command.on(session), MemgptStep::Sending);
    }

    fn switch_to(&mut self, agent: CurrentAgent, then: AfterSwitch) {
        match self.agent.take() {
            Some(old) if old.session != agent.session => {
                self.request(
                    ConnectionCommand::Detach { session: old.session },
                    MemgptStep::Detaching { agent, then },
                );
            }
            Some(_) | None => self.attach(agent, then),
        }
    }

    fn attach(&mut self, agent: CurrentAgent, then: AfterSwitch) {
        let start = self.peer.clone().map_or(Start::Head, Start::Proven);
        self.request(
            ConnectionCommand::Attach { session: agent.session.clone(), start, tools: Vec::new() },
            MemgptStep::Attaching { agent, then },
        );
    }

    fn finish(&mut self, step: MemgptStep, outcome: Result<CommandReply, Refusal>) {
        match step {
            MemgptStep::OpeningPeer => match outcome.and_then(CommandReply::peer) {
                Ok(opened) => self.peer = Some(opened.peer),
                Err(refusal) => self.tell(MemgptServerFrame::error(format!(
                    "the client's name cannot be used: {refusal}"
                ))),
            },
            MemgptStep::Creating => match outcome.and_then(CommandReply::agent) {
                Ok(profile) => {
                    let then = AfterSwitch::Respond("OK: Agent initialized".to_owned());
                    self.switch_to(profile.into(), then);
                }
                Err(refusal) => self.tell(MemgptServerFrame::command_response(format!(
                    "Error: Failed to init agent - {refusal}"
                ))),
            },
            MemgptStep::Finding { name, then } => match outcome.and_then(CommandReply::agent) {
                Ok(profile) => self.switch_to(profile.into(), then),
                Err(refusal) => self.fail_switch(&name, &then, &refusal),
            },
            // The connection is no longer attached, whether the command succeeded or not.
            MemgptStep::Detaching { agent, then } => self.attach(agent, then),
            MemgptStep::Attaching { agent, then } => match outcome.and_then(CommandReply::attached)
            {
                Ok(attached) => {
                    self.agent = Some(agent);
                    self.earlier =
                        EarlierInputs::new(attached.unended, self.peer.as_ref(), attached.head);
                    self.arrived(then);
                }
                Err(refusal) => self.fail_switch(&agent.name, &then, &refusal),
            },
            MemgptStep::Sending => match outcome.and_then(CommandReply::input) {
                Ok(input) => self.inputs.push(input),
                Err(refusal) => self.tell(MemgptServerFrame::response_error(format!(
                    "server.user_message failed with: {refusal}"
                ))),
            },
        }
    }

    /// Reports that the connection cannot switch to an agent.
    fn fail_switch(&mut self, name: &str, then: &AfterSwitch, refusal: &Refusal) {
        self.tell(match then {
            AfterSwitch::Respond(_) => MemgptServerFrame::command_response(format!(
                "Error: Failed to load agent '{name}' - {refusal}"
            )),
            AfterSwitch::Send(_) => MemgptServerFrame::response_error(format!(
                "No agent has been initialized - {refusal}"
            )),
        });
    }

    fn refuse(&mut self, refusal: &Refusal, text: &str) {
        self.outbox.note(refusal.code);
        // The original's opening words. A frame may be quoted only to its own sender.
        let frame = if refusal.code != RefusalCode::UnknownType {
            MemgptServerFrame::command_response(format!(
                "Error: bad data from client - {}",
                refusal.reason
            ))
        } else if is_command(text) {
            MemgptServerFrame::error(format!(
                "unrecognized client command type: {}",
                refusal.reason
            ))
        } else {
            MemgptServerFrame::error(format!(
                "unrecognized client package data type: {}",
                refusal.reason
            ))
        };
        self.tell(frame);
    }
}

impl Machine for MemgptMachine {
    fn frame(&mut self, text: &str) {
        match MemgptFrame::decode(text) {
            Ok(MemgptFrame::Client(frame)) => {
                self.waiting.push_back(frame);
                self.advance();
            }
            Ok(MemgptFrame::Server(_)) => {
                self.outbox.note(RefusalCode::UnknownType);
                self.tell(MemgptServerFrame::error(
                    "unrecognized client package data type: a server's frame, sent by a client",
                ));
            }
            Err(refusal) => self.refuse(&refusal, text),
        }
    }

    fn unreadable(&mut self, _frame: &[u8], refusal: &Refusal) {
        self.outbox.note(refusal.code);
        self.tell(MemgptServerFrame::command_response(format!(
            "Error: bad data from client - {}",
            refusal.reason
        )));
    }

    fn authenticated(&mut self, _outcome: Result<(), Refusal>) {
        // This dialect has no credentials in frames: the upgrade request authenticated the
        // connection.
    }

    fn answer(&mut self, tag: Tag, outcome: Result<CommandReply, Refusal>) {
        match self.pending.take() {
            Some((expected, step)) if expected == tag => {
                if let Err(refusal) = &outcome {
                    self.outbox.note(refusal.code);
                }
                self.finish(step, outcome);
                self.advance();
            }
            other => self.pending = other,
        }
    }

    fn encoding(&self, _session: &SessionId) -> Encoding {
        Encoding::Memgpt
    }

    fn peer(&self) -> Option<&PeerRef> {
        self.peer.as_ref()
    }

    fn shows(&mut self, emitted: &SessionEmission) -> bool {
        let Emission::Record(record) = &emitted.emission else { return true };
        if let Event::Turn(TurnEvent::Started { input }) = &record.event {
            return self.inputs.contains(input) || self.earlier.contains(input);
        }
        if let Event::Turn(TurnEvent::Ended { input, .. }) = &record.event {
            let before = self.inputs.len();
            self.inputs.retain(|own| own != input);
            let ours = self.earlier.remove(input) || self.inputs.len() != before;
            if ours {
                self.advance();
            }
            return ours;
        }
        if let Event::Input(InputEvent::UserMessage { item, from, .. }) = &record.event {
            self.earlier.note(record.seq, item, from.as_deref());
            return true;
        }
        if let Event::Input(InputEvent::Withdrawn { input }) = &record.event {
            // The input was withdrawn by another client, so it will have no turn.
            self.inputs.retain(|own| own != input);
            self.advance();
            return false;
        }
        true
    }

    fn caught_up(&mut self, _session: &SessionId, _seq: Seq) {}

    fn detached(&mut self, session: &SessionId, reason: &str) {
        if self.agent.as_ref().is_some_and(|agent| agent.session == *session) {
            self.agent = None;
            self.inputs.clear();
            self.earlier = EarlierInputs::default();
            self.tell(MemgptServerFrame::error(format!("the agent is gone: {reason}")));
            self.advance();
        }
    }

    fn going_away(&mut self, _reason: &str, _retry_after_ms: u64) {
        // The close code says it. An error frame would end a turn for a lock-step client.
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.outbox.len() >= MAX_WAITING
    }

    fn is_greeted(&self) -> bool {
        true
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll(fit)
    }

    fn refused(&mut self) -> Option<RefusalCode> {
        self.outbox.refused()
    }
}

/// Whether a frame has the type `command`.
fn is_command(text: &str) -> bool {
    Json::parse(text)
        .is_ok_and(|json| matches!(json.get("type"), Some(Json::Text(kind)) if kind == "command"))
}

/// Reads an agent's description from a `config`. An absent name is generated later; unknown keys
/// are kept.
fn agent_spec(config: Option<&Json>) -> Result<AgentSpec, String> {
    let config = match config {
        Some(Json::Dict(config)) => config,
        // The original reports a missing key by Python's `KeyError`, which prints this.
        None => return Err("'config'".to_owned()),
        Some(other) => return Err(format!("config is an object; this is {}", other.kind())),
    };
    let mut spec = AgentSpec { style: Some(Style::Memgpt), ..AgentSpec::default() };
    for (key, value) in config {
        let text = |value: &Json| match value {
            Json::Null => Ok(None),
            Json::Text(text) => Ok(Some(text.clone())),
            other @ (Json::Bool(_)
            | Json::Int(_)
            | Json::Float(_)
            | Json::List(_)
            | Json::Dict(_)) => Err(format!("{key:?} is a string; this is {}", other.kind())),
        };
        match key.as_str() {
            "name" => spec.name = text(value)?.unwrap_or_default(),
            "persona" => spec.persona = text(value)?,
            "human" => spec.human = text(value)?,
            // MemGPT's clients name models of their own provider. One of ours is `provider/name`.
            "model" => match text(value)? {
                Some(model) if model.contains('/') || model.contains(':') || model == "offline" => {
                    spec.model = Some(model);
                }
                Some(model) => drop(spec.extra.insert(key.clone(), model.into())),
                None => {}
            },
            "preset" => spec.preset = text(value)?,
            _ => drop(spec.extra.insert(key.clone(), value.into())),
        }
    }
    Ok(spec)
}
