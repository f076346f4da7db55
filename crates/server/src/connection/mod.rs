//! One connection: it drives a dialect's machine against the hub.
//!
//! ```text
//! socket ──frames──▶ machine ──requests──▶ hub
//! socket ◀──frames── machine ◀──replies─── hub
//! socket ◀──────────frames, encoded once── tails (one cursor per attached session)
//! ```
//!
//! While it has nothing to do it parks: frames are pushed to its socket, and its task sleeps.

mod attached_sessions;
mod commands;
mod waiting;

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use thoughtwire_hub::{Hub, ListNews, Read, TailEntry, WakeSignal, Watcher, WorkerConnection};
use thoughtwire_proto::connection::{Close, Joined, Machine, Output, Tag, depth};
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::{CommandReply, Refusal, RefusalCode, SessionId, UserId};
use thoughtwire_websocket::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, Sleep};

use crate::access::{Access, Entrant};
use crate::connection_permits::ConnectionPermit;
use crate::listing;
use crate::metrics::ServerMetrics;
use crate::pace::CommandPace;
use crate::phase::Phase;
use crate::upgraded_stream::SharedWriter;
use crate::websocket::{ConnectionEnd, Received, WebSocket};
use attached_sessions::AttachedSessions;
use waiting::{list_news, next_directive, next_of, next_phase};

/// Time between two pings to a silent connection.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Time that a connection has to answer a ping.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// Milliseconds for which a client is asked to stay away after a planned stop. Drawn for each
/// connection, so that a thousand of them come back over five seconds and not at once.
const STAY_AWAY_MS: RangeInclusive<u64> = 1_000..=6_000;
/// Replies under way per connection. While there are so many, its socket is not read.
const MAX_REPLIES: usize = 64;

/// The parts of its server that a connection uses.
pub(crate) struct ConnectionContext {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
    pub(crate) entrant: Entrant,
    /// The dialect's name, as the sender of inputs until the client names itself.
    pub(crate) from: String,
    /// The name space of a Sparky user; empty until its client says who it is.
    pub(crate) space: String,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) handshake_within: Duration,
    pub(crate) pace: CommandPace,
    /// The user's permit for this connection, once the user is known. Held as long as it lasts.
    pub(crate) permit: Option<ConnectionPermit<UserId>>,
    pub(crate) metrics: ServerMetrics,
    /// The size limit of frames to the client.
    pub(crate) frame_limit: FrameLimit,
    /// The deepest nesting that a frame may have.
    pub(crate) json_depth: usize,
}

/// One connection.
struct ClientConnection<S> {
    socket: WebSocket<S>,
    /// The socket's writing half, where others can write while the connection is parked.
    writer: Option<Arc<SharedWriter>>,
    machine: Box<dyn Machine>,
    context: ConnectionContext,
    wake: WakeSignal,
    attached: AttachedSessions,
    replies: FuturesUnordered<BoxFuture<'static, (Tag, Result<CommandReply, Refusal>)>>,
    watching: Option<Watcher>,
    joined: Option<broadcast::Receiver<Joined>>,
    /// The connection to the hub's worker pool, once the client offers an agent.
    workers: Option<WorkerConnection>,
    /// Resolves when the client's permission to be here ends.
    ended: BoxFuture<'static, &'static str>,
    /// Resolves when the server is in another phase. Like the timer it is kept between waits: a
    /// busy connection is woken often, and would otherwise set both up again each time.
    phase_changed: BoxFuture<'static, Result<(), watch::error::RecvError>>,
    timer: Pin<Box<Sleep>>,
    last_heard: Instant,
    ping_due: Instant,
    pinged: bool,
    /// The time at which the oldest emission that is queued and not flushed was published.
    unflushed: Option<Instant>,
}

/// Drives one connection to its end.
pub(crate) async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocket<S>,
    writer: Option<Arc<SharedWriter>>,
    machine: Box<dyn Machine>,
    context: ConnectionContext,
) {
    let now = Instant::now();
    let ended = context.entrant.identity.ended();
    let mut connection = ClientConnection {
        socket,
        writer,
        machine,
        joined: None,
        wake: Arc::new(Notify::new()),
        attached: AttachedSessions::new(),
        replies: FuturesUnordered::new(),
        watching: None,
        workers: None,
        ended,
        phase_changed: next_phase(context.phase.clone()),
        timer: Box::pin(tokio::time::sleep_until(now + PING_EVERY)),
        last_heard: now,
        ping_due: now + PING_EVERY,
        pinged: false,
        unflushed: None,
        context,
    };
    let end = connection.run().await;
    // From now on it is assigned no turns.
    connection.workers = None;
    connection.unpark();
    // Boxed, as all rare states are: an idle connection is as large as its largest state.
    Box::pin(connection.save_proven(true)).await;
    Box::pin(connection.socket.end(end)).await;
}

