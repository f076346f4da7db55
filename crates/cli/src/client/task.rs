//! The follower's task: reconnects with backoff, and handles the frames of each connection.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use thoughtwire_proto::connection::Close;
use thoughtwire_proto::dialect::native::{
    ClientBody, ClientFrame, PROTOCOL, PartJoiner, RefusedFrame, ServerFrame,
};
use thoughtwire_proto::{CommandId, Cursor, Emission, RefusalCode, Retry, SessionId, Start};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_websockets::Message;

use super::connect::{ClientSocket, LinkEnd, connect};
use super::{FollowerEvent, FollowerRequest, ReconnectPolicy};
use crate::rest::ServerAddress;

/// Upper bound of the first pause before reconnecting. The bound doubles with each attempt.
const INITIAL_MAX_PAUSE: Duration = Duration::from_millis(250);
/// Upper bound of every pause before reconnecting.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lasted this long resets the bound of the pause.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A connection without any frame for this long is dead; the server pings every 20 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The follower's state that outlives a connection.
pub(super) struct FollowerTask {
    pub(super) server: ServerAddress,
    pub(super) session: SessionId,
    /// Where to attach: the requested start at first, then the cursor.
    pub(super) start: Option<Start>,
    pub(super) policy: ReconnectPolicy,
    pub(super) events: mpsc::Sender<FollowerEvent>,
    /// Commands without an answer, oldest first.
    pub(super) unanswered: VecDeque<ClientFrame>,
}

