//! The `MemGPT` side of a connection: on one agent at a time, one frame after the other.

use std::collections::VecDeque;

use super::codec::{AgentKey, ClientFrame, Frame, ServerFrame};
use super::fit::fit;
use crate::connection::{Encoding, Machine, Outbox, Output, Tag};
use crate::dialect::FrameLimit;
use crate::dialect::python::Json;
use crate::{
    AgentSpec, Command, CommandReply, ConnectionCommand, DirectoryCommand, DirectoryReply,
    Emission, Emitted, Event, InputEvent, ItemId, PeerRef, PeerWire, Policy, Refusal, RefusalCode,
    Request, Seq, SessionCommand, SessionId, SessionReply, Start, Style, TurnEvent,
};

/// Frames that may wait for those before them.
const WAITING: usize = 64;

/// A `MemGPT` client's connection.
pub struct MemgptMachine {
    outbox: Outbox,
    /// The peer, when the client gave a name to be known by again.
    client: Option<String>,
    peer: Option<PeerRef>,
    on: Option<On>,
    waiting: VecDeque<ClientFrame>,
    /// What the frame in hand waits for; nothing when the next may begin.
    doing: Option<(Tag, Doing)>,
    /// Inputs of this connection whose turns have not ended.
    asked: Vec<ItemId>,
}

/// The agent that the connection is on.
struct On {
    id: String,
    name: String,
    session: SessionId,
}

/// A step of carrying out a frame.
enum Doing {
    OpeningPeer,
    Creating,
    Finding { name: String, then: Then },
    Detaching { on: On, then: Then },
    Attaching { on: On, then: Then },
    Sending,
}

/// What follows once the connection is on the agent.
enum Then {
    Say(String),
    Respond(String),
}

impl MemgptMachine {
    /// A new connection; `client` is the name in its URL's `?client=`, by which what it missed is found again.
    #[must_use]
    pub fn new(client: Option<String>) -> Self {
        let mut machine = Self {
            outbox: Outbox::default(),
            client,
            peer: None,
            on: None,
            waiting: VecDeque::new(),
            doing: None,
            asked: Vec::new(),
        };
        if let Some(name) = machine.client.clone() {
            machine.request(
                DirectoryCommand::OpenPeer {
                    wire: PeerWire::Memgpt,
                    space: String::new(),
                    name: Some(name),
                },
                Doing::OpeningPeer,
            );
        }
        machine
    }

    /// The same connection with another size limit for its own frames.
    #[must_use]
    pub fn with_frame_limit(mut self, limit: FrameLimit) -> Self {
        self.outbox.set_limit(limit);
        self
    }

    fn request(&mut self, command: impl Into<Command>, doing: Doing) {
        let tag = self.outbox.request(Request { id: None, command: command.into() });
        self.doing = Some((tag, doing));
    }

    fn tell(&mut self, frame: ServerFrame) {
        self.outbox.frame(frame.encode());
    }

    /// Begins waiting frames until one has to wait itself.
    fn go_on(&mut self) {
        while self.doing.is_none() {
            let Some(frame) = self.waiting.front() else { return };
            if self.switches(frame) && !self.asked.is_empty() {
                // Its own turns first; the end of the last one comes here again.
                return;
            }
            match self.waiting.pop_front() {
                Some(frame) => self.begin(frame),
                None => return,
            }
        }
    }

    /// Whether a frame leads to another agent than the one the connection is on.
    fn switches(&self, frame: &ClientFrame) -> bool {
        let Some(on) = &self.on else { return false };
        let named = match frame {
            ClientFrame::CreateAgent { .. } => return true,
            ClientFrame::LoadAgent { name: Some(name) } => name,
            ClientFrame::UserMessage {
                agent: AgentKey::Name(name) | AgentKey::Id(name), ..
            } => name,
            ClientFrame::LoadAgent { name: None }
            | ClientFrame::UserMessage { agent: AgentKey::Absent, .. } => return false,
        };
        !matches!(named, Json::Null)
            && !matches!(named, Json::Text(named) if *named == on.id || *named == on.name)
    }

