//! A database that goes away in the middle of turns: they wait, and go on when it is back.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{follow, read_to, say};
use crate::live::{Live, postgres_tool};

/// A model whose turn takes some seconds.
const SLOW: &str = "load:items=60,bytes=40,rate=20,deltas=yes";

/// A PostgreSQL server of a test's own, which it may stop.
struct OwnDatabase {
    dir: TempDir,
    url: String,
}

impl OwnDatabase {
    fn start() -> Self {
        // PostgreSQL runs as another user.
        let permissions = PermissionsExt::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(permissions).tempdir().unwrap();
        let data = dir.path().join("postgres");
        let url = postgres_tool(&["cluster", data.to_str().unwrap()]);
        Self { dir, url }
    }

    async fn tool(&self, action: &'static str) {
        let data = self.dir.path().join("postgres");
        let run = move || postgres_tool(&[action, data.to_str().unwrap()]);
        tokio::task::spawn_blocking(run).await.unwrap();
    }

    async fn node(&self, name: &str) -> Live {
        Live::on(&self.dir.path().join(name), &["--store", &self.url]).await
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        postgres_tool(&["end", self.dir.path().join("postgres").to_str().unwrap()]);
    }
}

/// Whether a frame is the status of a session that waits for the database.
fn tells_of_the_wait(frame: &Value) -> bool {
    let text = frame["text"].as_str().unwrap_or_default();
    frame["type"] == "status" && text.contains("the database cannot be reached")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_waits_for_the_database_and_goes_on_when_it_is_back() {
    let database = OwnDatabase::start();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("ada", SLOW).await;
    let (mut client, mut seen) = follow(&one, &session).await;
    let (mut other, mut seen_by_other) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    read_to(&mut client, &mut seen, "turn_started").await;
    client.until(|frame| frame["type"] == "delta").await;
    database.tool("kill").await;
    // Comes when writes have waited for as long as they do.
    seen.take(&client.until(tells_of_the_wait).await);
    let refused = json!({"type": "send", "id": "no", "session": session, "text": "no"});
    let answer = client.ask(refused).await;
    assert_eq!((&answer["code"], &answer["retry"]), (&json!("store_failed"), &json!(true)));
    database.tool("restart").await;
    read_to(&mut client, &mut seen, "turn_ended").await;
    assert_eq!(seen.last("turn_ended")["event"]["outcome"], "completed");
    let resumed = &seen.last("turn_resumed")["event"];
    assert_eq!((&resumed["reason"], &resumed["attempt"]), (&json!("restart"), &json!(1)));
    assert_eq!((seen.count("turn_started"), seen.count("turn_ended")), (1, 1));
    // The client of the other node stayed connected, and missed nothing.
    read_to(&mut other, &mut seen_by_other, "turn_ended").await;
    assert_eq!(seen_by_other.0, seen.0);
    let (answer, frames) = say(&mut client, &session, "again").await;
    assert_eq!(answer["type"], "ack", "{answer}");
    seen.take(&frames);
    read_to(&mut client, &mut seen, "turn_ended").await;
    assert_eq!(seen.last("turn_ended")["event"]["outcome"], "completed");
}
