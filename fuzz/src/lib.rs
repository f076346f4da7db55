//! A hub that answers a connection's machine in any order, rightly, wrongly or with a no.
//!
//! A script is lines. One that begins with `!` is something that happens on the server's side, see
//! [`Conversation`]; any other is a frame of the client.

use std::collections::{HashSet, VecDeque};

use thoughtwire_proto::connection::{Joined, Machine, Output, Tag};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Answer, Attached, Command, DEFAULT_CHAT, Disposition, Emission,
    Emitted, Event, InputEvent, ItemId, Outcome, PeerRef, PeerWire, Record, Refusal, RefusalCode,
    Request, Seq, SessionId, SessionListing, Timestamp, TurnEvent, Usage,
};

const EVENTS: &str = include_str!("../../vectors/events.jsonl");
/// A connection that has not come to rest after so many steps never will: a script has far fewer lines.
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
    /// What the client sent.
    pub sent: Vec<String>,
    /// What the server sent.
    pub said: Vec<String>,
}

impl Conversation {
    /// Plays a script to its end, lets everything come to its answer, and sees that the connection still lives.
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
            (b'x', _) => self
                .wire
                .machine
                .answer(Tag(u64::MAX), Ok(Answer::Done { seq: None, duplicate: false })),
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
        // What an attachment is encoded with never depends on what is shown.
        let encoding = self.wire.machine.encoding(&session);
        if let Event::Turn(TurnEvent::Ended { input, .. })
        | Event::Input(InputEvent::Withdrawn { input }) = &event
        {
            self.asked.retain(|(of, asked)| *of != session || asked != input);
        }
        let record = Record { seq: Seq(1), at: Timestamp::from_millis(0), turn: None, event };
        self.wire
            .machine
            .shows(&Emitted { session: session.clone(), emission: Emission::Record(record) });
        assert_eq!(self.wire.machine.encoding(&session), encoding);
    }

    /// Answers a request with a yes that fits.
    fn answer_at(&mut self, at: usize) {
        let Some((tag, request)) = self.waiting.remove(at) else { return };
        let done = Answer::Done { seq: None, duplicate: false };
        let answer = match request.command {
            Command::CreateAgent(spec) => Answer::Agent(self.agent(spec.name)),
            Command::FindAgent { agent } => Answer::Agent(self.agent(agent)),
            Command::CreateSession { .. } => Answer::Session(self.new_session()),
            Command::Attach { session, .. } => {
                self.attached.push(session.clone());
                attached(session)
            }
            Command::Detach { session } => {
                self.attached.retain(|attached| *attached != session);
                self.asked.retain(|(of, _)| *of != session);
                done
            }
            Command::Send { session, .. } => {
                self.made += 1;
                let input: ItemId = format!("i-{}", self.made).parse().expect("an id");
                self.asked.push((session, input.clone()));
                Answer::Input {
                    seq: Seq(self.made),
                    input,
                    disposition: Disposition::Started,
                    duplicate: false,
                }
            }
            Command::OpenPeer { wire, space, name } => {
                let chats = self
                    .attached
                    .iter()
                    .take(2)
                    .map(|session| (format!("chat of {session}"), session.clone()))
                    .collect();
                let is_new = name.is_none();
                Answer::Peer {
                    peer: peer(wire, &space, &name.unwrap_or_else(|| "p-1".to_owned())),
                    is_new,
                    chats,
                    selected: None,
                }
            }
            Command::OpenChat { chat, .. } => {
                let session = self.new_session();
                let chat = chat.unwrap_or_else(|| DEFAULT_CHAT.to_owned());
                Answer::Chat { chat, session, is_new: true, model: None }
            }
            Command::DeleteSession { .. }
            | Command::Withdraw { .. }
            | Command::Cancel { .. }
            | Command::Decide { .. }
            | Command::ToolReturn { .. }
            | Command::Rename { .. }
            | Command::Instruct { .. }
            | Command::Watch => done,
        };
        self.wire.machine.answer(tag, Ok(answer));
    }

    fn any_answer(&mut self, which: u8) -> Answer {
        match which % 8 {
            0 => Answer::Agent(self.agent("ada".to_owned())),
            1 => Answer::AgentAgain(self.agent("ada".to_owned())),
            2 => Answer::Session(self.new_session()),
            3 => Answer::SessionAgain(self.session(which)),
            4 => attached(self.session(which)),
            5 => Answer::Peer {
                peer: peer(PeerWire::Sparky, "u", "p"),
                is_new: false,
                chats: Vec::new(),
                selected: Some("c".to_owned()),
            },
            6 => Answer::Chat {
                chat: "c".to_owned(),
                session: self.session(which),
                is_new: false,
                model: None,
            },
            _ => Answer::Done { seq: Some(Seq(7)), duplicate: true },
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

fn attached(session: SessionId) -> Answer {
    let (agent, epoch) = ("a-1".parse().expect("an id"), "e-1".parse().expect("an id"));
    let (first, head, after) = (Seq(1), Seq(1), Seq(1));
    Answer::Attached(Attached {
        session,
        agent,
        epoch,
        first,
        head,
        recovered: true,
        after,
        turn: None,
    })
}
