//! Opening a connection to the native wire: address, TLS, handshake and their errors.

use std::time::Duration;

use futures::StreamExt as _;
use thoughtwire_proto::dialect::native::ServerFrame;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Connector, MaybeTlsStream, WebSocketStream};

use crate::rest::{ServerAddress, no_server};
use crate::tls::{self, install_tls};

/// Time limit for TCP, TLS and the WebSocket handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type ClientSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection ended.
pub(crate) enum LinkEnd {
    /// Lost, with the reason. Reconnect after this pause at the earliest.
    Lost(String, Duration),
    /// A reconnect would fail the same way.
    Fatal(anyhow::Error),
    /// The follower was dropped: nobody reads its events.
    NoReader,
}

impl From<tokio_websockets::Error> for LinkEnd {
    fn from(error: tokio_websockets::Error) -> Self {
        Self::Lost(error.to_string(), Duration::ZERO)
    }
}

/// Path of the native wire.
const NATIVE: &str = "/v1/ws";

/// Connects to the server's native wire within [`CONNECT_TIMEOUT`].
pub(super) async fn connect(server: &ServerAddress) -> Result<ClientSocket, LinkEnd> {
    connect_to(server, NATIVE).await
}

/// Connects to a WebSocket path of a server within [`CONNECT_TIMEOUT`].
pub(crate) async fn connect_to(
    server: &ServerAddress,
    path: &str,
) -> Result<ClientSocket, LinkEnd> {
    match tokio::time::timeout(CONNECT_TIMEOUT, dial(server, path)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LinkEnd::Lost(no_server(&server.base).to_string(), Duration::ZERO)),
    }
}

/// Connects and returns the first frame that the server sends.
///
/// # Errors
/// If the connection fails or closes before a frame arrives.
pub(crate) async fn greeting(server: &ServerAddress) -> anyhow::Result<ServerFrame> {
    let cause = |end: LinkEnd| match end {
        LinkEnd::Lost(reason, _) => anyhow::anyhow!(reason),
        LinkEnd::Fatal(error) => error,
        LinkEnd::NoReader => anyhow::anyhow!("the server sent no frame"),
    };
    let mut socket = dial(server, NATIVE).await.map_err(cause)?;
    while let Some(message) = socket.next().await {
        if let Some(text) = message?.as_text() {
            return Ok(ServerFrame::decode(text)?);
        }
    }
    anyhow::bail!("the server closed the connection")
}

async fn dial(server: &ServerAddress, path: &str) -> Result<ClientSocket, LinkEnd> {
    let wrong = |what: &str| {
        LinkEnd::Fatal(anyhow::anyhow!("{} is not a server address: {what}", server.base))
    };
    let url = reqwest::Url::parse(&server.base).map_err(|error| wrong(&error.to_string()))?;
    let (host, port) = match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => (host.trim_matches(['[', ']']), port),
        (_, _) => return Err(wrong("it has no host")),
    };
    let is_tls = url.scheme() == "https";
    let target = server.base.replacen("http", "ws", 1) + path;
    let mut request =
        ClientBuilder::new().uri(&target).map_err(|error| wrong(&error.to_string()))?;
    if let Some(key) = &server.key {
        let value = http::HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| wrong("THOUGHTWIRE_KEY contains characters that are invalid in a key"))?;
        request = request.add_header(http::header::AUTHORIZATION, value)?;
    }
    // Tries every address of the name, as the REST client does.
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|_| LinkEnd::Lost(no_server(&server.base).to_string(), Duration::ZERO))?;
    // Sends typed text at once. Without it a frame is delayed by milliseconds at most.
    drop(stream.set_nodelay(true));
    let connector = if is_tls {
        install_tls();
        Connector::new()?
    } else {
        Connector::Plain
    };
    let stream = connector.wrap(host, stream).await.map_err(|error| {
        // A bad certificate will still be bad at the next attempt.
        tls::trouble(&server.base, &error).map_or_else(|| error.into(), LinkEnd::Fatal)
    })?;
    match request.connect_on(stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(match status(&error) {
            Some(401 | 403) => LinkEnd::Fatal(anyhow::anyhow!(
                "{} refused the key; check THOUGHTWIRE_KEY",
                server.base
            )),
            Some(status @ (404 | 405 | 426)) => LinkEnd::Fatal(anyhow::anyhow!(
                "{} answered {status} at {path}; check that the address is a Thoughtwire server",
                server.base
            )),
            Some(_) | None => error.into(),
        }),
    }
}

/// Returns the HTTP status with which the server refused the upgrade.
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
