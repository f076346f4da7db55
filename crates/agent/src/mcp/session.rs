//! One connection to a server, from its initialization to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, Implementation, PaginatedRequestParams,
    PingRequest, PingRequestMethod,
};
use rmcp::service::{ClientInitializeError, NotificationContext, Peer, RoleClient, ServiceError};
use rmcp::transport::IntoTransport;
use rmcp::{ClientHandler, serve_client};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::server::{McpLink, McpServer};
use super::{McpTool, http, tool, wire};

/// Time limit of the initialization and of listing tools: `npx` may have to download the server
/// first.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time limit of closing a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Interval of pings over HTTP, and the time limit of one.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_LIMIT: Duration = Duration::from_secs(10);
/// Largest number of pages of tools: a list without an end is a mistake of the server.
const MAX_PAGES: usize = 100;

/// Beginning of the reason when a server closed the connection by itself.
pub(super) const CLOSED: &str = "it closed the connection";

/// How the end of a connection is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndWatch {
    /// The pipe closes.
    Pipe,
    /// A ping is not answered: HTTP has no connection that could close.
    Ping,
}

/// Serves one connection until it ends or `stop` is cancelled. Returns the reason.
pub(super) async fn run<T, E, A>(
    server: &McpServer,
    stop: &CancellationToken,
    transport: T,
    watch: EndWatch,
) -> String
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let relist = Arc::new(Notify::new());
    let greeting =
        timeout(START_LIMIT, serve_client(McpClient { relist: Arc::clone(&relist) }, transport));
    let service = tokio::select! {
        () = stop.cancelled() => return stopped(server),
        greeted = greeting => match greeted {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => return refusal(&error),
            Err(_) => return format!("it did not answer within {} s", START_LIMIT.as_secs()),
        },
    };
    let link = McpLink::new(service.peer().clone());
    let close = service.cancellation_token();
    let mut closed = std::pin::pin!(service.waiting());
    let listed = tokio::select! {
        () = stop.cancelled() => return stopped(server),
        listed = timeout(START_LIMIT, list(server, &link.peer)) => listed,
    };
    match listed {
        Ok(Ok(tools)) => {
            tracing::info!(server = server.config.name, tools = tools.len(), "MCP server ready");
            server.ready(tools, link.clone());
        }
        Ok(Err(error)) => return format!("its tools cannot be listed: {}", describe(&error)),
        Err(_) => return format!("it did not list its tools within {} s", START_LIMIT.as_secs()),
    }
    let reason = tokio::select! {
        () = stop.cancelled() => stopped(server),
        _ = &mut closed => return CLOSED.to_owned(),
        reason = ping_until_lost(&link), if watch == EndWatch::Ping => reason,
        never = refresh_tools(server, &link.peer, &relist) => match never {},
    };
    close.cancel();
    if timeout(CLOSE_LIMIT, closed).await.is_err() {
        tracing::debug!(
            server = server.config.name,
            "the connection to an MCP server does not close; it is dropped"
        );
    }
    reason
}

/// Ends running calls at once, because closing may take a while.
fn stopped(server: &McpServer) -> String {
    server.stopped();
    "it was stopped".to_owned()
}

/// Resolves when the session is gone. A ping without an answer proves nothing: the server may be
/// busy with a call, and calls have their own time limit.
async fn ping_until_lost(link: &McpLink) -> String {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PING_EVERY) => {}
            () = link.suspect.notified() => {}
        }
        let ping = ClientRequest::PingRequest(PingRequest {
            method: PingRequestMethod,
            extensions: rmcp::model::Extensions::default(),
        });
        if let Ok(Err(error)) = timeout(PING_LIMIT, link.peer.send_request(ping)).await
            && http::is_connection_lost(&error)
        {
            return format!("the connection broke: {}", describe(&error));
        }
    }
}

/// Reads the list of tools again whenever the server announces a change.
async fn refresh_tools(server: &McpServer, peer: &Peer<RoleClient>, relist: &Notify) -> Infallible {
    loop {
        relist.notified().await;
        match timeout(START_LIMIT, list(server, peer)).await {
            Ok(Ok(tools)) => server.replace_tools(tools),
            Ok(Err(error)) => {
                tracing::warn!(
                    server = server.config.name,
                    "changed MCP tools cannot be listed; the last list stays in use: {}",
                    describe(&error)
                );
            }
            Err(_) => tracing::warn!(
                server = server.config.name,
                "changed MCP tools were not listed in time; the last list stays in use"
            ),
        }
    }
}

async fn list(server: &McpServer, peer: &Peer<RoleClient>) -> Result<Vec<McpTool>, ServiceError> {
    let mut tools = Vec::new();
    let mut page = None;
    if peer.peer_info().is_some_and(|info| info.capabilities.tools.is_none()) {
        return Ok(Vec::new());
    }
    for _ in 0..MAX_PAGES {
        let listed =
            peer.list_tools(Some(PaginatedRequestParams::default().with_cursor(page))).await?;
        tools.extend(listed.tools);
        page = listed.next_cursor;
        if page.is_none() {
            break;
        }
    }
    if page.is_some() {
        tracing::warn!(
            server = server.config.name,
            "an MCP server lists more than {MAX_PAGES} pages of tools; the rest is left out"
        );
    }
    Ok(tool::fitted(&server.config.name, tools))
}

/// Describes why an initialization failed.
fn refusal(error: &ClientInitializeError) -> String {
    if let ClientInitializeError::TransportError { error, .. } = error {
        http::reason(error)
    } else if let ClientInitializeError::JsonRpcError(error) = error {
        if let Some(reason) = wire::unread_reason(error) {
            return format!("its answer cannot be read: {reason}");
        }
        format!("it refused to begin: {} (code {})", error.message, error.code.0)
    } else if let ClientInitializeError::ConnectionClosed(_) = error {
        format!("{CLOSED} before it was ready")
    } else {
        format!("it does not speak MCP as expected: {error}")
    }
}

fn describe(error: &ServiceError) -> String {
    if let ServiceError::TransportSend(error) = error {
        http::reason(error)
    } else if let ServiceError::McpError(error) = error {
        match wire::unread_reason(error) {
            Some(reason) => format!("its answer cannot be read: {reason}"),
            None => format!("{} (code {})", error.message, error.code.0),
        }
    } else {
        error.to_string()
    }
}

/// Our side of the MCP connection, and its notifications.
struct McpClient {
    relist: Arc<Notify>,
}

impl ClientHandler for McpClient {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.relist.notify_one();
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("thoughtwire", env!("CARGO_PKG_VERSION")),
        )
    }
}
