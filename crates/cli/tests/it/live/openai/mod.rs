//! The OpenAI-compatible endpoint, driven by PyPI's and npm's `openai` and by raw requests.

mod ends;

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::access::Guarded;
use super::endpoints::{
    ask_for_approval, module, printed, readme_blocks, share_a_session, succeed, with_ada,
};
use super::rest::{call, http};
use super::support::{Live, lasting_address, test_deps};

/// Version of PyPI's client, as in the Makefile.
const PYTHON_CLIENT: &str = "openai-3.57.0";

/// A scenario of `client.py`.
fn scenario(live: &Live, name: &str, arguments: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/live/openai/client.py");
    let mut command = Command::new(test_deps("venv/bin/python"));
    command.args([script, &live.url, name]).args(arguments);
    command.env("PYTHONPATH", test_deps(PYTHON_CLIENT));
    command
}

/// Runs a scenario. Returns what it prints before its `ok`.
async fn drive(live: &Live, name: &str, arguments: &[&str]) -> String {
    succeed(scenario(live, name, arguments)).await
}

/// Runs a module where npm's client is installed. Returns what it prints.
async fn run_module(text: &str, arguments: &[&str]) -> String {
    let mut command = module(".", text, arguments);
    command.env("OPENAI_API_KEY", "none");
    printed(command).await
}

#[tokio::test]
async fn models_are_the_agents() {
    let (live, _) = with_ada().await;
    drive(&live, "models", &[]).await;
}

#[tokio::test]
async fn a_conversation_with_reasoning_and_a_tool_of_the_agent() {
    let (live, _) = with_ada().await;
    drive(&live, "conversation", &[]).await;
}

#[tokio::test]
async fn tools_of_the_client_end_the_reply_and_their_results_go_on() {
    let (live, _) = with_ada().await;
    drive(&live, "client_tools", &[]).await;
}

#[tokio::test]
async fn an_approval_comes_from_beside() {
    let (live, _) = with_ada().await;
    ask_for_approval(&live).await;
    drive(&live, "approval", &[]).await;
}

#[tokio::test]
async fn two_completions_share_a_session_and_a_native_client_sees_the_same() {
    two_share_a_session("together").await;
}

#[tokio::test]
async fn two_responses_share_a_session_and_a_native_client_sees_the_same() {
    two_share_a_session("response_together").await;
}

async fn two_share_a_session(name: &str) {
    share_a_session(|live, session| scenario(live, name, &[session]), "openai").await;
}

#[tokio::test]
async fn a_name_stands_for_one_session() {
    let (live, _) = with_ada().await;
    drive(&live, "names", &[]).await;
}

#[tokio::test]
async fn a_repeated_request_has_no_second_effect() {
    let (live, _) = with_ada().await;
    drive(&live, "once", &[]).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_in_the_form_of_the_api() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, eve) = guarded.key("eve", &["chat", "agents"]).await;
    let (_, worker) = guarded.key("ada", &["offer"]).await;
    let draft = |name: &str| Some(json!({"name": name, "model": "offline"}));
    assert_eq!(guarded.call(&ada, "POST", "/v1/agents", draft("ada")).await.0, 201);
    let (_, made) = guarded.call(&eve, "POST", "/v1/agents", draft("eve")).await;
    let foreign = made["agent"]["main_session"].as_str().unwrap();
    drive(&guarded.live, "hostile", &[&ada, foreign]).await;
    let response = drive(&guarded.live, "foreign_response", &[&eve]).await;
    drive(&guarded.live, "hostile_responses", &[&ada, response.trim()]).await;
    let path = "/openai/v1/chat/completions";
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let large = format!("{{\"model\":\"{}\"}}", "a".repeat(2 << 20));
    for (body, key, status, code) in [
        ("{\"model\":", &ada, 400, "bad_request"),
        ("[]", &ada, 400, "bad_request"),
        ("{\"model\":\"\\ud800\",\"messages\":[]}", &ada, 400, "bad_request"),
        (deep.as_str(), &ada, 400, "bad_request"),
        (large.as_str(), &ada, 413, "too_large"),
        ("{}", &worker, 403, "forbidden"),
    ] {
        let request = http().post(format!("{}{path}", guarded.live.url)).bearer_auth(key);
        let request = request.header("content-type", "application/json").body(body.to_owned());
        let answer = request.send().await.unwrap();
        let what = body.get(..40).unwrap_or(body);
        assert_eq!(answer.status(), status, "{what}");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["code"], code, "{what}");
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
    }
    for (method, path, status) in [
        ("GET", "/openai/v1/files", 404),
        ("GET", path, 405),
        ("GET", "/openai/v1/responses/resp_1?stream=maybe", 400),
        ("GET", "/openai/v1/models/eve", 404),
    ] {
        let (found, body) = guarded.call(&ada, method, path, None).await;
        assert_eq!((found, body["error"]["message"].is_string()), (status, true), "{path}");
    }
    let headers = [("host", "evil.example")];
    let plain = Live::start().await;
    let (status, body) = call(&plain, "GET", "/openai/v1/models", &headers, None).await;
    assert_eq!((status, &body["error"]["type"]), (403, &json!("permission_error")), "{body}");
}

