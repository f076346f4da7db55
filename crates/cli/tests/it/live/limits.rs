//! Limits per client, user and address, and their effect on others.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rest::{call, http};
use super::support::{Live, TestClient};

async fn with(settings: &str, flags: &[&str]) -> (Live, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, settings).unwrap();
    let live = Live::on(
        &dir.path().join("data"),
        &[&["--config", file.to_str().unwrap()], flags].concat(),
    )
    .await;
    (live, dir)
}

async fn address(live: &Live) -> TcpStream {
    TcpStream::connect(live.url.split("://").nth(1).unwrap()).await.unwrap()
}

/// Waits until the server has closed a raw connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest))
        .await
        .expect("it is closed")
        .ok();
}

async fn is_served(client: &mut TestClient) {
    client.send(json!({"type": "ping"})).await;
    client.until_type("pong").await;
}

#[tokio::test]
async fn commands_that_come_too_fast_are_refused_and_the_connection_goes_on() {
    let (live, _dir) = with("[limits]\ncommands_per_second = 5", &[]).await;
    let (mut client, session) = live.agent("ada", "offline").await;
    for n in 0..40 {
        client
            .send(json!({"type": "rename", "id": format!("r{n}"), "session": session,
            "title": n.to_string()}))
            .await;
    }
    let answers = client.until(|frame| frame["id"] == "r39").await;
    let slow = answers.iter().filter(|frame| frame["code"] == "too_fast").count();
    assert!((1..40).contains(&slow), "{slow} of 40 were refused");
    assert!(answers.iter().all(|frame| frame["code"] != "too_fast" || frame["retry"] == true));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        client
            .ask(json!({"type": "rename", "id": "later", "session": session, "title": "calm"}))
            .await["type"],
        "ack"
    );
}

#[tokio::test]
async fn a_user_and_an_address_have_so_many_connections_and_get_them_back() {
    let (live, dir) = with("[limits]\nconnections_per_user = 2", &["--auth", "keys"]).await;
    let file: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(dir.path().join("data/server.json")).unwrap(),
    )
    .unwrap();
    let owner = format!("Bearer {}", file["token"].as_str().unwrap());
    let mut keys = Vec::new();
    for user in ["ada", "bob"] {
        let (_, made) = call(
            &live,
            "POST",
            "/v1/keys",
            &[("authorization", &owner)],
            Some(json!({"user": user})),
        )
        .await;
        keys.push(made["secret"].as_str().unwrap().to_owned());
    }
    let enter = async |key: &str| {
        let mut client = live.native().await;
        let answer = client.ask(json!({"type": "hello", "id": "h", "token": key})).await;
        (client, answer)
    };
    let (first, _) = enter(&keys[0]).await;
    let (mut second, _) = enter(&keys[0]).await;
    assert_eq!(enter(&keys[0]).await.1["code"], "too_fast");
    assert_eq!(enter(&keys[1]).await.1["type"], "ack", "another user has places of their own");
    is_served(&mut second).await;
    drop(first);
    // Given back as soon as the server has noticed.
    while enter(&keys[0]).await.1["type"] != "ack" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (live, _dir) = with("[limits]\nconnections_per_address = 3", &[]).await;
    let mut client = live.native().await;
    let (one, two) = (address(&live).await, address(&live).await);
    tokio::time::timeout(Duration::from_secs(30), closed(address(&live).await))
        .await
        .expect("a fourth is closed at once");
    is_served(&mut client).await;
    drop((one, two));
    loop {
        if http().get(format!("{}/healthz", live.url)).send().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// 10,000 connections, or as many as this process may have beside those of the other tests.
fn half_open() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(20_000);
    if limit.current.is_some_and(|current| current < most) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
            .unwrap();
    }
    usize::try_from(most.saturating_sub(2_000)).unwrap().clamp(100, 10_000)
}

