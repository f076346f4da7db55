//! The AI SDK's endpoint, driven by npm's `ai` and `@ai-sdk/react`, in Node.js and in Chromium, and
//! by raw requests.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::access::Guarded;
use super::endpoints::{
    ask_for_approval, module, printed, readme_blocks, share_a_session, succeed, with_ada,
};
use super::rest::{call, http};
use super::support::{Live, lasting_address};
use crate::retry_question::PAYMENTS;

/// Folder of the clients, as in the Makefile.
const CLIENTS: &str = "ai-sdk-7.0.173";

/// A server that can be killed, and started again by the test at the same address.
struct Mortal {
    dir: tempfile::TempDir,
    address: String,
    live: Live,
}

impl Mortal {
    /// A server with an MCP server `bank`, and with the agent `slow`.
    async fn start() -> Self {
        let (dir, address) = (tempfile::tempdir().unwrap(), lasting_address());
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("bank.py"), PAYMENTS).unwrap();
        let args = [path("bank.py"), path("payments")];
        let config = format!("[mcp.bank]\ncommand = \"python3\"\nargs = {args:?}\n");
        std::fs::write(path("config.toml"), config).unwrap();
        let live = Self::serve(&dir, &address).await;
        live.agent("slow", "load:items=240,bytes=40,deltas=yes,rate=20").await;
        Self { dir, address, live }
    }

    async fn serve(dir: &tempfile::TempDir, address: &str) -> Live {
        let config = dir.path().join("config.toml").display().to_string();
        Live::on(dir.path(), &["--listen", address, "--config", &config]).await
    }

    /// Its URL that stays the same.
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts a page that prints the session of an answer. Kills the server then, starts it again,
    /// lets the page go on, and checks the session's log.
    async fn kill_under(mut self, mut page: Command) {
        let mut page = page.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(page.stdout.take().unwrap()).lines();
        let session = lines.next_line().await.unwrap().unwrap();
        self.live.kill().await;
        let live = Self::serve(&self.dir, &self.address).await;
        page.stdin.take().unwrap().write_all(b"go on\n").await.unwrap();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ok"));
        let path = format!("/v1/sessions/{session}/events?limit=1000");
        let (_, page) = call(&live, "GET", &path, &[], None).await;
        let records = page["events"].as_array().unwrap();
        let count = |kind| records.iter().filter(|record| record["event"]["kind"] == kind).count();
        assert!(count("turn_resumed") > 0, "{page}");
        assert_eq!((count("user_message"), count("turn_ended")), (1, 1), "{page}");
    }
}

/// A scenario of `client.mjs`.
fn scenario(url: &str, name: &str, arguments: &[&str]) -> Command {
    module(CLIENTS, include_str!("client.mjs"), &[&[url, name], arguments].concat())
}

/// Runs a scenario. Returns what it prints before its `ok`.
async fn drive(live: &Live, name: &str, arguments: &[&str]) -> String {
    succeed(scenario(&live.url, name, arguments)).await
}

/// Makes the agent `ada`, which asks before it calculates.
async fn careful_ada(live: &Live) {
    live.agent("ada", "offline").await;
    ask_for_approval(live).await;
}

async fn with_careful_ada() -> Live {
    let live = Live::start().await;
    careful_ada(&live).await;
    live
}

#[tokio::test]
async fn a_conversation_with_reasoning_and_a_tool_of_the_agent() {
    let (live, _) = with_ada().await;
    drive(&live, "conversation", &[]).await;
}

#[tokio::test]
async fn an_approval_is_asked_for_and_given_in_the_words_of_the_sdk() {
    drive(&with_careful_ada().await, "approval", &[]).await;
}

#[tokio::test]
async fn the_first_answer_to_a_request_for_approval_counts() {
    drive(&with_careful_ada().await, "approved_beside", &[]).await;
}

#[tokio::test]
async fn a_message_that_comes_before_the_answer_waits_for_its_turn() {
    drive(&with_careful_ada().await, "message_before_the_answer", &[]).await;
}

#[tokio::test]
async fn tools_of_the_client_run_on_its_page_also_after_a_reload() {
    let (live, _) = with_ada().await;
    drive(&live, "client_tools", &[]).await;
}

#[tokio::test]
async fn two_clients_share_a_session_and_a_native_client_sees_the_same() {
    let together = |live: &Live, session: &str| scenario(&live.url, "together", &[session]);
    share_a_session(together, "ai-sdk").await;
}