#[tokio::test]
async fn the_session_of_a_request_that_names_none_is_deleted_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[openai]\nkeep = \"1s\"\n").unwrap();
    let live = Live::on(dir.path(), &["--config", &config.display().to_string()]).await;
    let (mut watcher, main) = live.agent("ada", "offline").await;
    watcher.send(json!({"type": "watch"})).await;
    let ask = async |named: Value| {
        let mut request = json!({"model": "ada", "messages": [{"role": "user", "content": "hi"}]});
        request.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
        let (status, reply) =
            call(&live, "POST", "/openai/v1/chat/completions", &[], Some(request)).await;
        assert_eq!(status, 200, "{reply}");
        reply["metadata"]["session"].as_str().unwrap().to_owned()
    };
    let named = ask(json!({"metadata": {"session": "bo"}})).await;
    let passing = ask(json!({})).await;
    watcher.until(|frame| frame["type"] == "session_gone" && frame["session"] == passing).await;
    let (_, listed) = call(&live, "GET", "/v1/sessions", &[], None).await;
    let mut left: Vec<&str> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    left.sort_unstable();
    let mut expected = [main.as_str(), &named];
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn responses_converse_and_their_streams_resume_at_any_position() {
    let (live, _) = with_ada().await;
    drive(&live, "response_conversation", &[]).await;
}

#[tokio::test]
async fn functions_of_the_client_end_a_response_and_their_outputs_go_on() {
    let (live, _) = with_ada().await;
    drive(&live, "response_tools", &[]).await;
}

#[tokio::test]
async fn an_approval_is_asked_for_and_given_in_the_words_of_the_api() {
    let (live, _) = with_ada().await;
    ask_for_approval(&live).await;
    drive(&live, "response_approval", &[]).await;
}

#[tokio::test]
async fn responses_run_in_the_background_and_are_cancelled() {
    let (live, _) = with_ada().await;
    live.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=20").await;
    drive(&live, "response_background", &[]).await;
}

#[tokio::test]
async fn a_response_behind_an_older_one_is_in_a_branch() {
    let (live, _) = with_ada().await;
    live.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=20").await;
    for scenario in ["branches", "branches_at_once", "branches_of_open_turns"] {
        drive(&live, scenario, &[]).await;
    }
}

#[tokio::test]
async fn responses_list_their_input_and_are_deleted() {
    let (live, _) = with_ada().await;
    live.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=20").await;
    for scenario in ["input_items", "deletion"] {
        drive(&live, scenario, &[]).await;
    }
}

#[tokio::test]
async fn input_that_no_client_makes_changes_nothing() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let draft = json!({"name": "ada", "model": "offline"});
    assert_eq!(guarded.call(&ada, "POST", "/v1/agents", Some(draft)).await.0, 201);
    drive(&guarded.live, "odd_input", &[&ada]).await;
}

/// Reads the beginning of a slow response. Returns the reader, the response's id, and the text.
async fn begin_slowly(live: &Live, arguments: &[&str]) -> (Child, String, String) {
    let mut reading = scenario(live, "begin_slowly", arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reading.stdout.take().unwrap()).lines();
    let response = lines.next_line().await.unwrap().unwrap();
    let begun = lines.next_line().await.unwrap().unwrap();
    (reading, response, begun)
}

#[tokio::test]
async fn a_stream_resumes_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let address = lasting_address();
    let flags = ["--listen", address.as_str()];
    let mut live = Live::on(dir.path(), &flags).await;
    live.agent("slow", "load:items=40,bytes=40,deltas=yes,rate=20").await;
    let (_reading, response, begun) = begin_slowly(&live, &[]).await;
    live.kill().await;
    let live = Live::on(dir.path(), &flags).await;
    drive(&live, "go_on", &[&response, &begun]).await;
    let resumed = [live.url.as_str(), "resume", &response, &begun];
    assert_eq!(run_module(include_str!("client.mjs"), &resumed).await, "ok\n");
    let session = response.split('_').nth(1).unwrap();
    let path = format!("/v1/sessions/{session}/events?limit=1000");
    let (_, page) = call(&live, "GET", &path, &[], None).await;
    let kinds: Vec<&str> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["event"]["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"turn_resumed"), "{kinds:?}");
}

#[tokio::test]
async fn npms_client_converses_resumes_and_cancels() {
    let (live, _) = with_ada().await;
    live.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=20").await;
    ask_for_approval(&live).await;
    for scenario in ["chat", "responses", "tools", "branch", "cancel"] {
        let printed = run_module(include_str!("client.mjs"), &[&live.url, scenario]).await;
        assert_eq!(printed, "ok\n", "{scenario}");
    }
}

#[tokio::test]
async fn the_readmes_examples_run() {
    let (live, _) = with_ada().await;
    let python = readme_blocks("python", "/openai/v1", &live.url);
    let javascript = readme_blocks("js", "/openai/v1", &live.url);
    assert_eq!((python.len(), javascript.len()), (1, 1));
    let mut example = Command::new(test_deps("venv/bin/python"));
    example.args(["-c", &python[0]]).env("PYTHONPATH", test_deps(PYTHON_CLIENT));
    let printed = printed(example).await;
    assert_eq!(printed.matches("42").count(), 2, "{printed}");
    let printed = run_module(&javascript[0], &[]).await;
    assert_eq!(printed.matches("42").count(), 2, "{printed}");
}
