//! A server process of one's own, and clients that speak raw frames to it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

use super::test_store::new_store;

/// How long anything may take before a test gives up on it. No test passes by waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `thoughtwire serve`.
pub(crate) struct Live {
    child: Child,
    pub(crate) url: String,
    pub(crate) dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Live {
    pub(crate) async fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut live = Self::on(temporary.path(), &[]).await;
        live._temporary = Some(temporary);
        live
    }

    pub(crate) async fn on(dir: &Path, flags: &[&str]) -> Self {
        Self::spawn(serve(dir, None).args(flags).stderr(Stdio::inherit()), dir).await
    }

    /// With less of something than it would like to have: a `ulimit`. What it writes to standard
    /// error is in a file.
    pub(crate) async fn with_limit(dir: &Path, limit: &str, errors: &Path) -> Self {
        Self::spawn(serve(dir, Some(limit)).stderr(std::fs::File::create(errors).unwrap()), dir)
            .await
    }

    /// With variables in its environment. What it writes to standard error is in a file.
    pub(crate) async fn with_env(
        dir: &Path,
        flags: &[&str],
        variables: &[(&str, &Path)],
        errors: &Path,
    ) -> Self {
        let errors = std::fs::OpenOptions::new().append(true).create(true).open(errors).unwrap();
        let mut command = serve(dir, None);
        Self::spawn(command.args(flags).envs(variables.iter().copied()).stderr(errors), dir).await
    }

    async fn spawn(command: &mut Command, dir: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .expect("the server says where it listens");
        let url = line.split_whitespace().last().unwrap().to_owned();
        assert!(url.contains("://127.0.0.1:"), "{line}");
        Self { child, url, dir: dir.to_owned(), _temporary: None }
    }

    /// A start that fails: what it says.
    pub(crate) async fn refused(dir: &Path, limit: Option<&str>) -> String {
        let output = tokio::time::timeout(PATIENCE, serve(dir, limit).kill_on_drop(true).output())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// How it ended by itself.
    pub(crate) async fn end(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) fn signal(&self) {
        self.send_signal("TERM");
    }

    /// A signal by its name.
    pub(crate) fn send_signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// A native connection past its `welcome`, where the server takes one.
    pub(crate) async fn try_native(&self) -> Option<TestClient> {
        let uri = self.ws("/v1/ws").parse().unwrap();
        let (socket, _) = ClientBuilder::from_uri(uri).connect().await.ok()?;
        let mut client = TestClient { socket };
        (client.next_or_close().await.ok()?["type"] == "welcome").then_some(client)
    }

    /// SIGTERM, and its exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        self.signal();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().code()
    }

    pub(crate) fn ws(&self, path: &str) -> String {
        format!("{}{path}", self.url.replace("http", "ws"))
    }

    pub(crate) async fn connect(&self, path: &str) -> TestClient {
        let uri = self.ws(path).parse().unwrap();
        let (socket, _) = ClientBuilder::from_uri(uri).connect().await.unwrap();
        TestClient { socket }
    }

    /// A native connection, past its `welcome`.
    pub(crate) async fn native(&self) -> TestClient {
        let mut client = self.connect("/v1/ws").await;
        assert_eq!(client.next().await["type"], "welcome");
        client
    }

    /// A native connection, past its `welcome`, that takes only some kilobytes ahead of what it
    /// reads.
    pub(crate) async fn narrow(&self) -> TestClient {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let uri: http::Uri = self.ws("/v1/ws").parse().unwrap();
        let stream =
            socket.connect(uri.authority().unwrap().as_str().parse().unwrap()).await.unwrap();
        let (socket, _) =
            ClientBuilder::from_uri(uri).connect_on(MaybeTlsStream::Plain(stream)).await.unwrap();
        let mut client = TestClient { socket };
        assert_eq!(client.next().await["type"], "welcome");
        client
    }

    /// A native connection and the main session of a new agent.
    pub(crate) async fn agent(&self, name: &str, model: &str) -> (TestClient, String) {
        let mut client = self.native().await;
        let ack = client
            .ask(json!({"type": "create_agent", "id": format!("create-{name}"),
            "name": name, "model": model}))
            .await;
        let session = ack["session"].as_str().expect("a main session").to_owned();
        (client, session)
    }

