//! The Sparky side of a connection: `connect` first, then all chats of the session.

use std::collections::{HashMap, VecDeque};

use super::codec::Message;
use super::encode::{APPROVE, DENY};
use super::fit::fit;
use super::payload::Payload;
use crate::connection::{Encoding, Joined, Machine, Outbox, Output, Tag};
use crate::dialect::FrameLimit;
use crate::dialect::python::Json;
use crate::{
    Answer, Command, Cursor, HistoryEntry, PeerRef, PeerWire, Policy, Refusal, RefusalCode,
    Request, Role, Seq, SessionId, Start,
};

/// Frames that may wait for those before them.
const WAITING: usize = 64;
/// The user of who names none.
const LOCAL: &str = "local";
/// The chat of a session in which none was started: the protocol's document knows no `start_chat`.
const DEFAULT_CHAT: &str = "default";

/// A tool, or a server of tools, as a new session is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolLoading {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub loading: Loading,
}

/// How far a tool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loading {
    /// It is on its way.
    Begun,
    /// It can be used.
    Loaded,
    /// It cannot; why.
    Failed(String),
}

/// A Sparky client's connection.
pub struct SparkyMachine {
    outbox: Outbox,
    tools: Vec<ToolLoading>,
    /// Set by `connect`; what further frames are labelled with.
    peer: Option<PeerRef>,
    ready: bool,
    /// The chat that is spoken in.
    chat: Option<String>,
    chats: HashMap<SessionId, String>,
    sessions: HashMap<String, SessionId>,
    /// What new chats are opened with.
    personality: Option<String>,
    history: Vec<HistoryEntry>,
    waiting: VecDeque<Waiting>,
    doing: Option<(Tag, Doing)>,
    connecting: Option<Connecting>,
}

/// What `connect` asked for, until it is answered.
struct Connecting {
    session_id: Option<String>,
    user_id: String,
    chat: Option<(String, Option<String>)>,
}

/// What waits for its turn to be done.
enum Waiting {
    Frame(Payload),
    Join(Joined),
}

enum Doing {
    OpeningPeer,
    /// Attaching a chat that another connection of the session opened.
    Joining(SessionId),
    /// Attaching the chats that the session has already; the rest is still to do.
    Rejoining {
        rest: Vec<(String, SessionId)>,
        session: SessionId,
    },
    OpeningChat {
        then: Then,
    },
    Attaching {
        chat: String,
        is_new: bool,
        then: Then,
    },
    Instructing,
    Sending,
    Deciding,
}

/// What follows once a chat is open and attached.
enum Then {
    /// `chat_ready`, for who asked for the chat.
    Announce { started: bool },
    /// The message that opened the default chat.
    Say { text: String, file_id: Option<String> },
    /// The instructions that did.
    Instruct { text: String },
    /// `ready`, where `connect` named a chat.
    Greet,
}

impl SparkyMachine {
    /// The same connection with another size limit for its own frames.
    #[must_use]
    pub fn with_frame_limit(mut self, limit: FrameLimit) -> Self {
        self.outbox.set_limit(limit);
        self
    }

    /// A new connection to a server whose agents have these tools.
    #[must_use]
    pub fn new(tools: Vec<ToolLoading>) -> Self {
        Self {
            outbox: Outbox::default(),
            tools,
            peer: None,
            ready: false,
            chat: None,
            chats: HashMap::new(),
            sessions: HashMap::new(),
            personality: None,
            history: Vec::new(),
            waiting: VecDeque::new(),
            doing: None,
            connecting: None,
        }
    }

    fn tell(&mut self, payload: Payload, chat: Option<String>) {
        let (session_id, user_id) = match &self.peer {
            Some(peer) => (Some(peer.name.clone()), Some(peer.space.clone())),
            None => (None, None),
        };
        self.outbox.frame(Message { payload, session_id, user_id, chat_id: chat }.to_text());
    }

    fn complain(&mut self, message: impl Into<String>) {
        let chat = self.chat.clone();
        self.tell(Payload::Error { message: message.into(), task_id: None }, chat);
    }

