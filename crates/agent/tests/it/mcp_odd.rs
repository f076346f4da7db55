//! MCP servers with odd replies, over stdio and HTTP: readable parts are kept, the rest fails at
//! once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thoughtwire_agent::{McpConfig, McpError, McpOutput, McpPhase, McpServers, McpTransport};
use thoughtwire_hub::new_id;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Time limit for a server to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time limit of a call that fails at once; the server's own time-out is longer.
const AT_ONCE: Duration = Duration::from_secs(30);

fn script() -> String {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join("odd_mcp.py").display().to_string()
}

fn configured(transport: McpTransport) -> McpConfig {
    let mut config = McpConfig::new("odd", transport);
    config.call_timeout = 10 * AT_ONCE;
    config
}

fn stdio(env: &[(&str, &str)]) -> McpConfig {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    configured(McpTransport::Stdio { command: "python3".to_owned(), args: vec![script()], env })
}

/// A server over HTTP, which ends with the returned child.
async fn http(env: &[(&str, &str)]) -> (Child, McpConfig) {
    let mut command = Command::new("python3");
    command.args([script(), "0".to_owned()]).envs(env.iter().copied());
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = format!("http://127.0.0.1:{port}/mcp");
    (child, configured(McpTransport::Http { url, headers: BTreeMap::new() }))
}

/// Starts a server, or returns why it failed.
async fn start(config: McpConfig) -> Result<McpServers, String> {
    let servers = McpServers::start(vec![config]);
    let mut changes = servers.changes();
    loop {
        changes.borrow_and_update();
        match &servers.states()[0].phase {
            McpPhase::Ready => return Ok(servers),
            McpPhase::Failed { reason } => return Err(reason.clone()),
            McpPhase::Starting | McpPhase::Stopped => {}
        }
        timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    }
}

async fn call(servers: &McpServers, args: Value) -> Result<McpOutput, McpError> {
    let Value::Object(args) = args else { panic!("{args} is not an object") };
    timeout(AT_ONCE, servers.call(&new_id(), "odd__act", args))
        .await
        .expect("the call ends at once")
}

