//! Tool permissions of the operator, and isolation of users on shared tools.

use std::path::Path;

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::call;
use super::support::Live;

/// An MCP server that writes every call to its standard error, and fails it.
const GOSSIP: &str = r#"
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked: continue
    said = {"type": "text", "text": json.dumps(asked.get("params"))}
    result = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                             "serverInfo": {"name": "g", "version": "1"}},
              "tools/list": {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]},
              "tools/call": {"content": [said]}}.get(asked["method"], {})
    if asked["method"] == "tools/call": print(line, file=sys.stderr, flush=True)
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

pub(super) fn config(dir: &Path, text: &str) -> String {
    let file = dir.join("config.toml");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

pub(super) fn gossip(dir: &Path) -> String {
    let script = dir.join("gossip.py");
    std::fs::write(&script, GOSSIP).unwrap();
    format!("[mcp.gossip]\ncommand = \"python3\"\nargs = [{:?}]\n", script.display().to_string())
}

/// The permission of an agent's tool.
async fn permission(guarded: &Guarded, key: &str, tool: &str) -> Value {
    let (_, page) = guarded.call(key, "GET", "/v1/agents/own", None).await;
    let tools = page["tools"].as_array().unwrap();
    tools.iter().find(|listed| listed["name"] == tool).unwrap()["permission"].clone()
}

/// The events of a turn.
async fn turn(guarded: &Guarded, key: &str, session: &Value, text: &str) -> Vec<Value> {
    let path = format!("/v1/sessions/{}/inputs?wait=30", session.as_str().unwrap());
    let (status, told) = guarded.call(key, "POST", &path, Some(json!({"text": text}))).await;
    assert_eq!(status, 200, "{told}");
    told["events"].as_array().unwrap().iter().map(|record| record["event"].clone()).collect()
}

fn result(events: &[Value]) -> &Value {
    events.iter().find(|event| event["kind"] == "tool_returned").expect("a result")
}

#[tokio::test]
async fn an_operators_permissions_bind_users_with_keys() {
    let own = json!({"name": "own", "model": "offline"});
    let loose = json!({"permissions": {
        "calculator": "allow", "current_time": "allow", "fetch_url": "allow",
        "archival_memory_search": "deny",
    }});
    for (loosen, permissions) in [
        ("", ["deny", "ask", "deny", "deny"]),
        ("loosen = [\"current_time\"]", ["deny", "allow", "deny", "deny"]),
        ("loosen = [\"calc*\", \"fetch_url\"]", ["allow", "ask", "allow", "deny"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text =
            format!("[permissions]\ncalculator = \"deny\"\ncurrent_time = \"ask\"\n{loosen}\n");
        let file = config(dir.path(), &text);
        let guarded = Guarded::with(&["--config", &file]).await;
        let (_, key) = guarded.key("ada", &["agents", "chat"]).await;
        let (_, made) = guarded.call(&key, "POST", "/v1/agents", Some(own.clone())).await;
        let session = &made["agent"]["main_session"];
        assert_eq!(guarded.call(&key, "PATCH", "/v1/agents/own", Some(loose.clone())).await.0, 200);
        for (tool, wanted) in ["calculator", "current_time", "fetch_url", "archival_memory_search"]
            .iter()
            .zip(permissions)
        {
            assert_eq!(permission(&guarded, &key, tool).await, wanted, "{tool}, {loosen}");
        }
        let events =
            turn(&guarded, &key, session, "use calculator {\"expression\": \"6*7\"}").await;
        let ran = permissions[0] == "allow";
        assert_eq!(result(&events)["status"] == "success", ran, "{events:?}");
    }
}

#[tokio::test]
async fn without_keys_the_local_user_is_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    for (loosen, wanted) in [("", "allow"), ("loosen = []", "deny")] {
        let file = config(dir.path(), &format!("[permissions]\ncalculator = \"deny\"\n{loosen}\n"));
        let data = tempfile::tempdir().unwrap();
        let live = Live::on(data.path(), &["--config", &file]).await;
        let own = json!({"name": "own", "model": "offline"});
        assert_eq!(call(&live, "POST", "/v1/agents", &[], Some(own)).await.0, 201);
        let loose = json!({"permissions": {"calculator": "allow"}});
        let (_, _) = call(&live, "PATCH", "/v1/agents/own", &[], Some(loose)).await;
        let (_, page) = call(&live, "GET", "/v1/agents/own", &[], None).await;
        let tools = page["tools"].as_array().unwrap();
        let found = tools.iter().find(|tool| tool["name"] == "calculator").unwrap();
        assert_eq!(found["permission"], wanted, "{loosen}");
    }
}

#[tokio::test]
async fn an_operators_replay_classes_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[replay]\n\"calc*\" = \"never\"\ncalculator = \"ask\"\n\"current*\" = \"never\"\n";
    let file = config(dir.path(), text);
    let live = Live::on(dir.path(), &["--config", &file]).await;
    let own = json!({"name": "own", "model": "offline"});
    assert_eq!(call(&live, "POST", "/v1/agents", &[], Some(own)).await.0, 201);
    let (_, page) = call(&live, "GET", "/v1/agents/own", &[], None).await;
    let tools = page["tools"].as_array().unwrap();
    for (name, class) in [("calculator", "ask"), ("current_time", "never"), ("fetch_url", "safe")] {
        let found = tools.iter().find(|tool| tool["name"] == name).unwrap();
        assert_eq!(found["replay"], class, "{name}");
    }
}

#[tokio::test]
async fn load_models_need_the_operator_where_users_have_keys() {
    let load = "load:items=1,bytes=10";
    let guarded = Guarded::start().await;
    let (_, key) = guarded.key("ada", &["agents", "chat"]).await;
    let refused = |(status, answer): (u16, Value)| {
        assert_eq!(status, 400, "{answer}");
        let reason = answer["error"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("load_models"), "{reason}");
    };
    let named = |name: &str, model: &str| Some(json!({"name": name, "model": model}));
    refused(guarded.call(&key, "POST", "/v1/agents", named("a", load)).await);
    refused(guarded.call(&key, "POST", "/v1/agents", named("a", "load")).await);
    refused(guarded.call(&guarded.owner, "POST", "/v1/agents", named("a", load)).await);
    let (_, listed) = guarded.call(&key, "GET", "/v1/agents", None).await;
    assert_eq!(listed["agents"], json!([]));
    assert_eq!(guarded.call(&key, "POST", "/v1/agents", named("own", "offline")).await.0, 201);
    for change in [json!({"model": load}), json!({"fallbacks": [load]})] {
        refused(guarded.call(&key, "PATCH", "/v1/agents/own", Some(change)).await);
    }
    let (_, mut file) = guarded.call(&key, "GET", "/v1/agents/own/export", None).await;
    file["agent"]["model"] = json!(load);
    refused(guarded.call(&key, "POST", "/v1/import?name=copy", Some(file)).await);
}

#[tokio::test]
async fn a_load_model_of_before_there_were_keys_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::on(dir.path(), &[]).await;
    let loaded = json!({"name": "own", "model": "load:items=1,bytes=10"});
    let (status, made) = call(&live, "POST", "/v1/agents", &[], Some(loaded)).await;
    assert_eq!(status, 201);
    drop(live);
    for (setting, outcome) in [("", "failed"), ("load_models = true", "completed")] {
        let file = config(dir.path(), setting);
        let live = Live::on(dir.path(), &["--auth", "keys", "--config", &file]).await;
        let server = std::fs::read_to_string(dir.path().join("server.json")).unwrap();
        let server: Value = serde_json::from_str(&server).unwrap();
        let owner = format!("Bearer {}", server["token"].as_str().unwrap());
        let session = made["agent"]["main_session"].as_str().unwrap();
        let path = format!("/v1/sessions/{session}/inputs?wait=30");
        let said = Some(json!({"text": "hello"}));
        let (status, told) = call(&live, "POST", &path, &[("authorization", &owner)], said).await;
        assert_eq!(status, 200, "{told}");
        let records = told["events"].as_array().unwrap().iter();
        let events: Vec<Value> = records.map(|record| record["event"].clone()).collect();
        let end = events.iter().find(|event| event["kind"] == "turn_ended").unwrap();
        assert_eq!(end["outcome"], outcome, "{end}");
        if outcome == "failed" {
            assert!(end["reason"].as_str().unwrap().contains("load_models"), "{end}");
        }
    }
}