    fn request(&mut self, command: Command, doing: Doing) {
        let tag = self.outbox.request(Request { id: None, command });
        self.doing = Some((tag, doing));
    }

    fn go_on(&mut self) {
        while self.doing.is_none() && self.connecting.is_none() {
            match self.waiting.pop_front() {
                Some(Waiting::Frame(payload)) if self.ready => self.begin(payload),
                Some(Waiting::Frame(payload)) => self.greet(payload),
                Some(Waiting::Join(joined)) => self.join(joined),
                None => return,
            }
        }
    }

    /// A frame before `ready`.
    fn greet(&mut self, payload: Payload) {
        let Payload::Connect {
            session_id,
            personality,
            history,
            user_id,
            token,
            chat_id,
            chat_name,
        } = payload
        else {
            self.outbox.note(RefusalCode::BadRequest);
            return self.complain("First message must be 'connect' type");
        };
        let history =
            match history.unwrap_or_default().iter().map(entry).collect::<Result<Vec<_>, _>>() {
                Ok(history) => history,
                Err(reason) => {
                    self.outbox.note(RefusalCode::BadRequest);
                    return self.complain(format!("Invalid message format: {reason}"));
                }
            };
        self.personality = personality.filter(|text| !text.is_empty());
        self.history = history;
        let user_id = user_id.filter(|user| !user.is_empty()).unwrap_or_else(|| LOCAL.to_owned());
        let chat = chat_id.filter(|chat| !chat.is_empty()).map(|chat| (chat, chat_name));
        let session_id = session_id.filter(|session| !session.is_empty());
        self.outbox.push(Output::Authenticate {
            token,
            client: None,
            space: Some(user_id.clone()),
        });
        self.connecting = Some(Connecting { session_id, user_id, chat });
    }

    /// A frame of a connection that is ready.
    fn begin(&mut self, payload: Payload) {
        match payload {
            Payload::Message { text, .. } if is_verdict(&text) => match self
                .current()
                .or_else(|| self.only_chat())
            {
                Some(session) => {
                    let approve = text.trim() == APPROVE;
                    self.request(
                        Command::Decide { session: Some(session), call: None, approve },
                        Doing::Deciding,
                    );
                }
                None => {
                    self.outbox.note(RefusalCode::BadRequest);
                    self.complain("Nothing was settled: switch to the chat that is meant first");
                }
            },
            Payload::Message { text, file_id, .. } => match self.current() {
                Some(session) => self.say(session, text, file_id),
                None => self.open(DEFAULT_CHAT.to_owned(), None, Then::Say { text, file_id }),
            },
            Payload::Personality { text } => {
                self.personality = Some(text.clone());
                match self.current() {
                    Some(session) => self.request(
                        Command::Instruct { session, instructions: text },
                        Doing::Instructing,
                    ),
                    None => self.open(DEFAULT_CHAT.to_owned(), None, Then::Instruct { text }),
                }
            }
            Payload::StartChat { chat_id, chat_name } => {
                self.open(chat_id, chat_name, Then::Announce { started: true })
            }
            Payload::SwitchChat { chat_id } => {
                self.open(chat_id, None, Then::Announce { started: false })
            }
            // As the original, which ignores what only a server says, and a second `connect`.
            Payload::Connect { .. }
            | Payload::SessionInfo { .. }
            | Payload::ToolLoadingProgress { .. }
            | Payload::Ready { .. }
            | Payload::ChatReady { .. }
            | Payload::Thought { .. }
            | Payload::ToolUse { .. }
            | Payload::ToolResult { .. }
            | Payload::Status { .. }
            | Payload::Error { .. }
            | Payload::TokenUsage { .. }
            | Payload::TokenEstimate { .. } => {}
        }
    }