impl FollowerTask {
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<FollowerRequest>) {
        let mut ceiling = INITIAL_MAX_PAUSE;
        let mut last_seen = Instant::now();
        loop {
            let end = match connect(&self.server).await {
                Ok(socket) => {
                    let since = Instant::now();
                    let end = self.run_connection(socket, &mut inbox).await;
                    last_seen = Instant::now();
                    // A server that accepts connections only to drop them must not be hammered.
                    if since.elapsed() >= STABLE_AFTER {
                        ceiling = INITIAL_MAX_PAUSE;
                    }
                    end
                }
                Err(end) => end,
            };
            let (reason, min_pause) = match end {
                LinkEnd::Lost(reason, min_pause) => (reason, min_pause),
                LinkEnd::Fatal(error) => {
                    return drop(self.events.send(FollowerEvent::Ended(error)).await);
                }
                LinkEnd::NoReader => return,
            };
            if let ReconnectPolicy::UpTo(most) = self.policy
                && last_seen.elapsed() >= most
            {
                let error = anyhow::anyhow!(
                    "{} could not be reached for {} s: {reason}",
                    self.server.base,
                    most.as_secs()
                );
                return drop(self.events.send(FollowerEvent::Ended(error)).await);
            }
            // Full jitter: clients that lost the same server must not reconnect in step.
            let pause = min_pause + ceiling.mul_f64(fastrand::f64());
            ceiling = (ceiling * 2).min(MAX_PAUSE);
            if self.events.send(FollowerEvent::Offline { reason, pause }).await.is_err() {
                return;
            }
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    request = inbox.recv() => match request {
                        Some(FollowerRequest::Command(frame)) => self.unanswered.push_back(frame),
                        Some(FollowerRequest::Attach(start)) => self.start = Some(start),
                        None => return,
                    },
                }
            }
        }
    }

    /// Runs one connection until it ends; returns why it ended.
    async fn run_connection(
        &mut self,
        mut socket: ClientSocket,
        inbox: &mut mpsc::Receiver<FollowerRequest>,
    ) -> LinkEnd {
        match self.exchange(&mut socket, inbox).await {
            Ok(()) => {
                drop(tokio::time::timeout(Duration::from_secs(1), socket.close()).await);
                LinkEnd::NoReader
            }
            Err(end) => end,
        }
    }

    async fn exchange(
        &mut self,
        socket: &mut ClientSocket,
        inbox: &mut mpsc::Receiver<FollowerRequest>,
    ) -> Result<(), LinkEnd> {
        let hello = ClientBody::Hello { token: None, client: Some("cli".to_owned()) };
        write(socket, &ClientFrame { id: None, body: hello }).await?;
        let mut connection = FollowerConnection {
            pending_attach: None,
            attached: false,
            min_pause: Duration::ZERO,
            parts: PartJoiner::default(),
        };
        if let Some(start) = self.start.clone() {
            connection.attach(socket, &self.session, start).await?;
        }
        for frame in &self.unanswered {
            write(socket, frame).await?;
        }
        loop {
            tokio::select! {
                message = tokio::time::timeout(IDLE_TIMEOUT, socket.next()) => {
                    let lost = |reason: String| LinkEnd::Lost(reason, connection.min_pause);
                    let message = match message {
                        Ok(Some(Ok(message))) => message,
                        Ok(Some(Err(error))) => return Err(lost(error.to_string())),
                        Ok(None) => return Err(lost("the server closed the connection".to_owned())),
                        Err(_) => return Err(lost(format!("the server sent nothing for {} s",
                            IDLE_TIMEOUT.as_secs()))),
                    };
                    if message.is_close() {
                        return Err(match message.as_close().and_then(|(code,
                            _)| Close::of(code.into())) {
                            // Reconnecting would lead to the same close again.
                            Some(close) if close.retry() == Retry::Never => {
                                LinkEnd::Fatal(anyhow::anyhow!("{} closed the connection \
                                for good: {}", self.server.base, close.reason()))
                            }
                            Some(_) | None => lost("the server closed the connection".to_owned()),
                        });
                    }
                    if let Some(text) = message.as_text() {
                        self.handle_frame(text, &mut connection).await?;
                    }
                }
                request = inbox.recv() => match request {
                    Some(FollowerRequest::Command(frame)) => {
                        write(socket, &frame).await?;
                        self.unanswered.push_back(frame);
                    }
                    Some(FollowerRequest::Attach(start)) => {
                        self.start = Some(start.clone());
                        connection.attach(socket, &self.session, start).await?;
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    async fn handle_frame(
        &mut self,
        text: &str,
        connection: &mut FollowerConnection,
    ) -> Result<(), LinkEnd> {
        let frame = ServerFrame::decode(text).map_err(|refusal| {
            LinkEnd::Lost(format!("the server sent an invalid frame: {refusal}"), INITIAL_MAX_PAUSE)
        })?;
        let Some(frame) = connection
            .parts
            .take(frame)
            .map_err(|refusal| LinkEnd::Lost(refusal.to_string(), INITIAL_MAX_PAUSE))?
        else {
            return Ok(());
        };
        match frame {
            ServerFrame::Welcome { protocol, .. } if protocol != PROTOCOL => {
                Err(LinkEnd::Fatal(anyhow::anyhow!(
                    "{} speaks {protocol}; this client speaks {PROTOCOL}",
                    self.server.base
                )))
            }
            ServerFrame::Attached(attachment)
                if connection.is_attach_reply(attachment.id.as_ref()) =>
            {
                let Some((_, start)) = connection.pending_attach.take() else { return Ok(()) };
                let attached = attachment.attached(&start);
                connection.attached = true;
                self.start = Some(Start::After(Cursor {
                    epoch: Some(attached.epoch.clone()),
                    seq: attached.after,
                }));
                self.emit(FollowerEvent::Attached(attached)).await
            }
            ServerFrame::CaughtUp { session, .. } if session == self.session => {
                self.emit(FollowerEvent::CaughtUp).await
            }
            ServerFrame::SessionEmission(emitted)
                if emitted.session == self.session && connection.attached =>
            {
                self.handle_emission(emitted.emission).await
            }
            ServerFrame::Ack(ack) => {
                self.unanswered.retain(|frame| frame.id.as_ref() != Some(&ack.id));
                self.emit(FollowerEvent::Replied { id: ack.id.clone(), outcome: Ok(ack) }).await
            }
            ServerFrame::Refused(refused) => self.handle_refusal(refused, connection).await,
            ServerFrame::Detached { session, reason } if session == self.session => {
                Err(LinkEnd::Lost(reason, INITIAL_MAX_PAUSE))
            }
            ServerFrame::GoAway { retry_after_ms, .. } => {
                connection.min_pause = Duration::from_millis(retry_after_ms).min(MAX_PAUSE);
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

    async fn handle_refusal(
        &mut self,
        refused: RefusedFrame,
        connection: &FollowerConnection,
    ) -> Result<(), LinkEnd> {
        let again = refused.retry == Retry::Later;
        let Some(id) = refused.id.clone() else {
            // Only `hello` has no id, and a refused `hello` would be refused again.
            return Err(LinkEnd::Fatal(anyhow::anyhow!(refused.reason)));
        };
        if connection.is_attach_reply(Some(&id)) {
            return Err(if again {
                LinkEnd::Lost(refused.reason, INITIAL_MAX_PAUSE)
            } else {
                LinkEnd::Fatal(anyhow::anyhow!(refused.reason))
            });
        }
        // The server is restarting: the command is sent again after the reconnect.
        if refused.known() == Some(RefusalCode::Stopping) {
            return Ok(());
        }
        self.unanswered.retain(|frame| frame.id.as_ref() != Some(&id));
        self.emit(FollowerEvent::Replied { id, outcome: Err(refused) }).await
    }

    async fn handle_emission(&mut self, emission: Emission) -> Result<(), LinkEnd> {
        if let Emission::Record(record) = &emission
            && let Some(Start::After(cursor)) = &mut self.start
        {
            if record.seq <= cursor.seq {
                return Ok(());
            }
            if record.seq != cursor.seq.next() {
                return Err(LinkEnd::Lost(
                    format!("received event {} instead of event {}", record.seq, cursor.seq.next()),
                    INITIAL_MAX_PAUSE,
                ));
            }
            cursor.seq = record.seq;
        }
        self.emit(FollowerEvent::Emitted(emission)).await
    }

    async fn emit(&self, event: FollowerEvent) -> Result<(), LinkEnd> {
        self.events.send(event).await.map_err(|_| LinkEnd::NoReader)
    }
}

/// The state of one connection.
struct FollowerConnection {
    /// The attach that is not answered yet: its id and start.
    pending_attach: Option<(CommandId, Start)>,
    attached: bool,
    /// Shortest pause before the next connection, as the server asked in `go_away`.
    min_pause: Duration,
    parts: PartJoiner,
}

impl FollowerConnection {
    async fn attach(
        &mut self,
        socket: &mut ClientSocket,
        session: &SessionId,
        start: Start,
    ) -> Result<(), LinkEnd> {
        let id: CommandId = thoughtwire_hub::new_id();
        let body = ClientBody::Attach {
            session: session.clone(),
            start: start.clone(),
            tools: Vec::new(),
        };
        // Events of the replaced attachment are ignored: they may be elsewhere in the log.
        self.attached = false;
        self.pending_attach = Some((id.clone(), start));
        write(socket, &ClientFrame { id: Some(id), body }).await
    }

    fn is_attach_reply(&self, id: Option<&CommandId>) -> bool {
        self.pending_attach.as_ref().is_some_and(|(pending_attach, _)| Some(pending_attach) == id)
    }
}

async fn write(socket: &mut ClientSocket, frame: &ClientFrame) -> Result<(), LinkEnd> {
    match tokio::time::timeout(IDLE_TIMEOUT, socket.send(Message::text(frame.encode()))).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(LinkEnd::Lost(
            format!("the server accepted no data for {} s", IDLE_TIMEOUT.as_secs()),
            Duration::ZERO,
        )),
    }
}
