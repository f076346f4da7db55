//! One connection: it drives a dialect's machine against the hub.
//!
//! ```text
//! socket ──frames──▶ machine ──requests──▶ hub
//! socket ◀──frames── machine ◀──answers─── hub
//! socket ◀──────────frames, encoded once── tails (one cursor per attached session)
//! ```
//!
//! While it has nothing to do it lends its cursors and its socket, and sleeps through the frames that
//! are brought to it.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use thoughtwire_hub::{
    Hub, ListNews, Outlet, Presence, Proof, Read, Replying, Subscription, Wake, Watcher,
    WorkerConnection,
};
use thoughtwire_proto::connection::{Close, Encoding, Joined, Machine, Output, Tag, depth};
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::{
    Command, CommandId, CommandReply, ConnectionCommand, ConnectionReply, Directive,
    DirectoryCommand, DirectoryReply, PeerRef, Refusal, RefusalCode, Request, Seq, SessionCommand,
    SessionId, SessionReply, Start, ToolDeclaration, UserId,
};
use thoughtwire_store::{Proven, Scope};
use thoughtwire_websocket::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, Sleep};

use crate::access::{Access, Entrant, Identity, create_agent, too_many};
use crate::line::{Lane, Line};
use crate::listing;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::places::Place;
use crate::websocket::{ConnectionEnd, Received, WebSocket};

/// How often a silent connection is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// How long a client is asked to stay away after a planned stop, in milliseconds; drawn for each
/// connection, so that a thousand of them come back over five seconds and not at once.
const STAY_AWAY_MS: RangeInclusive<u64> = 1_000..=6_000;
/// Answers under way per connection; while there are so many, its socket is not read.
const ANSWERS: usize = 64;

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It will stop: clients are told, running turns go on.
    Leaving,
    /// It stops now.
    Stopped,
}

/// What a connection needs of its server.
pub(crate) struct Context {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
    pub(crate) entrant: Entrant,
    /// The dialect's name, as the sender of inputs until the client names itself.
    pub(crate) from: String,
    /// The name space of a Sparky user; empty until its client says who it is.
    pub(crate) space: String,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) handshake_within: Duration,
    pub(crate) pace: Pace,
    /// Held as long as the connection is: one of its user's places, once it is known whose.
    pub(crate) place: Option<Place<UserId>>,
    pub(crate) metrics: Metrics,
    /// The size limit of frames to the client.
    pub(crate) frame_limit: FrameLimit,
    /// How deep a frame may be nested.
    pub(crate) json_depth: usize,
}

/// One connection.
struct Connection<S> {
    socket: WebSocket<S>,
    /// Where others can write, while it sleeps.
    line: Option<Arc<Line>>,
    machine: Box<dyn Machine>,
    context: Context,
    /// Names the connection among its peer's.
    name: String,
    wake: Wake,
    /// Boxed, since a map has room for more than it holds, and most connections have one.
    attached: HashMap<SessionId, Box<Attachment>>,
    answers: FuturesUnordered<BoxFuture<'static, (Tag, Result<CommandReply, Refusal>)>>,
    watching: Option<Watcher>,
    joined: Option<broadcast::Receiver<Joined>>,
    /// Where it offers agents, once it has.
    link: Option<WorkerConnection>,
    proof: Arc<Mutex<Proof>>,
    /// Resolves when whoever is here may not be any more.
    ended: BoxFuture<'static, &'static str>,
    /// Resolves when the server is in another phase. Like the timer it is kept from one wait to the next:
    /// a busy connection is woken all the time, and what does not change is not set up anew for it.
    phased: BoxFuture<'static, Result<(), watch::error::RecvError>>,
    timer: Pin<Box<Sleep>>,
    last_heard: Instant,
    ping_due: Instant,
    pinged: bool,
    /// When the oldest emission that is written and not yet flushed was published.
    unflushed: Option<Instant>,
}

struct Attachment {
    subscription: Subscription,
    encoding: Encoding,
    /// The older wires' client, whose proven cursor is kept.
    peer: Option<PeerRef>,
    proven: Seq,
    /// What it lends its cursor with, where that is possible.
    outlet: Option<Arc<dyn Outlet>>,
}

