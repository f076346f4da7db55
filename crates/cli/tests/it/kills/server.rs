//! A server's directory, and the processes that run on it one after another.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::SinkExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_websockets::{ClientBuilder, Message};

use super::round::KillAt;
use super::script::SERVER;
use crate::live::{FaultyMachine, TestClient};

/// How long anything may take before a test gives up on it. No test passes by waiting. A turn that
/// was killed three times waits for half a minute.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// A directory on which servers run.
pub(super) struct KillSite {
    dir: TempDir,
    /// Kills the server in its saves. Absent where libraries are not loaded in this way.
    library: Option<PathBuf>,
    process: Option<(Child, String)>,
}

impl KillSite {
    /// Prepares a directory whose server has the model and the tools at `host`.
    pub(super) fn new(host: &str, machine: Option<&FaultyMachine>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "grace_seconds = 1\n[openai]\nbase_url = \"http://{host}/v1\"\napi_key = \"k\"\n\
             [mcp.{SERVER}]\nurl = \"http://{host}/mcp\"\n\
             [permissions]\n{SERVER}__approved = \"ask\"\n\
             [replay]\n\"{SERVER}__never*\" = \"never\"\n"
        );
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { dir, library: machine.map(FaultyMachine::library), process: None }
    }

    /// The data file.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data/thoughtwire.db")
    }

    fn kill_file(&self) -> PathBuf {
        self.dir.path().join("kill")
    }

    /// Whether the library kills the server in its saves.
    pub(super) fn can_kill_in_saves(&self) -> bool {
        self.library.is_some()
    }

    /// Has the library kill the server, if the moment is one of a save.
    pub(super) fn arm(&self, kill: Option<KillAt>) {
        let moment = kill.and_then(|KillAt(point, n)| Some((point.in_library()?, n)));
        match moment {
            Some((moment, n)) => replace(&self.kill_file(), &format!("{n} {moment}")),
            None => drop(std::fs::remove_file(self.kill_file())),
        }
    }

    /// Number of saves that are still to come before the library kills the server.
    pub(super) fn saves_left(&self) -> Option<usize> {
        let text = std::fs::read_to_string(self.kill_file()).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// Starts a server. Returns its process, or nothing if it was killed during the start.
    pub(super) async fn start(&mut self) -> Option<Pid> {
        let errors = self.dir.path().join("errors");
        let errors = std::fs::OpenOptions::new().append(true).create(true).open(errors).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(self.dir.path().join("config.toml")).arg("--data-dir");
        command.arg(self.dir.path().join("data"));
        for key in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OLLAMA_HOST"] {
            command.env_remove(key);
        }
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library).env("FAULT_KILL", self.kill_file());
        }
        let mut child =
            command.stdout(Stdio::piped()).stderr(errors).kill_on_drop(true).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let Some(line) = line else {
            drop(child.wait().await);
            return None;
        };
        let url = line.split_whitespace().last().unwrap().to_owned();
        assert!(url.contains("://127.0.0.1:"), "{line}");
        self.process = Some((child, url));
        Some(pid)
    }

    /// Waits until the server has ended.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let (mut child, _) = self.process.take().expect("a server runs");
        tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap()
    }

    /// Sends SIGTERM, and waits until the server has ended.
    pub(super) async fn terminate(&mut self, pid: Pid) -> ExitStatus {
        kill_process(pid, Signal::TERM).unwrap();
        self.ended().await
    }

    fn url(&self) -> &str {
        &self.process.as_ref().expect("a server runs").1
    }

    /// The servers' standard error so far.
    pub(super) fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default()
    }

    /// Connects a native client, past its `welcome`. Absent if the server is gone.
    pub(super) async fn connect(&self) -> Option<TestClient> {
        let uri = format!("{}/v1/ws", self.url().replace("http", "ws")).parse().unwrap();
        let (socket, _) = ClientBuilder::from_uri(uri).connect().await.ok()?;
        let mut client = TestClient { socket };
        (client.next_or_close().await.ok()?["type"] == "welcome").then_some(client)
    }

    /// A REST request that succeeds.
    pub(super) async fn rest(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::new();
        let method: reqwest::Method = method.parse().unwrap();
        let mut request = client.request(method, format!("{}{path}", self.url()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Creates an agent. Returns its id and its main session.
    pub(super) async fn agent(&self, name: &str) -> (String, String) {
        let agent = json!({"name": name, "model": "openai/script"});
        let made = self.rest("POST", "/v1/agents", Some(agent)).await;
        let text = |key: &str| made["agent"][key].as_str().unwrap().to_owned();
        (text("id"), text("main_session"))
    }
}

/// Sends a frame. Absent if the server is gone.
pub(super) async fn send(client: &mut TestClient, frame: &Value) -> Option<()> {
    client.socket.send(Message::text(frame.to_string())).await.ok()
}

/// In one step, so that nobody reads a half of it.
fn replace(file: &Path, content: &str) {
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, content).unwrap();
    std::fs::rename(fresh, file).unwrap();
}