    fn begin(&mut self, frame: ClientFrame) {
        match frame {
            ClientFrame::CreateAgent { config } => match spec_of(config.as_ref()) {
                Ok(spec) => {
                    self.request(DirectoryCommand::CreateAgent(Box::new(spec)), Doing::Creating);
                }
                Err(reason) => self.tell(ServerFrame::command_response(format!(
                    "Error: Failed to init agent - {reason}"
                ))),
            },
            ClientFrame::LoadAgent { name: None | Some(Json::Null) } => {
                self.tell(ServerFrame::command_response("Error: 'name' not provided"));
            }
            ClientFrame::LoadAgent { name: Some(Json::Text(name)) } => {
                let then = Then::Respond(format!("OK: Agent '{name}' loaded"));
                self.go_to(name, then);
            }
            ClientFrame::LoadAgent { name: Some(other) } => {
                let reason = format!(
                    "Error: Failed to load agent '{}' - a name is a string",
                    other.to_str()
                );
                self.tell(ServerFrame::command_response(reason));
            }
            ClientFrame::UserMessage { message, agent } => {
                // What is not a text reaches the agent as Python would print it, as with the original.
                let text = message.to_str();
                match agent {
                    AgentKey::Name(Json::Text(name)) | AgentKey::Id(Json::Text(name)) => {
                        self.go_to(name, Then::Say(text));
                    }
                    AgentKey::Absent | AgentKey::Name(Json::Null) | AgentKey::Id(Json::Null) => {
                        match &self.on {
                            Some(_) => self.say(text),
                            None => {
                                let reason = "agent_name was not specified in the request, and no agent is loaded; load or create one";
                                self.tell(ServerFrame::response_error(reason));
                            }
                        }
                    }
                    AgentKey::Name(other) | AgentKey::Id(other) => {
                        let reason = format!(
                            "No agent has been initialized - an agent is named by a string, not {}",
                            other.kind()
                        );
                        self.tell(ServerFrame::response_error(reason));
                    }
                }
            }
        }
    }

    fn go_to(&mut self, name: String, then: Then) {
        match &self.on {
            Some(on) if on.id == name || on.name == name => self.arrived(then),
            Some(_) | None => self.request(
                DirectoryCommand::FindAgent { agent: name.clone() },
                Doing::Finding { name, then },
            ),
        }
    }

    fn arrived(&mut self, then: Then) {
        match then {
            Then::Say(text) => self.say(text),
            Then::Respond(status) => self.tell(ServerFrame::command_response(status)),
        }
    }

    fn say(&mut self, text: String) {
        let Some(on) = &self.on else { return };
        let session = on.session.clone();
        let command = SessionCommand::Send { text, attachments: Vec::new(), policy: Policy::Queue };
        self.request(command.on(session), Doing::Sending);
    }

    fn switch_to(&mut self, on: On, then: Then) {
        match self.on.take() {
            Some(old) if old.session != on.session => {
                self.request(
                    ConnectionCommand::Detach { session: old.session },
                    Doing::Detaching { on, then },
                );
            }
            Some(_) | None => self.attach(on, then),
        }
    }

    fn attach(&mut self, on: On, then: Then) {
        let start = self.peer.clone().map_or(Start::Head, Start::Proven);
        self.request(
            ConnectionCommand::Attach { session: on.session.clone(), start, tools: Vec::new() },
            Doing::Attaching { on, then },
        );
    }

