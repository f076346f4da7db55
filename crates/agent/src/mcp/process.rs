//! The process of an MCP server over stdio.

use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::server::McpServer;

/// Environment variables that a process inherits from us, in addition to its own. The set of the
/// official SDKs, plus locale, time zone and the directory for temporary files.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
];
/// Time for a process to end after its input is closed, and after SIGTERM. Together with [`REAP`]
/// and the session's own closing time these stay below `stop`'s limit.
const AFTER_CLOSE: Duration = Duration::from_millis(1_500);
const AFTER_SIGNAL: Duration = Duration::from_millis(1_000);
/// Time for a killed process to exit, and for the rest of its stderr to be read.
const REAP: Duration = Duration::from_millis(500);
const SIGTERM: i32 = 15;
/// Longest line of stderr that is kept, in bytes.
const LONGEST_LINE: usize = 1_000;

/// A running process and its children, as one process group.
pub(super) struct McpProcess {
    process: Box<dyn ChildWrapper>,
    stderr: Option<AbortOnDropHandle<()>>,
}

impl McpProcess {
    /// Starts a process. Its stderr is passed to `server`, line by line.
    pub(super) fn spawn(
        command: &str,
        args: &[String],
        env: &BTreeMap<String, String>,
        server: &Arc<McpServer>,
    ) -> io::Result<(Self, (ChildStdout, ChildStdin))> {
        let mut wrapped = CommandWrap::with_new(command, |command| {
            command
                .args(args)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command
                .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
                .envs(env);
        });
        // A process group of its own: its children end with it, and Ctrl-C does not reach it
        // directly.
        wrapped.wrap(ProcessGroup::leader()).wrap(KillOnDrop);
        let mut process = wrapped.spawn()?;
        let pipes = process.stdout().take().zip(process.stdin().take());
        let pipes = pipes.ok_or_else(|| io::Error::other("the process has no pipes"))?;
        let stderr = process
            .stderr()
            .take()
            .map(|pipe| AbortOnDropHandle::new(tokio::spawn(drain(pipe, Arc::clone(server)))));
        Ok((Self { process, stderr }, pipes))
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until the process has ended. Safe to cancel and call again.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Ends the process and its group: closes its input, then sends SIGTERM, then SIGKILL.
    pub(super) async fn end(mut self) {
        if timeout(AFTER_CLOSE, self.exited()).await.is_err() {
            // Fails if the process has just ended.
            self.process.signal(SIGTERM).ok();
            if timeout(AFTER_SIGNAL, self.exited()).await.is_err() {
                self.process.start_kill().ok();
                timeout(REAP, self.exited()).await.ok();
            }
        }
        // The process may have left others behind in its group.
        self.process.start_kill().ok();
        if let Some(stderr) = self.stderr.take() {
            timeout(REAP, stderr).await.ok();
        }
    }
}

impl Drop for McpProcess {
    fn drop(&mut self) {
        // Reached without `end` only when the task is aborted; otherwise the group has already
        // ended.
        self.process.start_kill().ok();
    }
}

/// Reads stderr to its end: a full pipe would block the process.
async fn drain(pipe: impl AsyncRead + Unpin, server: Arc<McpServer>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let chunk = match pipe.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(chunk) => chunk,
        };
        let (part, ends) = chunk
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or((chunk, 0), |end| (chunk.split_at(end).0, 1));
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend(part.iter().take(room));
        let read = part.len() + ends;
        pipe.consume(read);
        if ends == 1 {
            log_stderr(&server, &mut line);
        }
    }
    if !line.is_empty() {
        log_stderr(&server, &mut line);
    }
}

fn log_stderr(server: &McpServer, line: &mut Vec<u8>) {
    server.log_stderr(String::from_utf8_lossy(line).trim_end().to_owned());
    line.clear();
}