#[tokio::test]
async fn others_see_nothing_of_a_shared_servers_calls() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(
        dir.path(),
        &format!("{}[mcp.gone]\ncommand = \"there-is-no-such-program\"\n", gossip(dir.path())),
    );
    let guarded = Guarded::with(&["--config", &file]).await;
    let mut pages = Vec::new();
    for user in ["ada", "bob"] {
        let (_, key) = guarded.key(user, &["agents", "chat"]).await;
        let own = json!({"name": "own", "model": "offline"});
        let (_, made) = guarded.call(&key, "POST", "/v1/agents", Some(own)).await;
        pages.push((key, made["agent"]["main_session"].clone()));
    }
    let [(ada, session), (bob, bobs)] = pages.as_slice() else { panic!("two users") };
    let own = json!({"name": "own", "model": "offline"});
    assert_eq!(guarded.call(&guarded.owner, "POST", "/v1/agents", Some(own)).await.0, 201);
    let servers =
        async |key: &str| guarded.call(key, "GET", "/v1/agents/own", None).await.1["mcp"].clone();
    loop {
        let states = servers(&guarded.owner).await;
        if states[0]["phase"] == "failed" && states[1]["phase"] == "ready" {
            break;
        }
        tokio::task::yield_now().await;
    }
    let text = "use gossip__act {\"word\": \"plum\", \"n\": 1000000000000000000001, \
                \"x\": 0.10000000000000000555}";
    let events = turn(&guarded, ada, session, text).await;
    // Numbers arrive and come back as they are written.
    for event in events.iter().filter(|event| event["kind"] == "tool_called") {
        assert!(
            event.to_string().contains("\"n\":1000000000000000000001,\"x\":0.10000000000000000555"),
            "{event}"
        );
    }
    let returned = result(&events);
    assert!(returned["text"].as_str().unwrap().contains("1000000000000000000001"), "{returned}");
    while !servers(&guarded.owner).await.to_string().contains("plum") {
        tokio::task::yield_now().await;
    }
    assert!(servers(&guarded.owner).await[1]["pid"].is_number());
    for key in [ada, bob] {
        let seen = servers(key).await;
        assert_eq!(
            seen,
            json!([
                {"name": "gone", "phase": "failed", "tools": []},
                {"name": "gossip", "phase": "ready", "tools": ["gossip__act"]},
            ])
        );
    }
    // Nor while a Sparky client is told which servers run: a command is the owner's to see.
    let mut sparky = guarded.live.sparky(json!({"session_id": null, "token": bob})).await;
    let frames = json!(sparky.until_type("ready").await).to_string();
    assert!(frames.contains("gone") && frames.contains("it does not run"), "{frames}");
    assert!(!frames.contains("there-is-no-such-program"), "{frames}");
    // Nor in the words of a call that fails, nor in the figures.
    let events = turn(&guarded, bob, bobs, "use gone__act {}").await;
    assert!(!json!(events).to_string().contains("plum"), "{events:?}");
    let response = super::rest::http().get(format!("{}/metrics", guarded.live.url));
    let response = response.header("authorization", format!("Bearer {}", guarded.owner));
    let figures = response.send().await.unwrap().text().await.unwrap();
    assert!(!figures.contains("plum") && figures.contains("thoughtwire"), "{figures}");
}