/// Drives one connection to its end.
pub(crate) async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocket<S>,
    line: Option<Arc<Line>>,
    machine: Box<dyn Machine>,
    context: Context,
) {
    let now = Instant::now();
    let ended = context.entrant.identity.ended();
    let mut connection = Connection {
        socket,
        line,
        machine,
        joined: None,
        name: thoughtwire_hub::new_id::<()>().to_string(),
        wake: Arc::new(Notify::new()),
        attached: HashMap::new(),
        answers: FuturesUnordered::new(),
        watching: None,
        link: None,
        proof: Arc::default(),
        ended,
        phased: phased(context.phase.clone()),
        timer: Box::pin(tokio::time::sleep_until(now + PING_EVERY)),
        last_heard: now,
        ping_due: now + PING_EVERY,
        pinged: false,
        unflushed: None,
        context,
    };
    let end = connection.run().await;
    // From now on it gets no turns.
    connection.link = None;
    let begun = connection.take_back();
    connection.keep_proof(true).await;
    connection.socket.resume(begun);
    connection.socket.end(end).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> ConnectionEnd {
        let greet_by = Instant::now() + self.context.handshake_within;
        let mut leaving = false;
        loop {
            if let Err(end) = self.carry_out().await {
                return end;
            }
            match self.show().await {
                Ok(Progress::More) => continue,
                Ok(Progress::Idle) => {}
                Err(end) => return end,
            }
            if let Err(end) = self.socket.flush().await {
                return end;
            }
            if let Some(since) = self.unflushed.take() {
                self.context.metrics.fan_out.observe(since.elapsed().as_secs_f64());
            }
            let phase = *self.context.phase.borrow_and_update();
            match phase {
                Phase::Serving => {}
                // Where no turn runs the stop comes at once; who is connected is told first all the same.
                Phase::Leaving | Phase::Stopped if !leaving => {
                    leaving = true;
                    self.machine.going_away("the server is stopping", fastrand::u64(STAY_AWAY_MS));
                    continue;
                }
                Phase::Leaving => {}
                Phase::Stopped => {
                    return ConnectionEnd::ClosedByServer(Close::Restart, Close::Restart.reason());
                }
            }
            let greeted = self.machine.is_greeted();
            let wake_at = self.wake_at(greet_by, greeted);
            if self.timer.deadline() != wake_at {
                self.timer.as_mut().reset(wake_at);
            }
            self.lend();
            let (mut is_time, mut listed) = (false, None);
            let readable = !self.machine.is_full() && self.answers.len() < ANSWERS;
            let Self {
                socket, answers, watching, joined, link, ended, phased, timer, wake, ..
            } = self;
            tokio::select! {
                biased;
                reason = ended => return ConnectionEnd::ClosedByServer(Close::Policy, reason),
                Some((tag, outcome)) = answers.next() => self.machine.answer(tag, outcome),
                () = wake.notified() => {}
                heard = socket.next(), if readable => match heard {
                    Ok(heard) => self.hear(&heard),
                    Err(end) => return end,
                },
                directive = directed(link) => self.machine.directed(directive),
                news = watched(watching) => listed = Some(news),
                opened = follow(joined) => match opened {
                    Ok(joined) => self.machine.joined(&joined),
                    // What was missed is found again by connecting again.
                    Err(_) => return ConnectionEnd::ClosedByServer(Close::Restart, "too much happened at once; come again"),
                },
                changed = phased => {
                    // The server's end of the watch lives as long as the server: its loss is its stop.
                    if changed.is_err() {
                        return ConnectionEnd::ClosedByServer(Close::Restart, Close::Restart.reason());
                    }
                    self.context.phase.mark_unchanged();
                    self.phased = self::phased(self.context.phase.clone());
                }
                () = timer.as_mut() => is_time = true,
            }
            let begun = self.take_back();
            self.socket.resume(begun);
            // Only now: a frame may have been begun while the cursors were lent.
            if let Some(news) = listed
                && let Err(end) = self.list(news).await
            {
                return end;
            }
            if is_time {
                if !greeted && Instant::now() >= greet_by {
                    return ConnectionEnd::ClosedByServer(Close::Policy, Close::Policy.reason());
                }
                if let Err(end) = self.tick().await {
                    return end;
                }
            }
        }
    }

    /// Lends all cursors, while nothing but what is published can be to be written. An answer comes
    /// before the events that it is about, so who waits for one reads by itself; so does who runs turns.
    fn lend(&mut self) {
        if self.answers.is_empty() && self.link.is_none() {
            for attachment in self.attached.values_mut() {
                if let Some(outlet) = &attachment.outlet {
                    attachment.subscription.lend(outlet);
                }
            }
        }
    }

    /// Takes them back: from here on nobody else writes. What was begun has to be sent first.
    fn take_back(&mut self) -> Vec<u8> {
        for attachment in self.attached.values_mut() {
            attachment.subscription.take_back();
        }
        self.line.as_ref().map(|line| line.take_rest()).unwrap_or_default()
    }

    fn wake_at(&self, greet_by: Instant, greeted: bool) -> Instant {
        let mut at = self.ping_due;
        if !greeted {
            at = at.min(greet_by);
        }
        if let Some(look) = self.proof.lock().look_at() {
            at = at.min(look);
        }
        at
    }

    fn hear(&mut self, heard: &Received) {
        self.last_heard = Instant::now();
        match heard {
            Received::Ping => {}
            Received::Pong(payload) => self.proven(payload),
            Received::Text(text) => self.hear_text(text),
            Received::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.hear_text(text),
                Err(_) => self.machine.unreadable(
                    bytes,
                    &Refusal::new(RefusalCode::BadFrame, "the binary frame is not UTF-8"),
                ),
            },
        }
    }

    fn hear_text(&mut self, text: &str) {
        let most = self.context.json_depth;
        if depth(text) > most {
            let reason = format!("the frame is nested more than {most} levels deep");
            let refusal = Refusal::new(RefusalCode::TooLarge, reason);
            self.machine.unreadable(text.as_bytes(), &refusal);
        } else {
            self.machine.frame(text);
        }
    }

    /// Does what the machine wants done, until it wants nothing more.
    async fn carry_out(&mut self) -> Result<(), ConnectionEnd> {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Frame(frame) => self.socket.write(OpCode::Text, frame).await?,
                Output::Authenticate { token, client, space } => {
                    let outcome =
                        self.context.access.enter(&self.context.entrant, token.as_deref());
                    match outcome {
                        Ok(identity)
                            if identity.user != self.context.entrant.identity.user
                                && (self.link.is_some()
                                    || self.watching.is_some()
                                    || !self.attached.is_empty()) =>
                        {
                            let reason =
                                "this connection acts for another user already; open another one";
                            self.machine
                                .authenticated(Err(Refusal::new(RefusalCode::BadRequest, reason)));
                        }
                        Ok(identity) if !self.takes_place(&identity) => {
                            self.machine.authenticated(Err(too_many()));
                        }
                        Ok(identity) => {
                            self.ended = identity.ended();
                            self.context.space = self.context.access.space(
                                &identity,
                                token.as_deref(),
                                space.as_deref(),
                            );
                            self.context.entrant = Entrant { identity, trusted: true };
                            if let Some(client) = client {
                                self.context.from = client;
                            }
                            self.machine.authenticated(Ok(()));
                        }
                        Err(refusal) => self.machine.authenticated(Err(refusal)),
                    }
                }
                // In a box, or each connection would have the room for it all its life.
                Output::Request { tag, request } => Box::pin(self.request(tag, request)).await,
            }
        }
        while let Some(code) = self.machine.refused() {
            self.context.metrics.refused(code);
        }
        Ok(())
    }

    /// Whether there is a place among its user's for whoever this connection is now known to be.
    fn takes_place(&mut self, identity: &Identity) -> bool {
        if self.context.place.as_ref().is_some_and(|place| *place.of() == identity.user) {
            return true;
        }
        self.context.place = self.context.access.users.take(identity.user.clone());
        self.context.place.is_some()
    }

    async fn request(&mut self, tag: Tag, Request { id, command }: Request) {
        // What is said in a turn comes as fast as the turn takes it.
        let is_said = matches!(command, Command::Connection(ConnectionCommand::Say { .. }));
        if !is_said && !self.context.pace.allows() {
            let refusal = Refusal::new(
                RefusalCode::TooFast,
                "this connection asks for more in a second than it may; send slower",
            );
            self.machine.answer(tag, Err(refusal));
            return;
        }
        if let Err(refusal) = self.context.entrant.identity.demand_for(&command) {
            self.machine.answer(tag, Err(refusal));
            return;
        }
        let reply = match command {
            Command::Connection(command) => match self.carry(tag, id, command).await {
                Some(reply) => reply,
                None => return,
            },
            Command::Session { session, command } => {
                let (hub, user, from) = self.sender();
                into_reply(hub.submit(&user, from, id, session, command).await)
            }
            Command::Directory(command) => self.direct(id, command),
        };
        // Unconstrained, so that an answer that is there is never put off for fairness: see `show`.
        self.answers
            .push(Box::pin(async move { (tag, tokio::task::coop::unconstrained(reply).await) }));
    }

    /// The hub, and the user and client in whose name it is asked.
    fn sender(&self) -> (Hub, UserId, Option<String>) {
        let Context { hub, entrant, from, .. } = &self.context;
        (hub.clone(), entrant.identity.user.clone(), Some(from.clone()))
    }

    /// Carries out a command of the connection. Returns the reply where it has to be awaited.
    async fn carry(
        &mut self,
        tag: Tag,
        id: Option<CommandId>,
        command: ConnectionCommand,
    ) -> Option<Replying<CommandReply>> {
        let (hub, user, from) = self.sender();
        match command {
            ConnectionCommand::Attach { session, start, tools } => {
                let outcome = self.attach(session, start, tools).await;
                self.machine.answer(tag, outcome.map(CommandReply::Connection));
                None
            }
            ConnectionCommand::Detach { session } => {
                let outcome = self.detach(&session).await;
                self.machine.answer(tag, outcome.map(CommandReply::Connection));
                None
            }
            ConnectionCommand::Watch => {
                self.watching = Some(hub.watch(&user));
                self.machine.answer(tag, Ok(ConnectionReply::Done.into()));
                for entry in listing::all(&hub, &user).await.unwrap_or_default() {
                    self.machine.listed(&entry);
                }
                None
            }
            ConnectionCommand::Offer(offer) => {
                let may_make = self.context.entrant.identity.has(Scope::Agents);
                let link = self.link.get_or_insert_with(|| hub.worker_connection(&user));
                let outcome = link.offer(*offer, may_make).await;
                self.machine.answer(tag, outcome.map(CommandReply::Connection));
                None
            }
            ConnectionCommand::Say { turn, verb } => {
                let link = self.link.get_or_insert_with(|| hub.worker_connection(&user));
                Some(into_reply(link.say(&turn, id, verb).await))
            }
            ConnectionCommand::InAttached(command) => {
                let sessions = self.attached.keys().cloned().collect();
                Some(into_reply(Box::pin(in_attached(hub, user, from, id, command, sessions))))
            }
            ConnectionCommand::DecideOldest { session, approve } => {
                Some(into_reply(Box::pin(async move {
                    let call = hub.oldest_approval(&user, &session).await?;
                    let command = SessionCommand::Decide { call, approve };
                    hub.execute(&user, from, id, session, command).await
                })))
            }
        }
    }

    async fn detach(&mut self, session: &SessionId) -> Result<ConnectionReply, Refusal> {
        let proof: Vec<Proven> =
            self.proof_rows().into_iter().filter(|proven| proven.session == *session).collect();
        let outcome = match self.attached.remove(session) {
            Some(_) => Ok(ConnectionReply::Done),
            None => Err(Refusal::new(
                RefusalCode::NotAttached,
                format!("this connection is not attached to {session}"),
            )),
        };
        if !proof.is_empty() {
            // It is over here: left open, it would hold back those that come until the next start.
            self.context.hub.prove(proof, Some(thoughtwire_hub::now())).await;
        }
        outcome
    }

    fn direct(
        &mut self,
        id: Option<CommandId>,
        command: DirectoryCommand,
    ) -> Replying<CommandReply> {
        let (hub, user, _) = self.sender();
        let identity = &self.context.entrant.identity;
        match command {
            DirectoryCommand::OpenPeer { wire, space: _, name } if self.machine.has_chats() => {
                let name = name.unwrap_or_else(|| thoughtwire_hub::new_id::<()>().to_string());
                let peer = PeerRef { wire, space: self.context.space.clone(), name };
                // From before it is opened, so that no chat is opened unseen in between.
                self.joined = Some(hub.joined(&user, &peer));
                let PeerRef { wire, space, name } = peer;
                let command = DirectoryCommand::OpenPeer { wire, space, name: Some(name) };
                into_reply(hub.directory().direct(&user, id, command))
            }
            DirectoryCommand::CreateAgent(spec) if !identity.has(Scope::Agents) => {
                let identity = identity.clone();
                Box::pin(async move {
                    let made = create_agent(&hub, &identity, id, *spec).await?;
                    let reply = DirectoryReply::Agent {
                        profile: Box::new(made.thing),
                        duplicate: made.duplicate,
                    };
                    Ok(reply.into())
                })
            }
            command @ (DirectoryCommand::CreateAgent(_)
            | DirectoryCommand::FindAgent { .. }
            | DirectoryCommand::CreateSession { .. }
            | DirectoryCommand::OpenPeer { .. }
            | DirectoryCommand::OpenChat { .. }) => {
                into_reply(hub.directory().direct(&user, id, command))
            }
        }
    }

    async fn attach(
        &mut self,
        session: SessionId,
        start: Start,
        tools: Vec<ToolDeclaration>,
    ) -> Result<ConnectionReply, Refusal> {
        // Also of a chat that another of its connections opened, which is not asked for as proven.
        let peer = self.machine.peer().cloned();
        // Attaching again starts over from the new place.
        self.attached.remove(&session);
        let wake = Arc::clone(&self.wake);
        let (attached, subscription) = self
            .context
            .hub
            .attach(
                &self.context.entrant.identity.user,
                &session,
                start,
                wake,
                Presence::Client { tools },
            )
            .await?;
        let encoding = self.machine.encoding(&session);
        let proven = attached.after;
        let kept = peer.is_some();
        let outlet = self.line.as_ref().map(|line| -> Arc<dyn Outlet> {
            Arc::new(Lane {
                line: Arc::clone(line),
                encoding: encoding.clone(),
                limit: self.context.frame_limit,
                proof: kept.then(|| Arc::clone(&self.proof)),
                wake: Arc::clone(&self.wake),
                metrics: self.context.metrics.clone(),
            })
        });
        self.attached
            .insert(session, Box::new(Attachment { subscription, encoding, peer, proven, outlet }));
        if kept {
            // From here on even a killed server knows where this connection began.
            self.keep_proof(false).await;
        }
        Ok(ConnectionReply::Attached(attached))
    }

    /// Writes what lies behind each attached session's cursor, a batch of each in turn.
    async fn show(&mut self) -> Result<Progress, ConnectionEnd> {
        if !self.attached.values().any(|at| at.subscription.has_news())
            && !self.proof.lock().is_due()
        {
            return Ok(Progress::Idle);
        }
        let ready: Vec<_> = self
            .attached
            .iter()
            .filter(|(_, at)| at.subscription.has_news())
            .map(|(id, _)| id.clone())
            .collect();
        let mut progress = Progress::Idle;
        for session in ready {
            let Some(attachment) = self.attached.get_mut(&session) else { continue };
            let entries = match attachment.subscription.next().await {
                Ok(Read::Entries { entries, .. }) if entries.is_empty() => continue,
                Ok(Read::Entries { entries, since }) => {
                    self.unflushed = self.unflushed.or(since);
                    entries
                }
                Ok(Read::CaughtUp(seq)) => {
                    self.machine.caught_up(&session, seq);
                    progress = Progress::More;
                    continue;
                }
                // A client that connects again is told where the log begins.
                Ok(Read::Trimmed) => {
                    return Err(ConnectionEnd::ClosedByServer(
                        Close::Restart,
                        "older events were deleted meanwhile; come again",
                    ));
                }
                Ok(Read::Closed(reason)) => {
                    self.attached.remove(&session);
                    if *self.context.phase.borrow() == Phase::Serving {
                        self.machine.detached(&session, &reason);
                        progress = Progress::More;
                    }
                    continue;
                }
                Err(refusal) => {
                    tracing::warn!(%session, %refusal, "a subscriber's log cannot be read");
                    self.attached.remove(&session);
                    self.machine.detached(&session, &refusal.reason);
                    return Ok(Progress::More);
                }
            };
            progress = Progress::More;
            // Invariant: an answer is ready before the events it is about can be read, so whatever is
            // ready now belongs in front of this batch.
            while let Some(Some((tag, outcome))) =
                futures::FutureExt::now_or_never(self.answers.next())
            {
                self.machine.answer(tag, outcome);
            }
            self.carry_out().await?;
            let (encoding, is_peer) = match self.attached.get(&session) {
                Some(attachment) => (attachment.encoding.clone(), attachment.peer.is_some()),
                None => continue,
            };
            for entry in &entries {
                if !self.machine.shows(entry.emitted()) {
                    continue;
                }
                for frame in entry.frames(&encoding, self.context.frame_limit).iter() {
                    self.socket.write(OpCode::Text, frame.clone()).await?;
                }
                if is_peer {
                    self.proof.lock().wants(&entry.emitted().emission);
                }
            }
        }
        if progress == Progress::Idle && self.proof.lock().is_due() {
            self.ask_proof().await?;
        }
        Ok(progress)
    }

    async fn tick(&mut self) -> Result<(), ConnectionEnd> {
        let now = Instant::now();
        if now >= self.ping_due {
            if self.pinged && self.last_heard + PING_EVERY + DEAD_AFTER <= now {
                return Err(ConnectionEnd::Gone);
            }
            self.pinged = true;
            self.ping_due = now + PING_EVERY;
            self.ask_proof().await?;
        }
        if self.proof.lock().is_due() {
            self.ask_proof().await?;
        }
        self.socket.flush().await
    }

    // --- acks without acks

    async fn ask_proof(&mut self) -> Result<(), ConnectionEnd> {
        let of_peers = self.attached.iter().filter(|(_, attachment)| attachment.peer.is_some());
        let cursors = of_peers
            .map(|(session, attachment)| (session.clone(), attachment.subscription.cursor()))
            .collect();
        let payload = self.proof.lock().ask(cursors);
        self.socket.write(OpCode::Ping, payload).await
    }

    fn proven(&mut self, payload: &[u8]) {
        self.pinged = false;
        let mut moved = false;
        let proven = self.proof.lock().proven(payload);
        for (session, seq) in proven {
            if let Some(attachment) =
                self.attached.get_mut(&session).filter(|attachment| seq > attachment.proven)
            {
                attachment.proven = seq;
                moved = true;
            }
        }
        if moved {
            self.context.hub.prove_soon(self.proof_rows());
        }
    }

    fn proof_rows(&self) -> Vec<Proven> {
        let row = |(session, attachment): (&SessionId, &Attachment)| {
            attachment.peer.as_ref().map(|peer| Proven {
                user: self.context.entrant.identity.user.clone(),
                peer: peer.clone(),
                connection: self.name.clone(),
                session: session.clone(),
                seq: attachment.proven,
            })
        };
        self.attached
            .iter()
            .map(|(session, attachment)| (session, &**attachment))
            .filter_map(row)
            .collect()
    }

    async fn keep_proof(&mut self, closed: bool) {
        let proof = self.proof_rows();
        if !proof.is_empty() {
            self.context.hub.prove(proof, closed.then(thoughtwire_hub::now)).await;
        }
    }

    // --- the list of sessions

    async fn list(&mut self, news: ListNews) -> Result<(), ConnectionEnd> {
        match news {
            ListNews::Entries(entries) => {
                for entry in entries {
                    for frame in entry.frames(self.context.frame_limit).iter() {
                        self.socket.write(OpCode::Text, frame.clone()).await?;
                    }
                }
            }
            ListNews::Everything => {
                let user = self.context.entrant.identity.user.clone();
                for entry in listing::all(&self.context.hub, &user).await.unwrap_or_default() {
                    self.machine.listed(&entry);
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    Idle,
}

/// Resolves when the phase is another than the one that this receiver has seen.
fn phased(
    mut phase: watch::Receiver<Phase>,
) -> BoxFuture<'static, Result<(), watch::error::RecvError>> {
    Box::pin(async move { phase.changed().await })
}

async fn directed(link: &mut Option<WorkerConnection>) -> Directive {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

async fn watched(watching: &mut Option<Watcher>) -> ListNews {
    match watching {
        Some(watcher) => {
            watcher.changed().await;
            watcher.take()
        }
        None => std::future::pending().await,
    }
}

async fn follow<T: Clone>(
    followed: &mut Option<broadcast::Receiver<T>>,
) -> Result<T, broadcast::error::RecvError> {
    match followed {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

/// Has each attached session in turn carry out a command, until one has its input or call.
async fn in_attached(
    hub: Hub,
    user: UserId,
    from: Option<String>,
    id: Option<CommandId>,
    command: SessionCommand,
    sessions: Vec<SessionId>,
) -> Result<SessionReply, Refusal> {
    let mut refusal =
        Refusal::new(RefusalCode::BadRequest, "say which session is meant, or attach to it first");
    for session in sessions {
        match hub.execute(&user, from.clone(), id.clone(), session, command.clone()).await {
            Err(no) if matches!(no.code, RefusalCode::UnknownInput | RefusalCode::UnknownCall) => {
                refusal = no;
            }
            outcome => return outcome,
        }
    }
    Err(refusal)
}

fn into_reply<T: Into<CommandReply> + 'static>(reply: Replying<T>) -> Replying<CommandReply> {
    Box::pin(async move { reply.await.map(Into::into) })
}
