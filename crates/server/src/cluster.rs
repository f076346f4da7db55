//! `/v1/cluster`: where other nodes that share the database follow the sessions of this one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use headers::HeaderMapExt as _;
use headers::authorization::Bearer;
use headers::{Authorization, SecWebsocketKey};
use sha2::{Digest as _, Sha256};
use thoughtwire_hub::{
    Hub, Presence, Read, RemoteWorkers, Replying, Subscription, TailEntry, WakeSignal,
};
use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest, OwnerFrame};
use thoughtwire_proto::cluster_offers::OfferAnswer;
use thoughtwire_proto::connection::Close;
use thoughtwire_proto::{
    Attached, Cursor, Refusal, RefusalCode, SessionEmission, SessionId, SessionReply, Start, UserId,
};
use thoughtwire_websocket::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval_at};

use crate::phase::Phase;
use crate::upgrade::{ConnectionState, is_upgrade, switching};
use crate::upgraded_stream::UpgradedStream;
use crate::websocket::{ConnectionEnd, Received, WebSocket};

/// Maximum bytes of a frame of another node: an input that it took of its client, and more.
const FRAME_BYTES: usize = 64 << 20;

/// Time between two pings. A node that hears nothing for three of them connects again.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Answers a node's upgrade.
pub(crate) async fn cluster(
    State(shared): State<ConnectionState>,
    mut request: Request,
) -> Response {
    let Some(secret) = &shared.cluster_secret else {
        let reason = "this server shares its data with no other; it has no nodes\n";
        return (StatusCode::NOT_FOUND, reason).into_response();
    };
    let headers = request.headers();
    let given: Option<Authorization<Bearer>> = headers.typed_get();
    // Digests are compared, so that the time tells nothing of the secret.
    let is_node = given.is_some_and(|given| {
        Sha256::digest(given.token().as_bytes()) == Sha256::digest(secret.as_bytes())
    });
    if !is_node {
        let reason = "only nodes that share this server's database connect here\n";
        return (StatusCode::UNAUTHORIZED, reason).into_response();
    }
    let key: Option<SecWebsocketKey> = headers.typed_get();
    let (Some(key), true) = (key, is_upgrade(headers)) else {
        return (StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket\n").into_response();
    };
    if *shared.phase.borrow() != Phase::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let Some(on_upgrade) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let (hub, phase) = (shared.hub.for_node(), shared.phase.clone());
    shared.connections.spawn(async move {
        if let Ok(upgraded) = on_upgrade.await {
            let (stream, read) = UpgradedStream::new(upgraded);
            let mut connection = NodeConnection {
                socket: WebSocket::new(stream, read, FRAME_BYTES),
                hub,
                wake: Arc::new(Notify::new()),
                followed: None,
                workers: None,
                replies: FuturesUnordered::new(),
            };
            let end = connection.run(phase).await;
            connection.socket.end(end).await;
        }
    });
    switching(key, None)
}

/// Resolves when the server has stopped.
async fn stopped(phase: &mut watch::Receiver<Phase>) {
    // The loss of the sender is a stop as well.
    drop(phase.wait_for(|phase| *phase == Phase::Stopped).await);
}

/// The session that a node follows.
struct FollowedHere {
    user: UserId,
    session: SessionId,
    subscription: Subscription,
}

/// The next frame for the node's workers. Never resolves while there are none.
async fn next_answer(workers: &mut Option<RemoteWorkers>) -> OfferAnswer {
    match workers {
        Some(workers) => workers.next().await,
        None => std::future::pending().await,
    }
}

type NumberedReply = (u64, Result<SessionReply, Refusal>);

/// A connection of another node.
struct NodeConnection<S> {
    socket: WebSocket<S>,
    hub: Hub,
    wake: WakeSignal,
    followed: Option<FollowedHere>,
    /// Workers that are connected to the node.
    workers: Option<RemoteWorkers>,
    replies: FuturesUnordered<BoxFuture<'static, NumberedReply>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> NodeConnection<S> {
    async fn run(&mut self, mut phase: watch::Receiver<Phase>) -> ConnectionEnd {
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            if let Err(end) = self.show().await {
                return end;
            }
            let done = tokio::select! {
                biased;
                Some(reply) = self.replies.next() => self.reply(reply).await,
                () = self.wake.notified() => Ok(()),
                frame = next_answer(&mut self.workers) => {
                    self.say(OwnerFrame::Offers { frame }).await
                }
                received = self.socket.next() => match received {
                    Ok(Received::Text(text)) => self.request(&text).await,
                    Ok(Received::Binary(_)) => Err(ConnectionEnd::Broken(Close::Protocol)),
                    Ok(Received::Ping | Received::Pong(_)) => Ok(()),
                    Err(end) => Err(end),
                },
                _ = pings.tick() => self.socket.write(OpCode::Ping, Vec::new()).await,
                () = stopped(&mut phase) => {
                    return ConnectionEnd::ClosedByServer(Close::Restart, Close::Restart.reason());
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn request(&mut self, text: &str) -> Result<(), ConnectionEnd> {
        let request = match NodeRequest::decode(text) {
            Ok(request) => request,
            Err(refusal) => {
                tracing::warn!(%refusal, "another node sent a frame that cannot be read");
                return Err(ConnectionEnd::Broken(Close::Protocol));
            }
        };
        match request {
            NodeRequest::Follow { user, session, epoch, after, clients, tools } => {
                // The earlier place is left first, so that its tools are not counted twice.
                self.followed = None;
                let start = Start::After(Cursor { epoch: Some(epoch), seq: after });
                let presence = Presence::Node { clients, tools };
                let wake = Arc::clone(&self.wake);
                let answer = match self.hub.attach(&user, &session, start, wake, presence).await {
                    Ok((attached, subscription)) => {
                        self.followed = Some(FollowedHere { user, session, subscription });
                        let Attached { first, head, recovered, turn, .. } = attached;
                        OwnerFrame::Following { first, head, recovered, turn }
                    }
                    Err(refusal) => OwnerFrame::NotFollowed { refusal: refusal.into() },
                };
                self.say(answer).await
            }
            NodeRequest::Command { number, from, id, command } => {
                let Some(FollowedHere { user, session, .. }) = &self.followed else {
                    return self.refuse_unfollowed(number).await;
                };
                let reply = self.hub.submit(user, from, id, session.clone(), command).await;
                self.expect(number, reply);
                Ok(())
            }
            NodeRequest::Offers { frame } => {
                self.workers.get_or_insert_with(|| self.hub.remote_workers()).take(frame);
                Ok(())
            }
            NodeRequest::EditBlock { number, edit } => {
                let Some(FollowedHere { user, session, .. }) = &self.followed else {
                    return self.refuse_unfollowed(number).await;
                };
                let reply = self.hub.edit_block_of_node(user, session, edit).await;
                self.expect(number, reply);
                Ok(())
            }
        }
    }

    fn expect(&self, number: u64, reply: Replying<SessionReply>) {
        self.replies.push(Box::pin(async move {
            // Unconstrained, so that a reply that is ready goes before what follows.
            (number, tokio::task::coop::unconstrained(reply).await)
        }));
    }

    async fn refuse_unfollowed(&mut self, number: u64) -> Result<(), ConnectionEnd> {
        let reason = "no session is followed on this connection";
        let refusal = Refusal::new(RefusalCode::NotAttached, reason).into();
        self.say(OwnerFrame::CommandRefused { number, refusal }).await
    }

    async fn reply(&mut self, (number, reply): NumberedReply) -> Result<(), ConnectionEnd> {
        self.say(match reply {
            Ok(reply) => OwnerFrame::CommandDone { number, reply },
            Err(refusal) => OwnerFrame::CommandRefused { number, refusal: refusal.into() },
        })
        .await
    }

    async fn say(&mut self, frame: OwnerFrame) -> Result<(), ConnectionEnd> {
        self.socket.write(OpCode::Text, NodeAnswer::Said(frame).encode()).await
    }

    /// Sends everything there is to send.
    async fn show(&mut self) -> Result<(), ConnectionEnd> {
        while let Some(followed) = &mut self.followed
            && followed.subscription.has_news()
        {
            match followed.subscription.next().await {
                Ok(Read::Entries { entries, .. }) => self.emit(&entries).await?,
                Ok(Read::CaughtUp(_)) => {}
                Ok(Read::Trimmed) => self.ended("older events were deleted meanwhile").await?,
                Ok(Read::Closed(reason)) => self.ended(&reason).await?,
                Err(refusal) => self.ended(&refusal.reason).await?,
            }
        }
        self.socket.flush().await
    }

    async fn emit(&mut self, entries: &[Arc<TailEntry>]) -> Result<(), ConnectionEnd> {
        // A reply goes before the events that it is about, as on a client's own connection.
        while let Some(Some(reply)) = self.replies.next().now_or_never() {
            self.reply(reply).await?;
        }
        for entry in entries {
            let SessionEmission { session, emission } = entry.emitted().clone();
            let frame = NodeAnswer::Emission(SessionEmission { session, emission }).encode();
            self.socket.write(OpCode::Text, frame).await?;
        }
        Ok(())
    }

    async fn ended(&mut self, reason: &str) -> Result<(), ConnectionEnd> {
        let Some(FollowedHere { session, .. }) = self.followed.take() else { return Ok(()) };
        // Commands that are under way come before the end, a deletion's own among them.
        while let Some(reply) = self.replies.next().await {
            self.reply(reply).await?;
        }
        let stored = self.hub.store().directory().session(&session).await;
        let deleted = stored.is_ok_and(|stored| stored.is_none());
        self.say(OwnerFrame::FollowEnded { reason: reason.to_owned(), deleted }).await
    }
}
