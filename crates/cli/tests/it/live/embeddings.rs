//! Search by meaning with the real binary and an embedding server.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::backups::command;
use super::operations::{figure, figures};
use super::rest::call;
use super::support::Live;

/// Words and the axis of their meaning: drinks, vehicles, weather.
const AXES: [(&str, usize); 6] =
    [("tea", 0), ("coffee", 0), ("beverage", 0), ("train", 1), ("tram", 1), ("rain falls", 2)];

const NOTES: [&str; 6] = [
    "She likes tea in the morning",
    "The train leaves at noon",
    "Her seat is on platform nine",
    "Coffee for the guests",
    "Rain falls on Monday",
    "The tram was full",
];

/// An embedding server on OpenAI's wire, and the texts that it was asked for.
struct FakeEmbeddings {
    host: String,
    texts: Arc<Mutex<Vec<String>>>,
}

impl FakeEmbeddings {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let texts: Arc<Mutex<Vec<String>>> = Arc::default();
        let asked = Arc::clone(&texts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(embed(stream, Arc::clone(&asked)));
            }
        });
        Self { host, texts }
    }

    fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }
}

async fn embed(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    let body: Value = loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if let Ok(body) = serde_json::from_str(body) {
            break body;
        }
    };
    let inputs = body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let texts: Vec<String> = inputs.map(str::to_owned).collect();
    let data: Vec<Value> = texts.iter().map(|text| json!({"embedding": vector(text)})).collect();
    asked.lock().unwrap().extend(texts);
    let reply = json!({"data": data}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        reply.len()
    );
    // The server may be gone.
    stream.write_all(format!("{head}{reply}").as_bytes()).await.ok();
}

fn vector(text: &str) -> [f32; 4] {
    let mut vector = [0.0, 0.0, 0.0, 0.2];
    for (word, axis) in AXES {
        vector[axis] += text.to_lowercase().matches(word).count() as f32;
    }
    vector
}

#[tokio::test]
async fn a_hit_says_whether_words_meaning_or_neighbours_found_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut before = Live::on(&data, &[]).await;
    call(&before, "POST", "/v1/agents", &[], Some(json!({"name": "ada"}))).await;
    let notes: Vec<Value> = NOTES.iter().map(|text| json!({"text": text})).collect();
    let archival = "/v1/agents/ada/archival";
    let added = call(&before, "POST", archival, &[], Some(json!({"notes": notes}))).await;
    assert_eq!(added.1["added"], 6, "{added:?}");
    let (_, shown) = call(&before, "GET", "/v1/agents/ada", &[], None).await;
    assert_eq!(shown["memory"].get("unembedded"), None, "there is no embedding model");
    let (_, found) =
        call(&before, "GET", &format!("{archival}?query=beverage&why=true"), &[], None).await;
    assert_eq!(found["total"], 0, "{found}");
    assert_eq!(before.terminate().await, Some(0));
    drop(before);

    // With a model, the start makes the vectors of what is there.
    let fake = FakeEmbeddings::start().await;
    let file = dir.path().join("config.toml");
    let settings = [
        "embedding = \"openai/fake\"".to_owned(),
        "embedding_query_prefix = \"ask: \"".to_owned(),
        "embedding_document_prefix = \"note: \"".to_owned(),
        format!("[openai]\napi_key = \"sk-test\"\nbase_url = \"http://{}/v1\"", fake.host),
    ];
    std::fs::write(&file, settings.join("\n")).unwrap();
    let live = Live::on(&data, &["--config", file.to_str().unwrap()]).await;
    let embedded = |text: &str| figure(text, "thoughtwire_embedded_texts_total");
    while embedded(&figures(&live, None).await.1) != Some(6.0) {}
    let (_, text) = figures(&live, None).await;
    assert_eq!(figure(&text, "thoughtwire_embedding_waiting"), Some(0.0), "{text}");
    assert_eq!(figure(&text, "thoughtwire_embedding_failures_total"), Some(0.0));
    let (_, shown) = call(&live, "GET", "/v1/agents/ada", &[], None).await;
    assert_eq!(shown["memory"], json!({"archival": 6, "recall": 0, "unembedded": 0}));
    assert!(fake.texts().contains(&format!("note: {}", NOTES[0])), "{:?}", fake.texts());

    let found = async |query: &str| {
        let path = format!("{archival}?query={query}&why=true");
        let (_, page) = call(&live, "GET", &path, &[], None).await;
        let hit = page["notes"][0].clone();
        let part = |name: &str| hit["why"][name].as_i64().unwrap_or_else(|| panic!("{page}"));
        let parts = (part("words"), part("meaning"), part("neighbours"));
        (hit["text"].as_str().unwrap().to_owned(), parts)
    };
    let (text, (words, meaning, neighbours)) = found("beverage").await;
    assert!(text == NOTES[0] || text == NOTES[3], "{text}");
    assert!(words == 0 && meaning > 0 && neighbours == 0, "{words} {meaning} {neighbours}");
    assert!(fake.texts().contains(&"ask: beverage".to_owned()));
    let (text, (words, _, neighbours)) = found("train%20platform").await;
    assert!(text == NOTES[1] || text == NOTES[2], "{text}");
    assert!(words > 0 && neighbours > 0, "{words} {neighbours}");
    let (_, plain) = call(&live, "GET", &format!("{archival}?query=tea"), &[], None).await;
    assert_eq!(plain["notes"][0].get("why"), None, "{plain}");

    let search = ["memory", "search", "ada", "beverage", "--in", "archival", "--why"];
    let ran = command(&[&search[..], &["--url", &live.url]].concat()).await;
    let meaning = ran.out.lines().find(|line| line.contains("meaning")).unwrap();
    assert!(meaning.trim().starts_with("words 0, meaning "), "{ran:?}");
    assert!(meaning.ends_with("neighbours 0") && !meaning.contains("meaning 0"), "{ran:?}");

    // Messages are embedded and found by meaning as well.
    let (mut client, session) = live.agent("bob", "offline").await;
    client.attach(&session, None).await;
    for text in ["I came by tram", "It is late", "Good night"] {
        client.send(json!({"type": "send", "session": session, "text": text})).await;
        client.turn().await;
    }
    loop {
        let (_, shown) = call(&live, "GET", "/v1/agents/bob", &[], None).await;
        let said = shown["memory"]["recall"].as_f64().unwrap();
        if said >= 6.0 && embedded(&figures(&live, None).await.1) == Some(6.0 + said) {
            break;
        }
    }
    let path = "/v1/agents/bob/recall?query=train&why=true";
    let (_, page) = call(&live, "GET", path, &[], None).await;
    let hit = &page["results"][0];
    assert!(hit["text"].as_str().unwrap().contains("tram"), "{page}");
    assert!(hit["why"]["meaning"].as_i64().unwrap() > 0 && hit["why"]["words"] == 0, "{page}");
}