#[tokio::test]
async fn an_unfinished_request_is_closed_without_effect_on_others() {
    let (live, _dir) = with("[limits]\nhandshake_seconds = 20", &[]).await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, None).await;
    let mut slow = Vec::new();
    for n in 0..half_open() {
        let mut stream = address(&live).await;
        // Silent, at the first line, and byte by byte within a header.
        let begun: &[u8] =
            [&b""[..], b"GET / HT", b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nX: "][n % 3];
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
        if n % 1_000 == 0 {
            is_served(&mut client).await;
        }
    }
    client
        .send(json!({"type": "send", "id": "m", "session": session, "text": "what is 6*7?"}))
        .await;
    assert!(
        client
            .turn()
            .await
            .iter()
            .any(|frame| frame["event"]["text"].as_str().is_some_and(|text| text.contains("42")))
    );
    // New connections are accepted again.
    is_served(&mut live.native().await).await;
    for stream in slow {
        closed(stream).await;
    }
    is_served(&mut client).await;
}

#[tokio::test]
async fn a_flood_of_pings_and_a_compressed_frame_hurt_nobody_else() {
    let live = Live::start().await;
    let mut served = live.native().await;
    let mut flooding = live.native().await;
    for n in 0..5_000 {
        let payload = tokio_websockets::Payload::from(vec![0_u8; 100]);
        futures::SinkExt::send(&mut flooding.socket, tokio_websockets::Message::ping(payload))
            .await
            .unwrap();
        if n % 1_000 == 0 {
            is_served(&mut served).await;
        }
    }
    is_served(&mut served).await;
    // Compression was never agreed on, so a frame that claims it breaks the protocol before
    // anything is unpacked.
    let mut stream = address(&live).await;
    let host = live.url.split("://").nth(1).unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: \
        websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
        dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 4096];
    let read = stream.read(&mut head).await.unwrap();
    assert!(
        !String::from_utf8_lossy(&head[..read]).to_lowercase().contains("sec-websocket-extensions")
    );
    stream.write_all(&[0xC1, 0x80, 0, 0, 0, 0]).await.unwrap();
    closed(stream).await;
    is_served(&mut served).await;
}

#[tokio::test]
async fn the_server_speaks_tls_and_the_owners_commands_find_it() {
    let dir = tempfile::tempdir().unwrap();
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let data = dir.path().join("data");
    let flags =
        ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let live = Live::on(&data, &flags).await;
    assert!(live.url.starts_with("https://"), "{}", live.url);
    drop(http());
    let trusting = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap());
    let trusting = trusting.build().unwrap();
    assert_eq!(
        trusting.get(format!("{}/healthz", live.url)).send().await.unwrap().text().await.unwrap(),
        "ok\n"
    );
    // A handshake that never ends keeps nobody out.
    let silent = address(&live).await;
    assert_eq!(trusting.get(format!("{}/readyz", live.url)).send().await.unwrap().status(), 200);
    drop(silent);
    let listed = tokio::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(["sessions", "list", "--json", "--data-dir"])
        .arg(&data)
        .output()
        .await
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let wrong = tokio::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--tls-certificate",
            key.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
            "--data-dir",
        ])
        .arg(dir.path().join("other"))
        .output()
        .await
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("no certificate"),
        "{}",
        String::from_utf8_lossy(&wrong.stderr)
    );
}

#[tokio::test]
async fn behind_a_proxy_that_is_trusted_keys_are_asked_for_and_cookies_are_secure() {
    let (live, dir) = with("", &["--trust-proxy"]).await;
    let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.7")];
    assert_eq!(
        call(&live, "GET", "/v1/agents", &forwarded, None).await.0,
        401,
        "who is behind a proxy is not the owner"
    );
    let file: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(dir.path().join("data/server.json")).unwrap(),
    )
    .unwrap();
    let login = http().post(format!("{}/v1/login", live.url)).json(&json!({"key": file["token"]}));
    let set =
        |answer: reqwest::Response| answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        set(login.try_clone().unwrap().header("x-forwarded-proto", "https").send().await.unwrap())
            .contains("; Secure")
    );
    assert!(!set(login.send().await.unwrap()).contains("; Secure"));
}

