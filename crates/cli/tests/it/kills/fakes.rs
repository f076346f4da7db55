//! The model and the MCP server, behind one address. They outlive the servers that ask them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::round::KillRound;
use super::{crowd, model, receiver};

/// The address of the model and the MCP server, and the rounds that they know.
pub(super) struct Fakes {
    pub(super) host: String,
    rounds: Arc<Mutex<HashMap<String, Arc<KillRound>>>>,
}

/// A request.
pub(super) struct FakeRequest {
    method: String,
    path: String,
    /// In lower case, with their values.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Value,
}

impl Fakes {
    pub(super) async fn start(crowd: Option<Arc<crowd::Crowd>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let rounds: Arc<Mutex<HashMap<String, Arc<KillRound>>>> = Arc::default();
        let known = Arc::clone(&rounds);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&known), crowd.clone()));
            }
        });
        Self { host, rounds }
    }

    pub(super) fn add(&self, round: &Arc<KillRound>) {
        self.rounds.lock().unwrap().insert(round.name.clone(), Arc::clone(round));
    }
}

async fn serve(
    mut stream: TcpStream,
    rounds: Arc<Mutex<HashMap<String, Arc<KillRound>>>>,
    crowd: Option<Arc<crowd::Crowd>>,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let text = request.body.to_string();
    let round =
        name_in(&text, "round-").and_then(|name| rounds.lock().unwrap().get(&name).cloned());
    match (request.method.as_str(), request.path.as_str(), round, crowd) {
        ("POST", "/mcp", round, _) => receiver::answer(&mut stream, &request, round).await,
        ("POST", "/v1/chat/completions", Some(round), _) => {
            model::answer(&mut stream, &request.body, &round).await;
        }
        ("POST", "/v1/chat/completions", None, Some(crowd)) => {
            crowd.answer(&mut stream, &request.body).await;
        }
        (_, _, _, _) => drop(respond(&mut stream, 405, &Value::Null).await),
    }
    drop(stream.shutdown().await);
}

/// The name of a round in a text: a prefix, digits and a full stop.
pub(super) fn name_in(text: &str, prefix: &str) -> Option<String> {
    let (at, _) = text.match_indices(prefix).next()?;
    let (digits, _) = text[at + prefix.len()..].split_once('.')?;
    Some(format!("{prefix}{digits}."))
}

/// Writes a whole JSON response. Fails if the server that asked is gone.
pub(super) async fn respond(
    stream: &mut TcpStream,
    status: u16,
    body: &Value,
) -> std::io::Result<()> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.flush().await
}

async fn read_request(stream: &mut TcpStream) -> Option<FakeRequest> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 16_384];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let body = &bytes[end + 4..];
        if body.len() >= length.unwrap_or(0) {
            let body = serde_json::from_slice(body).unwrap_or_default();
            return Some(FakeRequest { method, path, headers, body });
        }
    }
}
