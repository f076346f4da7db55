//! The MCP server, which counts the effects of its tools. It outlives the servers that call it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::fakes::{FakeRequest, respond};
use super::round::{FaultPoint, KillRound, ReceivedEffect};
use super::script::{ScriptReplay, TOOLS};

/// Name of the idempotency key in a call's `_meta`.
const KEY: &str = "thoughtwire/idempotency-key";

/// The text of a tool's result.
pub(super) const RESULT: &str = "The effect was received.";

/// Answers a request. Stops where the server that asked is gone.
pub(super) async fn answer(
    stream: &mut TcpStream,
    request: &FakeRequest,
    round: Option<Arc<KillRound>>,
) {
    let body = &request.body;
    let result = match body["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": body["params"]["protocolVersion"],
            "capabilities": {"tools": {}}, "serverInfo": {"name": "counter", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": tools()}),
        Some("ping") => json!({}),
        Some("tools/call") => {
            let round = round.expect("every call names its round");
            if round.passes(FaultPoint::ToolAsked) {
                return;
            }
            let tool = body["params"]["name"].as_str().unwrap().to_owned();
            let meta = body["params"]["_meta"][KEY].as_str().map(str::to_owned);
            let header = request.headers.get("idempotency-key").cloned();
            round.receive(ReceivedEffect { tool, header, meta });
            round.passes(FaultPoint::ToolRan);
            let content = json!([{"type": "text", "text": RESULT}]);
            let sent = respond(stream, 200, &reply(body, &json!({"content": content}))).await;
            if sent.is_ok() {
                round.passes(FaultPoint::ToolAnswered);
            }
            return;
        }
        Some(_) | None => return drop(respond(stream, 202, &Value::Null).await),
    };
    drop(respond(stream, 200, &reply(body, &result)).await);
}

fn reply(request: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

fn tools() -> Vec<Value> {
    let tool = |tool: &super::script::ScriptTool| {
        let schema = json!({"type": "object", "properties": {"round": {"type": "string"}}});
        let annotations = match tool.replay {
            ScriptReplay::Safe => json!({"idempotentHint": true}),
            ScriptReplay::Ask | ScriptReplay::Never => json!({}),
        };
        json!({"name": tool.name, "inputSchema": schema, "annotations": annotations})
    };
    TOOLS.iter().map(tool).collect()
}