#[test]
fn config_show_tells_permissions_and_replay_classes() {
    let dir = tempfile::tempdir().unwrap();
    let show = |text: &str, auth: &str| {
        let file = config(dir.path(), text);
        let flags = ["config", "show", "--json", "--auth", auth, "--config", &file, "--data-dir"];
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
        command.args(flags).arg(dir.path()).output().unwrap()
    };
    let value = |output: &std::process::Output, name: &str| {
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut settings = shown["settings"].as_array().unwrap().iter();
        settings.find(|setting| setting["name"] == name).unwrap()["value"].clone()
    };
    let named = "fetch_proxy = \"http://me:hush@127.0.0.1:3128\"\n[permissions]\nclock = \"ask\"\n\
                 loosen = [\"files__read*\", \"clock\"]\n";
    for (text, auth, loosen, load, proxy) in [
        ("", "none", "*", "true", ""),
        ("", "keys", "", "false", ""),
        (named, "keys", "files__read*, clock", "false", "http://***@127.0.0.1:3128"),
    ] {
        let output = show(text, auth);
        assert_eq!(value(&output, "permissions.loosen"), loosen, "{text}");
        assert_eq!(value(&output, "load_models"), load, "{text}");
        assert_eq!(value(&output, "fetch_proxy"), proxy, "{text}");
    }
    // Tables have a row for each tool; `loosen` is no tool.
    let tables = "[permissions]\n\"files__*\" = \"ask\"\nclock = \"deny\"\nloosen = [\"clock\"]\n\
                  [replay]\n\"files__*\" = \"never\"\nfiles__read = \"safe\"\n";
    let shown: Value = serde_json::from_slice(&show(tables, "none").stdout).unwrap();
    let in_table = |setting: &&Value| {
        let name = setting["name"].as_str().unwrap();
        name.starts_with("permissions.") || name.starts_with("replay.")
    };
    let rows: Vec<(&str, &str)> = (shown["settings"].as_array().unwrap().iter())
        .filter(in_table)
        .map(|row| (row["name"].as_str().unwrap(), row["value"].as_str().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("permissions.clock", "deny"),
            ("permissions.files__*", "ask"),
            ("replay.files__*", "never"),
            ("replay.files__read", "safe"),
            ("permissions.loosen", "clock"),
        ]
    );
    let file = dir.path().join("config.toml").display().to_string();
    let mut rows = shown["settings"].as_array().unwrap().iter().filter(in_table);
    assert!(rows.all(|row| row["source"] == file), "{shown}");
    for (text, word) in [
        ("[permissions]\nclock = \"perhaps\"\n", "clock"),
        ("[replay]\n\"files__*\" = \"perhaps\"\n", "[replay] cannot be used: `files__*`"),
        ("replay = \"never\"\n", "[replay] cannot be used"),
        ("fetch_proxy = \"proxy\"\n", "fetch_proxy"),
        ("load_models = \"perhaps\"\n", "load_models"),
    ] {
        let output = show(text, "none");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{text}: {said}");
    }
}