    fn join(&mut self, joined: Joined) {
        let Joined { peer, chat, session, is_new } = joined;
        if self.peer.as_ref() != Some(&peer) || self.chats.contains_key(&session) {
            return;
        }
        self.chats.insert(session.clone(), chat.clone());
        self.sessions.insert(chat, session.clone());
        // A chat that is new to everybody is read from its beginning, so that nothing of it is missed;
        // another one from where the peer has read it. At its head, this connection would prove what
        // no connection was sent.
        let start = if is_new {
            Start::After(Cursor { epoch: None, seq: Seq::ZERO })
        } else {
            Start::Proven(peer)
        };
        self.request(
            Command::Attach { session: session.clone(), start, tools: Vec::new() },
            Doing::Joining(session),
        );
    }

    fn current(&self) -> Option<SessionId> {
        self.chat.as_ref().and_then(|chat| self.sessions.get(chat)).cloned()
    }

    /// The session's chat, while there is one alone.
    fn only_chat(&self) -> Option<SessionId> {
        let mut chats = self.chats.keys();
        chats.next().filter(|_| chats.next().is_none()).cloned()
    }

    fn open(&mut self, chat: String, title: Option<String>, then: Then) {
        let Some(peer) = self.peer.clone() else { return };
        let (instructions, history) = (self.personality.clone(), self.history.clone());
        self.request(
            Command::OpenChat { peer, chat, title, instructions, history },
            Doing::OpeningChat { then },
        );
    }

    fn say(&mut self, session: SessionId, text: String, file_id: Option<String>) {
        let attachments = file_id.into_iter().collect();
        self.request(
            Command::Send { session, text, attachments, policy: Policy::Interrupt },
            Doing::Sending,
        );
    }

    fn rejoin(&mut self, mut rest: Vec<(String, SessionId)>) {
        match (rest.pop(), self.peer.clone()) {
            (Some((chat, session)), Some(peer)) => {
                self.chats.insert(session.clone(), chat.clone());
                self.sessions.insert(chat, session.clone());
                let attach = Command::Attach {
                    session: session.clone(),
                    start: Start::Proven(peer),
                    tools: Vec::new(),
                };
                self.request(attach, Doing::Rejoining { rest, session });
            }
            (_, _) => {
                match self.connecting.as_mut().and_then(|connecting| connecting.chat.take()) {
                    Some((chat, title)) => self.open(chat, title, Then::Greet),
                    None => self.welcome(),
                }
            }
        }
    }

    fn welcome(&mut self) {
        self.connecting = None;
        self.ready = true;
        let Some(peer) = &self.peer else { return };
        let ready = Payload::Ready {
            session_id: peer.name.clone(),
            tools_loaded: self.tools.iter().filter(|tool| tool.loading == Loading::Loaded).count()
                as i128,
        };
        self.tell(ready, None);
    }