    fn did(&mut self, doing: Doing, outcome: Result<CommandReply, Refusal>) {
        match (doing, outcome) {
            (
                Doing::OpeningPeer,
                Ok(CommandReply::Directory(DirectoryReply::Peer { peer, .. })),
            ) => self.peer = Some(peer),
            (Doing::OpeningPeer, Err(refusal)) => self
                .tell(ServerFrame::error(format!("the client's name cannot be used: {refusal}"))),
            (
                Doing::Creating,
                Ok(CommandReply::Directory(DirectoryReply::Agent { profile, .. })),
            ) => {
                let on = On {
                    id: profile.id.to_string(),
                    name: profile.spec.name,
                    session: profile.main_session,
                };
                self.switch_to(on, Then::Respond("OK: Agent initialized".to_owned()));
            }
            (Doing::Creating, Err(refusal)) => {
                self.tell(ServerFrame::command_response(format!(
                    "Error: Failed to init agent - {refusal}"
                )));
            }
            (
                Doing::Finding { then, .. },
                Ok(CommandReply::Directory(DirectoryReply::Agent { profile, .. })),
            ) => {
                let on = On {
                    id: profile.id.to_string(),
                    name: profile.spec.name,
                    session: profile.main_session,
                };
                self.switch_to(on, then);
            }
            (Doing::Finding { name, then: Then::Respond(_) }, Err(refusal)) => {
                self.tell(ServerFrame::command_response(format!(
                    "Error: Failed to load agent '{name}' - {refusal}"
                )));
            }
            (Doing::Finding { then: Then::Say(_), .. }, Err(refusal)) => {
                self.tell(ServerFrame::response_error(format!(
                    "No agent has been initialized - {refusal}"
                )));
            }
            // Detached or not attached any more: either way the way is free.
            (Doing::Detaching { on, then }, Ok(_) | Err(_)) => self.attach(on, then),
            (Doing::Attaching { on, then }, Ok(_)) => {
                self.on = Some(on);
                self.arrived(then);
            }
            (Doing::Attaching { on, then: Then::Respond(_) }, Err(refusal)) => {
                self.tell(ServerFrame::command_response(format!(
                    "Error: Failed to load agent '{}' - {refusal}",
                    on.name
                )));
            }
            (Doing::Attaching { then: Then::Say(_), .. }, Err(refusal)) => {
                self.tell(ServerFrame::response_error(format!(
                    "No agent has been initialized - {refusal}"
                )));
            }
            (Doing::Sending, Ok(CommandReply::Session(SessionReply::Input { input, .. }))) => {
                self.asked.push(input);
            }
            (Doing::Sending, Err(refusal)) => {
                self.tell(ServerFrame::response_error(format!(
                    "server.user_message failed with: {refusal}"
                )));
            }
            (
                Doing::OpeningPeer | Doing::Creating | Doing::Finding { .. } | Doing::Sending,
                Ok(_),
            ) => {
                self.tell(ServerFrame::error("the server gave an answer to another question"));
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal, text: &str) {
        self.outbox.note(refusal.code);
        // The original's opening words; the sender's own frame may be quoted to it, nobody else's.
        let frame = if refusal.code != RefusalCode::UnknownType {
            ServerFrame::command_response(format!(
                "Error: bad data from client - {}",
                refusal.reason
            ))
        } else if is_command(text) {
            ServerFrame::error(format!("unrecognized client command type: {}", refusal.reason))
        } else {
            ServerFrame::error(format!("unrecognized client package data type: {}", refusal.reason))
        };
        self.tell(frame);
    }
}

impl Machine for MemgptMachine {
    fn frame(&mut self, text: &str) {
        match Frame::decode(text) {
            Ok(Frame::Client(frame)) => {
                self.waiting.push_back(frame);
                self.go_on();
            }
            Ok(Frame::Server(_)) => {
                self.outbox.note(RefusalCode::UnknownType);
                self.tell(ServerFrame::error(
                    "unrecognized client package data type: a server's frame, sent by a client",
                ));
            }
            Err(refusal) => self.refuse(&refusal, text),
        }
    }

    fn unreadable(&mut self, _frame: &[u8], refusal: &Refusal) {
        self.outbox.note(refusal.code);
        self.tell(ServerFrame::command_response(format!(
            "Error: bad data from client - {}",
            refusal.reason
        )));
    }

    fn authenticated(&mut self, _outcome: Result<(), Refusal>) {
        // This wire has no credential: the request that opened it brought one.
    }

    fn answer(&mut self, tag: Tag, outcome: Result<CommandReply, Refusal>) {
        match self.doing.take() {
            Some((expected, doing)) if expected == tag => {
                if let Err(refusal) = &outcome {
                    self.outbox.note(refusal.code);
                }
                self.did(doing, outcome);
                self.go_on();
            }
            other => self.doing = other,
        }
    }

    fn encoding(&self, _session: &SessionId) -> Encoding {
        Encoding::Memgpt
    }

    fn peer(&self) -> Option<&PeerRef> {
        self.peer.as_ref()
    }

    fn shows(&mut self, emitted: &Emitted) -> bool {
        let Emission::Record(record) = &emitted.emission else { return true };
        if let Event::Turn(TurnEvent::Started { input }) = &record.event {
            return self.asked.contains(input);
        }
        if let Event::Turn(TurnEvent::Ended { input, .. }) = &record.event {
            let before = self.asked.len();
            self.asked.retain(|asked| asked != input);
            let ours = self.asked.len() != before;
            if ours {
                self.go_on();
            }
            return ours;
        }
        if let Event::Input(InputEvent::Withdrawn { input }) = &record.event {
            // Withdrawn from elsewhere: its turn will not come.
            self.asked.retain(|asked| asked != input);
            self.go_on();
            return false;
        }
        true
    }

    fn caught_up(&mut self, _session: &SessionId, _seq: Seq) {}

    fn detached(&mut self, session: &SessionId, reason: &str) {
        if self.on.as_ref().is_some_and(|on| on.session == *session) {
            self.on = None;
            self.asked.clear();
            self.tell(ServerFrame::error(format!("the agent is gone: {reason}")));
            self.go_on();
        }
    }

    fn going_away(&mut self, _reason: &str, _retry_after_ms: u64) {
        // The close code says it; an error frame would end somebody's turn for a lock-step client.
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING || self.outbox.len() >= WAITING
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

/// Whether a frame is one of type `command`.
fn is_command(text: &str) -> bool {
    Json::parse(text)
        .is_ok_and(|json| matches!(json.get("type"), Some(Json::Text(kind)) if kind == "command"))
}

/// An agent's making from a `config`: a name is made up where there is none, keys we do not know are kept.
fn spec_of(config: Option<&Json>) -> Result<AgentSpec, String> {
    let config = match config {
        Some(Json::Dict(config)) => config,
        // The original's words for a missing key are Python's KeyError.
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
            // MemGPT's clients name models of their own provider here; one of ours is `provider/name`.
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
