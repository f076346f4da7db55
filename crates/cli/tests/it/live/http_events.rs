//! Server-sent events: what a proxy sees of them, where they resume, and how they end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::access::Guarded;
use super::rest::{call, http};
use super::support::Live;

/// Events up to the first for which `last` holds: name, id and data of each.
async fn until(
    response: &mut reqwest::Response,
    mut last: impl FnMut(&str, &Value) -> bool,
) -> Vec<(String, String, Value)> {
    let (mut text, mut seen) = (String::new(), Vec::new());
    loop {
        let chunk = tokio::time::timeout(Duration::from_secs(30), response.chunk()).await;
        let chunk = chunk.expect("an event in time").unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, behind)) = text.split_once("\n\n") {
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned()).unwrap_or_default()
            };
            let (name, id, data) = (field("event:"), field("id:"), field("data:"));
            text = behind.to_owned();
            // A comment keeps the connection.
            if name.is_empty() {
                continue;
            }
            let data: Value = serde_json::from_str(&data).unwrap();
            let ends = last(&name, &data);
            seen.push((name, id, data));
            if ends {
                return seen;
            }
        }
    }
}

async fn open(live: &Live, target: &str, last_event_id: Option<&str>) -> reqwest::Response {
    let mut request = http().get(format!("{}{target}", live.url));
    request = request.header("accept", "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{target}");
    response
}

/// A session with some events.
async fn spoken(live: &Live) -> String {
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "hello"})).await;
    client.turn().await;
    session
}

#[tokio::test]
async fn proxies_pass_events_on_at_once_and_change_nothing() {
    let live = Live::start().await;
    let session = spoken(&live).await;
    let response = open(&live, &format!("/v1/sessions/{session}/events"), None).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("x-accel-buffering", "no"),
        ("cache-control", "no-cache, no-transform"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
}

#[tokio::test]
async fn a_stream_resumes_by_header_or_query_in_the_same_log_and_is_told_of_another() {
    let live = Live::start().await;
    let session = spoken(&live).await;
    let path = format!("/v1/sessions/{session}/events");
    let (_, page) = call(&live, "GET", &path, &[], None).await;
    let epoch = page["epoch"].as_str().unwrap();
    let here = format!("{epoch}:2");
    let elsewhere = "e-another:2";
    for (target, header, restarts, first) in [
        (path.clone(), Some("2"), false, 3),
        (path.clone(), Some(here.as_str()), false, 3),
        (format!("{path}?lastEventId=2"), None, false, 3),
        (format!("{path}?lastEventId={here}"), None, false, 3),
        (format!("{path}?after=2"), None, false, 3),
        (format!("{path}?after=1&lastEventId=2"), None, false, 3),
        // The position that a polyfill has reached counts, not the one that it started with.
        (format!("{path}?lastEventId=1"), Some(here.as_str()), false, 3),
        (path.clone(), Some(elsewhere), true, 1),
        (format!("{path}?lastEventId={elsewhere}"), None, true, 1),
        (path.clone(), Some("1000000"), true, 1),
    ] {
        let mut response = open(&live, &target, header).await;
        let what = format!("{target} {header:?}");
        let seen = until(&mut response, |_, data| data["seq"] == 3).await;
        let records: Vec<_> = seen.iter().filter(|(name, ..)| name == "event").collect();
        assert_eq!(records[0].2["seq"], first, "{what}");
        for (_, id, data) in &records {
            assert_eq!(*id, format!("{epoch}:{}", data["seq"]), "{what}");
        }
        assert_eq!(seen[0].0 == "restarted", restarts, "{what}: {seen:?}");
        if restarts {
            assert_eq!((&seen[0].2["epoch"], &seen[0].1), (&json!(epoch), &String::new()));
        }
    }
}

#[tokio::test]
async fn the_end_of_a_stream_is_told() {
    let guarded = Guarded::start().await;
    let (id, key) = guarded.key("ada", &["chat", "agents"]).await;
    let bearer = format!("Bearer {key}");
    let as_ada = [("authorization", bearer.as_str())];
    let ask = async |method: &str, path: &str, body: Value| {
        call(&guarded.live, method, path, &as_ada, Some(body)).await.1
    };
    ask("POST", "/v1/agents", json!({"name": "ada"})).await;
    let mut streams = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let made = ask("POST", "/v1/sessions", json!({"agent": "ada"})).await;
        let session = made["session"].as_str().unwrap().to_owned();
        let url = format!("{}/v1/sessions/{session}/events", guarded.live.url);
        let request = http().get(url).bearer_auth(&key).header("accept", "text/event-stream");
        streams.push(request.send().await.unwrap());
        sessions.push(session);
    }
    let deleted = format!("/v1/sessions/{}", sessions[0]);
    assert_eq!(call(&guarded.live, "DELETE", &deleted, &as_ada, None).await.0, 204);
    let owner = format!("Bearer {}", guarded.owner);
    let revoke = format!("/v1/keys/{id}");
    let as_owner = [("authorization", owner.as_str())];
    for (stream, code) in streams.iter_mut().zip(["closed", "unauthorized"]) {
        if code == "unauthorized" {
            assert_eq!(call(&guarded.live, "DELETE", &revoke, &as_owner, None).await.0, 204);
        }
        let seen = until(stream, |name, _| name == "closed").await;
        let told = &seen.last().unwrap().2;
        assert_eq!(told["code"], code, "{told}");
        assert!(!told["reason"].as_str().unwrap().is_empty());
        assert!(stream.chunk().await.unwrap().is_none(), "nothing follows");
    }
}

