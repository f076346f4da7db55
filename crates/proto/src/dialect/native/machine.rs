//! The state machine of a native connection.

use std::collections::{HashMap, HashSet, VecDeque};

use super::PROTOCOL;
use super::client::{ClientBody, ClientFrame};
use super::id_scan::find_id;
use super::part::fit;
use super::server::{Ack, Acked, AttachedFrame, ConnectionLimits, RefusedFrame, ServerFrame};
use crate::connection::{Encoding, Machine, Outbox, Output, Tag};
use crate::dialect::FrameLimit;
use crate::{
    Command, CommandId, CommandReply, ConnectionCommand, ConnectionReply, Directive,
    DirectoryReply, Refusal, RefusalCode, Request, Seq, SessionCommand, SessionId, SessionListing,
    SessionReply,
};

/// Maximum number of unanswered commands and waiting outputs of a connection. At this number the
/// socket is not read.
const MAX_PENDING: usize = 64;

/// State machine of a `thoughtwire.v1` connection.
///
/// ```
/// use thoughtwire_proto::connection::{Machine, Output};
/// use thoughtwire_proto::dialect::native::{ConnectionLimits, NativeMachine};
///
/// let limits = ConnectionLimits::default();
/// let mut machine = NativeMachine::new(limits, "thoughtwire/0.1.0".to_owned(), false);
/// machine.frame(r#"{"type":"ping"}"#);
/// let Some(Output::Frame(welcome)) = machine.poll() else { panic!("no frame") };
/// assert!(welcome.starts_with(r#"{"type":"welcome","protocol":"thoughtwire.v1""#));
/// assert_eq!(machine.poll(), Some(Output::Frame(r#"{"type":"pong"}"#.to_owned())));
/// assert_eq!(machine.poll(), None);
/// ```
#[derive(Debug)]
pub struct NativeMachine {
    outbox: Outbox,
    greeting: Greeting,
    /// Maximum number of attached sessions.
    room: usize,
    attached: HashSet<SessionId>,
    pending: HashMap<Tag, PendingCommand>,
    /// Frames that came while a `hello` was being checked.
    held: VecDeque<String>,
}

/// Progress of the client's authentication.
#[derive(Debug)]
enum Greeting {
    /// A `hello` is required.
    Awaited,
    /// Its `hello` is being checked.
    Checked { id: Option<CommandId>, before: GreetingBefore },
    /// No `hello` is required any more.
    Open(Hello),
}

/// State to which a refused `hello` returns.
#[derive(Debug, Clone, Copy)]
enum GreetingBefore {
    Awaited,
    Open,
}

/// Whether a `hello` was accepted on an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    Unsaid,
    Said,
}

/// A request that is not answered yet.
#[derive(Debug)]
struct PendingCommand {
    id: Option<CommandId>,
    effect: PendingEffect,
}

/// Effect of a request's success on the attachments.
#[derive(Debug)]
enum PendingEffect {
    Attach(SessionId),
    Detach(SessionId),
    None,
}

