//! All providers behind one address, as strict as the real ones. An invalid request gets status 400
//! and is recorded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::replies::{ScriptedReply, render};
use super::rules;
use super::stalled::stalled;
use crate::http_request::read_request;

/// A provider's wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StrictWire {
    OpenAi,
    Responses,
    Anthropic,
    Gemini,
    Ollama,
}

/// A recorded request.
#[derive(Debug, Clone)]
pub(super) struct RecordedRequest {
    pub(super) wire: StrictWire,
    pub(super) model: String,
    pub(super) body: Value,
    /// The violated rule. Absent for a valid request.
    pub(super) wrong: Option<String>,
}

/// Chooses the reply to a valid request.
pub(super) type ReplyChooser = Box<dyn FnMut(&RecordedRequest) -> ScriptedReply + Send>;

pub(super) struct StrictProvider {
    pub(super) host: String,
    state: Arc<Mutex<StrictState>>,
}

struct StrictState {
    choose: ReplyChooser,
    asked: Vec<RecordedRequest>,
    /// Signatures and `reasoning_content` that each model has sent.
    signed: HashMap<(StrictWire, String), Vec<String>>,
}

impl StrictProvider {
    pub(super) async fn start(
        choose: impl FnMut(&RecordedRequest) -> ScriptedReply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state =
            StrictState { choose: Box::new(choose), asked: Vec::new(), signed: HashMap::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { host, state }
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Requests that a provider would refuse.
    pub(super) fn refused(&self) -> Vec<RecordedRequest> {
        self.requests().into_iter().filter(|asked| asked.wrong.is_some()).collect()
    }
}

impl StrictState {
    fn answer(&mut self, path: &str, body: Value) -> StrictAnswer {
        let end = StrictEnd::Close;
        let wire = match path.split('?').next().unwrap_or_default() {
            "/v1/chat/completions" => StrictWire::OpenAi,
            "/v1/responses" => StrictWire::Responses,
            "/v1/messages" => StrictWire::Anthropic,
            "/api/chat" => StrictWire::Ollama,
            path if path.ends_with(":streamGenerateContent") => StrictWire::Gemini,
            _ => {
                let body = json!({"error": {"message": "no such path"}}).to_string();
                return StrictAnswer { status: 404, body, end };
            }
        };
        let in_path = path.rsplit('/').next().and_then(|last| last.split(':').next());
        let model = body["model"].as_str().or(in_path).unwrap_or_default().to_owned();
        let signed = self.signed.entry((wire, model.clone())).or_default();
        let wrong = rules::check(wire, &model, &body, signed).err();
        let asked = RecordedRequest { wire, model, body, wrong };
        self.asked.push(asked.clone());
        let refusal = |why: &str| {
            let error = json!({"type": "invalid_request_error", "message": why});
            let body = json!({"type": "error", "error": error}).to_string();
            StrictAnswer { status: 400, body, end }
        };
        if let Some(why) = asked.wrong {
            return refusal(&why);
        }
        match (self.choose)(&asked) {
            ScriptedReply::Fails => {
                let error = json!({"type": "api_error", "message": "down", "code": 500});
                let body = json!({"type": "error", "error": error}).to_string();
                StrictAnswer { status: 500, body, end }
            }
            ScriptedReply::Refuses(why) => refusal(why),
            ScriptedReply::Stalls { thinks, text } => {
                let body = stalled(wire, thinks, &text, self.asked.len(), signed);
                StrictAnswer { status: 200, body, end: StrictEnd::Hold }
            }
            said @ ScriptedReply::Reply { .. } => {
                let body = render(wire, &said, self.asked.len(), signed);
                StrictAnswer { status: 200, body, end }
            }
        }
    }
}

/// An answer to a request.
struct StrictAnswer {
    status: u16,
    body: String,
    end: StrictEnd,
}

/// Treatment of the connection after the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StrictEnd {
    Close,
    /// It stays open, and the body seems to go on.
    Hold,
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<StrictState>>) {
    let Some((head, body)) = read_request(&mut stream).await else { return };
    let (Some(path), Ok(body)) = (head.split(' ').nth(1), serde_json::from_str(&body)) else {
        return;
    };
    let StrictAnswer { status, body, end } = state.lock().unwrap().answer(path, body);
    let kind = if status != 200 {
        "application/json"
    } else if path.starts_with("/api") {
        "application/x-ndjson"
    } else {
        "text/event-stream"
    };
    let length = match end {
        StrictEnd::Close => format!("content-length: {}\r\n", body.len()),
        StrictEnd::Hold => String::new(),
    };
    let head = format!(
        "HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\n{length}connection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
    if end == StrictEnd::Hold {
        // Until the other side ends the connection.
        drop(stream.read(&mut [0]).await);
    }
    stream.shutdown().await.ok();
}