#[tokio::test]
async fn streams_and_waits_count_among_their_users_connections_and_end_with_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "load_models = true\n[limits]\nconnections_per_user = 2").unwrap();
    let guarded = Guarded::with(&["--config", file.to_str().unwrap()]).await;
    let (id, key) = guarded.key("ada", &["chat", "agents"]).await;
    let bearer = format!("Bearer {key}");
    let as_ada = [("authorization", bearer.as_str())];
    let spec = json!({"name": "ada", "model": "load:items=100000,bytes=8,rate=5,deltas=no"});
    let (_, made) = call(&guarded.live, "POST", "/v1/agents", &as_ada, Some(spec)).await;
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let events = format!("{}/v1/sessions/{session}/events", guarded.live.url);
    let inputs = format!("{}/v1/sessions/{session}/inputs", guarded.live.url);
    let stream = || {
        let request = http().get(&events).bearer_auth(&key);
        request.header("accept", "text/event-stream").send()
    };
    let _first = stream().await.unwrap();
    let say = json!({"text": "go"});
    let wait = http().post(format!("{inputs}?wait=600")).bearer_auth(&key).json(&say).send();
    let waiting = tokio::spawn(wait);
    // It has its permit before its turn starts. Then there is none left, for any connection.
    let shown = format!("/v1/sessions/{session}");
    while call(&guarded.live, "GET", &shown, &as_ada, None).await.1["session"]["running"] != true {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stream().await.unwrap().status(), 429);
    let refused = http().post(format!("{inputs}?wait=1")).bearer_auth(&key).json(&say);
    assert_eq!(refused.send().await.unwrap().status(), 429);
    let mut socket = guarded.live.native().await;
    let answer = socket.ask(json!({"type": "hello", "id": "h", "token": key})).await;
    assert_eq!(answer["code"], "too_fast");
    // Streams without a lag continue, and refused inputs were not sent.
    let path = format!("/v1/sessions/{session}/inputs");
    let (status, queued) = call(&guarded.live, "GET", &path, &as_ada, None).await;
    assert_eq!((status, queued["inputs"].as_array().unwrap().len()), (200, 0), "{queued}");
    let owner = format!("Bearer {}", guarded.owner);
    let as_owner = [("authorization", owner.as_str())];
    let revoke = format!("/v1/keys/{id}");
    assert_eq!(call(&guarded.live, "DELETE", &revoke, &as_owner, None).await.0, 204);
    let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert_eq!(ended.expect("it ends with its key").unwrap().unwrap().status(), 401);
}