/// Whether [`ClientConnection::show`] found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShowProgress {
    More,
    Idle,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    /// Serves until the connection ends.
    async fn run(&mut self) -> ConnectionEnd {
        let greet_by = Instant::now() + self.context.handshake_within;
        let mut leaving = false;
        loop {
            match self.write_all().await {
                Ok(ShowProgress::More) => continue,
                Ok(ShowProgress::Idle) => {}
                Err(end) => return end,
            }
            let phase = *self.context.phase.borrow_and_update();
            match phase {
                Phase::Serving => {}
                // Where no turn runs the stop comes at once. Clients are told first all the same.
                Phase::Leaving | Phase::Stopped if !leaving => {
                    leaving = true;
                    self.machine.going_away("the server is stopping", fastrand::u64(STAY_AWAY_MS));
                    continue;
                }
                Phase::Leaving => {}
                Phase::Stopped => return closed(Close::Restart, Close::Restart.reason()),
            }
            if let Err(end) = self.wait(greet_by).await {
                return end;
            }
        }
    }

    /// Does what the machine wants, and sends everything there is to send.
    async fn write_all(&mut self) -> Result<ShowProgress, ConnectionEnd> {
        self.carry_out().await?;
        if self.show().await? == ShowProgress::More {
            return Ok(ShowProgress::More);
        }
        self.socket.flush().await?;
        if let Some(since) = self.unflushed.take() {
            self.context.metrics.fan_out.observe(since.elapsed().as_secs_f64());
        }
        Ok(ShowProgress::Idle)
    }

    /// Parks until something happens, and takes note of it.
    async fn wait(&mut self, greet_by: Instant) -> Result<(), ConnectionEnd> {
        let greeted = self.machine.is_greeted();
        let wake_at = self.wake_at(greet_by, greeted);
        if self.timer.deadline() != wake_at {
            self.timer.as_mut().reset(wake_at);
        }
        self.park();
        let (mut is_time, mut listed) = (false, None);
        let readable = !self.machine.is_full() && self.replies.len() < MAX_REPLIES;
        let Self {
            socket,
            replies,
            watching,
            joined,
            workers,
            ended,
            phase_changed,
            timer,
            wake,
            ..
        } = self;
        tokio::select! {
            biased;
            reason = ended => return Err(closed(Close::Policy, reason)),
            Some((tag, outcome)) = replies.next() => self.machine.answer(tag, outcome),
            () = wake.notified() => {}
            received = socket.next(), if readable => self.receive(&received?),
            directive = next_directive(workers) => self.machine.directed(directive),
            news = list_news(watching) => listed = Some(news),
            opened = next_of(joined) => match opened {
                Ok(joined) => self.machine.joined(&joined),
                // A client that connects again finds what was missed.
                Err(_) => {
                    return Err(closed(Close::Restart, "too much happened at once; come again"));
                }
            },
            changed = phase_changed => {
                // The server holds the sender as long as it lives: its loss is a stop.
                if changed.is_err() {
                    return Err(closed(Close::Restart, Close::Restart.reason()));
                }
                self.context.phase.mark_unchanged();
                self.phase_changed = next_phase(self.context.phase.clone());
            }
            () = timer.as_mut() => is_time = true,
        }
        // Before anything is written: a frame may have been begun while the connection was parked.
        self.unpark();
        if let Some(news) = listed {
            Box::pin(self.list(news)).await?;
        }
        if is_time {
            if !greeted && Instant::now() >= greet_by {
                return Err(closed(Close::Policy, Close::Policy.reason()));
            }
            Box::pin(self.tick()).await?;
        }
        Ok(())
    }

    /// Parks, unless more than entries may have to be written. A reply comes before the events that
    /// it is about, so a connection that waits for one reads by itself. So does one with workers.
    fn park(&mut self) {
        if self.replies.is_empty() && self.workers.is_none() {
            self.attached.park();
        }
    }

    /// Unparks. The rest of a frame that was begun meanwhile is sent before anything else.
    fn unpark(&mut self) {
        self.attached.unpark();
        if let Some(writer) = &self.writer {
            self.socket.resume(writer.take_rest());
        }
    }

    fn wake_at(&self, greet_by: Instant, greeted: bool) -> Instant {
        let greet_by = (!greeted).then_some(greet_by);
        let others = [greet_by, self.attached.next_proof_check()];
        others.into_iter().flatten().fold(self.ping_due, Instant::min)
    }

    fn receive(&mut self, received: &Received) {
        self.last_heard = Instant::now();
        match received {
            Received::Ping => {}
            Received::Pong(payload) => {
                self.pinged = false;
                if self.attached.acknowledge(payload) {
                    let user = &self.context.entrant.identity.user;
                    self.context.hub.prove_soon(self.attached.proven(user));
                }
            }
            Received::Text(text) => self.receive_text(text),
            Received::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.receive_text(text),
                Err(_) => self.machine.unreadable(
                    bytes,
                    &Refusal::new(RefusalCode::BadFrame, "the binary frame is not UTF-8"),
                ),
            },
        }
    }

    fn receive_text(&mut self, text: &str) {
        let most = self.context.json_depth;
        if depth(text) > most {
            let reason = format!("the frame is nested more than {most} levels deep");
            let refusal = Refusal::new(RefusalCode::TooLarge, reason);
            self.machine.unreadable(text.as_bytes(), &refusal);
        } else {
            self.machine.frame(text);
        }
    }

    /// Does what the machine wants, until it wants nothing more.
    async fn carry_out(&mut self) -> Result<(), ConnectionEnd> {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Frame(frame) => self.socket.write(OpCode::Text, frame).await?,
                Output::Authenticate { token, client, space } => {
                    let outcome = self.authenticate(token.as_deref(), client, space.as_deref());
                    self.machine.authenticated(outcome);
                }
                // In a box, so that a connection does not hold the room for it all its life.
                Output::Request { tag, request } => Box::pin(self.request(tag, request)).await,
            }
        }
        while let Some(code) = self.machine.refused() {
            self.context.metrics.refused(code);
        }
        Ok(())
    }

    /// Writes what lies behind the cursor in each attached session, a batch of each in turn.
    async fn show(&mut self) -> Result<ShowProgress, ConnectionEnd> {
        let mut progress = ShowProgress::Idle;
        for session in self.attached.with_news() {
            let Some(read) = self.attached.read(&session).await else { continue };
            match read {
                Ok(Read::Entries { entries, .. }) if entries.is_empty() => continue,
                Ok(Read::Entries { entries, since }) => {
                    self.unflushed = self.unflushed.or(since);
                    self.write_entries(&session, &entries).await?;
                }
                Ok(Read::CaughtUp(seq)) => self.machine.caught_up(&session, seq),
                // A client that connects again is told where the log begins.
                Ok(Read::Trimmed) => {
                    let reason = "older events were deleted meanwhile; come again";
                    return Err(closed(Close::Restart, reason));
                }
                Ok(Read::Closed(reason)) => {
                    self.attached.remove(&session);
                    if *self.context.phase.borrow() != Phase::Serving {
                        continue;
                    }
                    self.machine.detached(&session, &reason);
                }
                Err(refusal) => {
                    tracing::warn!(%session, %refusal, "a subscriber's log cannot be read");
                    self.attached.remove(&session);
                    self.machine.detached(&session, &refusal.reason);
                    return Ok(ShowProgress::More);
                }
            }
            progress = ShowProgress::More;
        }
        if progress == ShowProgress::Idle && self.attached.is_proof_due() {
            self.ping().await?;
        }
        Ok(progress)
    }

    async fn write_entries(
        &mut self,
        session: &SessionId,
        entries: &[Arc<TailEntry>],
    ) -> Result<(), ConnectionEnd> {
        // Invariant: a reply is ready before the events that it is about can be read, so every
        // reply that is ready now goes before this batch. Test:
        // `live::native::an_answer_comes_before_the_events_that_it_is_about`.
        while let Some(Some((tag, outcome))) = self.replies.next().now_or_never() {
            self.machine.answer(tag, outcome);
        }
        self.carry_out().await?;
        let Some(attached) = self.attached.get(session) else { return Ok(()) };
        let (encoding, is_peer) = (attached.encoding.clone(), attached.peer.is_some());
        for entry in entries {
            if !self.machine.shows(entry.emitted()) {
                continue;
            }
            for frame in entry.frames(&encoding, self.context.frame_limit).iter() {
                self.socket.write(OpCode::Text, frame.clone()).await?;
            }
            if is_peer {
                self.attached.proof().lock().note_sent(&entry.emitted().emission);
            }
        }
        Ok(())
    }

    /// Sends a ping that is due, and ends the connection if the last one was not answered.
    async fn tick(&mut self) -> Result<(), ConnectionEnd> {
        let now = Instant::now();
        if now >= self.ping_due {
            if self.pinged && self.last_heard + PING_EVERY + DEAD_AFTER <= now {
                return Err(ConnectionEnd::Gone);
            }
            self.pinged = true;
            self.ping_due = now + PING_EVERY;
            self.ping().await?;
        }
        if self.attached.is_proof_due() {
            self.ping().await?;
        }
        self.socket.flush().await
    }

    async fn ping(&mut self) -> Result<(), ConnectionEnd> {
        let payload = self.attached.ping_payload();
        self.socket.write(OpCode::Ping, payload).await
    }

    /// Saves what the client has proven to have read, and whether the connection has ended.
    async fn save_proven(&mut self, has_ended: bool) {
        let proven = self.attached.proven(&self.context.entrant.identity.user);
        if !proven.is_empty() {
            self.context.hub.prove(proven, has_ended.then(thoughtwire_hub::now)).await;
        }
    }

    /// Sends news of the list of sessions.
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

/// The end of a connection that the server closes.
fn closed(close: Close, reason: &'static str) -> ConnectionEnd {
    ConnectionEnd::ClosedByServer(close, reason)
}
