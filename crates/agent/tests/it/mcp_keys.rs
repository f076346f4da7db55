//! Idempotency keys of calls to MCP servers, and replay classes from annotations and configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thoughtwire_agent::{AgentOptions, McpConfig, McpPhase, McpServers, McpTransport};
use thoughtwire_hub::new_id;
use thoughtwire_proto::{CallId, Event, Replay, Style, TurnEvent};

use crate::harness::{AgentHarness, ScriptedModel, TurnLog, call, options, text};
use crate::mcp_recorder::{CallReplies, McpRecorder};

const META_KEY: &str = "thoughtwire/idempotency-key";

/// A server over stdio that answers a call with its own parameters.
const ECHO: &str = r#"
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    result = {}
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "echo", "version": "1"}}
    elif asked["method"] == "tools/list":
        result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
    elif asked["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": json.dumps(asked["params"])}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

async fn echo() -> McpServers {
    let transport = McpTransport::Stdio {
        command: "python3".to_owned(),
        args: vec!["-c".to_owned(), ECHO.to_owned()],
        env: BTreeMap::new(),
    };
    let servers = McpServers::start(vec![McpConfig::new("files", transport)]);
    let mut changes = servers.changes();
    while servers.states()[0].phase != McpPhase::Ready {
        changes.changed().await.unwrap();
    }
    servers
}

/// The id of the only call of a turn.
fn only_call(log: &TurnLog) -> CallId {
    let calls: Vec<&CallId> = log
        .records
        .iter()
        .filter_map(|record| {
            if let Event::Turn(TurnEvent::ToolCalled { call, .. }) = &record.event {
                Some(call)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(calls.len(), 1);
    calls[0].clone()
}

/// A turn in which the model calls a tool.
async fn turn_with_call(servers: &McpServers, tool: &str, style: Style) -> TurnLog {
    let script =
        ScriptedModel::new([call(tool, &json!({"request_heartbeat": true})), text("Done.")]);
    let options = AgentOptions { mcp: servers.clone(), ..options("offline") };
    let harness = AgentHarness::scripted(&script, options).await;
    let (_, session) = harness.agent("tess", style).await;
    harness.run_turn(&session, "Please.").await
}

#[tokio::test]
async fn a_call_carries_its_id_as_idempotency_key_over_stdio() {
    let servers = echo().await;
    let log = turn_with_call(&servers, "files__echo", Style::Native).await;
    let params: Value = serde_json::from_str(log.returned()[0].1).unwrap();
    assert_eq!(params["_meta"][META_KEY], json!(only_call(&log).as_str()), "{params}");
    // A repetition has the same key, and another call another one.
    let (first, second): (CallId, CallId) = (new_id(), new_id());
    let mut keys = Vec::new();
    for id in [&first, &first, &second] {
        let output = servers.call(id, "files__echo", Map::new()).await.unwrap();
        let params: Value = serde_json::from_str(&output.text).unwrap();
        keys.push(params["_meta"][META_KEY].as_str().unwrap().to_owned());
    }
    assert_eq!(keys, [first.as_str(), first.as_str(), second.as_str()]);
    servers.stop().await;
}

#[tokio::test]
async fn a_call_carries_its_id_as_idempotency_key_over_http() {
    let recorder = McpRecorder::start(CallReplies::Answered).await;
    let servers = recorder.connect().await;
    let log = turn_with_call(&servers, "files__post", Style::Memgpt).await;
    let id = only_call(&log);
    let calls = recorder.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].params["_meta"][META_KEY], json!(id.as_str()), "{calls:?}");
    assert_eq!(calls[0].key.as_deref(), Some(id.as_str()), "{calls:?}");
    // The key is of the call alone: it is no argument, and other messages have none.
    assert!(!calls[0].params["arguments"].to_string().contains(id.as_str()), "{calls:?}");
    for message in recorder.messages().iter().filter(|message| message.method != "tools/call") {
        assert_eq!(message.params["_meta"].get(META_KEY), None, "{message:?}");
        assert_ne!(message.key.as_deref(), Some(id.as_str()), "{message:?}");
    }
    servers.stop().await;
}

#[tokio::test]
async fn the_listing_shows_the_replay_class_of_each_tool() {
    let recorder = McpRecorder::start(CallReplies::Answered).await;
    let servers = recorder.connect().await;
    let harness = async |replay: &[(&str, Replay)]| {
        let replay = replay.iter().map(|(name, class)| ((*name).to_owned(), *class)).collect();
        let options = AgentOptions { mcp: servers.clone(), replay, ..options("offline") };
        AgentHarness::scripted(&ScriptedModel::new([]), options).await
    };
    let classes = |harness: &AgentHarness| -> BTreeMap<String, Replay> {
        let listed = harness.hub.tools(&Default::default());
        listed.into_iter().map(|tool| (tool.name, tool.replay)).collect()
    };
    let found = classes(&harness(&[]).await);
    assert_eq!(found["files__read"], Replay::Safe);
    assert_eq!(found["files__put"], Replay::Safe);
    assert_eq!(found["files__post"], Replay::Ask);
    assert!(
        found.iter().all(|(name, class)| name.starts_with("files__") || *class == Replay::Safe),
        "{found:?}"
    );
    // The operator's class of the most specific name counts before the tool's own.
    let named = [
        ("files__*", Replay::Never),
        ("files__p*", Replay::Ask),
        ("files__post", Replay::Safe),
        ("fetch_url", Replay::Never),
    ];
    let found = classes(&harness(&named).await);
    assert_eq!(found["files__read"], Replay::Never);
    assert_eq!(found["files__put"], Replay::Ask);
    assert_eq!(found["files__post"], Replay::Safe);
    assert_eq!(found["fetch_url"], Replay::Never);
    assert_eq!(found["calculator"], Replay::Safe);
    servers.stop().await;
}