#[tokio::test]
async fn streams_and_waits_end_when_their_key_expires() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "load_models = true").unwrap();
    let guarded = Guarded::with(&["--config", file.to_str().unwrap()]).await;
    let (_, key) = guarded.key("ada", &["chat", "agents"]).await;
    let spec = json!({"name": "ada", "model": "load:items=100000,bytes=8,rate=5,deltas=no"});
    let (_, made) = guarded.call(&key, "POST", "/v1/agents", Some(spec)).await;
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let short = json!({"user": "ada", "scopes": ["chat"], "expires_in_seconds": 2});
    let (_, made) = guarded.call(&guarded.owner, "POST", "/v1/keys", Some(short)).await;
    let short = made["secret"].as_str().unwrap().to_owned();
    let started = Instant::now();
    let path = format!("{}/v1/sessions/{session}", guarded.live.url);
    let stream = http().get(format!("{path}/events")).bearer_auth(&short);
    let mut stream = stream.header("accept", "text/event-stream").send().await.unwrap();
    let wait = http().post(format!("{path}/inputs?wait=600")).bearer_auth(&short);
    let waiting = tokio::spawn(wait.json(&json!({"text": "go"})).send());
    let seen = until(&mut stream, |name, _| name == "closed").await;
    let (_, _, closed) = seen.last().unwrap();
    assert_eq!(closed["code"], "unauthorized", "{closed}");
    assert!(closed["reason"].as_str().unwrap().contains("expired"), "{closed}");
    assert!(seen.len() > 1, "the stream had events while the key was valid");
    let refused = waiting.await.unwrap().unwrap();
    assert_eq!(refused.status(), 401);
    let refused: Value = refused.json().await.unwrap();
    assert!(refused["error"]["reason"].as_str().unwrap().contains("expired"), "{refused}");
    let took = started.elapsed();
    assert!((1.5..10.0).contains(&took.as_secs_f64()), "they ended after {took:?}");
    // The turn belongs to its session and goes on.
    let (_, shown) = guarded.call(&key, "GET", &format!("/v1/sessions/{session}"), None).await;
    assert_eq!(shown["session"]["running"], true, "{shown}");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_cut_soon_after_its_key_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "load_models = true\n[limits]\nconnections_per_user = 1").unwrap();
    let guarded = Guarded::with(&["--config", file.to_str().unwrap()]).await;
    let (id, revoked) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, other) = guarded.key("ada", &["chat"]).await;
    // More than the two sockets between them hold.
    let spec = json!({"name": "ada", "model": "load:items=6000,bytes=4000,rate=100000,deltas=no"});
    let (_, made) = guarded.call(&revoked, "POST", "/v1/agents", Some(spec)).await;
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let path = format!("/v1/sessions/{session}");
    let say = Some(json!({"text": "go"}));
    let inputs = format!("{path}/inputs?wait=600");
    assert_eq!(guarded.call(&revoked, "POST", &inputs, say).await.0, 200);
    let host = guarded.live.url.split("://").nth(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut unread = socket.connect(host.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET {path}/events?after=0 HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {revoked}\r\n\r\n"
    );
    unread.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    unread.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    // It has the user's only place, and keeps it while its key is valid.
    let events = format!("{}{path}/events", guarded.live.url);
    let status = async || {
        let request = http().get(&events).bearer_auth(&other);
        request.header("accept", "text/event-stream").send().await.unwrap().status()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(status().await, 429);
    let revoke = format!("/v1/keys/{id}");
    assert_eq!(guarded.call(&guarded.owner, "DELETE", &revoke, None).await.0, 204);
    let started = Instant::now();
    while status().await != 200 {
        assert!(started.elapsed() < Duration::from_secs(10), "the stream keeps its place");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(unread);
}

#[tokio::test]
async fn a_reader_whose_log_is_trimmed_under_it_is_told() {
    let live = Live::start().await;
    // More than the two sockets between them hold.
    let model = "load:items=6000,bytes=4000,rate=100000,deltas=no";
    let (mut client, session) = live.agent("ada", model).await;
    let path = format!("/v1/sessions/{session}");
    let say = json!({"text": "go"});
    let inputs = format!("{path}/inputs?wait=600");
    assert_eq!(call(&live, "POST", &inputs, &[], Some(say.clone())).await.0, 200);
    let offline = json!({"model": "offline"});
    assert_eq!(call(&live, "PATCH", "/v1/agents/ada", &[], Some(offline)).await.0, 200);
    assert_eq!(call(&live, "POST", &inputs, &[], Some(say)).await.0, 200);
    let host = live.url.split("://").nth(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET {path}/events?after=0 HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = vec![0; 1024];
    stream.read_exact(&mut text).await.unwrap();
    let keep = json!({"keep_events": 1});
    assert_eq!(call(&live, "PATCH", &path, &[], Some(keep)).await.0, 200);
    while call(&live, "GET", &path, &[], None).await.1["first"] == 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rest = tokio::time::timeout(Duration::from_secs(30), async {
        let mut piece = vec![0; 1 << 16];
        let is_told = |text: &str| {
            text.split_once("event: closed").is_some_and(|(_, data)| data.contains("\n\n"))
        };
        while !is_told(&String::from_utf8_lossy(&text)) {
            let read = stream.read(&mut piece).await.unwrap();
            assert_ne!(read, 0, "the stream ended without a word");
            // Only its end matters.
            text.drain(..text.len().saturating_sub(1024));
            text.extend_from_slice(&piece[..read]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let rest = rest.await.expect("it is told");
    let (_, told) = rest.split_once("event: closed").unwrap();
    assert!(told.contains(r#""code":"trimmed""#), "{told}");
    assert!(client.is_quiet().await, "others go on");
}
