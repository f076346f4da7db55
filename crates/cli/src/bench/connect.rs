//! Opens the load generator's connections.

use std::time::Duration;

use anyhow::Context as _;
use http::Uri;
use http::header::AUTHORIZATION;
use tokio::net::{TcpSocket, TcpStream};
use tokio_websockets::{ClientBuilder, Limits, MaybeTlsStream, WebSocketStream};

use super::plan::BenchPlan;

pub(crate) type BenchSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Time limit for one connection.
const WITHIN: Duration = Duration::from_secs(30);
/// Receive buffer in bytes of a stalled connection: small, so that the server soon has to wait.
const STALLED_BUFFER: u32 = 4096;

/// Connects the reader with index `who`.
pub(crate) async fn connect(
    plan: &BenchPlan,
    who: usize,
    path: &str,
) -> anyhow::Result<BenchSocket> {
    match tokio::time::timeout(WITHIN, dial(plan, who, path)).await {
        Ok(line) => line.with_context(|| format!("connection {} to {}", who + 1, plan.target.base)),
        Err(_) => anyhow::bail!(
            "connection {} to {} took longer than {} s",
            who + 1,
            plan.target.base,
            WITHIN.as_secs()
        ),
    }
}

async fn dial(plan: &BenchPlan, who: usize, path: &str) -> anyhow::Result<BenchSocket> {
    let target = &plan.target;
    let socket = if target.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if plan.is_stalled(who) {
        socket.set_recv_buffer_size(STALLED_BUFFER)?;
    }
    if let Some(source) = plan.source(who) {
        socket.bind(source).with_context(|| format!("from {source}"))?;
    }
    let stream = socket.connect(target.address).await?;
    let stream = target.connector.wrap(&target.host, stream).await?;
    let uri: Uri = format!("{}{path}", target.base).parse()?;
    let mut request = ClientBuilder::from_uri(uri).limits(Limits::unlimited());
    if let Some(authorization) = &target.authorization {
        request = request.add_header(AUTHORIZATION, authorization.clone())?;
    }
    Ok(request.connect_on(stream).await?.0)
}
