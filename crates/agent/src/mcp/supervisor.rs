//! The supervisor: a task that keeps one MCP server running.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::config::shown;
use super::pipe::McpPipe;
use super::process::McpProcess;
use super::server::McpServer;
use super::session::{self, EndWatch};
use super::{McpTransport, http};

/// Uptime after which a failure no longer counts as a continuation of the last one.
const HEALTHY: Duration = Duration::from_secs(60);
/// Time for a process that closed its output to exit, because its exit status says more.
const EXIT_WAIT: Duration = Duration::from_millis(500);

/// Starts a server, and restarts it whenever it ends, until `stop` is cancelled.
pub(super) async fn supervise(server: Arc<McpServer>, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    let mut known = String::new();
    while !stop.is_cancelled() {
        let (reason, healthy) = run_once(&server, &stop).await;
        if stop.is_cancelled() {
            break;
        }
        if healthy >= HEALTHY {
            backoff.reset();
        }
        let wait = backoff.next(fastrand::f64());
        // A server that never starts is reported once, not every 30 seconds.
        if reason == known && healthy.is_zero() {
            tracing::debug!(
                server = server.config.name,
                ?wait,
                "MCP server still failing: {reason}"
            );
        } else {
            tracing::warn!(
                server = server.config.name,
                ?wait,
                "MCP server failed and will be restarted: {reason}"
            );
        }
        known = reason;
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => server.count_restart(),
        }
    }
    server.stopped();
}

/// Runs a server once until it ends. Returns the reason and how long it was ready.
async fn run_once(server: &Arc<McpServer>, stop: &CancellationToken) -> (String, Duration) {
    let failed = |reason: String| {
        // A server that was stopped has not failed.
        let healthy =
            if stop.is_cancelled() { Duration::ZERO } else { server.failed(reason.clone()) };
        (reason, healthy)
    };
    match &server.config.transport {
        McpTransport::Http { url, headers } => match http::transport(url, headers) {
            Ok(transport) => {
                let reason = session::run(server, stop, transport, EndWatch::Ping).await;
                failed(format!("{}: {reason}", shown(url)))
            }
            Err(reason) => failed(reason),
        },
        McpTransport::Stdio { command, args, env } => {
            let (mut child, pipes) = match McpProcess::spawn(command, args, env, server) {
                Ok(started) => started,
                Err(error) => return failed(start_failure(command, &error)),
            };
            server.set_pid(child.id());
            let (output, input) = pipes;
            let session = session::run(server, stop, McpPipe::new(output, input), EndWatch::Pipe);
            let ended = tokio::select! {
                reason = session => Err(reason),
                status = child.exited() => Ok(status),
            };
            let reason = match ended {
                Ok(status) => exit_reason(command, status),
                Err(reason) if stop.is_cancelled() => reason,
                // The process ends because the connection was given up.
                Err(reason) if !reason.starts_with(session::CLOSED) => {
                    format!("`{command}`: {reason}")
                }
                Err(reason) => match timeout(EXIT_WAIT, child.exited()).await {
                    Ok(status) => exit_reason(command, status),
                    Err(_) => format!("`{command}`: {reason}"),
                },
            };
            let ended = failed(reason);
            child.end().await;
            server.set_pid(None);
            ended
        }
    }
}

fn start_failure(command: &str, error: &io::Error) -> String {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let hint = if missing { "; install it, or give its full path" } else { "" };
    format!("`{command}` cannot be started: {error}{hint}")
}

fn exit_reason(command: &str, status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("`{command}` ended with {status}; its stderr may say why"),
        Err(error) => format!("`{command}` cannot be waited for: {error}"),
    }
}
