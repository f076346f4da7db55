//! MCP servers, tested with npm's `@modelcontextprotocol/server-everything`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thoughtwire_agent::{
    AgentOptions, McpConfig, McpError, McpPhase, McpServers, McpState, McpTransport,
};
use thoughtwire_hub::new_id;
use thoughtwire_proto::{CallId, Style, ToolStatus};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::harness::{AgentHarness, ScriptedModel, call, options, text};
use crate::mock::free_port;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: &str = "all__trigger-long-running-operation";

fn everything() -> String {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let script = here.join(
        "../../.test-deps/node_modules/@modelcontextprotocol/server-everything/dist/index.js",
    );
    assert!(script.exists(), "the MCP test server is not installed: run `make test-deps`");
    script.display().to_string()
}

fn stdio(name: &str, command: &str, args: &[&str]) -> McpConfig {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    McpConfig::new(
        name,
        McpTransport::Stdio {
            command: command.to_owned(),
            args,
            env: BTreeMap::from([("MCP_KEY".into(), "hush".into())]),
        },
    )
}

fn http(url: String) -> McpConfig {
    McpConfig::new(
        "all",
        McpTransport::Http { url, headers: BTreeMap::from([("x-key".into(), "hush".into())]) },
    )
}

fn call_id() -> CallId {
    new_id()
}

fn args(value: Value) -> Map<String, Value> {
    let Value::Object(args) = value else { panic!("{value} is not an object") };
    args
}

/// Waits until a server's state is as wanted.
async fn until(servers: &McpServers, name: &str, wanted: impl Fn(&McpState) -> bool) -> McpState {
    let mut changes = servers.changes();
    let found = timeout(PATIENCE, async {
        loop {
            changes.borrow_and_update();
            if let Some(state) =
                servers.states().into_iter().find(|state| state.name == name && wanted(state))
            {
                return state;
            }
            changes.changed().await.unwrap();
        }
    });
    found.await.unwrap_or_else(|_| panic!("the state did not come in time: {:?}", servers.states()))
}

fn ready(state: &McpState) -> bool {
    state.phase == McpPhase::Ready
}

fn failed(state: &McpState) -> bool {
    matches!(state.phase, McpPhase::Failed { .. })
}

fn reason(state: &McpState) -> &str {
    let McpPhase::Failed { reason } = &state.phase else { panic!("{state:?} has not failed") };
    reason
}

async fn started(config: McpConfig) -> McpServers {
    let name = config.name.clone();
    let servers = McpServers::start(vec![config]);
    until(&servers, &name, ready).await;
    servers
}

async fn signal(pid: u32, signal: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.args([signal, &pid.to_string()]).stderr(Stdio::null()).status().await.unwrap().success()
}

/// Starts a call that takes longer than the test.
fn long_call(
    servers: &McpServers,
) -> tokio::task::JoinHandle<Result<thoughtwire_agent::McpOutput, McpError>> {
    let servers = servers.clone();
    tokio::spawn(async move {
        servers.call(&call_id(), LONG, args(json!({"duration": 300, "steps": 300}))).await
    })
}

async fn lists_and_calls(servers: &McpServers) {
    let tools = servers.tools();
    let echo = tools.iter().find(|tool| tool.name == "all__echo").unwrap();
    assert_eq!((&*echo.server, &*echo.tool), ("all", "echo"));
    assert!(!echo.description.is_empty());
    assert_eq!(echo.schema["properties"]["message"]["type"], "string");
    assert_eq!(
        servers.states()[0].tools,
        tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>()
    );

    let output =
        servers.call(&call_id(), "all__echo", args(json!({"message": "hello"}))).await.unwrap();
    assert_eq!((&*output.text, output.content, output.is_error), ("Echo: hello", None, false));

    let wrong = servers.call(&call_id(), "all__get-sum", args(json!({"a": "one"}))).await.unwrap();
    assert!(wrong.is_error && wrong.text.contains("expected number"), "{wrong:?}");

    let image = servers.call(&call_id(), "all__get-tiny-image", Map::new()).await.unwrap();
    let lines: Vec<&str> = image.text.lines().collect();
    assert!(
        lines[1].starts_with("[image image/png, ") && lines[1].ends_with(" bytes]"),
        "{lines:?}"
    );
    assert_eq!(image.content.unwrap()["content"][1]["mimeType"], "image/png");

    let weather = servers
        .call(&call_id(), "all__get-structured-content", args(json!({"location": "Chicago"})))
        .await
        .unwrap();
    assert!(weather.content.unwrap()["structuredContent"]["temperature"].is_number());

    let unknown = servers.call(&call_id(), "all__nothing", Map::new()).await.unwrap_err();
    assert_eq!(unknown, McpError::Unknown { name: "all__nothing".into() });
    assert_eq!(
        servers.call(&call_id(), "nothing", Map::new()).await.unwrap_err(),
        McpError::Unknown { name: "nothing".into() }
    );
}