impl NativeMachine {
    /// Makes the machine of a new connection, which first sends `welcome`. `server` is the server's
    /// name and version. With `needs_hello`, only `hello` and `ping` are accepted until the client
    /// has authenticated.
    #[must_use]
    pub fn new(limits: ConnectionLimits, server: String, needs_hello: bool) -> Self {
        let limit = limits
            .frame_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map_or_else(FrameLimit::default, FrameLimit::new);
        let mut outbox = Outbox::within(limit);
        outbox
            .frame(ServerFrame::Welcome { protocol: PROTOCOL.to_owned(), server, limits }.encode());
        Self {
            outbox,
            greeting: if needs_hello { Greeting::Awaited } else { Greeting::Open(Hello::Unsaid) },
            room: limits
                .attached_sessions
                .and_then(|most| usize::try_from(most).ok())
                .unwrap_or(usize::MAX),
            attached: HashSet::new(),
            pending: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    fn take(&mut self, text: &str) {
        let ClientFrame { id, body } = match ClientFrame::decode(text) {
            Ok(frame) => frame,
            Err(undecoded) => return self.refuse(undecoded.id, undecoded.refusal),
        };
        match body {
            ClientBody::Ping => self.outbox.frame(ServerFrame::Pong { id }.encode()),
            ClientBody::Hello { token, client } => self.hello(id, token, client),
            body @ (ClientBody::Attach { .. }
            | ClientBody::Detach { .. }
            | ClientBody::CreateAgent { .. }
            | ClientBody::CreateSession { .. }
            | ClientBody::DeleteSession { .. }
            | ClientBody::Send { .. }
            | ClientBody::Withdraw { .. }
            | ClientBody::Cancel { .. }
            | ClientBody::Decide { .. }
            | ClientBody::ToolReturn { .. }
            | ClientBody::Rename { .. }
            | ClientBody::Offer(_)
            | ClientBody::Say { .. }
            | ClientBody::Watch) => self.ask(id, body),
        }
    }

    fn hello(&mut self, id: Option<CommandId>, token: Option<String>, client: Option<String>) {
        let before = match self.greeting {
            Greeting::Awaited => GreetingBefore::Awaited,
            Greeting::Open(Hello::Unsaid) => GreetingBefore::Open,
            // The client's identity must not change while it has attachments.
            Greeting::Open(Hello::Said) | Greeting::Checked { .. } => {
                return self.refuse(
                    id,
                    Refusal::new(
                        RefusalCode::BadRequest,
                        "hello was accepted already; a connection sends it once",
                    ),
                );
            }
        };
        self.greeting = Greeting::Checked { id, before };
        self.outbox.push(Output::Authenticate { token, client, space: None });
    }

    fn ask(&mut self, id: Option<CommandId>, body: ClientBody) {
        if !self.is_greeted() {
            return self.refuse(
                id,
                Refusal::new(RefusalCode::Unauthorized, "send hello with a \"token\" first"),
            );
        }
        let Some(command) = body.into_command() else { return };
        match self.admit(&command) {
            Ok(effect) => {
                let tag = self.outbox.request(Request { id: id.clone(), command });
                self.pending.insert(tag, PendingCommand { id, effect });
            }
            Err(refusal) => self.refuse(id, refusal),
        }
    }

    /// Refuses commands that need nobody else's answer to be refused.
    fn admit(&self, command: &Command) -> Result<PendingEffect, Refusal> {
        match command {
            Command::Connection(ConnectionCommand::Attach { session, .. }) => {
                if !self.is_attached(session) && self.attachments() >= self.room {
                    let reason = format!(
                        "this connection is attached to {} sessions, the most allowed; detach one",
                        self.room
                    );
                    return Err(Refusal::new(RefusalCode::TooManySessions, reason));
                }
                Ok(PendingEffect::Attach(session.clone()))
            }
            Command::Connection(ConnectionCommand::Detach { session }) => {
                if !self.is_attached(session) {
                    return Err(Refusal::new(
                        RefusalCode::NotAttached,
                        format!("this connection is not attached to {session}"),
                    ));
                }
                Ok(PendingEffect::Detach(session.clone()))
            }
            Command::Session {
                command: SessionCommand::Send { text, attachments, .. }, ..
            } if text.trim().is_empty() && attachments.is_empty() => Err(Refusal::new(
                RefusalCode::EmptyText,
                "the \"text\" of send is empty; there is nothing to answer",
            )),
            Command::Connection(
                ConnectionCommand::Watch
                | ConnectionCommand::Offer(_)
                | ConnectionCommand::Say { .. }
                | ConnectionCommand::InAttached(_)
                | ConnectionCommand::DecideOldest { .. },
            )
            | Command::Session { .. }
            | Command::Directory(_) => Ok(PendingEffect::None),
        }
    }

    /// Whether a session is attached, or an `attach` for it is unanswered.
    fn is_attached(&self, session: &SessionId) -> bool {
        self.attached.contains(session) || self.attaching().any(|other| other == session)
    }

    fn attachments(&self) -> usize {
        let attaching: HashSet<_> =
            self.attaching().filter(|session| !self.attached.contains(*session)).collect();
        self.attached.len() + attaching.len()
    }

    fn attaching(&self) -> impl Iterator<Item = &SessionId> {
        self.pending.values().filter_map(|pending| match &pending.effect {
            PendingEffect::Attach(session) => Some(session),
            PendingEffect::Detach(_) | PendingEffect::None => None,
        })
    }

    fn refuse(&mut self, id: Option<CommandId>, refusal: Refusal) {
        self.outbox.note(refusal.code);
        self.outbox.frame(ServerFrame::Refused(RefusedFrame::new(id, refusal)).encode());
    }

    fn ack(&mut self, id: Option<CommandId>, acked: Acked, duplicate: bool) {
        if let Some(id) = id {
            self.outbox.frame(ServerFrame::Ack(Ack { id, acked, duplicate }).encode());
        }
    }

    fn connection_reply(&mut self, id: Option<CommandId>, reply: ConnectionReply) {
        match reply {
            ConnectionReply::Attached(attached) => {
                self.attached.insert(attached.session.clone());
                self.outbox.frame(ServerFrame::Attached(AttachedFrame::new(id, attached)).encode());
            }
            ConnectionReply::Offered { agent, worker, turns } => {
                self.ack(id, Acked::Offered { agent, worker, turns }, false);
            }
            ConnectionReply::Said { seq, steered, duplicate } if steered.is_empty() => {
                self.ack(id, Acked::Done { seq }, duplicate);
            }
            ConnectionReply::Said { seq, steered, duplicate } => {
                self.ack(id, Acked::Steered { seq, inputs: steered }, duplicate);
            }
            ConnectionReply::Done => self.ack(id, Acked::Done { seq: None }, false),
        }
    }

    fn session_reply(&mut self, id: Option<CommandId>, reply: SessionReply) {
        match reply {
            SessionReply::Input { seq, input, disposition, duplicate } => {
                self.ack(id, Acked::Input { seq, disposition, input: Some(input) }, duplicate);
            }
            SessionReply::Done { seq, duplicate } => self.ack(id, Acked::Done { seq }, duplicate),
        }
    }

    fn directory_reply(&mut self, id: Option<CommandId>, reply: DirectoryReply) {
        match reply {
            DirectoryReply::Agent { profile, duplicate } => {
                self.ack(id, Acked::Agent(profile), duplicate);
            }
            DirectoryReply::Session { session, duplicate } => {
                self.ack(id, Acked::Session(session), duplicate);
            }
            DirectoryReply::Peer { .. } | DirectoryReply::Chat { .. } => {
                self.refuse(id, CommandReply::mismatch());
            }
        }
    }

    fn is_checked(&self) -> bool {
        matches!(self.greeting, Greeting::Checked { .. })
    }
}

impl Machine for NativeMachine {
    fn frame(&mut self, text: &str) {
        // Frames sent directly after a hello wait for its outcome.
        if self.is_checked() {
            self.held.push_back(text.to_owned());
        } else {
            self.take(text);
        }
    }

    fn unreadable(&mut self, frame: &[u8], refusal: &Refusal) {
        self.refuse(find_id(frame), refusal.clone());
    }

    fn authenticated(&mut self, outcome: Result<(), Refusal>) {
        let greeting = std::mem::replace(&mut self.greeting, Greeting::Awaited);
        let Greeting::Checked { id, before } = greeting else {
            self.greeting = greeting;
            return;
        };
        match outcome {
            Ok(()) => {
                self.greeting = Greeting::Open(Hello::Said);
                self.ack(id, Acked::Done { seq: None }, false);
            }
            Err(refusal) => {
                if let GreetingBefore::Open = before {
                    self.greeting = Greeting::Open(Hello::Unsaid);
                }
                self.refuse(id, refusal);
            }
        }
        while !self.is_checked()
            && let Some(text) = self.held.pop_front()
        {
            self.take(&text);
        }
    }

    fn answer(&mut self, tag: Tag, outcome: Result<CommandReply, Refusal>) {
        let Some(PendingCommand { id, effect }) = self.pending.remove(&tag) else { return };
        let reply = match outcome {
            Ok(reply) => reply,
            Err(refusal) => return self.refuse(id, refusal),
        };
        if let PendingEffect::Detach(session) = effect {
            self.attached.remove(&session);
        }
        match reply {
            CommandReply::Connection(reply) => self.connection_reply(id, reply),
            CommandReply::Session(reply) => self.session_reply(id, reply),
            CommandReply::Directory(reply) => self.directory_reply(id, reply),
        }
    }

    fn encoding(&self, _session: &SessionId) -> Encoding {
        Encoding::Native
    }

    fn caught_up(&mut self, session: &SessionId, seq: Seq) {
        self.outbox.frame(ServerFrame::CaughtUp { session: session.clone(), seq }.encode());
    }

    fn detached(&mut self, session: &SessionId, reason: &str) {
        self.attached.remove(session);
        self.outbox.frame(
            ServerFrame::Detached { session: session.clone(), reason: reason.to_owned() }.encode(),
        );
    }

    fn listed(&mut self, listing: &SessionListing) {
        self.outbox.frame(ServerFrame::Session(listing.clone()).encode());
    }

    fn unlisted(&mut self, session: &SessionId) {
        self.outbox.frame(ServerFrame::SessionGone { session: session.clone() }.encode());
    }

    fn directed(&mut self, directive: Directive) {
        self.outbox.frame(ServerFrame::Directed(directive).encode());
    }

    fn going_away(&mut self, reason: &str, retry_after_ms: u64) {
        self.outbox
            .frame(ServerFrame::GoAway { reason: reason.to_owned(), retry_after_ms }.encode());
    }

    fn is_full(&self) -> bool {
        self.is_checked() || self.pending.len() + self.outbox.len() >= MAX_PENDING
    }

    fn is_greeted(&self) -> bool {
        match self.greeting {
            Greeting::Awaited | Greeting::Checked { before: GreetingBefore::Awaited, .. } => false,
            Greeting::Checked { before: GreetingBefore::Open, .. } | Greeting::Open(_) => true,
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll(fit)
    }

    fn refused(&mut self) -> Option<RefusalCode> {
        self.outbox.refused()
    }
}
