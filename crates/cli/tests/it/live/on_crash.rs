//! The setting `on_crash`: what a kill leaves of a turn.

use std::path::Path;

use serde_json::{Value, json};

use super::rest::call;
use super::support::{Live, TestClient, events, kinds};
use super::tools::config;
use crate::usage::thoughtwire;

/// An MCP server whose one tool never returns.
const STUCK: &str = r#"
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked or asked["method"] == "tools/call": continue
    result = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                             "serverInfo": {"name": "s", "version": "1"}},
              "tools/list": {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]},
              }.get(asked["method"], {})
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

/// Writes a configuration with the server `stuck`; returns its path.
fn stuck(dir: &Path) -> String {
    let script = dir.join("stuck.py");
    std::fs::write(&script, STUCK).unwrap();
    let script = script.display().to_string();
    config(dir, &format!("[mcp.stuck]\ncommand = \"python3\"\nargs = [{script:?}]\n"))
}

/// Makes an agent with a model and a setting; returns its session.
async fn agent(live: &Live, model: &str, on_crash: &str) -> (TestClient, String) {
    let spec = json!({"name": "ada", "model": model, "on_crash": on_crash});
    let (status, made) = call(live, "POST", "/v1/agents", &[], Some(spec)).await;
    assert_eq!((status, &made["agent"]["on_crash"]), (201, &json!(on_crash)), "{made}");
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let mut client = live.native().await;
    client.attach(&session, None).await;
    (client, session)
}

/// The whole log, once the turn has ended.
async fn log(live: &Live, session: &str) -> Vec<Value> {
    let mut client = live.native().await;
    let (_, mut frames) = client.attach(session, Some(0)).await;
    while !frames.iter().any(|frame| frame["event"]["kind"] == "turn_ended") {
        frames.push(client.next().await);
    }
    events(&frames)
}

/// The turn's end: its outcome and code.
fn end(log: &[Value]) -> (&str, &Value) {
    let ends: Vec<_> = log.iter().filter(|frame| frame["event"]["kind"] == "turn_ended").collect();
    assert_eq!(ends.len(), 1, "the turn ends once: {log:?}");
    (ends[0]["event"]["outcome"].as_str().unwrap(), &ends[0]["event"]["code"])
}

#[tokio::test]
async fn with_stop_a_killed_turn_ends_and_its_call_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--config", &stuck(dir.path())];
    let data = dir.path().join("data");
    let mut live = Live::on(&data, &flags).await;
    loop {
        let (_, page) = call(&live, "GET", "/v1/agents/ready", &[], None).await;
        if page["mcp"][0]["phase"] == "ready" {
            break;
        }
        // The first round makes the agent.
        call(&live, "POST", "/v1/agents", &[], Some(json!({"name": "ready"}))).await;
        tokio::task::yield_now().await;
    }
    let (mut client, session) = agent(&live, "offline", "stop").await;
    let input = json!({"type": "send", "session": session, "text": "use stuck__pay {\"sum\": 7}"});
    client.send(input).await;
    client.until(|frame| frame["event"]["kind"] == "tool_called").await;
    live.kill().await;

    let live = Live::on(&data, &flags).await;
    let log = log(&live, &session).await;
    assert_eq!(end(&log), ("interrupted", &json!("server_stopped")));
    assert!(!kinds(&log).contains(&"turn_resumed".to_owned()), "{log:?}");
    let returned =
        log.iter().find(|frame| frame["event"]["kind"] == "tool_returned").expect("an account");
    assert_eq!(returned["event"]["status"], "unknown");
    let path = format!("/v1/sessions/{session}/calls?unknown=true");
    let (_, page) = call(&live, "GET", &path, &[], None).await;
    assert_eq!(
        (&page["calls"][0]["name"], &page["calls"][0]["returned_seq"]),
        (&json!("stuck__pay"), &returned["seq"]),
        "{page}"
    );
}

#[tokio::test]
async fn with_resume_a_killed_turn_goes_on_to_its_end() {
    for (on_crash, outcome) in [("resume", "completed"), ("stop", "interrupted")] {
        let dir = tempfile::tempdir().unwrap();
        let mut live = Live::on(dir.path(), &[]).await;
        let (mut client, session) =
            agent(&live, "load:items=200,bytes=10,rate=100,deltas=yes", on_crash).await;
        client.send(json!({"type": "send", "session": session, "text": "go"})).await;
        client.until(|frame| frame["type"] == "delta").await;
        live.kill().await;

        let live = Live::on(dir.path(), &[]).await;
        let log = log(&live, &session).await;
        assert_eq!(end(&log).0, outcome, "{log:?}");
        let resumed = kinds(&log).iter().filter(|kind| *kind == "turn_resumed").count();
        assert_eq!(resumed, usize::from(on_crash == "resume"), "{log:?}");
    }
}

#[tokio::test]
async fn it_is_a_setting_over_rest_and_on_the_command_line() {
    let live = Live::start().await;
    let bad = json!({"name": "ada", "on_crash": "explode"});
    let (status, refused) = call(&live, "POST", "/v1/agents", &[], Some(bad)).await;
    assert_eq!(status, 400, "{refused}");
    let says_why = |refused: &Value| {
        let reason = refused["error"]["reason"].as_str().unwrap();
        assert!(reason.contains("explode") && reason.contains("`resume` or `stop`"), "{reason}");
    };
    says_why(&refused);
    assert_eq!(call(&live, "POST", "/v1/agents", &[], Some(json!({"name": "ada"}))).await.0, 201);
    let change = |value: Value| {
        let live = &live;
        let body = Some(json!({"on_crash": value}));
        async move { call(live, "PATCH", "/v1/agents/ada", &[], body).await }
    };
    let (status, refused) = change(json!("explode")).await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("bad_request")), "{refused}");
    says_why(&refused);
    assert_eq!(change(json!("stop")).await.1["agent"]["on_crash"], "stop");
    assert_eq!(change(Value::Null).await.1["agent"].get("on_crash"), None);

    let url = live.url.clone();
    let commands = move || {
        let run = |args: &[&str]| thoughtwire(&[args, &["--url", &url]].concat(), b"");
        let made = run(&["agents", "create", "bob", "--on-crash", "stop", "--json"]);
        assert!(made.code == 0 && made.out.contains(r#""on_crash":"stop""#), "{made:?}");
        let shown = run(&["agents", "show", "bob"]);
        assert!(shown.out.contains("on_crash: \"stop\""), "{shown:?}");
        let edited = run(&["agents", "edit", "bob", "--on-crash", "resume", "--json"]);
        assert!(edited.out.contains(r#""on_crash":"resume""#), "{edited:?}");
        let unset = run(&["agents", "edit", "bob", "--unset", "on-crash", "--json"]);
        assert!(unset.code == 0 && !unset.out.contains("on_crash"), "{unset:?}");
        let wrong = run(&["agents", "edit", "bob", "--on-crash", "explode"]);
        assert!(wrong.code == 2 && wrong.err.contains("resume, stop"), "{wrong:?}");
    };
    tokio::task::spawn_blocking(commands).await.unwrap();
}