    fn did(&mut self, doing: Doing, outcome: Result<Answer, Refusal>) {
        match (doing, outcome) {
            (Doing::OpeningPeer, Ok(Answer::Peer { peer, is_new, chats, selected })) => {
                self.peer = Some(peer.clone());
                // Only what is still a chat of the session can be selected.
                self.chat =
                    selected.filter(|selected| chats.iter().any(|(chat, _)| chat == selected));
                let info = Payload::SessionInfo {
                    session_id: peer.name,
                    is_new,
                    reconnected: !is_new,
                    chat_id: self.chat.clone(),
                };
                self.tell(info, None);
                if is_new {
                    for ToolLoading { name, loading } in self.tools.clone() {
                        let outcome = match loading {
                            Loading::Begun => None,
                            Loading::Loaded => {
                                Some(("loaded", format!("{name} loaded successfully")))
                            }
                            Loading::Failed(reason) => {
                                Some(("error", format!("Error loading {name}: {reason}")))
                            }
                        };
                        for (status, message) in
                            std::iter::once(("loading", format!("Loading {name}...")))
                                .chain(outcome)
                        {
                            let progress = Payload::ToolLoadingProgress {
                                tool_name: name.clone(),
                                status: status.to_owned(),
                                message,
                            };
                            self.outbox.frame(Message::new(progress).to_text());
                        }
                    }
                }
                self.rejoin(chats);
            }
            (Doing::OpeningPeer, Err(refusal)) => {
                self.connecting = None;
                self.complain(format!("Invalid message format: {refusal}"));
            }
            (Doing::Joining(_), Ok(_)) => {}
            (Doing::Joining(session), Err(_)) => {
                // Deleted meanwhile.
                if let Some(chat) = self.chats.remove(&session) {
                    self.sessions.remove(&chat);
                }
            }
            (Doing::Rejoining { rest, .. }, Ok(_)) => self.rejoin(rest),
            (Doing::Rejoining { rest, session }, Err(_)) => {
                // Deleted meanwhile.
                if let Some(chat) = self.chats.remove(&session) {
                    self.sessions.remove(&chat);
                }
                self.rejoin(rest);
            }
            (Doing::OpeningChat { then }, Ok(Answer::Chat { chat, session, is_new })) => {
                self.chat = Some(chat.clone());
                if self.chats.contains_key(&session) {
                    self.entered(&session, is_new, then);
                } else if let Some(peer) = self.peer.clone() {
                    self.chats.insert(session.clone(), chat.clone());
                    self.sessions.insert(chat.clone(), session.clone());
                    self.request(
                        Command::Attach { session, start: Start::Proven(peer), tools: Vec::new() },
                        Doing::Attaching { chat, is_new, then },
                    );
                }
            }
            (Doing::Attaching { chat, is_new, then }, Ok(_)) => {
                if let Some(session) = self.sessions.get(&chat).cloned() {
                    self.entered(&session, is_new, then);
                }
            }
            (Doing::Attaching { chat, then, .. }, Err(refusal)) => {
                if let Some(session) = self.sessions.remove(&chat) {
                    self.chats.remove(&session);
                }
                self.did(Doing::OpeningChat { then }, Err(refusal));
            }
            (Doing::OpeningChat { then }, Err(refusal)) => match &then {
                Then::Announce { started: true } => {
                    self.complain(format!("Error starting chat: {refusal}"))
                }
                Then::Announce { started: false } => {
                    self.complain(format!("Error switching chat: {refusal}"))
                }
                Then::Say { .. } => self.complain(format!("Error processing message: {refusal}")),
                Then::Instruct { .. } => self.complain(format!("Invalid message: {refusal}")),
                Then::Greet => {
                    self.complain(format!("Error starting chat: {refusal}"));
                    self.welcome();
                }
            },
            (Doing::Instructing | Doing::Sending | Doing::Deciding, Ok(_)) => {}
            (Doing::Deciding, Err(refusal)) => {
                self.complain(format!("Nothing was settled: {refusal}"))
            }
            (Doing::Instructing, Err(refusal)) => {
                self.complain(format!("Invalid message: {refusal}"))
            }
            (Doing::Sending, Err(refusal)) => {
                self.complain(format!("Error processing message: {refusal}"))
            }
            (Doing::OpeningPeer | Doing::OpeningChat { .. }, Ok(_)) => {
                self.complain("the server gave an answer to another question")
            }
        }
    }

    fn entered(&mut self, session: &SessionId, is_new: bool, then: Then) {
        match then {
            Then::Announce { .. } => {
                let chat = self.chats.get(session).cloned().unwrap_or_default();
                self.tell(
                    Payload::ChatReady { chat_id: chat.clone(), is_new, model: None },
                    Some(chat),
                );
            }
            Then::Say { text, file_id } => self.say(session.clone(), text, file_id),
            Then::Instruct { text } => self.request(
                Command::Instruct { session: session.clone(), instructions: text },
                Doing::Instructing,
            ),
            Then::Greet => self.welcome(),
        }
    }
}

impl Machine for SparkyMachine {
    fn frame(&mut self, text: &str) {
        match Message::from_text(text) {
            Ok(message) => {
                self.waiting.push_back(Waiting::Frame(message.payload));
                self.go_on();
            }
            Err(refusal)
                if refusal.code == RefusalCode::UnknownType && is_ping(text) && self.ready => {}
            Err(refusal) => {
                self.outbox.note(refusal.code);
                let words = if self.ready { "Invalid message" } else { "Invalid message format" };
                self.complain(format!("{words}: {refusal}"));
            }
        }
    }

