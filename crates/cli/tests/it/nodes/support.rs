//! A database that several servers share.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::live::{Live, TestClient};

/// A fresh PostgreSQL database, and a data directory for each node.
pub(crate) struct SharedDatabase {
    pub(crate) url: String,
    /// The database's address itself, where `url` leads through a pooler.
    direct: String,
    dirs: TempDir,
}

impl SharedDatabase {
    pub(crate) fn create() -> Self {
        let direct = postgres_tool(&["create"]);
        Self { url: direct.clone(), direct, dirs: tempfile::tempdir().unwrap() }
    }

    /// Creates one whose nodes use it through a pooler in transaction mode.
    pub(crate) fn create_pooled() -> Self {
        let mut database = Self::create();
        database.url = postgres_tool(&["pooler", &database.direct]);
        database
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Starts a node, or starts it again.
    pub(crate) async fn node(&self, name: &str) -> Live {
        self.node_through(name, &self.url).await
    }

    /// Starts a node that asks for keys.
    pub(super) async fn guarded(&self, name: &str) -> Live {
        Live::on(&self.dir(name), &["--store", &self.url, "--auth", "keys"]).await
    }

    /// The data directory of a node.
    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.dirs.path().join(name)
    }

    /// Starts a node that reaches the database at another address.
    pub(super) async fn node_through(&self, name: &str, url: &str) -> Live {
        Live::on(&self.dir(name), &["--store", url]).await
    }
}

impl Drop for SharedDatabase {
    fn drop(&mut self) {
        postgres_tool(&["drop", &self.direct]);
    }
}

fn postgres_tool(arguments: &[&str]) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/postgres");
    let output = Command::new(tool).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Records of a session that a client saw: each once and in order.
#[derive(Default)]
pub(crate) struct SeenLog(pub(crate) Vec<Value>);

impl SeenLog {
    /// Takes frames. Panics when a record is missing or comes twice.
    pub(crate) fn take(&mut self, frames: &[Value]) {
        for frame in frames.iter().filter(|frame| frame["type"] == "event") {
            let expected = self.0.last().map_or(1, |last| last["seq"].as_u64().unwrap() + 1);
            assert_eq!(frame["seq"], expected, "{frame}");
            self.0.push(frame.clone());
        }
    }

    pub(crate) fn kinds(&self) -> Vec<&str> {
        self.0.iter().map(|frame| frame["event"]["kind"].as_str().unwrap()).collect()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.kinds().into_iter().filter(|one| *one == kind).count()
    }

    pub(crate) fn last(&self, kind: &str) -> &Value {
        self.0.iter().rev().find(|frame| frame["event"]["kind"] == kind).unwrap()
    }
}

/// Attaches a client from the beginning.
pub(crate) async fn follow(live: &Live, session: &str) -> (TestClient, SeenLog) {
    let mut client = live.native().await;
    let (_, frames) = client.attach(session, Some(0)).await;
    let mut seen = SeenLog::default();
    seen.take(&frames);
    (client, seen)
}

/// Sends an input and gives its acknowledgement, with what came before it.
pub(crate) async fn say(client: &mut TestClient, session: &str, id: &str) -> (Value, Vec<Value>) {
    client.send(json!({"type": "send", "id": id, "session": session, "text": id})).await;
    let mut frames = client.until(|frame| frame["id"] == id).await;
    (frames.pop().unwrap(), frames)
}

/// Reads up to the first event of a kind.
pub(crate) async fn read_to(client: &mut TestClient, seen: &mut SeenLog, kind: &str) {
    seen.take(&client.until(|frame| frame["event"]["kind"] == kind).await);
}
