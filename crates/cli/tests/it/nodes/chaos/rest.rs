//! Requests of REST clients: inputs, pages of a log, and server-sent events.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

/// Seconds for which an input's request waits for the end of its turn.
const WAIT: u64 = 10;
/// Time after which a client tries another node.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// Records of a page.
const PAGE: usize = 100;

/// Makes a client, which all requests of a run share.
pub(super) fn http_client() -> reqwest::Client {
    // A second installation is refused and changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().connect_timeout(OPEN_PATIENCE).build().unwrap()
}

/// Sends the input of a `send` command. Gives its answer as a native frame.
pub(super) async fn send(
    http: &reqwest::Client,
    url: &str,
    session: &str,
    command: &Value,
) -> Option<Value> {
    let request = http
        .post(format!("{url}/v1/sessions/{session}/inputs?wait={WAIT}"))
        .header("idempotency-key", command["id"].as_str().unwrap())
        .json(&json!({"text": command["text"]}));
    let response = request.send().await.ok()?;
    let (status, may_retry) =
        (response.status().as_u16(), response.headers().contains_key("retry-after"));
    let mut answer: Value = response.json().await.ok()?;
    let is_ack = matches!(status, 200 | 202);
    answer["type"] = json!(if is_ack { "ack" } else { "refused" });
    answer["retry"] = json!(may_retry);
    Some(answer)
}

/// A session's log, page by page.
pub(super) async fn pages(http: &reqwest::Client, url: &str, session: &str) -> Vec<Value> {
    let mut log = Vec::new();
    loop {
        let after = log.len();
        let page = format!("{url}/v1/sessions/{session}/events?after={after}&limit={PAGE}");
        let page: Value = http.get(page).send().await.unwrap().json().await.unwrap();
        let records = page["events"].as_array().unwrap();
        if records.is_empty() {
            return log;
        }
        log.extend(records.iter().cloned());
    }
}

/// The session of an agent that has one.
pub(super) async fn only_session(http: &reqwest::Client, url: &str, agent: &str) -> String {
    let request = http.get(format!("{url}/v1/sessions")).query(&[("limit", "1000")]);
    let listed: Value = request.send().await.unwrap().json().await.unwrap();
    let mut listed = listed["sessions"].as_array().unwrap().iter();
    let session = listed.find(|session| session["agent_name"] == agent).unwrap();
    session["id"].as_str().unwrap().to_owned()
}

/// A stream of server-sent events.
pub(super) struct ServerEvents {
    response: reqwest::Response,
    text: String,
}

/// An event of a stream.
pub(super) struct ServerEvent {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: Value,
}

impl ServerEvents {
    /// Opens the events of a session, behind an id or from the beginning.
    pub(super) async fn open(
        http: &reqwest::Client,
        url: &str,
        session: &str,
        after: Option<String>,
    ) -> Option<Self> {
        let mut request = http
            .get(format!("{url}/v1/sessions/{session}/events?after=0"))
            .header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = timeout(OPEN_PATIENCE, request.send()).await.ok()?.ok()?;
        let is_open = response.status() == 200;
        is_open.then_some(Self { response, text: String::new() })
    }

    /// The next event, whenever it comes; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            while let Some((event, behind)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim().to_owned()).unwrap_or_default()
                };
                let (name, id, data) = (field("event:"), field("id:"), field("data:"));
                self.text = behind.to_owned();
                // A comment keeps the connection.
                if !name.is_empty() {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(ServerEvent { name, id, data });
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