    fn unreadable(&mut self, _frame: &[u8], refusal: &Refusal) {
        self.outbox.note(refusal.code);
        let words = if self.ready { "Invalid message" } else { "Invalid message format" };
        self.complain(format!("{words}: {refusal}"));
    }

    fn authenticated(&mut self, outcome: Result<(), Refusal>) {
        let Some(connecting) = &self.connecting else { return };
        match outcome {
            Ok(()) => {
                let (space, name) = (connecting.user_id.clone(), connecting.session_id.clone());
                self.request(
                    Command::OpenPeer { wire: PeerWire::Sparky, space, name },
                    Doing::OpeningPeer,
                );
            }
            Err(refusal) => {
                self.outbox.note(refusal.code);
                self.connecting = None;
                self.complain(refusal.reason);
                self.go_on();
            }
        }
    }

    fn answer(&mut self, tag: Tag, outcome: Result<Answer, Refusal>) {
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

    fn encoding(&self, session: &SessionId) -> Encoding {
        let (name, space) = self
            .peer
            .as_ref()
            .map(|peer| (peer.name.as_str(), peer.space.as_str()))
            .unwrap_or_default();
        let chat = self.chats.get(session).map(String::as_str).unwrap_or_default();
        Encoding::Sparky { session_id: name.into(), user_id: space.into(), chat_id: chat.into() }
    }

    fn peer(&self) -> Option<&PeerRef> {
        self.peer.as_ref()
    }

    fn has_chats(&self) -> bool {
        true
    }

    fn joined(&mut self, joined: &Joined) {
        if self.peer.as_ref() == Some(&joined.peer) {
            self.waiting.push_back(Waiting::Join(joined.clone()));
            self.go_on();
        }
    }

    fn caught_up(&mut self, _session: &SessionId, _seq: Seq) {}

    fn detached(&mut self, session: &SessionId, _reason: &str) {
        // The chat was deleted elsewhere; naming it again opens a new one.
        if let Some(chat) = self.chats.remove(session) {
            self.sessions.remove(&chat);
            if self.chat.as_ref() == Some(&chat) {
                self.chat = None;
            }
        }
    }

    fn going_away(&mut self, reason: &str, _retry_after_ms: u64) {
        self.tell(Payload::Status { message: reason.to_owned(), task_id: None }, None);
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING || self.outbox.len() >= WAITING
    }

    fn is_greeted(&self) -> bool {
        self.ready
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll(fit)
    }

    fn refused(&mut self) -> Option<RefusalCode> {
        self.outbox.refused()
    }
}

/// Whether a message settles an approval instead of saying something.
fn is_verdict(text: &str) -> bool {
    matches!(text.trim(), APPROVE | DENY)
}

/// Sparky's terminal client was to send these as a heartbeat.
fn is_ping(text: &str) -> bool {
    Json::parse(text)
        .is_ok_and(|json| matches!(json.get("type"), Some(Json::Text(kind)) if kind == "ping"))
}

/// A line of `history`: `role` and either `content` or `parts`, as language models' clients have them.
fn entry(json: &Json) -> Result<HistoryEntry, String> {
    let role = match json.get("role") {
        Some(Json::Text(role)) if role == "user" => Role::User,
        Some(Json::Text(role)) if matches!(role.as_str(), "assistant" | "model" | "bot") => {
            Role::Assistant
        }
        Some(other) => return Err(format!("history: there is no role {}", other.dumps())),
        None => return Err("history: an entry needs a \"role\"".to_owned()),
    };
    let text = match (json.get("content").or_else(|| json.get("text")), json.get("parts")) {
        (Some(Json::Text(text)), _) => text.clone(),
        (None, Some(Json::List(parts))) => {
            let texts: Vec<String> = parts
                .iter()
                .filter_map(|part| match (part, part.get("text")) {
                    (Json::Text(text), _) | (_, Some(Json::Text(text))) => Some(text.clone()),
                    (_, _) => None,
                })
                .collect();
            texts.join("\n")
        }
        (_, _) => {
            return Err(
                "history: an entry needs \"content\" (a string) or \"parts\" (an array)".to_owned()
            );
        }
    };
    Ok(HistoryEntry { role, text })
}
