//! A hub that answers a connection's machine in any order, rightly, wrongly or with a no.
//!
//! A script is lines. One that begins with `!` is something that happens on the server's side, see
//! [`Conversation`]; any other is a frame of the client.

use std::collections::{HashSet, VecDeque};

use thoughtwire_proto::connection::{Joined, Machine, Output, Tag};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Attached, Command, CommandReply, ConnectionCommand, ConnectionReply,
    DEFAULT_CHAT, DirectoryCommand, DirectoryReply, Disposition, Emission, Event, InputEvent,
    ItemId, Outcome, PeerRef, PeerWire, Record, Refusal, RefusalCode, Request, Seq, SessionCommand,
    SessionEmission, SessionId, SessionListing, SessionReply, Timestamp, TurnEvent, Usage,
};

const EVENTS: &str = include_str!("../../vectors/events.jsonl");
/// A connection that has not come to rest after so many steps never will: a script has far fewer
/// lines.
const STEPS: usize = 100_000;

/// A dialect's side of a connection, with what is needed to judge it.
pub struct Wire {
    /// The connection.
    pub machine: Box<dyn Machine>,
    /// Panics when a frame is none that a server of this wire sends.
    pub check: fn(&str),
    /// A frame that is answered with exactly one frame at any time.
    pub last: &'static str,
}

/// A connection that was talked to.
pub struct Conversation {
    wire: Wire,
    waiting: VecDeque<(Tag, Request)>,
    tags: HashSet<Tag>,
    checking: usize,
    attached: Vec<SessionId>,
    /// Inputs whose turns have not ended.
    asked: Vec<(SessionId, ItemId)>,
    made: u64,
    /// Frames that the client sent.
    pub sent: Vec<String>,
    /// Frames that the server sent.
    pub said: Vec<String>,
}

impl Conversation {
    /// Plays a script to its end, lets everything come to its answer, and sees that the connection
    /// still lives.
    pub fn of(wire: Wire, script: &[u8]) -> Self {
        let (waiting, tags) = (VecDeque::new(), HashSet::new());
        let (attached, asked, sent, said) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut it =
            Self { wire, waiting, tags, checking: 0, attached, asked, made: 0, sent, said };
        it.poll();
        for line in script.split(|byte| *byte == b'\n') {
            match line {
                [b'!', what, rest @ ..] => it.happens(*what, rest.first().copied().unwrap_or(0)),
                line => it.hear(line),
            }
            it.poll();
        }
        it.settle();
        let before = it.said.len();
        let last = it.wire.last;
        it.hear(last.as_bytes());
        it.settle();
        assert_eq!(it.said.len(), before + 1, "{last} was answered with {:?}", &it.said[before..]);
        it
    }

    fn hear(&mut self, line: &[u8]) {
        // As the driver, which does not read while there is no room.
        if self.wire.machine.is_full() {
            self.settle();
            assert!(
                !self.wire.machine.is_full(),
                "everything is answered, and there is still no room"
            );
        }
        match std::str::from_utf8(line) {
            Ok(text) => {
                self.sent.push(text.to_owned());
                self.wire.machine.frame(text);
            }
            Err(_) => self.wire.machine.unreadable(
                line,
                &Refusal::new(RefusalCode::BadFrame, "the binary frame is not UTF-8"),
            ),
        }
        self.poll();
    }

    /// `what` names it, `which` chooses among several.
    fn happens(&mut self, what: u8, which: u8) {
        let refusal =
            || Refusal::new(RefusalCode::ALL[usize::from(which) % RefusalCode::ALL.len()], "no");
        let session = self.attached.get(usize::from(which) % self.attached.len().max(1)).cloned();
        match (what, session) {
            (b'a', _) => self.answer_at(0),
            (b'z', _) => self.answer_at(self.waiting.len().saturating_sub(1)),
            (b'r', _) => {
                if let Some((tag, _)) = self.waiting.pop_front() {
                    self.wire.machine.answer(tag, Err(refusal()));
                }
            }
            (b'w', _) => {
                if let Some((tag, _)) = self.waiting.pop_front() {
                    let answer = self.any_answer(which);
                    self.wire.machine.answer(tag, Ok(answer));
                }
            }
            // An answer to what was never asked.
            (b'x', _) => self.wire.machine.answer(
                Tag(u64::MAX),
                Ok(CommandReply::Session(SessionReply::Done { seq: None, duplicate: false })),
            ),
            (b't', _) => self.authenticated(Ok(())),
            (b'T', _) => self.authenticated(Err(refusal())),
            (b'g', _) => self.wire.machine.going_away("the server is stopping", 1000),
            (b'j', _) => {
                let peer = peer(PeerWire::Sparky, "local", "p-1");
                let joined = Joined {
                    peer,
                    chat: format!("chat-{which}"),
                    session: self.session(which),
                    is_new: which % 2 == 0,
                };
                self.wire.machine.joined(&joined);
            }
            (b'l', _) => self.wire.machine.listed(&self.listing(which)),
            (b'u', _) => self.wire.machine.unlisted(&self.session(which)),
            (b'd', Some(session)) => {
                self.attached.retain(|attached| *attached != session);
                self.asked.retain(|(of, _)| *of != session);
                self.wire.machine.detached(&session, "the session was deleted");
            }
            (b'c', Some(session)) => self.wire.machine.caught_up(&session, Seq(u64::from(which))),
            (b'e', Some(session)) => {
                let event = EVENTS
                    .lines()
                    .nth(usize::from(which) % EVENTS.lines().count())
                    .expect("an event");
                self.show(session, serde_json::from_str(event).expect("an event"));
            }
            (b'f', _) => self.end_a_turn(),
            (_, _) => {}
        }
    }

