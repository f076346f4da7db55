//! The state machine of a Sparky connection: first `connect`, then all chats of the session.

use std::collections::{HashMap, VecDeque};

use super::codec::Message;
use super::encode::{APPROVE, DENY};
use super::fit::fit;
use super::history::entry;
use super::payload::{Generation, Payload};
use super::tools::Tools;
use crate::connection::{Encoding, Joined, Machine, Outbox, Output, Tag};
use crate::dialect::FrameLimit;
use crate::dialect::python::Json;
use crate::{
    Command, CommandReply, ConnectionCommand, Cursor, DEFAULT_CHAT, DirectoryCommand,
    DirectoryReply, HistoryEntry, PeerRef, PeerWire, Policy, Refusal, RefusalCode, Request, Seq,
    SessionCommand, SessionId, Start,
};

/// Maximum number of frames that wait for earlier ones.
const WAITING: usize = 64;
/// Peer of all clients without sessions. Their proven positions are shared per user.
const CHATS_PEER: &str = "~chats";

/// A Sparky client's connection.
pub struct SparkyMachine {
    outbox: Outbox,
    tools: Tools,
    /// Set by `connect`.
    generation: Generation,
    /// Set by `connect`. Labels of later frames come from it.
    peer: Option<PeerRef>,
    ready: bool,
    /// The selected chat.
    chat: Option<String>,
    chats: HashMap<SessionId, String>,
    sessions: HashMap<String, SessionId>,
    /// Instructions for new chats.
    personality: Option<String>,
    history: Vec<HistoryEntry>,
    waiting: VecDeque<Waiting>,
    doing: Option<(Tag, Doing)>,
    connecting: Option<Connecting>,
}

/// A `connect` that is not answered yet.
struct Connecting {
    session_id: Option<String>,
    /// Empty if the driver decides.
    user_id: String,
    chat: Option<(String, Option<String>)>,
    /// Whether the peer was never seen before. Known once the peer is opened.
    is_new: bool,
}

/// Something to carry out when earlier frames are done.
enum Waiting {
    Frame(Payload),
    Join(Joined),
}

enum Doing {
    OpeningPeer,
    /// Attaching a chat that another connection of the session opened.
    Joining(SessionId),
    /// Attaching the session's existing chats, of which `rest` remain.
    Rejoining {
        rest: Vec<(String, SessionId)>,
        session: SessionId,
    },
    OpeningChat {
        then: Then,
    },
    Attaching {
        opened: Opened,
        then: Then,
    },
    Instructing,
    /// Sending an input. `words` are its text and file, if it may be sent once more.
    Sending {
        session: SessionId,
        words: Option<(String, Option<String>)>,
    },
    Deciding,
}

/// A chat that was opened.
struct Opened {
    chat: String,
    is_new: bool,
    model: Option<String>,
}

/// What to do once a chat is open and attached.
enum Then {
    /// Send `chat_ready` for a chat that the client chose.
    Announce { started: bool },
    /// Send the message that came before a chat was chosen.
    Say { text: String, file_id: Option<String> },
    /// Set the instructions that came before a chat was chosen.
    Instruct { text: String },
    /// Send `ready`, because `connect` named a chat.
    Greet,
}

impl SparkyMachine {
    /// Sets another size limit for its own frames.
    #[must_use]
    pub fn with_frame_limit(mut self, limit: FrameLimit) -> Self {
        self.outbox.set_limit(limit);
        self
    }

