//! An MCP server over HTTP that records the calls it gets, and can leave them without an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use thoughtwire_agent::{McpConfig, McpPhase, McpServers, McpTransport};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::harness::PATIENCE;
use crate::http_request::read_request;

/// A message that the server got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordedMessage {
    pub(crate) method: String,
    pub(crate) params: Value,
    /// The header `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

/// Treatment of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallReplies {
    Answered,
    /// A call that arrives now never gets an answer, even if later ones do.
    Withheld,
}

/// The server. It ends with its test's runtime.
#[derive(Clone)]
pub(crate) struct McpRecorder {
    url: String,
    state: Arc<watch::Sender<RecorderState>>,
}

#[derive(Debug)]
struct RecorderState {
    messages: Vec<RecordedMessage>,
    replies: CallReplies,
}

/// Its tools: one that only reads, one that is idempotent, and one that says nothing.
fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {}});
    json!([
        {"name": "read", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
        {"name": "put", "inputSchema": schema, "annotations":
            {"readOnlyHint": false, "idempotentHint": true, "destructiveHint": true}},
        {"name": "post", "inputSchema": schema, "annotations": {"title": "Post"}},
    ])
}

impl McpRecorder {
    pub(crate) async fn start(replies: CallReplies) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let state = RecorderState { messages: Vec::new(), replies };
        let server = Self { url, state: Arc::new(watch::Sender::new(state)) };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    /// Connects to the server under the name `files`.
    pub(crate) async fn connect(&self) -> McpServers {
        let transport =
            McpTransport::Http { url: self.url.clone(), headers: BTreeMap::from([of_operator()]) };
        let servers = McpServers::start(vec![McpConfig::new("files", transport)]);
        let mut changes = servers.changes();
        let ready = async {
            while servers.states()[0].phase != McpPhase::Ready {
                changes.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, ready).await.unwrap_or_else(|_| panic!("{:?}", servers.states()));
        servers
    }

    pub(crate) fn set_replies(&self, replies: CallReplies) {
        self.state.send_modify(|state| state.replies = replies);
    }

    pub(crate) fn messages(&self) -> Vec<RecordedMessage> {
        self.state.borrow().messages.clone()
    }

    /// The calls of tools.
    pub(crate) fn calls(&self) -> Vec<RecordedMessage> {
        self.messages().into_iter().filter(|message| message.method == "tools/call").collect()
    }

    /// Waits until this number of calls has arrived.
    pub(crate) async fn called(&self, number: usize) {
        let mut changes = self.state.subscribe();
        let is_call = |message: &&RecordedMessage| message.method == "tools/call";
        let arrived =
            changes.wait_for(|state| state.messages.iter().filter(is_call).count() >= number);
        drop(timeout(PATIENCE, arrived).await.expect("the call does not arrive").unwrap());
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some((head, body)) = read_request(&mut stream).await else { return };
        if !head.starts_with("POST ") {
            return respond(&mut stream, 405, "").await;
        }
        let body: Value = serde_json::from_str(&body).unwrap();
        let method = body["method"].as_str().unwrap_or_default().to_owned();
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("idempotency-key").then(|| value.trim().to_owned())
        });
        let params = body["params"].clone();
        let tool = params["name"].clone();
        let mut replies = CallReplies::Answered;
        self.state.send_modify(|state| {
            state.messages.push(RecordedMessage { method: method.clone(), params, key });
            replies = state.replies;
        });
        let result = match method.as_str() {
            "initialize" => json!({
                "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "recorder", "version": "1"},
            }),
            "tools/list" => json!({"tools": tools()}),
            "tools/call" if replies == CallReplies::Withheld => std::future::pending().await,
            "tools/call" => {
                json!({"content": [{"type": "text", "text": format!("{tool} is done.")}]})
            }
            _ => json!({}),
        };
        match body.get("id") {
            Some(id) => {
                let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
                respond(&mut stream, 200, &reply.to_string()).await;
            }
            None => respond(&mut stream, 202, "").await,
        }
    }
}

/// A header that the operator configured, which does not replace the key of a call.
fn of_operator() -> (String, String) {
    ("Idempotency-Key".to_owned(), "of-the-operator".to_owned())
}

async fn respond(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
