//! The state machine of a Sparky connection: first `connect`, then all chats of the session.

use std::collections::VecDeque;

use super::chats::Chats;
use super::codec::WsMessage;
use super::encode::{APPROVE, DENY, DONE};
use super::fit::fit;
use super::history::entry;
use super::payload::{Generation, Payload};
use super::step::{AfterOpen, Connecting, PendingWork, SparkyStep};
use super::tools::Tools;
use crate::command::OpenedPeer;
use crate::connection::{Encoding, Joined, Machine, Outbox, Output, Tag};
use crate::dialect::FrameLimit;
use crate::dialect::python::Json;
use crate::{
    Command, CommandReply, ConnectionCommand, Cursor, DEFAULT_CHAT, DirectoryCommand, HistoryEntry,
    PeerRef, PeerWire, Policy, Refusal, RefusalCode, Request, Seq, SessionCommand, SessionId,
    Start, Verdict,
};

/// Maximum number of frames that wait for earlier ones.
const MAX_WAITING: usize = 64;
/// Peer of all clients without sessions. Their proven positions are shared per user.
const CHATS_PEER: &str = "~chats";

/// A Sparky client's connection.
pub struct SparkyMachine {
    outbox: Outbox,
    tools: Tools,
    /// Set by `connect`.
    pub(super) generation: Generation,
    /// Set by `connect`. Labels of later frames come from it.
    pub(super) peer: Option<PeerRef>,
    ready: bool,
    pub(super) chats: Chats,
    /// Instructions for new chats.
    personality: Option<String>,
    history: Vec<HistoryEntry>,
    waiting: VecDeque<PendingWork>,
    /// Chats that could not be attached. The client's next frame tries them again.
    pub(super) unattached: Vec<Joined>,
    pending: Option<(Tag, SparkyStep)>,
    pub(super) connecting: Option<Connecting>,
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
            chats: Chats::default(),
            personality: None,
            history: Vec::new(),
            waiting: VecDeque::new(),
            unattached: Vec::new(),
            pending: None,
            connecting: None,
        }
    }

    pub(super) fn tell(&mut self, payload: Payload, chat: Option<String>) {
        let session_id = self.session_label().map(str::to_owned);
        let user_id = self.peer.as_ref().map(|peer| peer.space.clone());
        self.outbox.frame(WsMessage { payload, session_id, user_id, chat_id: chat }.to_text());
    }

    /// The `session_id` of its frames. Clients of the later generation have none.
    fn session_label(&self) -> Option<&str> {
        match self.generation {
            Generation::Sessions => self.peer.as_ref().map(|peer| peer.name.as_str()),
            Generation::Chats => None,
        }
    }

    pub(super) fn complain(&mut self, message: impl Into<String>) {
        let chat = self.chats.selected().cloned();
        self.tell(Payload::Error { message: message.into(), task_id: None }, chat);
    }

    pub(super) fn request(&mut self, command: impl Into<Command>, step: SparkyStep) {
        let tag = self.outbox.request(Request { id: None, command: command.into() });
        self.pending = Some((tag, step));
    }

    fn advance(&mut self) {
        while self.pending.is_none() && self.connecting.is_none() {
            match self.waiting.pop_front() {
                Some(PendingWork::Frame(payload)) if self.ready => self.begin(payload),
                Some(PendingWork::Frame(payload)) => self.greet(payload),
                Some(PendingWork::Join(joined)) => self.join(joined),
                Some(PendingWork::Retry(joined)) if self.chats.has(&joined.session) => {}
                Some(PendingWork::Retry(joined)) => self.attach(joined),
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
            Payload::Message { text, file_id, .. } if approval_answer(&text).is_some() => {
                self.decide(text, file_id);
            }
            Payload::Message { text, file_id, .. } => self.message(text, file_id),
            Payload::Personality { text } => {
                self.personality = Some(text.clone());
                match self.chats.current() {
                    Some(session) => self.request(
                        SessionCommand::Instruct { instructions: text }.on(session),
                        SparkyStep::Instructing,
                    ),
                    None => self.open(
                        self.chats.selected().cloned(),
                        None,
                        AfterOpen::Instruct { text },
                    ),
                }
            }
            Payload::StartChat { chat_id, chat_name } => {
                self.open(Some(chat_id), chat_name, AfterOpen::Announce { started: true });
            }
            Payload::SwitchChat { chat_id } => {
                self.open(Some(chat_id), None, AfterOpen::Announce { started: false });
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

    /// Sends a message to the chat that the client is in.
    pub(super) fn message(&mut self, text: String, file_id: Option<String>) {
        match self.chats.current() {
            Some(session) => {
                let again = Some((text.clone(), file_id.clone()));
                self.send(session, text, file_id, again);
            }
            None => {
                let chat = self.chats.selected().cloned();
                self.open(chat, None, AfterOpen::Send { text, file_id });
            }
        }
    }

    /// Answers the oldest approval that waits. A `/done` that none waits for is a message.
    fn decide(&mut self, text: String, file_id: Option<String>) {
        let Some((decision, result)) = approval_answer(&text) else { return };
        let otherwise = (decision == Verdict::Done).then_some((text, file_id));
        match (self.chats.current().or_else(|| self.chats.only()), otherwise) {
            (Some(session), otherwise) => self.request(
                ConnectionCommand::DecideOldest { session, decision, result },
                SparkyStep::Deciding { otherwise },
            ),
            (None, Some((text, file_id))) => self.message(text, file_id),
            (None, None) => {
                self.outbox.note(RefusalCode::BadRequest);
                self.complain("Nothing was settled: switch to the chat that is meant first");
            }
        }
    }

    fn join(&mut self, joined: Joined) {
        if self.peer.as_ref() != Some(&joined.peer) || self.chats.has(&joined.session) {
            return;
        }
        match self.generation {
            Generation::Sessions => {}
            // Such a client is in one chat at a time, and in the default one until it chooses
            // another.
            Generation::Chats if self.chats.selected().is_none() && joined.chat == DEFAULT_CHAT => {
            }
            Generation::Chats => return,
        }
        // A client that chose no chat is in the default one, even if another connection opened it.
        if self.chats.selected().is_none() && joined.chat == DEFAULT_CHAT {
            self.chats.select(joined.chat.clone());
        }
        self.attach(joined);
    }

    /// Attaches a chat that the client did not ask for.
    fn attach(&mut self, joined: Joined) {
        let Joined { peer, chat, session, is_new } = joined.clone();
        self.chats.insert(chat, session.clone());
        // A new chat is read from its beginning, so that nothing is missed. Another chat is read
        // from the peer's proven position. From its head, this connection would prove frames that
        // no connection was sent.
        let start = if is_new {
            Start::After(Cursor { epoch: None, seq: Seq::ZERO })
        } else {
            Start::Proven(peer)
        };
        self.request(
            ConnectionCommand::Attach { session, start, tools: Vec::new() },
            SparkyStep::Joining(joined),
        );
    }

    /// Opens a chat. Without a name it is the one that the user selected last, else the default
    /// one.
    pub(super) fn open(&mut self, chat: Option<String>, title: Option<String>, then: AfterOpen) {
        let Some(peer) = self.peer.clone() else { return };
        let (instructions, history) = (self.personality.clone(), self.history.clone());
        self.request(
            DirectoryCommand::OpenChat { peer, chat, title, instructions, history },
            SparkyStep::OpeningChat { then },
        );
    }

    pub(super) fn send(
        &mut self,
        session: SessionId,
        text: String,
        file_id: Option<String>,
        again: Option<(String, Option<String>)>,
    ) {
        let attachments = file_id.into_iter().collect();
        let step = SparkyStep::Sending { session: session.clone(), again };
        self.request(
            SessionCommand::Send { text, attachments, policy: Policy::Interrupt }.on(session),
            step,
        );
    }

    pub(super) fn rejoin(&mut self, mut rest: Vec<(String, SessionId)>) {
        match (rest.pop(), self.peer.clone()) {
            (Some((chat, session)), Some(peer)) => {
                self.chats.insert(chat, session.clone());
                let attach = ConnectionCommand::Attach {
                    session: session.clone(),
                    start: Start::Proven(peer),
                    tools: Vec::new(),
                };
                self.request(attach, SparkyStep::Rejoining { rest, session });
            }
            (_, _) => {
                match self.connecting.as_mut().and_then(|connecting| connecting.chat.take()) {
                    Some((chat, title)) => self.open(Some(chat), title, AfterOpen::Greet),
                    None => self.welcome(),
                }
            }
        }
    }

    pub(super) fn welcome(&mut self) {
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
            self.outbox.frame(WsMessage::new(progress).to_text());
        }
    }

    /// Continues with the chats of a peer that was opened.
    pub(super) fn opened_peer(&mut self, opened: OpenedPeer) {
        let OpenedPeer { peer, is_new, mut chats, selected } = opened;
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
        let selected = selected.filter(|selected| chats.iter().any(|(chat, _)| chat == selected));
        self.chats.select(selected);
        match self.generation {
            Generation::Sessions => {
                let info = Payload::SessionInfo {
                    session_id: peer.name,
                    is_new,
                    reconnected: !is_new,
                    chat_id: self.chats.selected().cloned(),
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
}

impl Machine for SparkyMachine {
    fn frame(&mut self, text: &str) {
        match WsMessage::from_text(text) {
            Ok(message) => {
                let unattached = std::mem::take(&mut self.unattached);
                self.waiting.extend(unattached.into_iter().map(PendingWork::Retry));
                self.waiting.push_back(PendingWork::Frame(message.payload));
                self.advance();
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
                    SparkyStep::OpeningPeer,
                );
            }
            Err(refusal) => {
                self.outbox.note(refusal.code);
                self.connecting = None;
                self.complain(refusal.reason);
                self.advance();
            }
        }
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

    fn encoding(&self, session: &SessionId) -> Encoding {
        let name = self.session_label().unwrap_or_default();
        let space = self.peer.as_ref().map(|peer| peer.space.as_str()).unwrap_or_default();
        let chat = self.chats.name(session).unwrap_or_default();
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
            self.waiting.push_back(PendingWork::Join(joined.clone()));
            self.advance();
        }
    }

    fn caught_up(&mut self, _session: &SessionId, _seq: Seq) {}

    fn detached(&mut self, session: &SessionId, _reason: &str) {
        // The chat was deleted by another client. It stays selected, because its client still shows
        // it. The next message in it opens it again.
        self.chats.remove(session);
    }

    fn going_away(&mut self, reason: &str, _retry_after_ms: u64) {
        self.tell(Payload::Status { message: reason.to_owned(), task_id: None }, None);
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.outbox.len() >= MAX_WAITING
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

/// The decision and the call's result, if a message answers a request for approval.
fn approval_answer(text: &str) -> Option<(Verdict, Option<String>)> {
    match text.trim() {
        APPROVE => Some((Verdict::Approved, None)),
        DENY => Some((Verdict::Denied, None)),
        text => {
            let result = text.strip_prefix(DONE)?;
            if !result.is_empty() && !result.starts_with(char::is_whitespace) {
                return None;
            }
            let result = result.trim();
            Some((Verdict::Done, (!result.is_empty()).then(|| result.to_owned())))
        }
    }
}

/// Whether a frame is the heartbeat that Sparky's terminal client was meant to send.
fn is_ping(text: &str) -> bool {
    Json::parse(text)
        .is_ok_and(|json| matches!(json.get("type"), Some(Json::Text(kind)) if kind == "ping"))
}
