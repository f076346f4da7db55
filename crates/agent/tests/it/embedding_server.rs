//! An embedding server for tests: OpenAI's wire, with a vector for each known word.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::http_request::read_request;

/// Words and the axis of their meaning: drinks, vehicles, weather.
const WORDS: [(&str, usize); 7] = [
    ("tea", 0),
    ("coffee", 0),
    ("beverage", 0),
    ("train", 1),
    ("tram", 1),
    ("rain", 2),
    ("umbrella", 2),
];

/// A server that embeds texts by their words. It refuses the text `poison`.
pub(crate) struct EmbeddingServer {
    pub(crate) host: String,
    state: Arc<ServerState>,
}

struct ServerState {
    /// The status of all answers.
    status: AtomicU16,
    /// The model and the text of all inputs that it embedded.
    embedded: Mutex<Vec<(String, String)>>,
}

impl EmbeddingServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state =
            Arc::new(ServerState { status: AtomicU16::new(200), embedded: Mutex::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { answer(stream, &shared).await });
            }
        });
        Self { host, state }
    }

    /// Answers with this status from now on.
    pub(crate) fn set_status(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    /// Number of texts that it embedded for a model.
    pub(crate) fn count(&self, model: &str) -> usize {
        self.state.embedded.lock().unwrap().iter().filter(|(of, _)| of == model).count()
    }
}

async fn answer(mut stream: TcpStream, state: &ServerState) {
    let Some((_, body)) = read_request(&mut stream).await else { return };
    let body: Value = serde_json::from_str(&body).unwrap();
    let texts: Vec<&str> =
        body["input"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    let status = match state.status.load(Ordering::SeqCst) {
        200 if texts.iter().any(|text| text.contains("poison")) => 400,
        status => status,
    };
    let reply = if status == 200 {
        let model = body["model"].as_str().unwrap();
        let mut embedded = state.embedded.lock().unwrap();
        embedded.extend(texts.iter().map(|text| (model.to_owned(), (*text).to_owned())));
        let data = texts.iter().map(|text| json!({"embedding": vector(text)}));
        json!({"data": data.collect::<Vec<_>>()})
    } else {
        json!({"error": {"message": "it is not to be had"}})
    };
    let reply = reply.to_string();
    let head = format!(
        "HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        reply.len()
    );
    // The client may close the connection before the end.
    stream.write_all(format!("{head}{reply}").as_bytes()).await.ok();
}

fn vector(text: &str) -> [f32; 4] {
    let mut vector = [0.0, 0.0, 0.0, 0.1];
    let text = text.to_lowercase();
    for (word, axis) in WORDS {
        vector[axis] += text.matches(word).count() as f32;
    }
    vector
}