    /// Makes the machine of a new connection. The server's agents have these tools.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self {
            outbox: Outbox::default(),
            tools,
            generation: Generation::Sessions,
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
        let session_id = self.session_label().map(str::to_owned);
        let user_id = self.peer.as_ref().map(|peer| peer.space.clone());
        self.outbox.frame(Message { payload, session_id, user_id, chat_id: chat }.to_text());
    }

    /// The `session_id` of its frames. Clients of the later generation have none.
    fn session_label(&self) -> Option<&str> {
        match self.generation {
            Generation::Sessions => self.peer.as_ref().map(|peer| peer.name.as_str()),
            Generation::Chats => None,
        }
    }

    fn complain(&mut self, message: impl Into<String>) {
        let chat = self.chat.clone();
        self.tell(Payload::Error { message: message.into(), task_id: None }, chat);
    }

    fn request(&mut self, command: impl Into<Command>, doing: Doing) {
        let tag = self.outbox.request(Request { id: None, command: command.into() });
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

    /// Carries out a frame before `ready`.
    fn greet(&mut self, payload: Payload) {
        let Payload::Connect {
            generation,
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
        self.generation = generation;
        let user_id = user_id.filter(|user| !user.is_empty());
        let chat = chat_id.filter(|chat| !chat.is_empty()).map(|chat| (chat, chat_name));
        let session_id = session_id.filter(|session| !session.is_empty());
        self.outbox.push(Output::Authenticate { token, client: None, space: user_id.clone() });
        let user_id = user_id.unwrap_or_default();
        self.connecting = Some(Connecting { session_id, user_id, chat, is_new: false });
    }

    /// Carries out a frame after `ready`.
    fn begin(&mut self, payload: Payload) {
        match payload {
            Payload::Message { text, .. } if is_verdict(&text) => match self
                .current()
                .or_else(|| self.only_chat())
            {
                Some(session) => {
                    let approve = text.trim() == APPROVE;
                    self.request(
                        ConnectionCommand::DecideOldest { session, approve },
                        Doing::Deciding,
                    );
                }
                None => {
                    self.outbox.note(RefusalCode::BadRequest);
                    self.complain("Nothing was settled: switch to the chat that is meant first");
                }
            },
            Payload::Message { text, file_id, .. } => match self.current() {
                Some(session) => {
                    let words = Some((text.clone(), file_id.clone()));
                    self.say(session, text, file_id, words);
                }
                None => self.open(self.chat.clone(), None, Then::Say { text, file_id }),
            },
            Payload::Personality { text } => {
                self.personality = Some(text.clone());
                match self.current() {
                    Some(session) => self.request(
                        SessionCommand::Instruct { instructions: text }.on(session),
                        Doing::Instructing,
                    ),
                    None => self.open(self.chat.clone(), None, Then::Instruct { text }),
                }
            }
            Payload::StartChat { chat_id, chat_name } => {
                self.open(Some(chat_id), chat_name, Then::Announce { started: true });
            }
            Payload::SwitchChat { chat_id } => {
                self.open(Some(chat_id), None, Then::Announce { started: false });
            }
            // Ignored as in the original: frames of a server, and a second `connect`.
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
        match self.generation {
            Generation::Sessions => {}
            // Such a client is in one chat at a time, and in the default one until it chooses
            // another.
            Generation::Chats if self.chat.is_none() && chat == DEFAULT_CHAT => {}
            Generation::Chats => return,
        }
        // A client that chose no chat is in the default one, even if another connection opened it.
        if self.chat.is_none() && chat == DEFAULT_CHAT {
            self.chat = Some(chat.clone());
        }
        self.chats.insert(session.clone(), chat.clone());
        self.sessions.insert(chat, session.clone());
        // A new chat is read from its beginning, so that nothing is missed. Another chat is read
        // from the peer's proven position. From its head, this connection would prove frames that
        // no connection was sent.
        let start = if is_new {
            Start::After(Cursor { epoch: None, seq: Seq::ZERO })
        } else {
            Start::Proven(peer)
        };
        self.request(
            ConnectionCommand::Attach { session: session.clone(), start, tools: Vec::new() },
            Doing::Joining(session),
        );
    }

    fn current(&self) -> Option<SessionId> {
        self.chat.as_ref().and_then(|chat| self.sessions.get(chat)).cloned()
    }

    /// The session's chat, if it has exactly one.
    fn only_chat(&self) -> Option<SessionId> {
        let mut chats = self.chats.keys();
        chats.next().filter(|_| chats.next().is_none()).cloned()
    }

    /// Opens a chat. Without a name it is the one that the user selected last, else the default
    /// one.
    fn open(&mut self, chat: Option<String>, title: Option<String>, then: Then) {
        let Some(peer) = self.peer.clone() else { return };
        let (instructions, history) = (self.personality.clone(), self.history.clone());
        self.request(
            DirectoryCommand::OpenChat { peer, chat, title, instructions, history },
            Doing::OpeningChat { then },
        );
    }

    fn say(
        &mut self,
        session: SessionId,
        text: String,
        file_id: Option<String>,
        words: Option<(String, Option<String>)>,
    ) {
        let attachments = file_id.into_iter().collect();
        let doing = Doing::Sending { session: session.clone(), words };
        self.request(
            SessionCommand::Send { text, attachments, policy: Policy::Interrupt }.on(session),
            doing,
        );
    }

    fn rejoin(&mut self, mut rest: Vec<(String, SessionId)>) {
        match (rest.pop(), self.peer.clone()) {
            (Some((chat, session)), Some(peer)) => {
                self.chats.insert(session.clone(), chat.clone());
                self.sessions.insert(chat, session.clone());
                let attach = ConnectionCommand::Attach {
                    session: session.clone(),
                    start: Start::Proven(peer),
                    tools: Vec::new(),
                };
                self.request(attach, Doing::Rejoining { rest, session });
            }
            (_, _) => {
                match self.connecting.as_mut().and_then(|connecting| connecting.chat.take()) {
                    Some((chat, title)) => self.open(Some(chat), title, Then::Greet),
                    None => self.welcome(),
                }
            }
        }
    }

    fn welcome(&mut self) {
        let is_new = self.connecting.take().is_some_and(|connecting| connecting.is_new);
        self.ready = true;
        let ready = Payload::Ready {
            session_id: self.session_label().map(str::to_owned),
            tools_loaded: i128::try_from(self.tools.loaded).unwrap_or(i128::MAX),
        };
        self.tell(ready, None);
        match self.generation {
            Generation::Chats if is_new => self.tell_progress(),
            Generation::Sessions | Generation::Chats => {}
        }
    }

    fn tell_progress(&mut self) {
        for progress in self.tools.progress() {
            self.outbox.frame(Message::new(progress).to_text());
        }
    }

    /// Continues with the chats of a peer that was opened.
    fn known(
        &mut self,
        peer: PeerRef,
        is_new: bool,
        mut chats: Vec<(String, SessionId)>,
        selected: Option<String>,
    ) {
        self.peer = Some(peer.clone());
        let names_chat = match &mut self.connecting {
            Some(connecting) => {
                connecting.is_new = is_new;
                connecting.chat.is_some()
            }
            None => false,
        };
        match self.generation {
            Generation::Sessions => {}
            // Its clients choose a chat again, except those that know only the default one.
            Generation::Chats => {
                let goes_on = selected.as_deref() == Some(DEFAULT_CHAT) && !names_chat;
                chats.retain(|(chat, _)| goes_on && chat == DEFAULT_CHAT);
            }
        }
        // Only an existing chat of the session can be selected.
        self.chat = selected.filter(|selected| chats.iter().any(|(chat, _)| chat == selected));
        match self.generation {
            Generation::Sessions => {
                let info = Payload::SessionInfo {
                    session_id: peer.name,
                    is_new,
                    reconnected: !is_new,
                    chat_id: self.chat.clone(),
                };
                self.tell(info, None);
                if is_new {
                    self.tell_progress();
                }
            }
            Generation::Chats => {}
        }
        self.rejoin(chats);
    }

    fn did(&mut self, doing: Doing, outcome: Result<CommandReply, Refusal>) {
        match (doing, outcome) {
            (
                Doing::OpeningPeer,
                Ok(CommandReply::Directory(DirectoryReply::Peer { peer, is_new, chats, selected })),
            ) => {
                self.known(peer, is_new, chats, selected);
            }
            (Doing::OpeningPeer, Err(refusal)) => {
                self.connecting = None;
                self.complain(format!("Invalid message format: {refusal}"));
            }
            (Doing::Joining(_), Ok(_)) => {}
            (Doing::Joining(session), Err(_)) => {
                // The chat was deleted meanwhile.
                if let Some(chat) = self.chats.remove(&session) {
                    self.sessions.remove(&chat);
                }
            }
            (Doing::Rejoining { rest, .. }, Ok(_)) => self.rejoin(rest),
            (Doing::Rejoining { rest, session }, Err(_)) => {
                // The chat was deleted meanwhile.
                if let Some(chat) = self.chats.remove(&session) {
                    self.sessions.remove(&chat);
                }
                self.rejoin(rest);
            }
            (
                Doing::OpeningChat { then },
                Ok(CommandReply::Directory(DirectoryReply::Chat { chat, session, is_new, model })),
            ) => {
                self.chat = Some(chat.clone());
                let opened = Opened { chat, is_new, model };
                if self.chats.contains_key(&session) {
                    self.entered(&session, opened, then);
                } else if let Some(peer) = self.peer.clone() {
                    self.chats.insert(session.clone(), opened.chat.clone());
                    self.sessions.insert(opened.chat.clone(), session.clone());
                    self.request(
                        ConnectionCommand::Attach {
                            session,
                            start: Start::Proven(peer),
                            tools: Vec::new(),
                        },
                        Doing::Attaching { opened, then },
                    );
                }
            }
            (Doing::Attaching { opened, then }, Ok(_)) => {
                if let Some(session) = self.sessions.get(&opened.chat).cloned() {
                    self.entered(&session, opened, then);
                }
            }
            (Doing::Attaching { opened, then }, Err(refusal)) => {
                if let Some(session) = self.sessions.remove(&opened.chat) {
                    self.chats.remove(&session);
                }
                self.did(Doing::OpeningChat { then }, Err(refusal));
            }
            (Doing::OpeningChat { then }, Err(refusal)) => match &then {
                Then::Announce { started: true } => {
                    self.complain(format!("Error starting chat: {refusal}"));
                }
                Then::Announce { started: false } => {
                    self.complain(format!("Error switching chat: {refusal}"));
                }
                Then::Say { .. } => self.complain(format!("Error processing message: {refusal}")),
                Then::Instruct { .. } => self.complain(format!("Invalid message: {refusal}")),
                Then::Greet => {
                    self.complain(format!("Error starting chat: {refusal}"));
                    self.welcome();
                }
            },
            (Doing::Instructing | Doing::Sending { .. } | Doing::Deciding, Ok(_)) => {}
            // The chat was just deleted, and this connection was not told yet.
            (Doing::Sending { session, words: Some((text, file_id)) }, Err(refusal))
                if refusal.code == RefusalCode::UnknownSession =>
            {
                self.detached(&session, &refusal.reason);
                self.open(self.chat.clone(), None, Then::Say { text, file_id });
            }
            (Doing::Deciding, Err(refusal)) => {
                self.complain(format!("Nothing was settled: {refusal}"));
            }
            (Doing::Instructing, Err(refusal)) => {
                self.complain(format!("Invalid message: {refusal}"));
            }
            (Doing::Sending { .. }, Err(refusal)) => {
                self.complain(format!("Error processing message: {refusal}"));
            }
            (Doing::OpeningPeer | Doing::OpeningChat { .. }, Ok(_)) => {
                self.complain("the server gave an answer to another question");
            }
        }
    }

    fn entered(&mut self, session: &SessionId, opened: Opened, then: Then) {
        let Opened { chat, is_new, model } = opened;
        match then {
            Then::Announce { .. } => {
                let model = match self.generation {
                    Generation::Sessions => None,
                    Generation::Chats => model,
                };
                let ready = Payload::ChatReady { chat_id: chat.clone(), is_new, model };
                self.tell(ready, Some(chat));
            }
            Then::Say { text, file_id } => self.say(session.clone(), text, file_id, None),
            Then::Instruct { text } => self.request(
                SessionCommand::Instruct { instructions: text }.on(session.clone()),
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
                let space = connecting.user_id.clone();
                let name = match self.generation {
                    Generation::Sessions => connecting.session_id.clone(),
                    Generation::Chats => Some(CHATS_PEER.to_owned()),
                };
                self.request(
                    DirectoryCommand::OpenPeer { wire: PeerWire::Sparky, space, name },
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

    fn encoding(&self, session: &SessionId) -> Encoding {
        let name = self.session_label().unwrap_or_default();
        let space = self.peer.as_ref().map(|peer| peer.space.as_str()).unwrap_or_default();
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
        // The chat was deleted by another client. It stays selected, because its client still shows
        // it. The next message in it opens it again.
        if let Some(chat) = self.chats.remove(session) {
            self.sessions.remove(&chat);
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

/// Whether a message answers a request for approval.
fn is_verdict(text: &str) -> bool {
    matches!(text.trim(), APPROVE | DENY)
}

/// Whether a frame is the heartbeat that Sparky's terminal client was meant to send.
fn is_ping(text: &str) -> bool {
    Json::parse(text)
        .is_ok_and(|json| matches!(json.get("type"), Some(Json::Text(kind)) if kind == "ping"))
}
