//! MCP servers: the real `@modelcontextprotocol/server-everything` over both transports.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thoughtwire_agent::{AgentOptions, McpConfig, McpError, McpPhase, McpServers, McpState, McpTransport};
use thoughtwire_proto::{Style, ToolStatus};

use crate::home::{Home, Script, call, options, text};

/// Longer than any of this takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn everything() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../.test-deps/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    assert!(path.exists(), "the MCP server is not installed: run `make test-deps`");
    path.display().to_string()
}

fn stdio() -> McpConfig {
    let env = BTreeMap::from([("TEA".to_owned(), "green".to_owned())]);
    McpConfig::new("every", McpTransport::Stdio { command: "node".to_owned(), args: vec![everything(), "stdio".to_owned()], env })
}

/// Waits until the only server is as wanted.
async fn until(servers: &McpServers, wanted: impl Fn(&McpState) -> bool) -> McpState {
    let mut changes = servers.changes();
    let waiting = async {
        loop {
            changes.borrow_and_update();
            let state = servers.states().remove(0);
            if wanted(&state) {
                return state;
            }
            changes.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(state) => state,
        Err(_) => panic!("it did not come to it: {:?}", servers.states()),
    }
}

fn args(value: Value) -> Map<String, Value> {
    let Value::Object(args) = value else { panic!("no object") };
    args
}

#[tokio::test]
async fn over_standard_input_and_output() {
    let servers = McpServers::start(vec![stdio()]);
    let state = until(&servers, |state| state.phase == McpPhase::Ready).await;
    assert!(state.tools.contains(&"every__echo".to_owned()) && state.pid.is_some(), "{state:?}");
    assert!(!state.stderr.is_empty(), "it says on standard error that it starts");
    let echo = servers.tools().into_iter().find(|tool| tool.tool == "echo").unwrap();
    assert_eq!(echo.schema["required"][0], "message");
    let output = servers.call("every__echo", args(json!({"message": "hello"}))).await.unwrap();
    assert!(output.text.contains("hello") && !output.is_error && output.content.is_none(), "{output:?}");
    let env = servers.call("every__get-env", Map::new()).await.unwrap();
    assert!(env.text.contains("green"));
    let image = servers.call("every__get-tiny-image", Map::new()).await.unwrap();
    assert!(image.text.contains("[image image/png,") && image.content.is_some(), "{}", image.text);
    let wrong = servers.call("every__get-sum", args(json!({"a": "x"}))).await;
    assert!(matches!(&wrong, Ok(output) if output.is_error) || matches!(wrong, Err(McpError::Failed { .. })), "{wrong:?}");
    assert!(matches!(servers.call("every__nothing", Map::new()).await, Err(McpError::Unknown(_))));
    assert!(matches!(servers.call("nobody__echo", Map::new()).await, Err(McpError::Unknown(_))));
    let pid = state.pid.unwrap();
    servers.stop().await;
    assert_eq!(servers.states()[0].phase, McpPhase::Stopped);
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "no process is left behind");
}

#[tokio::test]
async fn over_http_and_back_when_the_server_is() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = || {
        let mut node = tokio::process::Command::new("node");
        node.args([everything(), "streamableHttp".to_owned()]).env("PORT", port.to_string());
        node.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).kill_on_drop(true).spawn().unwrap()
    };
    let mut server = start();
    let url = format!("http://127.0.0.1:{port}/mcp");
    let servers = McpServers::start(vec![McpConfig::new("web", McpTransport::Http { url, headers: BTreeMap::new() })]);
    let before = until(&servers, |state| state.phase == McpPhase::Ready).await;
    let output = servers.call("web__echo", args(json!({"message": "hello"}))).await.unwrap();
    assert!(output.text.contains("hello"));
    server.kill().await.unwrap();
    let gone = servers.call("web__echo", args(json!({"message": "anybody?"}))).await.unwrap_err();
    assert!(matches!(gone, McpError::Gone(_) | McpError::NotReady { .. }), "{gone:?}");
    let _server = start();
    until(&servers, |state| state.phase == McpPhase::Ready && state.restarts > before.restarts).await;
    assert!(servers.call("web__echo", args(json!({"message": "back"}))).await.unwrap().text.contains("back"));
    servers.stop().await;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_call_it_comes_back() {
    let servers = McpServers::start(vec![stdio()]);
    let state = until(&servers, |state| state.phase == McpPhase::Ready).await;
    let long = servers.call("every__trigger-long-running-operation", args(json!({"duration": 50, "steps": 50})));
    let kill = async {
        // The call is under way once another one behind it is answered.
        servers.call("every__echo", args(json!({"message": "x"}))).await.unwrap();
        std::process::Command::new("kill").args(["-9", &state.pid.unwrap().to_string()]).status().unwrap();
    };
    let (outcome, ()) = tokio::time::timeout(PATIENCE, futures::future::join(long, kill)).await.expect("the call hangs");
    assert!(matches!(outcome, Err(McpError::Gone(_))), "{outcome:?}");
    let back = until(&servers, |state| state.phase == McpPhase::Ready && state.restarts > 0).await;
    assert_ne!(back.pid, state.pid);
    assert!(servers.call("every__echo", args(json!({"message": "again"}))).await.unwrap().text.contains("again"));
    servers.stop().await;
}

#[tokio::test]
async fn what_takes_too_long_or_cannot_be_started_is_said() {
    let slow = McpConfig { call_timeout: Duration::from_millis(300), ..stdio() };
    let servers = McpServers::start(vec![slow]);
    until(&servers, |state| state.phase == McpPhase::Ready).await;
    let outcome = servers.call("every__trigger-long-running-operation", args(json!({"duration": 50, "steps": 2}))).await;
    assert!(matches!(outcome, Err(McpError::TimedOut { .. })), "{outcome:?}");
    // The server lives on.
    assert!(servers.call("every__echo", args(json!({"message": "x"}))).await.is_ok());
    servers.stop().await;

    let nothing = McpTransport::Stdio { command: "there-is-no-such-program".to_owned(), args: Vec::new(), env: BTreeMap::new() };
    let servers = McpServers::start(vec![McpConfig::new("none", nothing)]);
    let state = until(&servers, |state| matches!(state.phase, McpPhase::Failed { .. })).await;
    assert!(matches!(&state.phase, McpPhase::Failed { reason } if reason.contains("there-is-no-such-program")), "{state:?}");
    servers.stop().await;
}

#[tokio::test]
async fn an_agent_uses_them_like_its_own() {
    let servers = McpServers::start(vec![stdio()]);
    until(&servers, |state| state.phase == McpPhase::Ready).await;
    let bad = call("every__get-sum", &json!({"a": 1}));
    let good = call("every__get-sum", &json!({"a": 19, "b": 23}));
    let script = Script::new([bad, good, text("42.")]);
    let home = Home::scripted(&script, AgentOptions { mcp: servers.clone(), ..options("offline") });
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "19+23?").await;
    let returned = told.returned();
    assert_eq!(returned[0].0, ToolStatus::Error);
    assert!(returned[0].1.contains("do not fit") && returned[0].1.contains("\"b\""), "checked here, by its schema: {}", returned[0].1);
    assert!(returned[1].1.contains("42"), "{}", returned[1].1);
    let offered = &script.prompts()[0].tools;
    assert!(offered.iter().any(|tool| tool.name == "every__get-sum" && tool.schema["properties"]["a"]["type"] == "number"));
    servers.stop().await;
}