    pub(crate) async fn sparky(&self, connect: Value) -> TestClient {
        let mut client = self.connect("/ws/chat").await;
        client.send(json!({"type": "connect", "data": connect})).await;
        client
    }
}

impl Drop for Live {
    /// Ends the process. Another one can have its directory and address at once.
    fn drop(&mut self) {
        drop(self.child.start_kill());
        while let Ok(None) = self.child.try_wait() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn serve(dir: &Path, limit: Option<&str>) -> Command {
    let binary = env!("CARGO_BIN_EXE_thoughtwire");
    let mut command = match limit {
        None => Command::new(binary),
        Some(limit) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), binary]);
            shell
        }
    };
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir);
    command.envs(new_store(dir));
    for key in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OLLAMA_HOST"] {
        command.env_remove(key);
    }
    command
}

/// An address at which a server can be started again. Its port is below those that systems give to
/// outgoing connections: one of another test would take it while the server is down.
pub(crate) fn lasting_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = 10_000 + std::process::id() % 2_000 * 10;
    std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|port| format!("127.0.0.1:{port}"))
        .find(|address| std::net::TcpListener::bind(address).is_ok())
        .unwrap()
}

/// One connection.
pub(crate) struct TestClient {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl TestClient {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.unwrap();
    }

    /// The next text frame, or the code of the close.
    pub(crate) async fn next_or_close(&mut self) -> Result<Value, u16> {
        // Pings are no news: in all it takes no longer.
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(give_up, self.socket.next())
                .await
                .expect("a frame in time")
            {
                Some(Ok(message)) if message.is_text() => {
                    return Ok(serde_json::from_str(message.as_text().unwrap()).unwrap());
                }
                Some(Ok(message)) if message.is_close() => {
                    return Err(message.as_close().map_or(1005, |(code, _)| code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        self.next_or_close().await.unwrap_or_else(|code| panic!("closed with {code}"))
    }

    /// Frames up to the first for which `last` holds.
    pub(crate) async fn until(&mut self, mut last: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let frame = self.next().await;
            let ends = last(&frame);
            seen.push(frame);
            if ends {
                return seen;
            }
        }
    }

    pub(crate) async fn until_type(&mut self, kind: &str) -> Vec<Value> {
        self.until(|frame| frame["type"] == kind).await
    }

    /// Sends a native command with an id and gives its answer; what comes in between is dropped.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        let id = command["id"].clone();
        self.send(command).await;
        self.until(|frame| frame["id"] == id && frame["type"] != "event").await.pop().unwrap()
    }

    /// Attaches; gives `attached`, and everything up to and with `caught_up`.
    pub(crate) async fn attach(
        &mut self,
        session: &str,
        after: Option<u64>,
    ) -> (Value, Vec<Value>) {
        let mut frame = json!({"type": "attach", "session": session});
        if let Some(after) = after {
            frame["after"] = json!(after);
        }
        self.send(frame).await;
        let attached = self.until_type("attached").await.pop().unwrap();
        (attached, self.until_type("caught_up").await)
    }

    /// Native frames up to the end of the next turn.
    pub(crate) async fn turn(&mut self) -> Vec<Value> {
        self.until(|frame| frame["event"]["kind"] == "turn_ended").await
    }

    /// Whether nothing of this connection's is on its way: a frame that is answered at once comes
    /// back first.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        self.send(json!({"type": "ping"})).await;
        self.next().await["type"] == "pong"
    }
}

pub(crate) fn events(frames: &[Value]) -> Vec<Value> {
    frames.iter().filter(|frame| frame["type"] == "event").cloned().collect()
}

pub(crate) fn kinds(frames: &[Value]) -> Vec<String> {
    events(frames).iter().map(|frame| frame["event"]["kind"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap_or("?")).collect()
}

/// A folder that `make test-deps` fills.
pub(crate) fn test_deps(inner: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test-deps").join(inner);
    assert!(path.exists(), "{} is missing: run `make test-deps` first", path.display());
    path
}