    /// Carries out what the machine wants done.
    fn poll(&mut self) {
        while let Some(output) = self.wire.machine.poll() {
            match output {
                Output::Frame(frame) => {
                    (self.wire.check)(&frame);
                    self.said.push(frame);
                }
                Output::Authenticate { .. } => self.checking += 1,
                Output::Request { tag, request } => {
                    assert!(self.tags.insert(tag), "{tag:?} names two requests");
                    self.waiting.push_back((tag, request));
                }
            }
        }
    }

    /// Gives every answer that is owed, and ends every turn, until nothing more is asked.
    fn settle(&mut self) {
        for _ in 0..STEPS {
            self.poll();
            if self.checking > 0 {
                self.authenticated(Ok(()));
            } else if !self.waiting.is_empty() {
                self.answer_at(0);
            } else if !self.asked.is_empty() {
                self.end_a_turn();
            } else {
                return;
            }
        }
        panic!("the connection never comes to rest");
    }

    fn authenticated(&mut self, outcome: Result<(), Refusal>) {
        self.checking = self.checking.saturating_sub(1);
        self.wire.machine.authenticated(outcome);
    }

    fn end_a_turn(&mut self) {
        if let Some((session, input)) = self.asked.pop() {
            self.show(
                session,
                Event::Turn(TurnEvent::Ended {
                    input,
                    outcome: Outcome::Completed,
                    code: None,
                    reason: None,
                }),
            );
        }
    }

    fn show(&mut self, session: SessionId, event: Event) {
        // The encoding of an attachment never depends on the emissions.
        let encoding = self.wire.machine.encoding(&session);
        if let Event::Turn(TurnEvent::Ended { input, .. })
        | Event::Input(InputEvent::Withdrawn { input }) = &event
        {
            self.asked.retain(|(of, asked)| *of != session || asked != input);
        }
        let record = Record { seq: Seq(1), at: Timestamp::from_millis(0), turn: None, event };
        self.wire.machine.shows(&SessionEmission {
            session: session.clone(),
            emission: Emission::Record(record),
        });
        assert_eq!(self.wire.machine.encoding(&session), encoding);
    }

    /// Answers a request with a yes that fits.
    fn answer_at(&mut self, at: usize) {
        let Some((tag, request)) = self.waiting.remove(at) else { return };
        let reply = match request.command {
            Command::Connection(command) => self.connection_reply(command),
            Command::Session { session, command } => self.session_reply(session, &command).into(),
            Command::Directory(command) => self.directory_reply(command).into(),
        };
        self.wire.machine.answer(tag, Ok(reply));
    }

    fn connection_reply(&mut self, command: ConnectionCommand) -> CommandReply {
        match command {
            ConnectionCommand::Attach { session, .. } => {
                self.attached.push(session.clone());
                attached(session).into()
            }
            ConnectionCommand::Detach { session } => {
                self.attached.retain(|attached| *attached != session);
                self.asked.retain(|(of, _)| *of != session);
                ConnectionReply::Done.into()
            }
            ConnectionCommand::Watch => ConnectionReply::Done.into(),
            ConnectionCommand::Offer(offer) => {
                let worker = offer.worker.unwrap_or_else(|| "w-1".parse().expect("an id"));
                let agent = Box::new(self.agent(offer.agent));
                ConnectionReply::Offered { agent, worker, turns: Vec::new() }.into()
            }
            ConnectionCommand::Say { .. } => {
                ConnectionReply::Said { seq: Some(Seq(1)), steered: Vec::new(), duplicate: false }
                    .into()
            }
            ConnectionCommand::InAttached(command) => {
                let session = self.session(0);
                self.session_reply(session, &command).into()
            }
            ConnectionCommand::DecideOldest { .. } => {
                SessionReply::Done { seq: None, duplicate: false }.into()
            }
        }
    }