#[tokio::test]
async fn tools_over_stdio() {
    let servers = started(stdio("all", "node", &[&everything()])).await;
    lists_and_calls(&servers).await;
    // A server sees the variables it was given and the common ones, but none of ours.
    let env = servers.call(&call_id(), "all__get-env", Map::new()).await.unwrap();
    let env: Map<String, Value> = serde_json::from_str(&env.text).unwrap();
    assert_eq!(env["MCP_KEY"], "hush");
    assert!(env.contains_key("PATH") && !env.contains_key("CARGO_MANIFEST_DIR"), "{env:?}");
    servers.stop().await;
}

#[tokio::test]
async fn a_killed_server_fails_its_calls_and_restarts() {
    let servers = started(stdio("all", "node", &[&everything()])).await;
    let call = long_call(&servers);
    // Calls of one connection are served in order, so the long one has begun when this one returns.
    servers.call(&call_id(), "all__echo", args(json!({"message": "now"}))).await.unwrap();
    let pid = servers.states()[0].pid.unwrap();
    assert!(signal(pid, "-KILL").await);
    let error = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(
        error,
        McpError::Gone { server: "all".into(), tool: "trigger-long-running-operation".into() }
    );
    let back = until(&servers, "all", |state| ready(state) && state.restarts > 0).await;
    assert_ne!(back.pid.unwrap(), pid);
    let output =
        servers.call(&call_id(), "all__echo", args(json!({"message": "again"}))).await.unwrap();
    assert_eq!(output.text, "Echo: again");
    servers.stop().await;
}

