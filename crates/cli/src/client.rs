//! The one file that holds a client's socket: it follows a session across connections.
//!
//! ```text
//! asks ──▶ task ──frames──▶ socket        kept until answered, sent again after a reconnect
//! happenings ◀── task ◀──frames── socket  each event once, whatever came twice
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use thoughtwire_proto::connection::Close;
use thoughtwire_proto::dialect::native::{
    Ack, ClientBody, ClientFrame, PROTOCOL, PartJoiner, RefusedFrame, ServerFrame,
};
use thoughtwire_proto::{
    Attached, CommandId, Cursor, Emission, RefusalCode, Retry, SessionId, Start,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_websockets::{ClientBuilder, Connector, MaybeTlsStream, Message, WebSocketStream};

use crate::rest::ServerAddress;
use crate::rest::no_server;
use crate::tls::{self, install_tls};

/// The first pause before connecting again is up to this long; each further one up to twice the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one.
const STEADY: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The server pings every 20 s; when nothing comes for so long, it is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Frames of the server that wait to be looked at; while it is full the socket is not read.
const HAPPENINGS: usize = 256;
/// Commands on their way to the socket: more than anybody types, and `ask` waits when it is full.
const ASKS: usize = 64;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a [`Follower`] tells.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The session is attached, for the first time or again.
    Attached(Attached),
    /// Everything up to the head of the attachment was told.
    CaughtUp,
    /// Something of the session: events each once and in order.
    Shown(Emission),
    /// A command was answered.
    Answered { id: CommandId, outcome: Result<Ack, RefusedFrame> },
    /// The connection is lost; it is tried again after the pause.
    Offline { reason: String, pause: Duration },
    /// It is lost for good. Nothing follows.
    Over(anyhow::Error),
}

/// What a follower does when the server cannot be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Try again for ever.
    Endless,
    /// Give up when it could not be reached for so long.
    For(Duration),
}

/// A session followed on a server, across as many connections as it takes.
pub(crate) struct Follower {
    asks: mpsc::Sender<Ask>,
    happenings: mpsc::Receiver<Happening>,
    task: tokio::task::JoinHandle<()>,
}

enum Ask {
    Command(ClientFrame),
    Attach(Start),
}

impl Follower {
    /// Starts following. With no `start` nothing is read until [`Follower::attach`].
    pub(crate) fn new(
        server: ServerAddress,
        session: SessionId,
        start: Option<Start>,
        patience: Patience,
    ) -> Self {
        let (asks, asked) = mpsc::channel(ASKS);
        let (tell, happenings) = mpsc::channel(HAPPENINGS);
        let line = Line { server, session, start, patience, tell, waiting: VecDeque::new() };
        Self { asks, happenings, task: tokio::spawn(line.run(asked)) }
    }

    /// Reads the session from a place on.
    pub(crate) async fn attach(&self, start: Start) {
        // A follower that is over has told so.
        drop(self.asks.send(Ask::Attach(start)).await);
    }

    /// Asks for something and keeps it until it is answered, also across connections. Returns the id
    /// that the answer carries.
    pub(crate) async fn ask(&self, id: Option<CommandId>, body: ClientBody) -> CommandId {
        let id = id.unwrap_or_else(thoughtwire_hub::new_id);
        drop(self.asks.send(Ask::Command(ClientFrame { id: Some(id.clone()), body })).await);
        id
    }