#[tokio::test]
async fn a_second_reader_sees_the_same_answer() {
    let live = Live::start().await;
    live.agent("short", "load:items=40,bytes=40,deltas=yes,rate=40").await;
    drive(&live, "second_reader", &[]).await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_has_no_second_effect() {
    let (live, _) = with_ada().await;
    drive(&live, "once", &[]).await;
}

#[tokio::test]
async fn another_answer_and_an_edited_message_are_new_inputs() {
    let (live, _) = with_ada().await;
    drive(&live, "again", &[]).await;
}

#[tokio::test]
async fn an_aborted_request_ends_no_turn_and_the_stop_route_does() {
    let live = Live::start().await;
    live.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=40").await;
    drive(&live, "stop", &[]).await;
}

#[tokio::test]
async fn a_turn_that_fails_is_an_error_of_the_chat() {
    let live = Live::start().await;
    live.agent("broken", "ollama/none").await;
    drive(&live, "failing", &[]).await;
}

#[tokio::test]
async fn an_answer_resumes_after_a_kill_without_loss_or_repetition() {
    let mortal = Mortal::start().await;
    let page = scenario(&mortal.url(), "killed", &[]);
    mortal.kill_under(page).await;
}

#[tokio::test]
async fn the_answer_to_an_earlier_question_does_not_run_an_interrupted_call_again() {
    let mortal = Mortal::start().await;
    mortal.live.agent("ada", "offline").await;
    let ask = json!({"permissions": {"bank__pay": "ask"}});
    assert_eq!(call(&mortal.live, "PATCH", "/v1/agents/ada", &[], Some(ask)).await.0, 200);
    // The MCP server starts beside the server.
    let has_tool = |agent: Value| agent["tools"].to_string().contains("bank__pay");
    while !has_tool(call(&mortal.live, "GET", "/v1/agents/ada", &[], None).await.1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let payments = mortal.dir.path().join("payments").display().to_string();
    let page = scenario(&mortal.url(), "interrupted", &[&payments]);
    mortal.kill_under(page).await;
}

#[tokio::test]
async fn a_page_in_chromium_approves_is_loaded_again_and_outlives_a_kill() {
    let mortal = Mortal::start().await;
    careful_ada(&mortal.live).await;
    let url = mortal.url();
    let page = [url.as_str(), include_str!("page.jsx")];
    let page = module(CLIENTS, include_str!("chromium.mjs"), &page);
    mortal.kill_under(page).await;
}

#[tokio::test]
async fn the_readmes_example_runs() {
    let (live, _) = with_ada().await;
    let blocks = readme_blocks("js", "/ai-sdk/", &live.url);
    assert_eq!(blocks.len(), 1);
    let printed = printed(module(CLIENTS, &blocks[0], &[])).await;
    assert_eq!(printed.matches("42").count(), 1, "{printed}");
}

#[tokio::test]
async fn wrong_requests_are_refused_with_a_sentence() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, eve) = guarded.key("eve", &["chat", "agents"]).await;
    let (_, worker) = guarded.key("ada", &["offer"]).await;
    let draft = |name: &str| Some(json!({"name": name, "model": "offline"}));
    assert_eq!(guarded.call(&ada, "POST", "/v1/agents", draft("ada")).await.0, 201);
    let (_, made) = guarded.call(&eve, "POST", "/v1/agents", draft("eve")).await;
    let foreign = made["agent"]["main_session"].as_str().unwrap();
    drive(&guarded.live, "hostile", &[&ada, foreign]).await;
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let large = format!("{{\"id\":\"{}\"}}", "a".repeat(2 << 20));
    let message = |message: Value| json!({"id": "x", "messages": [message]}).to_string();
    let answer = |parts: Value| {
        message(json!({"id": "msg_1", "role": "assistant", "parts": parts, "metadata": 7}))
    };
    let output = |call: &str| {
        answer(json!([{
            "type": "tool-x", "toolCallId": call, "state": "output-available", "output": null
        }]))
    };
    for (body, key, status) in [
        ("{\"id\":".to_owned(), &ada, 400),
        ("[]".to_owned(), &ada, 400),
        ("{}".to_owned(), &ada, 400),
        ("{\"id\":\"\\ud800\",\"messages\":[]}".to_owned(), &ada, 400),
        (deep, &ada, 400),
        (large, &ada, 413),
        (json!({"id": "x", "messages": []}).to_string(), &ada, 400),
        (json!({"id": "x", "messages": [], "trigger": "resume-stream"}).to_string(), &ada, 400),
        (message(json!({"id": "m", "role": "user", "content": "hi"})), &ada, 400),
        (message(json!({"id": "m", "role": "user", "parts": []})), &ada, 400),
        (message(json!({"id": "m", "role": "tool", "parts": []})), &ada, 400),
        (answer(json!([])), &ada, 400),
        (output("call_0"), &ada, 400),
        (output("call_0_c-1"), &ada, 404),
        (output("call_18446744073709551615_c-1"), &ada, 404),
        ("{}".to_owned(), &worker, 403),
    ] {
        let request = http().post(format!("{}/ai-sdk/ada", guarded.live.url)).bearer_auth(key);
        let what = body.chars().take(80).collect::<String>();
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        let found = answer.status();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let reason = answer.text().await.unwrap();
        assert_eq!((found.as_u16(), kind.starts_with("text/plain")), (status, true), "{what}");
        assert!(!reason.is_empty() && !reason.starts_with('{'), "{what}: {reason}");
    }
    for (method, path, status) in [
        ("GET", "/ai-sdk", 404),
        ("GET", "/ai-sdk/ada/x/nothing", 404),
        ("GET", "/ai-sdk/ada", 405),
        ("POST", "/ai-sdk/ada/x/stream", 405),
        ("GET", "/ai-sdk/eve/x/stream", 404),
        ("POST", "/ai-sdk/eve/x/stop", 404),
        ("GET", "/ai-sdk/ada/unheard-of/stream", 204),
    ] {
        let (found, _) = guarded.call(&ada, method, path, None).await;
        assert_eq!(found, status, "{method} {path}");
    }
    let foreign_host = http().get(format!("{}/ai-sdk/ada/x/stream", guarded.live.url));
    let answer = foreign_host.header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
}
