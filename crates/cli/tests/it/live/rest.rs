//! REST, and who may come in.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::support::{Live, kinds};
use super::test_store::new_store;

pub(super) fn http() -> reqwest::Client {
    // A second installation is refused and changes nothing.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub(super) async fn call(
    live: &Live,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = http().request(method.parse().unwrap(), format!("{}{path}", live.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    (
        response.status().as_u16(),
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn agents_sessions_inputs_and_events() {
    let live = Live::start().await;
    let (status, made) = call(&live, "POST", "/v1/agents", &[], Some(json!({"name": "ada"}))).await;
    assert_eq!(status, 201);
    assert_eq!(call(&live, "POST", "/v1/agents", &[], Some(json!({"name": "ada"}))).await.0, 409);
    assert_eq!(call(&live, "POST", "/v1/agents", &[], Some(json!({"name": ""}))).await.0, 400);
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let inputs = format!("/v1/sessions/{session}/inputs?wait=20");
    let once = [("idempotency-key", "k-1")];
    let (status, done) =
        call(&live, "POST", &inputs, &once, Some(json!({"text": "what is 6*7?"}))).await;
    assert_eq!(status, 200, "{done}");
    assert!(done["events"].to_string().contains("42"));
    let (_, again) =
        call(&live, "POST", &inputs, &once, Some(json!({"text": "what is 6*7?"}))).await;
    assert_eq!(
        (again["duplicate"].clone(), again["events"].clone()),
        (json!(true), done["events"].clone())
    );
    let (status, page) =
        call(&live, "GET", &format!("/v1/sessions/{session}/events?after=1&limit=2"), &[], None)
            .await;
    assert_eq!((status, page["events"].as_array().unwrap().len()), (200, 2));
    assert_eq!(page["events"][0]["seq"], 2);
    let (_, sessions) = call(&live, "GET", "/v1/sessions", &[], None).await;
    assert_eq!(sessions["sessions"][0]["agent_name"], "ada");
    assert!(
        sessions["sessions"][0]["usage"]["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
        "{sessions}"
    );
    let (status, second) =
        call(&live, "POST", "/v1/sessions", &[], Some(json!({"agent": "ada", "title": "Tea"})))
            .await;
    assert_eq!(status, 201);
    let second = second["session"].as_str().unwrap().to_owned();
    assert_eq!(call(&live, "DELETE", &format!("/v1/sessions/{second}"), &[], None).await.0, 204);
    assert_eq!(call(&live, "GET", &format!("/v1/sessions/{second}"), &[], None).await.0, 404);
    assert_eq!(call(&live, "DELETE", &format!("/v1/sessions/{session}"), &[], None).await.0, 403);
    assert_eq!(call(&live, "GET", "/nowhere", &[], None).await.0, 404);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(call(&live, "GET", path, &[], None).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn server_sent_events_resume_by_their_id() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "hello"})).await;
    let turn = client.turn().await;
    let last = turn.last().unwrap()["seq"].as_u64().unwrap();
    let mut response = http()
        .get(format!("{}/v1/sessions/{session}/events", live.url))
        .header("accept", "text/event-stream")
        .header("last-event-id", "2")
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    while !text.contains(&format!(":{last}\n")) {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(!text.contains(":2\n") && text.contains(":3\n"), "{text}");
    assert!(kinds(&turn).len() > 3);
}

#[tokio::test]
async fn a_wait_that_times_out_returns_the_position_of_its_turn() {
    let live = Live::start().await;
    let (_client, session) = live.agent("slow", "load:items=100000,bytes=8,rate=5,deltas=no").await;
    let once = [("idempotency-key", "k-1")];
    let inputs = format!("/v1/sessions/{session}/inputs?wait=0.1");
    let (status, told) = call(&live, "POST", &inputs, &once, Some(json!({"text": "go"}))).await;
    assert_eq!(
        (status, &told["disposition"], told.get("events")),
        (202, &json!("started"), None),
        "{told}"
    );
    let (status, again) = call(&live, "POST", &inputs, &once, Some(json!({"text": "go"}))).await;
    assert_eq!(
        (status, &again["duplicate"], &again["seq"]),
        (202, &json!(true), &told["seq"]),
        "it goes on, and was not said again"
    );
    let (status, refused) =
        call(&live, "POST", &inputs, &once, Some(json!({"text": "stop"}))).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("id_reused")));
}

/// The commands that the README shows for those without a socket, each in one line.
fn shown_commands() -> Vec<String> {
    let readme = include_str!("../../../../../README.md");
    let (_, part) = readme.split_once("**REST**").unwrap();
    let block = part.split("```").nth(1).unwrap().replace("\\\n", "");
    block
        .lines()
        .filter(|line| line.starts_with("curl ") || line.starts_with("thoughtwire "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_commands_of_the_readme_work_as_they_stand_there() {
    let live = Live::start().await;
    let (_client, session) = live.agent("ada", "offline").await;
    let shell = |line: &str| {
        let mut shell = tokio::process::Command::new("sh");
        let line = line
            .replace("http://127.0.0.1:8282", &live.url)
            .replace("thoughtwire ", concat!(env!("CARGO_BIN_EXE_thoughtwire"), " "));
        shell
            .args(["-c", &format!("exec {line}")])
            .env("SESSION", &session)
            .env("THOUGHTWIRE_URL", &live.url);
        shell.stdout(Stdio::piped()).kill_on_drop(true);
        shell
    };
    let [input, events, send] = &shown_commands()[..] else {
        panic!("the README shows three commands")
    };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let output = shell(input).output().await.unwrap();
        answers.push(
            serde_json::from_slice::<Value>(&output.stdout)
                .unwrap_or_else(|_| panic!("{output:?}")),
        );
    }
    let [first, again] = &answers[..] else { unreachable!() };
    assert!(first["events"].to_string().contains("42"), "{first}");
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(first["events"], again["events"]);
    let mut stream = shell(events).spawn().unwrap();
    let mut lines = BufReader::new(stream.stdout.take().unwrap()).lines();
    let (mut seqs, mut ended) = (Vec::new(), false);
    while !ended {
        let line = lines.next_line().await.unwrap().expect("a stream without end");
        if let Some(record) = line.strip_prefix("data: ") {
            let record: Value = serde_json::from_str(record).unwrap();
            seqs.push(record["seq"].as_u64().unwrap());
            ended = record["event"]["kind"] == "turn_ended";
        }
    }
    assert_eq!(seqs, (1..=*seqs.last().unwrap()).collect::<Vec<_>>());
    let output = shell(send).output().await.unwrap();
    let told: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (output.status.code(), json!(told)),
        (Some(0), first["events"].clone()),
        "the same input, and so the same answer"
    );
}

#[tokio::test]
async fn an_unreadable_body_is_refused_in_the_common_form() {
    let live = Live::start().await;
    let (_client, session) = live.agent("ada", "offline").await;
    let of = format!("/v1/sessions/{session}");
    for (method, path, body) in [
        ("GET", format!("{of}/events?limit=many"), None),
        ("POST", format!("{of}/inputs?wait=long"), Some(json!({"text": "hi"}))),
        ("POST", format!("{of}/inputs?wait=-1"), Some(json!({"text": "hi"}))),
        ("POST", format!("{of}/inputs"), Some(json!({"words": "hi"}))),
        ("POST", format!("{of}/cancel"), Some(json!({"turn": 1}))),
        ("GET", "/v1/agents/ada/recall".to_owned(), None),
    ] {
        let (status, answer) = call(&live, method, &path, &[], body).await;
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (400, Some("bad_request")),
            "{method} {path}: {answer}"
        );
    }
}

#[tokio::test]
async fn only_this_machine_comes_in_without_keys() {
    let live = Live::start().await;
    for (headers, admitted) in [
        (vec![("host", "evil.example")], false),
        (vec![("host", "localhost:1")], true),
        (vec![("origin", "https://evil.example")], false),
        (vec![("origin", "null")], false),
        (vec![("origin", "http://localhost:5173")], true),
        (vec![("x-forwarded-for", "1.2.3.4")], false),
        (vec![("forwarded", "for=1.2.3.4")], false),
    ] {
        let (status, body) = call(&live, "GET", "/v1/agents", &headers, None).await;
        assert_eq!(status == 200, admitted, "{headers:?} gave {status} {body}");
        let uri = live.ws("/v1/ws").parse().unwrap();
        let mut builder = tokio_websockets::ClientBuilder::from_uri(uri);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            builder = builder.add_header(name.parse().unwrap(), value.parse().unwrap()).unwrap();
        }
        if headers[0].0 != "host" {
            assert_eq!(builder.connect().await.is_ok(), admitted, "{headers:?} on a WebSocket");
        }
    }
}

#[tokio::test]
async fn with_keys_only_the_owners_token_opens() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::on(dir.path(), &["--auth", "keys"]).await;
    let file: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("server.json")).unwrap())
            .unwrap();
    let token = file["token"].as_str().unwrap();
    assert_eq!(call(&live, "GET", "/v1/agents", &[], None).await.0, 401);
    assert_eq!(
        call(&live, "GET", "/v1/agents", &[("authorization", "Bearer wrong")], None).await.0,
        401
    );
    let bearer = format!("Bearer {token}");
    assert_eq!(call(&live, "GET", "/v1/agents", &[("authorization", &bearer)], None).await.0, 200);
    let mut client = live.native().await;
    assert_eq!(
        client.ask(json!({"type": "create_agent", "id": "c", "name": "ada"})).await["code"],
        "unauthorized"
    );
    client.send(json!({"type": "hello", "token": token})).await;
    assert_eq!(
        client.ask(json!({"type": "create_agent", "id": "c", "name": "ada"})).await["type"],
        "ack"
    );
    let uri = live.ws("/memgpt").parse().unwrap();
    assert!(
        tokio_websockets::ClientBuilder::from_uri(uri).connect().await.is_err(),
        "MemGPT's wire has no place for a token but the request"
    );
    let mut sparky = live.sparky(json!({"user_id": "u1"})).await;
    assert_eq!(sparky.next().await["type"], "error");
    sparky.send(json!({"type": "connect", "data": {"user_id": "u1", "token": token}})).await;
    sparky.until_type("ready").await;
}