#[tokio::test]
async fn a_call_has_a_time_out() {
    let config = McpConfig {
        call_timeout: Duration::from_millis(300),
        ..stdio("all", "node", &[&everything()])
    };
    let servers = started(config).await;
    let error = long_call(&servers).await.unwrap().unwrap_err();
    assert!(matches!(error, McpError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("did not answer within 0.3 s and was cancelled"), "{error}");
    assert!(ready(&servers.states()[0]));
    servers.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_reports_the_reason() {
    let silent = "for i in $(seq 30); do echo line $i >&2; done; exit 3";
    let servers = McpServers::start(vec![
        stdio("missing", "no-such-command-of-ours", &[]),
        stdio("broken", "sh", &["-c", silent]),
        McpConfig {
            name: "far".into(),
            ..http(format!("http://user:pass@127.0.0.1:{}/mcp?key=hush", free_port()))
        },
        stdio("bad__name", "true", &[]),
        stdio("broken", "true", &[]),
    ]);
    let missing = until(&servers, "missing", failed).await;
    assert!(
        reason(&missing).contains("`no-such-command-of-ours` cannot be started"),
        "{missing:?}"
    );
    assert!(reason(&missing).contains("install it"), "{missing:?}");
    // A failed start is repeated, and its last lines are kept. They are read concurrently, so only
    // the next start is sure to come after them.
    let broken = until(&servers, "broken", |state| failed(state) && state.restarts > 1).await;
    assert!(reason(&broken).contains("`sh` ended with exit status: 3"), "{broken:?}");
    assert_eq!(broken.stderr.len(), 20);
    assert!(broken.stderr.iter().all(|line| line.starts_with("line ")), "{broken:?}");
    let far = until(&servers, "far", failed).await;
    assert!(
        reason(&far).contains("Connection refused")
            && !reason(&far).contains("hush")
            && !reason(&far).contains("pass"),
        "{far:?}"
    );
    let states = servers.states();
    assert!(reason(&states[3]).contains("`bad__name` cannot name an MCP server"), "{states:?}");
    assert!(reason(&states[4]).contains("two MCP servers are named `broken`"), "{states:?}");
    let error = servers.call(&call_id(), "broken__x", Map::new()).await.unwrap_err();
    assert!(
        error.to_string().starts_with("The MCP server `broken` cannot be used now: `sh` ended"),
        "{error}"
    );
    let json = serde_json::to_value(&states[3]).unwrap();
    assert_eq!((&json["name"], &json["phase"]), (&json!("bad__name"), &json!("failed")));
    servers.stop().await;
    assert_eq!(servers.states()[0].phase, McpPhase::Stopped);
}

#[tokio::test]
async fn stop_ends_all_processes_and_their_children() {
    let script = r#"sleep 1000 & echo "grandchild $!" >&2; exec node "$0""#;
    let stubborn = r#"trap '' TERM; exec 2>/dev/null; node "$0"; while :; do sleep 1; done"#;
    let servers = McpServers::start(vec![
        stdio("family", "sh", &["-c", script, &everything()]),
        stdio("stubborn", "sh", &["-c", stubborn, &everything()]),
        stdio("all", "node", &[&everything()]),
    ]);
    let family = until(&servers, "family", ready).await;
    until(&servers, "stubborn", ready).await;
    until(&servers, "all", ready).await;
    let grandchild = family
        .stderr
        .iter()
        .find_map(|line| line.strip_prefix("grandchild "))
        .unwrap()
        .parse()
        .unwrap();
    let mut pids: Vec<u32> = servers.states().iter().filter_map(|state| state.pid).collect();
    assert_eq!(pids.len(), 3);
    pids.push(grandchild);
    let call = long_call(&servers);
    servers.call(&call_id(), "all__echo", args(json!({"message": "now"}))).await.unwrap();

    timeout(Duration::from_secs(6), servers.stop()).await.expect("stop is bounded");
    for pid in pids {
        assert!(!lives(pid).await, "{pid} still runs");
    }
    assert!(servers.states().iter().all(|state| state.phase == McpPhase::Stopped
        && state.pid.is_none()
        && state.tools.is_empty()));
    assert!(call.await.unwrap().is_err());
    let late = servers.call(&call_id(), "all__echo", Map::new()).await.unwrap_err();
    assert_eq!(late, McpError::NotReady { server: "all".into(), reason: "it was stopped".into() });
}

/// Whether a process runs. A zombie does not.
async fn lives(pid: u32) -> bool {
    let state =
        Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().await.unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// A small server for cases that the other one does not cover: pages, changes, names that do not
/// fit.
const SMALL: &str = r#"
const say = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
const tool = (name) => ({ name, inputSchema: { type: "object" } });
const pages = [
  [tool("grow")], [tool("files.read")], [tool("wait"), tool("files/read"), tool("x".repeat(70))],
];
let waiting = null;
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  const answer = (result) => say({ id, result });
  if (method === "initialize") {
    console.error(`hello ${params.clientInfo.name} ${params.clientInfo.version}`);
    answer({
      protocolVersion: params.protocolVersion, capabilities: { tools: { listChanged: true } },
      serverInfo: { name: "small", version: "1" },
    });
  } else if (method === "tools/list") {
    const page = Number(params?.cursor ?? 0);
    const nextCursor = page + 1 < pages.length ? String(page + 1) : undefined;
    answer({ tools: pages[page], nextCursor });
  } else if (method === "tools/call" && params.name === "grow") {
    pages.push([tool(`grown${pages.length}`)]);
    say({ method: "notifications/tools/list_changed" });
    answer({ content: [{ type: "text", text: "grown" }] });
  } else if (method === "tools/call" && params.name === "wait") {
    waiting = id;
    pages.push([tool("waiting")]);
    say({ method: "notifications/tools/list_changed" });
  } else if (method === "notifications/cancelled" && params.requestId === waiting) {
    pages.push([tool("cancelled")]);
    say({ method: "notifications/tools/list_changed" });
  } else if (method === "tools/call") {
    say({ id, error: { code: -32000, message: "Out of tea." } });
  }
});
"#;

#[tokio::test]
async fn pages_changes_names_and_cancellation_are_handled() {
    let servers = started(stdio("small", "node", &["-e", SMALL])).await;
    assert_eq!(servers.states()[0].tools, ["small__grow", "small__files_read", "small__wait"]);
    assert_eq!(servers.tools()[1].tool, "files.read");

    assert_eq!(servers.call(&call_id(), "small__grow", Map::new()).await.unwrap().text, "grown");
    until(&servers, "small", |state| state.tools.contains(&"small__grown3".to_owned())).await;
    let refused = servers.call(&call_id(), "small__files_read", Map::new()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`files.read` of the MCP server `small` failed: Out of tea (code -32000)."
    );

    // Dropping the future of a call cancels it at the server.
    let is_waiting = |state: &McpState| state.tools.contains(&"small__waiting".to_owned());
    let id = call_id();
    tokio::select! {
        output = servers.call(&id, "small__wait", Map::new()) => panic!("{output:?}"),
        _ = until(&servers, "small", is_waiting) => {}
    }
    until(&servers, "small", |state| state.tools.contains(&"small__cancelled".to_owned())).await;
    let state = &servers.states()[0];
    assert_eq!(
        (state.restarts, &*state.stderr),
        (0, &[format!("hello thoughtwire {}", env!("CARGO_PKG_VERSION"))][..])
    );
    servers.stop().await;
}

/// The server over HTTP. It ends with its test.
struct HttpMcpServer {
    port: u16,
    process: Child,
}

impl HttpMcpServer {
    async fn start(port: u16) -> Self {
        let mut command = Command::new("node");
        command.arg(everything()).arg("streamableHttp").env("PORT", port.to_string());
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs the MCP server");
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Self { port, process };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the MCP server does not listen");
    }

    fn config(&self) -> McpConfig {
        http(format!("http://127.0.0.1:{}/mcp", self.port))
    }
}

#[tokio::test]
async fn tools_over_http() {
    let remote = HttpMcpServer::start(free_port()).await;
    let servers = started(remote.config()).await;
    lists_and_calls(&servers).await;
    assert_eq!(servers.states()[0].pid, None);
    servers.stop().await;
    assert_eq!(servers.states()[0].phase, McpPhase::Stopped);
}

#[tokio::test]
async fn a_remote_server_that_dies_fails_its_calls_and_is_reconnected() {
    let mut remote = HttpMcpServer::start(free_port()).await;
    let servers = started(remote.config()).await;
    let call = long_call(&servers);
    servers.call(&call_id(), "all__echo", args(json!({"message": "now"}))).await.unwrap();
    remote.process.kill().await.unwrap();
    let error = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(
        error,
        McpError::Gone { server: "all".into(), tool: "trigger-long-running-operation".into() }
    );
    let down = until(&servers, "all", failed).await;
    // Refused or reset, depending on how far the server's shutdown was.
    assert!(
        reason(&down).starts_with("http://127.0.0.1:") && reason(&down).contains("onnection re"),
        "{down:?}"
    );
    let _remote = HttpMcpServer::start(remote.port).await;
    until(&servers, "all", ready).await;
    assert_eq!(
        servers
            .call(&call_id(), "all__echo", args(json!({"message": "again"})))
            .await
            .unwrap()
            .text,
        "Echo: again"
    );
    servers.stop().await;
}

#[tokio::test]
async fn a_session_that_the_server_lost_is_renewed() {
    let mut remote = HttpMcpServer::start(free_port()).await;
    let servers = started(remote.config()).await;
    remote.process.kill().await.unwrap();
    let _remote = HttpMcpServer::start(remote.port).await;
    // The call or a ping may notice it first, but no call hangs.
    let early =
        timeout(PATIENCE, servers.call(&call_id(), "all__echo", args(json!({"message": "early"}))))
            .await
            .unwrap();
    assert!(early.is_err(), "{early:?}");
    until(&servers, "all", |state| ready(state) && state.restarts > 0).await;
    assert_eq!(
        servers
            .call(&call_id(), "all__echo", args(json!({"message": "again"})))
            .await
            .unwrap()
            .text,
        "Echo: again"
    );
    servers.stop().await;
}

#[tokio::test]
async fn an_agent_uses_mcp_tools_like_built_in_ones() {
    let servers = started(stdio("all", "node", &[&everything()])).await;
    let bad = call("all__get-sum", &json!({"a": 1}));
    let good = call("all__get-sum", &json!({"a": 19, "b": 23}));
    let script = ScriptedModel::new([bad, good, text("42.")]);
    let harness = AgentHarness::scripted(
        &script,
        AgentOptions { mcp: servers.clone(), ..options("offline") },
    )
    .await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "19+23?").await;
    let returned = log.returned();
    assert_eq!(returned[0].0, ToolStatus::Error);
    assert!(
        returned[0].1.contains("are not valid") && returned[0].1.contains("\"b\""),
        "the arguments are checked against the schema: {}",
        returned[0].1
    );
    assert!(returned[1].1.contains("42"), "{}", returned[1].1);
    let offered = &script.prompts()[0].tools;
    assert!(
        offered.iter().any(|tool| tool.name == "all__get-sum"
            && tool.schema["properties"]["a"]["type"] == "number")
    );
    servers.stop().await;
}
