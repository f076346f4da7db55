//! `/v1/cluster`: where other nodes that share the database follow the sessions of this one.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use headers::HeaderMapExt as _;
use headers::authorization::Bearer;
use headers::{Authorization, SecWebsocketKey};
use sha2::{Digest as _, Sha256};
use thoughtwire_hub::{NodeSink, OwnerEnd};
use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest};
use thoughtwire_proto::connection::Close;
use thoughtwire_websocket::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
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
    let (owner, phase) = (OwnerEnd::new(&shared.hub), shared.phase.clone());
    shared.connections.spawn(async move {
        if let Ok(upgraded) = on_upgrade.await {
            let (stream, read) = UpgradedStream::new(upgraded);
            let mut socket = WebSocket::new(stream, read, FRAME_BYTES);
            let end = serve(&mut socket, owner, phase).await;
            socket.end(end).await;
        }
    });
    switching(key, None)
}

/// Resolves when the server has stopped.
async fn stopped(phase: &mut watch::Receiver<Phase>) {
    // The loss of the sender is a stop as well.
    drop(phase.wait_for(|phase| *phase == Phase::Stopped).await);
}

/// Serves a connection of another node until it ends.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    socket: &mut WebSocket<S>,
    mut owner: OwnerEnd,
    mut phase: watch::Receiver<Phase>,
) -> ConnectionEnd {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        if let Err(end) = show(&mut owner, socket).await {
            return end;
        }
        let done = tokio::select! {
            biased;
            frame = owner.next() => match frame {
                Some(frame) => socket.send(NodeAnswer::Said(frame).encode()).await,
                None => Ok(()),
            },
            received = socket.next() => match received {
                Ok(Received::Text(text)) => match NodeRequest::decode(&text) {
                    Ok(request) => owner.request(request, socket).await,
                    Err(refusal) => {
                        tracing::warn!(%refusal, "another node sent a frame that cannot be read");
                        Err(ConnectionEnd::Broken(Close::Protocol))
                    }
                },
                Ok(Received::Binary(_)) => Err(ConnectionEnd::Broken(Close::Protocol)),
                Ok(Received::Ping | Received::Pong(_)) => Ok(()),
                Err(end) => Err(end),
            },
            _ = pings.tick() => socket.write(OpCode::Ping, Vec::new()).await,
            () = stopped(&mut phase) => {
                return ConnectionEnd::ClosedByServer(Close::Restart, Close::Restart.reason());
            }
        };
        if let Err(end) = done {
            return end;
        }
    }
}

/// Sends everything there is to send.
async fn show<S: AsyncRead + AsyncWrite + Unpin + Send>(
    owner: &mut OwnerEnd,
    socket: &mut WebSocket<S>,
) -> Result<(), ConnectionEnd> {
    owner.show(socket).await?;
    socket.flush().await
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> NodeSink for WebSocket<S> {
    type Error = ConnectionEnd;

    async fn send(&mut self, text: String) -> Result<(), ConnectionEnd> {
        self.write(OpCode::Text, text).await
    }
}
