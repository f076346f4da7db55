//! The AG-UI endpoint, driven by npm's `@ag-ui/client` and by raw requests.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::access::Guarded;
use super::endpoints::{
    ask_for_approval, module, printed, readme_blocks, share_a_session, succeed, with_ada,
};
use super::rest::{call, http};
use super::support::{Live, events, lasting_address};

/// The client's folder, as in the Makefile.
const CLIENT: &str = "ag-ui-1.0.0";

/// Model of an agent whose turns do not end.
const ENDLESS: &str = "load:items=100000,bytes=40,deltas=yes,rate=20";

/// A scenario of `client.mjs`.
fn scenario(url: &str, name: &str, arguments: &[&str]) -> Command {
    module(CLIENT, include_str!("client.mjs"), &[&[url, name], arguments].concat())
}

/// Runs a scenario. Returns what it prints before its `ok`.
async fn drive(live: &Live, name: &str, arguments: &[&str]) -> String {
    succeed(scenario(&live.url, name, arguments)).await
}

#[tokio::test]
async fn a_conversation_with_reasoning_a_tool_and_state_and_a_native_client_sees_it() {
    let (live, _) = with_ada().await;
    let printed = drive(&live, "conversation", &[]).await;
    let mut native = live.native().await;
    let (_, frames) = native.attach(printed.trim(), Some(0)).await;
    let seen = events(&frames);
    let from: Vec<&str> = seen.iter().filter_map(|frame| frame["event"]["from"].as_str()).collect();
    assert_eq!(from, ["ag-ui", "ag-ui"]);
    assert!(seen.iter().any(|frame| frame["event"]["text"] == "calculator says: 42"));
}

#[tokio::test]
async fn a_thread_that_began_elsewhere_keeps_its_history() {
    let (live, _) = with_ada().await;
    drive(&live, "history", &[]).await;
}

#[tokio::test]
async fn an_approval_is_an_interrupt_that_the_next_run_answers() {
    let (live, _) = with_ada().await;
    ask_for_approval(&live).await;
    drive(&live, "approval", &[]).await;
}

#[tokio::test]
async fn tools_of_the_client_end_the_run_and_their_results_go_on() {
    let (live, _) = with_ada().await;
    drive(&live, "frontendTool", &[]).await;
}

#[tokio::test]
async fn two_clients_share_a_session_and_a_native_client_sees_the_same() {
    let together = |live: &Live, session: &str| scenario(&live.url, "together", &[session]);
    share_a_session(together, "ag-ui").await;
}

#[tokio::test]
async fn a_client_that_connects_gets_the_past_and_the_running_turn() {
    let live = Live::start().await;
    live.agent("slow", "load:items=40,bytes=40,deltas=yes,rate=20").await;
    drive(&live, "connect", &[]).await;
}

#[tokio::test]
async fn a_run_goes_on_after_a_kill_without_loss_or_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let address = lasting_address();
    let flags = ["--listen", address.as_str()];
    let mut live = Live::on(dir.path(), &flags).await;
    live.agent("slow", "load:items=40,bytes=40,deltas=yes,rate=20").await;
    let url = format!("http://{address}");
    let mut reading = scenario(&url, "survive", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reading.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("begun"));
    live.kill().await;
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("broken"));
    let _live = Live::on(dir.path(), &flags).await;
    reading.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ok"));
}

#[tokio::test]
async fn a_question_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    live.agent("ada", "offline").await;
    ask_for_approval(&live).await;
    let asked = drive(&live, "ask", &[]).await;
    live.kill().await;
    let live = Live::on(dir.path(), &[]).await;
    drive(&live, "answer", &[&asked]).await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_nothing_and_stop_does() {
    let live = Live::start().await;
    live.agent("endless", ENDLESS).await;
    drive(&live, "stop", &[]).await;
}