#[tokio::test]
async fn a_server_that_others_can_reach_needs_a_word_about_keys() {
    let dir = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(["serve", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(dir.path())
        .envs(new_store(dir.path()))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("thoughtwire keys add"));
    // The command in the message works on the directory that it names.
    let made = tokio::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(["keys", "add", "--expires", "30d", "--data-dir"])
        .arg(dir.path())
        .envs(new_store(dir.path()))
        .output()
        .await
        .unwrap();
    let key = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && key.starts_with("twk_"));
    let live = Live::on(dir.path(), &["--listen", "0.0.0.0:0"]).await;
    let bearer = format!("Bearer {}", key.trim());
    assert_eq!(
        call(&live, "GET", "/v1/sessions", &[("authorization", &bearer)], None).await.0,
        200
    );
    assert_eq!(call(&live, "GET", "/v1/sessions", &[], None).await.0, 401);
}

#[tokio::test]
async fn the_page_comes_with_its_policy_and_is_kept_by_its_names() {
    let live = Live::start().await;
    let page = http().get(&live.url).send().await.unwrap();
    assert!(
        page.status() == 200
            && page.headers()["content-type"].to_str().unwrap().starts_with("text/html")
    );
    let policy = page
        .headers()
        .get("content-security-policy")
        .map(|policy| policy.to_str().unwrap().to_owned());
    let text = page.text().await.unwrap();
    let Some((_, name)) = text.split_once("src=\"./assets/") else {
        // Built without npm: the server runs, and says how to get the page.
        assert!(text.contains("make web"), "{text}");
        return;
    };
    let policy = policy.unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let name = name.split('"').next().unwrap();
    let plain = reqwest::Client::builder().no_gzip().build().unwrap();
    let script = plain
        .get(format!("{}/assets/{name}", live.url))
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(script.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(script.headers()["content-encoding"], "gzip");
    assert!(script.bytes().await.unwrap().len() < 150_000);
    assert_eq!(
        http().get(format!("{}/assets/nothing.js", live.url)).send().await.unwrap().status(),
        404
    );
}