    fn session_reply(&mut self, session: SessionId, command: &SessionCommand) -> SessionReply {
        match command {
            SessionCommand::Send { .. } => {
                self.made += 1;
                let input: ItemId = format!("i-{}", self.made).parse().expect("an id");
                self.asked.push((session, input.clone()));
                let disposition = Disposition::Started;
                SessionReply::Input { seq: Seq(self.made), input, disposition, duplicate: false }
            }
            SessionCommand::Withdraw { .. }
            | SessionCommand::Cancel { .. }
            | SessionCommand::Decide { .. }
            | SessionCommand::ToolReturn { .. }
            | SessionCommand::Rename { .. }
            | SessionCommand::Instruct { .. }
            | SessionCommand::Delete => SessionReply::Done { seq: None, duplicate: false },
        }
    }

    fn directory_reply(&mut self, command: DirectoryCommand) -> DirectoryReply {
        let duplicate = false;
        match command {
            DirectoryCommand::CreateAgent(spec) => {
                DirectoryReply::Agent { profile: Box::new(self.agent(spec.name)), duplicate }
            }
            DirectoryCommand::FindAgent { agent } => {
                DirectoryReply::Agent { profile: Box::new(self.agent(agent)), duplicate }
            }
            DirectoryCommand::CreateSession { .. } => {
                DirectoryReply::Session { session: self.new_session(), duplicate }
            }
            DirectoryCommand::OpenPeer { wire, space, name } => {
                let chats = self
                    .attached
                    .iter()
                    .take(2)
                    .map(|session| (format!("chat of {session}"), session.clone()))
                    .collect();
                let is_new = name.is_none();
                let peer = peer(wire, &space, &name.unwrap_or_else(|| "p-1".to_owned()));
                DirectoryReply::Peer { peer, is_new, chats, selected: None }
            }
            DirectoryCommand::OpenChat { chat, .. } => {
                let session = self.new_session();
                let chat = chat.unwrap_or_else(|| DEFAULT_CHAT.to_owned());
                DirectoryReply::Chat { chat, session, is_new: true, model: None }
            }
        }
    }

    fn any_answer(&mut self, which: u8) -> CommandReply {
        let duplicate = which % 2 == 1;
        match which % 8 {
            0 | 1 => {
                DirectoryReply::Agent { profile: Box::new(self.agent("ada".to_owned())), duplicate }
                    .into()
            }
            2 => DirectoryReply::Session { session: self.new_session(), duplicate }.into(),
            3 => DirectoryReply::Session { session: self.session(which), duplicate }.into(),
            4 => attached(self.session(which)).into(),
            5 => {
                let (peer, selected) = (peer(PeerWire::Sparky, "u", "p"), Some("c".to_owned()));
                DirectoryReply::Peer { peer, is_new: false, chats: Vec::new(), selected }.into()
            }
            6 => {
                let (chat, session) = ("c".to_owned(), self.session(which));
                DirectoryReply::Chat { chat, session, is_new: false, model: None }.into()
            }
            _ => SessionReply::Done { seq: Some(Seq(7)), duplicate }.into(),
        }
    }

    fn new_session(&mut self) -> SessionId {
        self.made += 1;
        format!("s-{}", self.made).parse().expect("an id")
    }

    fn session(&self, which: u8) -> SessionId {
        format!("s-{}", which % 4).parse().expect("an id")
    }

    fn agent(&mut self, name: String) -> AgentProfile {
        let main_session = self.new_session();
        let id = format!("a-{}", self.made).parse().expect("an id");
        AgentProfile { id, spec: AgentSpec { name, ..AgentSpec::default() }, main_session }
    }

    fn listing(&self, which: u8) -> SessionListing {
        let at = Timestamp::from_millis(0);
        SessionListing {
            id: self.session(which),
            agent: "a-1".parse().expect("an id"),
            agent_name: "ada".to_owned(),
            title: None,
            head: Seq(1),
            running: false,
            queued: 0,
            needs_you: false,
            main: true,
            usage: Usage::default(),
            created_at: at,
            updated_at: at,
        }
    }
}

fn peer(wire: PeerWire, space: &str, name: &str) -> PeerRef {
    PeerRef { wire, space: space.to_owned(), name: name.to_owned() }
}

fn attached(session: SessionId) -> ConnectionReply {
    let (agent, epoch) = ("a-1".parse().expect("an id"), "e-1".parse().expect("an id"));
    let (first, head, after) = (Seq(1), Seq(1), Seq(1));
    ConnectionReply::Attached(Attached {
        session,
        agent,
        epoch,
        first,
        head,
        recovered: true,
        after,
        turn: None,
        unended: Vec::new(),
    })
}