#[tokio::test]
async fn a_turn_that_fails_is_an_error_of_the_run() {
    let live = Live::start().await;
    live.agent("broken", "ollama/none").await;
    drive(&live, "failure", &[]).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_in_the_form_of_the_protocol() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, eve) = guarded.key("eve", &["chat", "agents"]).await;
    let (_, worker) = guarded.key("ada", &["offer"]).await;
    let (_, reader) = guarded.key("ada", &["chat"]).await;
    let draft = |name: &str| Some(json!({"name": name, "model": "offline"}));
    assert_eq!(guarded.call(&ada, "POST", "/v1/agents", draft("ada")).await.0, 201);
    let (_, made) = guarded.call(&eve, "POST", "/v1/agents", draft("mine")).await;
    let foreign = made["agent"]["main_session"].as_str().unwrap();
    drive(&guarded.live, "hostile", &[&ada, foreign]).await;
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let large = format!("{{\"threadId\":\"{}\"}}", "a".repeat(17 << 20));
    let with = |more: Value| {
        let mut input = json!({"threadId": "t", "runId": "r", "messages": []});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input.to_string()
    };
    let said = json!([{"id": "m", "role": "user", "content": "hi"}]);
    let path = "/ag-ui/ada";
    for (body, key, status, code) in [
        ("{\"threadId\":".to_owned(), &ada, 400, "bad_request"),
        ("[]".to_owned(), &ada, 400, "bad_request"),
        (
            "{\"threadId\":\"\\ud800\",\"runId\":\"r\",\"messages\":[]}".to_owned(),
            &ada,
            400,
            "bad_request",
        ),
        (deep, &ada, 400, "bad_request"),
        (large, &ada, 413, "too_large"),
        (with(json!({})), &worker, 403, "forbidden"),
        (with(json!({"messages": said, "threadId": ""})), &ada, 400, "bad_request"),
        (with(json!({"messages": said, "runId": ""})), &ada, 400, "bad_request"),
        (with(json!({"messages": [{"id": "m", "role": "wizard"}]})), &ada, 400, "bad_request"),
        (
            with(json!({"messages": [{"id": "m", "role": "user", "content": 7}]})),
            &ada,
            400,
            "bad_request",
        ),
    ] {
        let request = http().post(format!("{}{path}", guarded.live.url)).bearer_auth(key);
        let what = body.get(..80).unwrap_or(&body).to_owned();
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{what}");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((&body["type"], &body["code"]), (&json!("RUN_ERROR"), &json!(code)), "{what}");
        assert!(body["message"].is_string());
    }
    for (method, path, status) in
        [("GET", "/ag-ui/ada", 405), ("POST", "/ag-ui/ada/else", 404), ("POST", "/ag-ui", 404)]
    {
        let (found, body) = guarded.call(&ada, method, path, None).await;
        assert_eq!((found, &body["type"]), (status, &json!("RUN_ERROR")), "{path}");
    }
    // The memory is for callers that may read it.
    let input = json!({"threadId": "t", "runId": "r", "messages": said});
    let request = http().post(format!("{}{path}", guarded.live.url)).bearer_auth(&reader);
    let request = request.header("content-type", "application/json").body(input.to_string());
    let stream = request.send().await.unwrap().text().await.unwrap();
    assert!(stream.contains("RUN_FINISHED") && !stream.contains("STATE_"), "{stream}");
    let headers = [("host", "evil.example")];
    let plain = Live::start().await;
    let (status, body) = call(&plain, "POST", "/ag-ui/ada", &headers, None).await;
    assert_eq!((status, &body["type"]), (403, &json!("RUN_ERROR")), "{body}");
}

#[tokio::test]
async fn the_readmes_example_runs() {
    let (live, _) = with_ada().await;
    let blocks = readme_blocks("js", "/ag-ui/", &live.url);
    assert_eq!(blocks.len(), 1);
    let printed = printed(module(CLIENT, &blocks[0], &[])).await;
    assert!(printed.contains("42"), "{printed}");
}

/// Begins a run of an endless turn. Returns its answer, of which some text was read.
async fn endless(live: &Live, key: &str) -> reqwest::Response {
    let said = json!([{"id": "m", "role": "user", "content": "go"}]);
    let input = json!({"threadId": "t", "runId": "r", "messages": said});
    let request = http().post(format!("{}/ag-ui/endless", live.url)).bearer_auth(key);
    let request = request.header("content-type", "application/json").body(input.to_string());
    let mut answer = request.send().await.unwrap();
    let mut read = String::new();
    while !read.contains("TEXT_MESSAGE_CONTENT") {
        let chunk = answer.chunk().await.unwrap().expect("the run goes on");
        read.push_str(&String::from_utf8_lossy(&chunk));
    }
    answer
}

#[tokio::test]
async fn a_run_ends_with_its_key_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "load_models = true\n").unwrap();
    let guarded = Guarded::with(&["--config", &config.display().to_string()]).await;
    let (id, key) = guarded.key("ada", &["chat", "agents"]).await;
    let draft = json!({"name": "endless", "model": ENDLESS});
    let (status, made) = guarded.call(&key, "POST", "/v1/agents", Some(draft)).await;
    assert_eq!(status, 201, "{made}");
    let mut run = endless(&guarded.live, &key).await;
    let (status, _) = guarded.call(&guarded.owner, "DELETE", &format!("/v1/keys/{id}"), None).await;
    assert_eq!(status, 204);
    let mut rest = String::new();
    while let Some(chunk) = run.chunk().await.unwrap() {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    let last: Value = serde_json::from_str(rest.trim().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["code"]), (&json!("RUN_ERROR"), &json!("unauthorized")));
}

#[tokio::test]
async fn a_stop_of_the_server_breaks_the_stream_off_without_an_end() {
    let mut live = Live::start().await;
    live.agent("endless", ENDLESS).await;
    let mut run = endless(&live, "none").await;
    live.signal();
    let mut rest = String::new();
    while let Ok(Some(chunk)) = run.chunk().await {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(!rest.contains("RUN_"), "{rest}");
    assert_eq!(live.end().await.code(), Some(0));
}