#[tokio::test]
async fn too_deep_nesting_is_refused_on_every_wire_and_the_connection_lives() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    for (settings, most) in [("[limits]\njson_depth = 8", 8), ("", 127)] {
        let (live, _dir) = with(settings, &[]).await;
        let sentence = format!("the frame is nested more than {most} levels deep");
        let mut native = live.native().await;
        native.send_text(&format!(r#"{{"type":"ping","x":{}}}"#, nested(most))).await;
        let refused = native.next().await;
        assert_eq!((&refused["code"], &refused["reason"]), (&json!("too_large"), &json!(sentence)));
        // As deep as it may be, and brackets within a text are none.
        native.send_text(&format!(r#"{{"type":"ping","x":{}}}"#, nested(most - 1))).await;
        assert_eq!(native.next().await["type"], "pong");
        native.send_text(&format!(r#"{{"type":"ping","x":"\"{}"}}"#, nested(500))).await;
        assert_eq!(native.next().await["type"], "pong");

        let mut memgpt = live.connect("/memgpt").await;
        memgpt
            .send_text(&format!(r#"{{"type":"user_message","message":"x","x":{}}}"#, nested(most)))
            .await;
        assert_eq!(
            memgpt.next().await["status"],
            format!("Error: bad data from client - {sentence}")
        );
        memgpt.send(json!({"type": "command", "command": "load_agent", "name": "nobody"})).await;
        assert!(memgpt.next().await.to_string().contains("Failed to load agent"));

        let mut sparky = live.sparky(json!({})).await;
        sparky.until_type("ready").await;
        sparky
            .send_text(&format!(
                r#"{{"type":"message","data":{{"text":"x","x":{}}}}}"#,
                nested(most)
            ))
            .await;
        assert!(sparky.until_type("error").await.pop().unwrap().to_string().contains(&sentence));
        sparky.send(json!({"type": "message", "data": {"text": "what is 6*7?"}})).await;
        sparky.until_type("message").await;
    }
    let dir = tempfile::tempdir().unwrap();
    let said = {
        let file = dir.path().join("config.toml");
        std::fs::write(&file, "[limits]\njson_depth = 500").unwrap();
        let args = ["config", "check", "--config", file.to_str().unwrap()];
        crate::usage::thoughtwire(&args, b"").err
    };
    assert!(
        said.contains("`limits.json_depth` is \"500\"") && said.contains("a number from 1 to 127"),
        "{said}"
    );
}

#[tokio::test]
async fn a_full_archive_takes_no_more_and_keeps_what_it_has() {
    let (live, _dir) = with("[limits]\narchival_bytes = 40", &[]).await;
    let (mut client, session) = live.agent("ada", "offline").await;
    let add = async |text: &str| {
        let notes = json!({"notes": [{"text": text}]});
        call(&live, "POST", "/v1/agents/ada/archival", &[], Some(notes)).await
    };
    assert_eq!(add(&"a".repeat(30)).await.0, 201);
    let (status, refused) = add(&"b".repeat(11)).await;
    assert_eq!((status, &refused["error"]["code"]), (507, &json!("archival_full")));
    assert_eq!(
        refused["error"]["reason"],
        "archival memory may hold 40 bytes, and this would be more; nothing was added"
    );
    assert_eq!(add(&"c".repeat(10)).await.0, 201);
    // The agent itself is told, and goes on.
    client.attach(&session, None).await;
    client
        .send(json!({"type": "send", "id": "m", "session": session,
            "text": format!("Remember that {}", "plums are purple ".repeat(30))}))
        .await;
    let told = client.turn().await;
    let returned = told
        .iter()
        .find(|frame| frame["event"]["kind"] == "tool_returned")
        .expect("a call of a tool");
    assert_eq!(returned["event"]["status"], "error", "{returned}");
    assert!(
        returned["event"]["text"].as_str().unwrap().contains("may hold 40 bytes"),
        "{returned}"
    );
    let (_, page) = call(&live, "GET", "/v1/agents/ada/archival", &[], None).await;
    assert_eq!(page["total"], 2);
}

#[tokio::test]
async fn a_turn_without_end_is_ended_and_what_waits_runs() {
    let (live, _dir) = with("[limits]\nturn_seconds = 1", &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1000000,bytes=10,rate=20").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "id": "one", "session": session, "text": "go"})).await;
    client.send(json!({"type": "send", "id": "two", "session": session, "text": "go on"})).await;
    for _ in 0..2 {
        let end = client.turn().await.pop().unwrap();
        assert_eq!(
            (&end["event"]["outcome"], &end["event"]["code"]),
            (&json!("failed"), &json!("turn_limit")),
            "{end}"
        );
        assert_eq!(
            end["event"]["reason"],
            "The turn took longer than 1 s, which is the limit. Say how it should go on."
        );
    }
}