/// A reply, and the result of the call: its text, or a part of the error.
type OddReply = (&'static str, Result<&'static str, &'static str>);

const SENT: &str = "The letter is sent.";

/// Replaces HEAD and LETTER in a reply.
fn whole(reply: &str) -> String {
    reply
        .replace("HEAD", r#""jsonrpc":"2.0","id":ID"#)
        .replace("LETTER", r#"{"type":"text","text":"The letter is sent."}"#)
}

/// Replies that are the same on both transports.
const REPLIES: [OddReply; 16] = [
    (
        r#"{HEAD,"result":{"content":[{"type":"future","x":1},LETTER]}}"#,
        Ok("[content of the unknown kind `future`]\nThe letter is sent."),
    ),
    (
        r#"{HEAD,"result":{"content":[{"type":"text","text":null},LETTER]}}"#,
        Ok("[a text without content: the server sent null]\nThe letter is sent."),
    ),
    (
        r#"{HEAD,"result":{"content":[{"type":"text","text":"ok","annotations":{"x":1.5}}]}}"#,
        Ok("ok"),
    ),
    (
        r#"{HEAD,"result":{"content":"The letter is sent.","isError":"false"},"error":null}"#,
        Ok(SENT),
    ),
    (r#"{"id":"ID","result":{"content":[{"text":"The letter is sent."}]}}"#, Ok(SENT)),
    (r#"[{"method":"notifications/future"},{HEAD,"result":{"content":[LETTER]}}]"#, Ok(SENT)),
    (
        r#"{HEAD,"result":{"structuredContent":{"n":100000000000000000000001}}}"#,
        Ok(r#"{"n":100000000000000000000001}"#),
    ),
    (r#"{HEAD,"result":{}}"#, Ok("")),
    (r#"{HEAD,"result":null}"#, Ok("")),
    (
        "{HEAD,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"caf\u{e9} is open\"}]}}",
        Ok("caf\u{fffd} is open"),
    ),
    (r#"{HEAD,"result":{"content":[{"type":"text","text":"half \ud83d"}]}}"#, Ok("half \u{fffd}")),
    (r#"{HEAD,"result":{"content":[{"type":"text","text":"ok"}],"score":NaN}}"#, Ok("ok")),
    (r#"{HEAD,"error":"Out of tea."}"#, Err("failed: Out of tea (code -32603)")),
    (
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
        Err("failed: Parse error (code -32700)"),
    ),
    (r#"{HEAD,"result":{"content":[<oops>]}}"#, Err("its answer cannot be read")),
    (r#"{"jsonrpc":"2.0","result":{"content":[<oops>"#, Err("its answer cannot be read")),
];

async fn check(servers: &McpServers, args: Value, wanted: Result<&str, &str>) {
    let shown = args.to_string();
    match (call(servers, args).await, wanted) {
        (Ok(output), Ok(text)) => assert_eq!(output.text, text, "{shown}"),
        (Err(error), Err(part)) => {
            let sentence = error.to_string();
            assert!(sentence.contains(part), "{shown}: {sentence}");
            assert!(!sentence.contains("could not be called"), "{sentence}");
        }
        (found, _) => panic!("{shown}: {found:?}"),
    }
}

#[tokio::test]
async fn odd_replies_are_read_over_stdio() {
    let servers = start(stdio(&[])).await.unwrap();
    let framed = [
        "Working\u{2026}\n\r\n{\"level\":\"info\"}\nREPLY\r",
        "REPLY",
        "Working\n{\"method\":\"notifications/message\",\"params\":null}\nREPLY",
    ];
    for (reply, wanted) in REPLIES {
        let reply = whole(reply);
        for frame in framed {
            // One byte for each character.
            let frame = frame.replace('\u{2026}', "...");
            check(&servers, json!({"reply": frame.replace("REPLY", &reply)}), wanted).await;
        }
    }
    let other = whole(r#"[info] sending {HEAD,"result":{"content":[LETTER]}}"#);
    check(&servers, json!({"reply": other}), Ok(SENT)).await;
    servers.stop().await;
}

#[tokio::test]
async fn odd_replies_are_read_over_http() {
    let (_child, config) = http(&[]).await;
    let servers = start(config).await.unwrap();
    let framed = [
        ("application/json", "REPLY"),
        ("text/event-stream", "event: message\ndata: REPLY\n\n"),
        (
            "Text/Event-Stream; charset=utf-8",
            concat!(
                "event: ping\ndata: {}\n\n: hi\nfuture: 1\nbare\nretry: x\r\n\r\n",
                "data:REPLY\r\rdata: x\n\n"
            ),
        ),
        ("text/event-stream", "event: error\ndata: no\n\ndata: REPLY"),
        ("text/plain", "REPLY"),
    ];
    for (reply, wanted) in REPLIES {
        let reply = whole(reply);
        for (kind, frame) in framed {
            let args = json!({"kind": kind, "reply": frame.replace("REPLY", &reply)});
            check(&servers, args, wanted).await;
        }
    }
    for (args, part) in [
        (
            json!({"kind": "text/html", "reply": "<html>Out of tea</html>"}),
            "its answer cannot be read",
        ),
        (json!({"kind": "application/json", "reply": ""}), "its answer cannot be read"),
        (json!({"kind": "text/html", "reply": "no", "status": 500}), "HTTP 500"),
        (
            json!({
                "kind": "application/json", "status": 400,
                "reply": whole(r#"{HEAD,"error":{"code":-1,"message":"Out of tea"}}"#),
            }),
            "Out of tea",
        ),
    ] {
        check(&servers, args, Err(part)).await;
    }
    servers.stop().await;
}

#[tokio::test]
async fn odd_tool_lists_and_initialize_results_are_read() {
    let good = r#"{"name":"act","inputSchema":{"type":"object"}}"#;
    let list = format!(
        r#"{{"tools":[{good},{{"inputSchema":{{}}}},null,{{"name":"b","icons":7}}],"more":[]}}"#
    );
    let greeting =
        r#"{"protocolVersion":"2031-01-01","capabilities":{"tools":true},"serverInfo":null}"#;
    let before = "event: ping\ndata: {}\n\n";
    for (env, tools) in [
        (vec![("ODD_LIST", list.as_str())], vec!["odd__act", "odd__b"]),
        (vec![("ODD_GREETING", greeting)], vec!["odd__act"]),
        (vec![("ODD_BEFORE", before)], vec!["odd__act"]),
        (vec![("ODD_LIST", r#"{"tools":null}"#)], vec![]),
    ] {
        let servers = start(stdio(&env)).await.unwrap_or_else(|why| panic!("{env:?}: {why}"));
        assert_eq!(servers.states()[0].tools, tools, "{env:?}");
        servers.stop().await;
        let (_child, config) = http(&env).await;
        let servers = start(config).await.unwrap_or_else(|why| panic!("{env:?}: {why}"));
        assert_eq!(servers.states()[0].tools, tools, "{env:?}");
        servers.stop().await;
    }
    let refused = start(stdio(&[("ODD_LIST", "<oops>")])).await.err().unwrap();
    assert!(refused.contains("its answer cannot be read"), "{refused}");
    let refused = start(stdio(&[("ODD_GREETING", "<oops>")])).await.err().unwrap();
    assert!(refused.contains("its answer cannot be read"), "{refused}");
}

#[tokio::test]
async fn a_secret_in_a_servers_error_is_masked() {
    let servers =
        start(stdio(&[("API_TOKEN", "hush-hush-1"), ("OTHER_TOKEN", "none")])).await.unwrap();
    let reply =
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"hush-hush-1 is none of ours"}}"#;
    check(&servers, json!({"reply": reply}), Err("*** is none of ours")).await;
    assert!(servers.call(&new_id(), "odd__none", Map::new()).await.is_err());
    servers.stop().await;
}
