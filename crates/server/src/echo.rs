//! An echo on the server's own WebSockets, for `make conformance`.

use std::io::Read as _;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use headers::{HeaderMapExt as _, SecWebsocketKey};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use thoughtwire_websocket::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt as _;

use crate::stalled::Impatient;
use crate::takeover::ConnectionTakeover;
use crate::upgrade::switching;
use crate::upgraded_stream::UpgradedStream;
use crate::websocket::{Received, WRITE_TIMEOUT, WebSocket};

/// The largest message of the suite; the server's own default is a mebibyte.
const FRAME_BYTES: usize = 16 << 20;

#[tokio::test]
#[ignore = "a server: `make conformance` runs it"]
async fn serves_until_its_input_ends() {
    let address = std::env::var("THOUGHTWIRE_ECHO").expect("THOUGHTWIRE_ECHO says where to listen");
    let listener =
        tokio::net::TcpListener::bind(address).await.expect("the address can be listened on");
    let served = tokio::spawn(serve(listener));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .expect("it is read")
        .expect("to its end");
    assert!(!served.is_finished(), "it served all the time");
}

async fn serve(listener: tokio::net::TcpListener) {
    let router = Router::new().fallback(any(upgrade));
    while let Ok((stream, _)) = listener.accept().await {
        let service = router
            .clone()
            .map_request(|request: hyper::Request<Incoming>| request.map(axum::body::Body::new));
        let stream =
            TokioIo::new(Impatient::new(stream, WRITE_TIMEOUT, ConnectionTakeover::default()));
        let connection = http1::Builder::new()
            .serve_connection(stream, TowerToHyperService::new(service))
            .with_upgrades();
        tokio::spawn(connection);
    }
}

async fn upgrade(mut request: Request) -> Response {
    let Some(key) = request.headers().typed_get::<SecWebsocketKey>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            let (stream, read) = UpgradedStream::new(stream);
            echo(WebSocket::new(stream, read, FRAME_BYTES)).await;
        }
    });
    switching(key, None)
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<S>) {
    let end = loop {
        let written = match socket.next().await {
            Ok(Received::Text(text)) => socket.write(OpCode::Text, text).await,
            Ok(Received::Binary(bytes)) => socket.write(OpCode::Binary, bytes).await,
            Ok(Received::Ping | Received::Pong(_)) => Ok(()),
            Err(end) => break end,
        };
        let flushed = match written {
            Ok(()) => socket.flush().await,
            Err(end) => Err(end),
        };
        if let Err(end) = flushed {
            break end;
        }
    };
    socket.end(end).await;
}
