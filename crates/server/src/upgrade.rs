//! From an HTTP request to a connection: its dialect and its user.

use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use headers::HeaderMapExt as _;
use serde::Deserialize;
use thoughtwire_agent::{McpPhase, McpServers};
use thoughtwire_hub::Hub;
use thoughtwire_proto::connection::Machine;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_proto::dialect::memgpt::MemgptMachine;
use thoughtwire_proto::dialect::native::{ConnectionLimits, NativeMachine};
use thoughtwire_proto::dialect::sparky::{Loading, ServerLoading, SparkyMachine, Tools};
use thoughtwire_proto::{AgentSpec, PeerRef, PeerWire, Permission, Refusal, RefusalCode};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Entrant, KEY_NEEDED, too_many, unauthorized};
use crate::config::Auth;
use crate::config::Config;
use crate::connection::{ConnectionContext, drive};
use crate::connection_permits::ConnectionPermits;
use crate::listener::Guest;
use crate::metrics::ServerMetrics;
use crate::pace::CommandPace;
use crate::phase::Phase;
use crate::rest::RestRefusal;
use crate::upgraded_stream::UpgradedStream;
use crate::websocket::WebSocket;

/// The native sub-protocol.
const NATIVE: &str = "thoughtwire.v1";
/// The server's name and version in `welcome`.
const SERVER: &str = concat!("thoughtwire/", env!("CARGO_PKG_VERSION"));

/// The parts of its server that every request uses.
#[derive(Clone)]
pub(crate) struct ConnectionState {
    pub(crate) hub: Hub,
    pub(crate) mcp: McpServers,
    pub(crate) metrics: ServerMetrics,
    pub(crate) access: Access,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) connections: TaskTracker,
    pub(crate) open: ConnectionPermits<()>,
    pub(crate) config: Arc<Config>,
    /// The secret by which nodes that share the database know each other.
    pub(crate) cluster_secret: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketDialect {
    Native,
    Memgpt,
    Sparky,
}

impl SocketDialect {
    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Memgpt => "memgpt",
            Self::Sparky => "sparky",
        }
    }
}

#[derive(Deserialize)]
struct UpgradeQuery {
    client: Option<String>,
}

