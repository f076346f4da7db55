//! Connections of `serve` to other nodes that share its database.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{SinkExt as _, StreamExt as _};
use thoughtwire_hub::{NodeConnector, NodeLink};
use thoughtwire_proto::{Refusal, RefusalCode};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_websockets::Message;

use crate::client::{ClientSocket, LinkEnd, connect_to};
use crate::rest::ServerAddress;

/// Path where nodes connect.
const PATH: &str = "/v1/cluster";

/// Frames that wait for the session that follows. Beyond it the other node waits.
const FRAMES: usize = 256;

/// Maximum time in which nothing comes. Nodes ping each other every two seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(6);

/// Connects to other nodes over WebSockets.
pub(crate) struct WebSocketConnector {
    secret: String,
}

impl std::fmt::Debug for WebSocketConnector {
    /// Without the secret.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WebSocketConnector").finish_non_exhaustive()
    }
}

/// Makes a connector with the secret of the nodes.
pub(crate) fn make(secret: String) -> Arc<dyn NodeConnector> {
    Arc::new(WebSocketConnector { secret })
}

impl NodeConnector for WebSocketConnector {
    fn connect(&self, url: &str) -> BoxFuture<'static, Result<NodeLink, Refusal>> {
        let server = ServerAddress { base: url.to_owned(), key: Some(self.secret.clone()) };
        Box::pin(async move {
            let socket = connect_to(&server, PATH).await.map_err(|end| {
                let reason = match end {
                    LinkEnd::Lost(reason, _) => reason,
                    LinkEnd::Fatal(error) => error.to_string(),
                    LinkEnd::NoReader => "the connection ended".to_owned(),
                };
                tracing::debug!(node = server.base, reason, "another node cannot be reached");
                Refusal::new(
                    RefusalCode::Moved,
                    "the node that has this session cannot be reached; send it again",
                )
            })?;
            let (to, outgoing) = mpsc::unbounded_channel();
            let (incoming, from) = mpsc::channel(FRAMES);
            tokio::spawn(carry(socket, outgoing, incoming));
            Ok(NodeLink { to, from })
        })
    }
}

/// Carries frames both ways until either side ends.
async fn carry(
    mut socket: ClientSocket,
    mut outgoing: mpsc::UnboundedReceiver<String>,
    incoming: mpsc::Sender<String>,
) {
    loop {
        tokio::select! {
            frame = outgoing.recv() => {
                let Some(frame) = frame else { break };
                if socket.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
            received = timeout(SILENCE_LIMIT, socket.next()) => {
                let Ok(Some(Ok(message))) = received else { return };
                let Some(text) = message.as_text() else { continue };
                if incoming.send(text.to_owned()).await.is_err() {
                    break;
                }
            }
        }
    }
    // The other node sees the end of the connection in any case.
    drop(socket.close().await);
}
