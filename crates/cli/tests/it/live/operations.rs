//! What those who run a server look at.

use std::io::Write as _;

use serde_json::json;

use super::access::Guarded;
use super::faults::Small;
use super::rest::http;
use super::support::Live;

/// The figures, as `name{labels} value` lines.
async fn figures(live: &Live, key: Option<&str>) -> (u16, String) {
    let mut request = http().get(format!("{}/metrics", live.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn figures_tell_what_happened_to_those_who_may_know() {
    let guarded = Guarded::start().await;
    let (_, chat) = guarded.key("ada", &["chat"]).await;
    assert_eq!(figures(&guarded.live, None).await.0, 401);
    assert_eq!(figures(&guarded.live, Some(&chat)).await.0, 403);

    let owner = &guarded.owner;
    let mut client = guarded.native(owner).await;
    let made = client.ask(json!({"type": "create_agent", "id": "c", "name": "ada"})).await;
    let session = made["session"].as_str().unwrap().to_owned();
    client.attach(&session, Some(0)).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "what is 6*7?"})).await;
    let head = client.turn().await.last().unwrap()["seq"].as_f64().unwrap();
    assert_eq!(client.ask(json!({"type": "cancel", "id": "x", "session": session})).await["code"], "no_turn");
    client.send_text("{").await;
    assert_eq!(client.until(|frame| frame["code"].is_string()).await.pop().unwrap()["code"], "bad_frame");

    let (status, text) = figures(&guarded.live, Some(owner)).await;
    assert_eq!(status, 200);
    let is = |name: &str, value: f64| assert_eq!(figure(&text, name), Some(value), "{name} in\n{text}");
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
    let some = |name: &str| assert!(figure(&text, name).is_some_and(|value| value > 0.0), "{name} in\n{text}");
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
    while figure(&figures(&guarded.live, Some(owner)).await.1, "thoughtwire_connections{dialect=\"native\"}") != Some(0.0) {}
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
    assert!(figure(&figures(&live, None).await.1, "thoughtwire_subscribers_fell_behind_total").is_some_and(|times| times >= 1.0));
}

async fn readiness(live: &Live) -> (u16, String) {
    let response = http().get(format!("{}/readyz", live.url)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn it_is_not_ready_while_it_drains() {
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
async fn it_is_not_ready_while_nothing_can_be_saved() {
    let Some(disk) = Small::mount("size=2m") else { return };
    let live = Live::on(disk.path(), &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=20").await;
    let mut filler = std::fs::File::create(disk.path().join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    // What room is left within its own files is used up first.
    let mut number = 0;
    let said = loop {
        let text = format!("{number} {}", "x".repeat(20_000));
        client.ask(json!({"type": "send", "id": format!("m-{number}"), "session": session, "text": text})).await;
        match readiness(&live).await {
            (200, _) => number += 1,
            (status, said) => break (status, said),
        }
        assert!(number < 1_000);
    };
    assert_eq!(said, (503, "the disk is full, so nothing was saved; make room and try again\n".to_owned()));
    disk.remount("size=32m");
    assert_eq!(readiness(&live).await, (200, "ready\n".to_owned()));
}