/// Answers an upgrade and hands the socket to its connection.
pub(crate) async fn upgrade(
    shared: &ConnectionState,
    mut request: Request,
    dialect: SocketDialect,
) -> Response {
    let headers = request.headers();
    let key: Option<headers::SecWebsocketKey> = headers.typed_get();
    let (Some(key), true) = (key, is_upgrade(headers) && request.method() == Method::GET) else {
        let reason = "this path speaks WebSocket; connect with a WebSocket client";
        let mut response = (StatusCode::UPGRADE_REQUIRED, format!("{reason}\n")).into_response();
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    if headers.get("sec-websocket-version").is_none_or(|version| version != "13") {
        let mut response =
            (StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here\n").into_response();
        response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        return response;
    }
    if *shared.phase.borrow() != Phase::Serving {
        return RestRefusal(Refusal::new(
            RefusalCode::Stopping,
            "the server is stopping; come again",
        ))
        .into_response();
    }
    // On MemGPT's wire only the request can bear a credential; on the others the first frame does.
    let entrant = match shared.access.request(headers, request.uri()).await {
        Ok(Some(identity)) => Entrant { identity, trusted: true },
        Ok(None) if dialect == SocketDialect::Memgpt => {
            return RestRefusal(unauthorized(KEY_NEEDED)).into_response();
        }
        Ok(None) => Entrant { identity: shared.access.nobody(), trusted: false },
        Err(refusal) => return RestRefusal(refusal).into_response(),
    };
    let needs_token = !entrant.trusted;
    let permit = match shared.open.take(()) {
        Some(permit) => permit,
        None => {
            return RestRefusal(Refusal::new(
                RefusalCode::TooFast,
                "the server has as many connections as it may have",
            ))
            .into_response();
        }
    };
    // A client that is not known yet takes its user's permit once it is.
    let user_permit = if entrant.trusted {
        shared.access.users.take(entrant.identity.user.clone())
    } else {
        None
    };
    if entrant.trusted && user_permit.is_none() {
        return RestRefusal(too_many()).into_response();
    }
    let client = Query::<UpgradeQuery>::try_from_uri(request.uri())
        .ok()
        .and_then(|Query(query)| query.client)
        .filter(|name| !name.is_empty());
    let offered = offers_native(headers) && dialect == SocketDialect::Native;
    let from = sender(dialect, client.as_deref());
    let machine = machine(shared, dialect, client, needs_token);
    let Some(on_upgrade) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let context = ConnectionContext {
        hub: shared.hub.clone(),
        access: shared.access.clone(),
        entrant,
        from,
        space: String::new(),
        phase: shared.phase.clone(),
        handshake_within: shared.config.limits.handshake,
        pace: CommandPace::new(shared.config.limits.commands_per_second),
        permit: user_permit,
        metrics: shared.metrics.clone(),
        frame_limit: FrameLimit::new(shared.config.limits.frame_bytes),
        json_depth: shared.config.limits.json_depth,
    };
    let metrics = shared.metrics.clone();
    let guest = request.extensions_mut().remove::<Guest>();
    let frame_bytes = shared.config.limits.frame_bytes;
    shared.connections.spawn(async move {
        if let Ok(upgraded) = on_upgrade.await {
            let _counted = metrics.connected(dialect.name());
            let (stream, read) = UpgradedStream::new(upgraded);
            let writer = stream.writer().cloned();
            drive(WebSocket::new(stream, read, frame_bytes), writer, machine, context).await;
        }
        drop((permit, guest));
    });
    switching(key, offered.then_some(NATIVE))
}

/// The answer that accepts an upgrade.
pub(crate) fn switching(key: headers::SecWebsocketKey, protocol: Option<&'static str>) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.typed_insert(headers::SecWebsocketAccept::from(key));
    answer.remove(CONTENT_TYPE);
    if let Some(protocol) = protocol {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

/// The client as the sender of inputs, until it names itself.
fn sender(dialect: SocketDialect, client: Option<&str>) -> String {
    let peer = client.filter(|_| dialect == SocketDialect::Memgpt).map(|name| PeerRef {
        wire: PeerWire::Memgpt,
        space: String::new(),
        name: name.to_owned(),
    });
    peer.and_then(|peer| peer.sender()).unwrap_or_else(|| dialect.name().to_owned())
}

fn machine(
    shared: &ConnectionState,
    dialect: SocketDialect,
    client: Option<String>,
    needs_token: bool,
) -> Box<dyn Machine> {
    let limit = FrameLimit::new(shared.config.limits.frame_bytes);
    match dialect {
        SocketDialect::Native => {
            let limits = ConnectionLimits {
                frame_bytes: Some(shared.config.limits.frame_bytes as u64),
                attached_sessions: Some(shared.config.limits.attached_sessions as u64),
                queued_inputs: Some(shared.config.limits.queued_inputs as u64),
            };
            Box::new(NativeMachine::new(limits, SERVER.to_owned(), needs_token))
        }
        SocketDialect::Memgpt => Box::new(MemgptMachine::new(client).with_frame_limit(limit)),
        SocketDialect::Sparky => {
            Box::new(SparkyMachine::new(tools(shared)).with_frame_limit(limit))
        }
    }
}

/// The tools that a Sparky client is told of: their number, and the MCP servers by name.
fn tools(shared: &ConnectionState) -> Tools {
    let usable = shared
        .hub
        .tools(&AgentSpec::default())
        .into_iter()
        .filter(|tool| tool.permission != Permission::Deny);
    let servers = shared.mcp.states().into_iter().map(|server| ServerLoading {
        name: server.name,
        loading: match server.phase {
            McpPhase::Ready => Loading::Loaded,
            McpPhase::Starting => Loading::Begun,
            // The reason names the command or address, which only the owner may see.
            McpPhase::Failed { reason } if shared.access.guard.auth == Auth::None => {
                Loading::Failed(reason)
            }
            McpPhase::Failed { .. } => Loading::Failed("it does not run".to_owned()),
            McpPhase::Stopped => Loading::Failed("it was stopped".to_owned()),
        },
    });
    Tools { loaded: usable.count(), servers: servers.collect() }
}

pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

pub(crate) fn offers_native(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|offer| offer.trim() == NATIVE)
}
