//! Operation of a server: metrics, readiness and slow connections.

use std::io::Write as _;

use serde_json::{Value, json};

use super::access::Guarded;
use super::backups::command;
use super::faults::Small;
use super::rest::http;
use super::support::{Live, events};

/// The figures, as `name{labels} value` lines.
pub(super) async fn figures(live: &Live, key: Option<&str>) -> (u16, String) {
    let mut request = http().get(format!("{}/metrics", live.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

pub(super) fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn metrics_count_events_and_need_the_admin_scope() {
    let guarded = Guarded::start().await;
    let (_, chat) = guarded.key("ada", &["chat"]).await;
    assert_eq!(figures(&guarded.live, None).await.0, 401);
    assert_eq!(figures(&guarded.live, Some(&chat)).await.0, 403);

    let owner = &guarded.owner;
    let mut client = guarded.native(owner).await;
    let made = client.ask(json!({"type": "create_agent", "id": "c", "name": "ada"})).await;
    let session = made["session"].as_str().unwrap().to_owned();
    client.attach(&session, Some(0)).await;
    client
        .send(json!({"type": "send", "id": "m", "session": session, "text": "what is 6*7?"}))
        .await;
    let head = client.turn().await.last().unwrap()["seq"].as_f64().unwrap();
    assert_eq!(
        client.ask(json!({"type": "cancel", "id": "x", "session": session})).await["code"],
        "no_turn"
    );
    client.send_text("{").await;
    assert_eq!(
        client.until(|frame| frame["code"].is_string()).await.pop().unwrap()["code"],
        "bad_frame"
    );

    let (status, text) = figures(&guarded.live, Some(owner)).await;
    assert_eq!(status, 200);
    let is =
        |name: &str, value: f64| assert_eq!(figure(&text, name), Some(value), "{name} in\n{text}");
    is("thoughtwire_connections{dialect=\"native\"}", 1.0);
    is("thoughtwire_live_sessions", 1.0);
    is("thoughtwire_subscribers", 1.0);
    is("thoughtwire_slow_subscribers", 0.0);
    is("thoughtwire_turns_total{outcome=\"completed\"}", 1.0);
    // `session_opened` was written with its agent, before the session ran.
    is("thoughtwire_events_total", head - 1.0);
    is("thoughtwire_refusals_total{code=\"no_turn\"}", 1.0);
    is("thoughtwire_refusals_total{code=\"bad_frame\"}", 1.0);
    is("thoughtwire_refusals_total{code=\"unauthorized\"}", 1.0);
    is("thoughtwire_refusals_total{code=\"forbidden\"}", 1.0);
    let some = |name: &str| {
        assert!(figure(&text, name).is_some_and(|value| value > 0.0), "{name} in\n{text}");
    };
    some("thoughtwire_tokens_total{kind=\"output\"}");
    some("thoughtwire_model_seconds_count{provider=\"offline\"}");
    some("thoughtwire_model_first_seconds_count{provider=\"offline\"}");
    some("thoughtwire_commit_batch_count");
    some("thoughtwire_commit_seconds_count");
    some("thoughtwire_fan_out_seconds_count");
    is("thoughtwire_commit_failures_total", 0.0);
    for secret in ["ada", session.as_str(), chat.as_str()] {
        assert!(!text.contains(secret), "figures name nobody");
    }
    drop(client);
    while figure(
        &figures(&guarded.live, Some(owner)).await.1,
        "thoughtwire_connections{dialect=\"native\"}",
    ) != Some(0.0)
    {}
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_counted_as_slow() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=3000,bytes=8000").await;
    let mut stalled = live.native().await;
    stalled.attach(&session, None).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    let slow = |text: &str| figure(text, "thoughtwire_slow_subscribers");
    while slow(&figures(&live, None).await.1) != Some(1.0) {}
    // It wakes, gets everything, and is slow no more.
    stalled.turn().await;
    while slow(&figures(&live, None).await.1) != Some(0.0) {}
    assert!(
        figure(&figures(&live, None).await.1, "thoughtwire_subscribers_fell_behind_total")
            .is_some_and(|times| times >= 1.0)
    );
}

#[tokio::test]
async fn a_connection_past_the_keep_alive_is_dropped_and_resumes_later() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=3000,bytes=8000").await;
    client.attach(&session, None).await;
    // One with more on its way than any buffer holds, and one to whom nothing is said: neither
    // reads.
    let mut stalled = live.native().await;
    stalled.attach(&session, None).await;
    let silent = live.native().await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    let head = client.turn().await.last().unwrap()["seq"].as_u64().unwrap();
    let connections = async || {
        figure(&figures(&live, None).await.1, "thoughtwire_connections{dialect=\"native\"}")
    };
    assert_eq!(connections().await, Some(3.0));
    while connections().await != Some(1.0) {
        // A connection that answers pings stays open.
        client.send(json!({"type": "ping"})).await;
        client.until_type("pong").await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    drop(silent);
    // Its buffers still hold frames from before the drop: it resumes after the last of them.
    let mut seen = 1;
    while let Ok(frame) = stalled.next_or_close().await {
        if frame["type"] == "event" {
            seen += 1;
            assert_eq!(frame["seq"], seen);
        }
    }
    assert!(seen < head, "it was dropped in the middle");
    let mut again = live.native().await;
    let (attached, rest) = again.attach(&session, Some(seen)).await;
    assert_eq!(attached["recovered"], true);
    let seqs: Vec<u64> = events(&rest).iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (seen + 1..=head).collect::<Vec<_>>());
}

pub(super) async fn readiness(live: &Live) -> (u16, String) {
    let response = http().get(format!("{}/readyz", live.url)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_server_is_not_ready_while_it_drains() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1000000,bytes=10,rate=20").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    client.until(|frame| frame["event"]["kind"] == "message").await;
    assert_eq!(readiness(&live).await, (200, "ready\n".to_owned()));
    live.signal();
    client.until_type("goaway").await;
    assert_eq!(readiness(&live).await, (503, "stopping\n".to_owned()));
    client.send(json!({"type": "cancel", "id": "c", "session": session})).await;
    assert!(live.end().await.success());
}

#[tokio::test]
async fn the_server_is_not_ready_while_it_cannot_save() {
    let Some(disk) = Small::mount("size=2m") else { return };
    let live = Live::on(disk.path(), &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=20").await;
    let mut filler = std::fs::File::create(disk.path().join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    // Uses up the free space within its own files first.
    let mut number = 0;
    let said = loop {
        let text = format!("{number} {}", "x".repeat(20_000));
        client
            .ask(json!({"type": "send", "id": format!("m-{number}"), "session": session,
            "text": text}))
            .await;
        match readiness(&live).await {
            (200, _) => number += 1,
            (status, said) => break (status, said),
        }
        assert!(number < 1_000);
    };
    assert_eq!(
        said,
        (503, "the disk is full, so nothing was saved; make room and try again\n".to_owned())
    );
    disk.remount("size=32m");
    assert_eq!(readiness(&live).await, (200, "ready\n".to_owned()));
}

/// The doctor's exit code and findings.
async fn examined(args: &[&str]) -> (i32, Value) {
    let ran = command(&[&["doctor", "--json"], args].concat()).await;
    let told: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code, told)
}

fn finding<'a>(told: &'a Value, subject: &str) -> &'a Value {
    let findings = told["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["subject"] == subject)
        .unwrap_or_else(|| panic!("{subject} in {told}"))
}

#[tokio::test]
async fn the_doctor_suggests_corrections() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let at = data.to_str().unwrap();
    // Nothing is there yet, and nothing is made.
    let (code, told) = examined(&["--data-dir", at, "--listen", "127.0.0.1:0"]).await;
    assert_eq!((code, &told["ok"]), (0, &json!(true)), "{told}");
    for subject in [
        "disk",
        "room",
        "data directory",
        "port 0",
        "keys",
        "proxy",
        "open files",
        "model offline",
        "clock",
    ] {
        finding(&told, subject);
    }
    assert!(!data.exists());

    // Beside a server, on its own port.
    let live = Live::on(&data, &[]).await;
    let address = live.url.trim_start_matches("http://");
    let (_, session) = live.agent("ada", "offline").await;
    let port = format!("port {}", address.rsplit_once(':').unwrap().1);
    let (code, told) = examined(&["--data-dir", at, "--listen", address]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(finding(&told, &port)["health"], "good");
    assert!(
        finding(&told, "data directory")["found"]
            .as_str()
            .unwrap()
            .contains("1 agents, 1 sessions"),
        "{session}: {told}"
    );

    // Another's port, an address for all without a key, a model without its key, a model that does
    // not answer.
    let other = dir.path().join("other");
    let (code, told) = examined(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        address,
        "--model",
        "openai/gpt-5-mini",
    ])
    .await;
    assert_eq!((code, &told["ok"]), (1, &json!(false)));
    assert_eq!(finding(&told, &port)["health"], "bad");
    assert!(finding(&told, &port)["mend"].as_str().unwrap().contains("--listen"));
    assert!(
        finding(&told, "model openai/gpt-5-mini")["mend"].as_str().unwrap().contains("set the key"),
        "{told}"
    );
    let (code, told) = examined(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        "0.0.0.0:0",
        "--model",
        "ollama/nobody",
    ])
    .await;
    assert_eq!(code, 1);
    assert!(
        finding(&told, "keys")["mend"].as_str().unwrap().contains("thoughtwire keys add"),
        "{told}"
    );
    assert_eq!(finding(&told, "model ollama/nobody")["health"], "bad");
    let (_, told) = examined(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        "0.0.0.0:0",
        "--auth",
        "none",
    ])
    .await;
    assert_eq!(finding(&told, "keys")["health"], "doubtful");

    // A damaged file, files that others may read, and a configuration that cannot be read.
    drop(live);
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thoughtwire.db"), "no database").unwrap();
    let (code, told) =
        examined(&["--data-dir", other.to_str().unwrap(), "--listen", "127.0.0.1:0"]).await;
    assert_eq!((code, &finding(&told, "data directory")["health"]), (1, &json!("bad")));
    assert!(finding(&told, "privacy")["mend"].as_str().unwrap().starts_with("chmod 600"));
    let (code, told) = examined(&["--config", "/nowhere.toml"]).await;
    assert_eq!((code, &finding(&told, "configuration")["health"]), (1, &json!("bad")));
    let ran = command(&["doctor", "--data-dir", at, "--listen", "127.0.0.1:0"]).await;
    assert!(
        ran.code == 0 && ran.out.contains("good  clock: 20") && !ran.out.contains("BAD"),
        "{ran:?}"
    );
}