    /// What comes next; `None` once it is over. Can be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state that outlives a connection.
struct Line {
    server: ServerAddress,
    session: SessionId,
    /// Where to attach: what was asked at first, then the cursor.
    start: Option<Start>,
    patience: Patience,
    tell: mpsc::Sender<Happening>,
    /// Commands without an answer, in order.
    waiting: VecDeque<ClientFrame>,
}

/// Why a connection ended.
enum End {
    /// Try again, not before the pause that the server asked for.
    Lost(String, Duration),
    /// Trying again will not help.
    Fatal(anyhow::Error),
    /// Nobody listens any more.
    Unheard,
}

impl From<tokio_websockets::Error> for End {
    fn from(error: tokio_websockets::Error) -> Self {
        Self::Lost(error.to_string(), Duration::ZERO)
    }
}

impl Line {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut ceiling = FIRST_PAUSE;
        let mut last_seen = Instant::now();
        loop {
            let end = match connect(&self.server).await {
                Ok(socket) => {
                    let since = Instant::now();
                    let end = self.stay(socket, &mut asked).await;
                    last_seen = Instant::now();
                    // A server that lets us in only to drop us is not to be hammered.
                    if since.elapsed() >= STEADY {
                        ceiling = FIRST_PAUSE;
                    }
                    end
                }
                Err(end) => end,
            };
            let (reason, at_least) = match end {
                End::Lost(reason, at_least) => (reason, at_least),
                End::Fatal(error) => return drop(self.tell.send(Happening::Over(error)).await),
                End::Unheard => return,
            };
            if let Patience::For(most) = self.patience
                && last_seen.elapsed() >= most
            {
                let error = anyhow::anyhow!(
                    "{} could not be reached for {} s: {reason}",
                    self.server.base,
                    most.as_secs()
                );
                return drop(self.tell.send(Happening::Over(error)).await);
            }
            // Full jitter: clients that lost the same server do not come back in step.
            let pause = at_least + ceiling.mul_f64(fastrand::f64());
            ceiling = (ceiling * 2).min(LONGEST_PAUSE);
            if self.tell.send(Happening::Offline { reason, pause }).await.is_err() {
                return;
            }
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    ask = asked.recv() => match ask {
                        Some(Ask::Command(frame)) => self.waiting.push_back(frame),
                        Some(Ask::Attach(start)) => self.start = Some(start),
                        None => return,
                    },
                }
            }
        }
    }

    /// Uses a connection until it ends.
    async fn stay(&mut self, mut socket: Socket, asked: &mut mpsc::Receiver<Ask>) -> End {
        match self.talk(&mut socket, asked).await {
            Ok(()) => {
                drop(tokio::time::timeout(Duration::from_secs(1), socket.close()).await);
                End::Unheard
            }
            Err(end) => end,
        }
    }

    async fn talk(
        &mut self,
        socket: &mut Socket,
        asked: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), End> {
        let hello = ClientBody::Hello { token: None, client: Some("cli".to_owned()) };
        write(socket, &ClientFrame { id: None, body: hello }).await?;
        let mut connection = Connection {
            attaching: None,
            attached: false,
            at_least: Duration::ZERO,
            parts: PartJoiner::default(),
        };
        if let Some(start) = self.start.clone() {
            connection.attach(socket, &self.session, start).await?;
        }
        for frame in &self.waiting {
            write(socket, frame).await?;
        }
        loop {
            tokio::select! {
                message = tokio::time::timeout(SILENCE, socket.next()) => {
                    let lost = |reason: String| End::Lost(reason, connection.at_least);
                    let message = match message {
                        Ok(Some(Ok(message))) => message,
                        Ok(Some(Err(error))) => return Err(lost(error.to_string())),
                        Ok(None) => return Err(lost("the server closed the connection".to_owned())),
                        Err(_) => return Err(lost("the server fell silent".to_owned())),
                    };
                    if message.is_close() {
                        return Err(match message.as_close().and_then(|(code, _)| Close::of(code.into())) {
                            // Said again, the same would end the same way, for ever.
                            Some(close) if close.retry() == Retry::Never => {
                                End::Fatal(anyhow::anyhow!("{} closed the connection for good: {}", self.server.base, close.reason()))
                            }
                            Some(_) | None => lost("the server closed the connection".to_owned()),
                        });
                    }
                    if let Some(text) = message.as_text() {
                        self.hear(text, &mut connection).await?;
                    }
                }
                ask = asked.recv() => match ask {
                    Some(Ask::Command(frame)) => {
                        write(socket, &frame).await?;
                        self.waiting.push_back(frame);
                    }
                    Some(Ask::Attach(start)) => {
                        self.start = Some(start.clone());
                        connection.attach(socket, &self.session, start).await?;
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    async fn hear(&mut self, text: &str, connection: &mut Connection) -> Result<(), End> {
        let frame = ServerFrame::decode(text).map_err(|refusal| {
            End::Lost(format!("the server sent what cannot be read: {refusal}"), FIRST_PAUSE)
        })?;
        let Some(frame) = connection
            .parts
            .take(frame)
            .map_err(|refusal| End::Lost(refusal.to_string(), FIRST_PAUSE))?
        else {
            return Ok(());
        };
        match frame {
            ServerFrame::Welcome { protocol, .. } if protocol != PROTOCOL => {
                Err(End::Fatal(anyhow::anyhow!(
                    "{} speaks {protocol}; this client speaks {PROTOCOL}",
                    self.server.base
                )))
            }
            ServerFrame::Attached(attachment) if connection.is_answer(attachment.id.as_ref()) => {
                let Some((_, start)) = connection.attaching.take() else { return Ok(()) };
                let attached = attachment.attached(&start);
                connection.attached = true;
                self.start = Some(Start::After(Cursor {
                    epoch: Some(attached.epoch.clone()),
                    seq: attached.after,
                }));
                self.tell(Happening::Attached(attached)).await
            }
            ServerFrame::CaughtUp { session, .. } if session == self.session => {
                self.tell(Happening::CaughtUp).await
            }
            ServerFrame::SessionEmission(emitted)
                if emitted.session == self.session && connection.attached =>
            {
                self.show(emitted.emission).await
            }
            ServerFrame::Ack(ack) => {
                self.waiting.retain(|frame| frame.id.as_ref() != Some(&ack.id));
                self.tell(Happening::Answered { id: ack.id.clone(), outcome: Ok(ack) }).await
            }
            ServerFrame::Refused(refused) => self.refused(refused, connection).await,
            ServerFrame::Detached { session, reason } if session == self.session => {
                Err(End::Lost(reason, FIRST_PAUSE))
            }
            ServerFrame::GoAway { retry_after_ms, .. } => {
                connection.at_least = Duration::from_millis(retry_after_ms).min(LONGEST_PAUSE);
                Ok(())
            }
            ServerFrame::Welcome { .. }
            | ServerFrame::Attached(_)
            | ServerFrame::CaughtUp { .. }
            | ServerFrame::SessionEmission(_)
            | ServerFrame::Session(_)
            | ServerFrame::SessionGone { .. }
            | ServerFrame::Detached { .. }
            | ServerFrame::Directed(_)
            | ServerFrame::Pong { .. }
            | ServerFrame::Part(_)
            | ServerFrame::Other(_) => Ok(()),
        }
    }

    async fn refused(&mut self, refused: RefusedFrame, connection: &Connection) -> Result<(), End> {
        let again = refused.retry == Retry::Later;
        let Some(id) = refused.id.clone() else {
            // Nothing of ours is without an id but hello, and what could be wrong with that stays wrong.
            return Err(End::Fatal(anyhow::anyhow!(refused.reason)));
        };
        if connection.is_answer(Some(&id)) {
            return Err(if again {
                End::Lost(refused.reason, FIRST_PAUSE)
            } else {
                End::Fatal(anyhow::anyhow!(refused.reason))
            });
        }
        // It comes back, and then takes what it could not take any more.
        if refused.known() == Some(RefusalCode::Stopping) {
            return Ok(());
        }
        self.waiting.retain(|frame| frame.id.as_ref() != Some(&id));
        self.tell(Happening::Answered { id, outcome: Err(refused) }).await
    }

    async fn show(&mut self, emission: Emission) -> Result<(), End> {
        if let Emission::Record(record) = &emission
            && let Some(Start::After(cursor)) = &mut self.start
        {
            if record.seq <= cursor.seq {
                return Ok(());
            }
            if record.seq != cursor.seq.next() {
                return Err(End::Lost(
                    format!("event {} came where {} was due", record.seq, cursor.seq.next()),
                    FIRST_PAUSE,
                ));
            }
            cursor.seq = record.seq;
        }
        self.tell(Happening::Shown(emission)).await
    }

    async fn tell(&self, happening: Happening) -> Result<(), End> {
        self.tell.send(happening).await.map_err(|_| End::Unheard)
    }
}

/// The state of one connection.
struct Connection {
    /// The attach that is not answered yet.
    attaching: Option<(CommandId, Start)>,
    attached: bool,
    /// How long the server asked us to stay away.
    at_least: Duration,
    parts: PartJoiner,
}

impl Connection {
    async fn attach(
        &mut self,
        socket: &mut Socket,
        session: &SessionId,
        start: Start,
    ) -> Result<(), End> {
        let id: CommandId = thoughtwire_hub::new_id();
        let body = ClientBody::Attach {
            session: session.clone(),
            start: start.clone(),
            tools: Vec::new(),
        };
        // Of an attachment that is replaced nothing more is taken: it may lie elsewhere.
        self.attached = false;
        self.attaching = Some((id.clone(), start));
        write(socket, &ClientFrame { id: Some(id), body }).await
    }

    fn is_answer(&self, id: Option<&CommandId>) -> bool {
        self.attaching.as_ref().is_some_and(|(attaching, _)| Some(attaching) == id)
    }
}

async fn write(socket: &mut Socket, frame: &ClientFrame) -> Result<(), End> {
    match tokio::time::timeout(SILENCE, socket.send(Message::text(frame.encode()))).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(End::Lost("the server takes nothing any more".to_owned(), Duration::ZERO)),
    }
}

async fn connect(server: &ServerAddress) -> Result<Socket, End> {
    match tokio::time::timeout(CONNECT_WITHIN, dial(server)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(End::Lost(no_server(&server.base).to_string(), Duration::ZERO)),
    }
}

/// The first frame that a server sends, on a connection of its own.
///
/// # Errors
/// When none comes, and why.
pub(crate) async fn greeting(server: &ServerAddress) -> anyhow::Result<ServerFrame> {
    let told = |end: End| match end {
        End::Lost(reason, _) => anyhow::anyhow!(reason),
        End::Fatal(error) => error,
        End::Unheard => anyhow::anyhow!("nothing came"),
    };
    let mut socket = dial(server).await.map_err(told)?;
    while let Some(message) = socket.next().await {
        if let Some(text) = message?.as_text() {
            return Ok(ServerFrame::decode(text)?);
        }
    }
    anyhow::bail!("the server closed the connection")
}

async fn dial(server: &ServerAddress) -> Result<Socket, End> {
    let wrong = |what: &str| {
        End::Fatal(anyhow::anyhow!("{} is no address of a server: {what}", server.base))
    };
    let url = reqwest::Url::parse(&server.base).map_err(|error| wrong(&error.to_string()))?;
    let (host, port) = match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => (host.trim_matches(['[', ']']), port),
        (_, _) => return Err(wrong("it names no host")),
    };
    let is_tls = url.scheme() == "https";
    let target = server.base.replacen("http", "ws", 1) + "/v1/ws";
    let mut request =
        ClientBuilder::new().uri(&target).map_err(|error| wrong(&error.to_string()))?;
    if let Some(key) = &server.key {
        let value = http::HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| wrong("the key has characters that no key has"))?;
        request = request.add_header(http::header::AUTHORIZATION, value)?;
    }
    // Every address that the name has is tried, as the REST client does.
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|_| End::Lost(no_server(&server.base).to_string(), Duration::ZERO))?;
    // What is typed goes out at once; failing to say so costs only milliseconds.
    drop(stream.set_nodelay(true));
    let connector = if is_tls {
        install_tls();
        Connector::new()?
    } else {
        Connector::Plain
    };
    let stream = connector.wrap(host, stream).await.map_err(|error| {
        // The same certificate would be no better the next time.
        tls::trouble(&server.base, &error).map_or_else(|| error.into(), End::Fatal)
    })?;
    match request.connect_on(stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(match status(&error) {
            Some(401 | 403) => End::Fatal(anyhow::anyhow!(
                "{} does not let us in; is THOUGHTWIRE_KEY right?",
                server.base
            )),
            Some(status @ (404 | 405 | 426)) => End::Fatal(anyhow::anyhow!(
                "{} answered {status} at /v1/ws; is a Thoughtwire server there?",
                server.base
            )),
            Some(_) | None => error.into(),
        }),
    }
}

/// The HTTP status that refused the upgrade.
fn status(error: &tokio_websockets::Error) -> Option<u16> {
    if let tokio_websockets::Error::Upgrade(
        tokio_websockets::upgrade::Error::DidNotSwitchProtocols(status),
    ) = error
    {
        Some(*status)
    } else {
        None
    }
}
