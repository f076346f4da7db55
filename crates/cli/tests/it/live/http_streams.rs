//! Many readers of server-sent events: parked, slow, coming back, and with compression.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use super::access::Guarded;
use super::rest::{call, http};
use super::support::{Live, test_deps};

const PATIENCE: Duration = Duration::from_secs(60);

/// The positions that a stream's text names, in order.
fn seqs(text: &str) -> Vec<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix("id: ")?.rsplit_once(':')?.1.parse().ok())
        .collect()
}

/// A stream that is read chunk by chunk.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(live: &Live, session: &str, last_event_id: &str) -> Self {
        let request = http().get(format!("{}/v1/sessions/{session}/events", live.url));
        let request = request.header("accept", "text/event-stream");
        let response = request.header("last-event-id", last_event_id).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// Reads a chunk. The result tells whether the stream goes on.
    async fn read(&mut self) -> bool {
        let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
        let chunk = chunk.expect("something comes").unwrap();
        self.text
            .push_str(chunk.as_deref().map_or("", |bytes| std::str::from_utf8(bytes).unwrap()));
        chunk.is_some()
    }

    /// Reads to the end of the turn.
    async fn turn(&mut self) {
        while !self.text.contains(r#""kind":"turn_ended""#) || !self.text.ends_with("\n\n") {
            assert!(self.read().await, "the stream goes on");
        }
    }
}

#[tokio::test]
async fn many_readers_get_every_event_once_in_order_and_are_told_of_a_stop() {
    let live = Live::start().await;
    let model = "load:items=200,bytes=700,rate=400,deltas=no";
    let (_client, session) = live.agent("ada", model).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(Stream::open(&live, &session, "0").await);
    }
    let inputs = format!("/v1/sessions/{session}/inputs");
    let go = Some(json!({"text": "go"}));
    assert_eq!(call(&live, "POST", &inputs, &[], go).await.0, 202);
    let turns = streams.iter_mut().map(Stream::turn);
    futures::future::join_all(turns).await;
    let expected: Vec<u64> = (1..=205).collect();
    for stream in &streams {
        assert!(seqs(&stream.text) == expected, "{:?}", seqs(&stream.text));
        let events = stream.text.split("\n\n").filter(|event| !event.starts_with(':'));
        assert_eq!(events.filter(|event| !event.is_empty()).count(), 205, "nothing else came");
    }
    live.signal();
    for stream in &mut streams {
        let so_far = stream.text.len();
        while stream.read().await {}
        let last = stream.text[so_far..].split("\n\n");
        let last: Vec<_> = last.filter(|event| !matches!(*event, "" | ":")).collect();
        let told = "event: closed\ndata: {\"code\":\"closed\"";
        assert!(last.len() == 1 && last[0].starts_with(told), "{last:?}");
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_again_and_again_misses_nothing_and_gets_nothing_twice() {
    let live = Live::start().await;
    let model = "load:items=1500,bytes=300,rate=1500,deltas=no";
    let (_client, session) = live.agent("ada", model).await;
    let inputs = format!("/v1/sessions/{session}/inputs");
    let go = Some(json!({"text": "go"}));
    assert_eq!(call(&live, "POST", &inputs, &[], go).await.0, 202);
    let readers = (1..=4).map(|patience| {
        let (live, session) = (&live, &session);
        async move {
            let (mut last, mut seen, mut visits) = ("0".to_owned(), Vec::new(), 0);
            loop {
                let mut stream = Stream::open(live, session, &last).await;
                visits += 1;
                // Leaves in the middle of an event as well: only whole ones count.
                for _ in 0..patience * 3 {
                    if stream.text.contains("turn_ended") && stream.text.ends_with("\n\n") {
                        break;
                    }
                    assert!(stream.read().await, "the stream goes on");
                }
                let (whole, _) = stream.text.rsplit_once("\n\n").unwrap_or_default();
                seen.extend(seqs(whole));
                let mut ids = whole.lines().filter_map(|line| line.strip_prefix("id: "));
                last = ids.next_back().map_or(last, str::to_owned);
                if whole.contains(r#""kind":"turn_ended""#) {
                    return (seen, visits);
                }
            }
        }
    });
    for (seen, visits) in futures::future::join_all(readers).await {
        assert!(seen == (1..=1505).collect::<Vec<_>>(), "{} events", seen.len());
        assert!(visits > 1, "it came back");
    }
}

/// Sends a request for the whole log, with little room for the answer.
async fn ask(live: &Live, session: &str, version: &str, more: &str) -> TcpStream {
    let host = live.url.split("://").nth(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET /v1/sessions/{session}/events?after=0 HTTP/{version}\r\nHost: {host}\r\n\
         Accept: text/event-stream\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn readers_that_take_nothing_slow_nobody_down_and_cost_little() {
    let live = Live::start().await;
    let model = "load:items=4000,bytes=4000,rate=100000,deltas=no";
    let (mut client, session) = live.agent("ada", model).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut stream = ask(&live, &session, "1.1", "").await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stalled.push(stream);
    }
    client.attach(&session, Some(0)).await;
    let before = live.resident();
    client.send(json!({"type": "send", "session": session, "text": "go"})).await;
    let seen = client.turn().await;
    assert!(seen.len() > 4000, "{} frames", seen.len());
    // Each has 16 MB to get, and the server holds little of it.
    let grown = live.resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes");
    // A reader that reads again gets everything.
    let mut stream = stalled.pop().unwrap();
    let (mut rest, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    let ends = |text: &[u8]| {
        let tail = &text[text.len().saturating_sub(2000)..];
        String::from_utf8_lossy(tail).contains("turn_ended")
    };
    while !ends(&rest) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await;
        let read = read.expect("something comes").unwrap();
        assert!(read > 0, "the stream goes on");
        rest.extend_from_slice(&piece[..read]);
    }
    let seqs = seqs(&String::from_utf8_lossy(&rest));
    let wrong = seqs.iter().zip(1..).find(|(seq, expected)| *seq != expected);
    assert_eq!((wrong, seqs.len()), (None, 4005));
}

#[tokio::test]
async fn a_request_of_another_kind_gets_the_events_or_the_head() {
    // With keys, since HTTP/1.0 without one looks like a proxy.
    let guarded = Guarded::start().await;
    let (live, (_, key)) = (&guarded.live, guarded.key("ada", &["chat", "agents"]).await);
    let spec = json!({"name": "ada", "model": "offline"});
    let (_, made) = guarded.call(&key, "POST", "/v1/agents", Some(spec)).await;
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let inputs = format!("/v1/sessions/{session}/inputs?wait=60");
    let hello = Some(json!({"text": "hello"}));
    assert_eq!(guarded.call(&key, "POST", &inputs, hello).await.0, 200);
    // HTTP/1.0 has no chunks.
    let bearer = format!("Authorization: Bearer {key}\r\n");
    let mut stream = ask(live, &session, "1.0", &bearer).await;
    let (mut text, mut piece) = (String::new(), vec![0; 4096]);
    while !text.contains("turn_ended") {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await;
        let read = read.expect("something comes").unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert!(body.starts_with("id: "), "{body}");
    // HEAD gets the head and no stream, and its connection ends.
    let url = format!("{}/v1/sessions/{session}/events", live.url);
    let head = http().head(url).bearer_auth(&key).header("accept", "text/event-stream");
    let head = head.send().await.unwrap();
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert!(head.text().await.unwrap().is_empty());
    // Bytes that a client sends behind its request are dropped.
    let mut stream = ask(live, &session, "1.1", &bearer).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while !text.contains("turn_ended") {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await;
        text.push_str(&String::from_utf8_lossy(&piece[..read.unwrap().unwrap()]));
    }
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
}

#[tokio::test]
async fn usual_clients_read_compressed_events() {
    let live = Live::start().await;
    let model = "load:items=100,bytes=3000,rate=10000,deltas=no";
    let (mut client, _) = live.agent("ada", model).await;
    // An agent's first session cannot be deleted.
    let (_, made) = call(&live, "POST", "/v1/sessions", &[], Some(json!({"agent": "ada"}))).await;
    let session = made["session"].as_str().unwrap().to_owned();
    client.attach(&session, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "go"})).await;
    client.turn().await;
    let url = format!("{}/v1/sessions/{session}/events?after=0", live.url);
    let path = format!("/v1/sessions/{session}/events");
    let (_, page) = call(&live, "GET", &path, &[], None).await;
    let last = format!("{}:{}", page["epoch"].as_str().unwrap(), page["head"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/live/event_readers.py");
    let python = test_deps("python/bin/python");
    let output = Command::new(python).args([script, &url, &last]).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"ok\n", "{errors}");
    // curl reads to the end, which has to be a whole one.
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--compressed", "-H", "Accept: text/event-stream", &url]);
    let mut curl = curl.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = curl.stdout.take().unwrap();
    let (mut text, mut piece) = (String::new(), vec![0; 1 << 16]);
    let mut is_deleted = false;
    loop {
        let read = tokio::time::timeout(PATIENCE, out.read(&mut piece)).await;
        let read = read.expect("something comes").unwrap();
        if read == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if !is_deleted && text.contains(&format!("id: {last}\n")) {
            is_deleted = true;
            let path = format!("/v1/sessions/{session}");
            assert_eq!(call(&live, "DELETE", &path, &[], None).await.0, 204);
        }
    }
    let status = curl.wait().await.unwrap();
    assert!(status.success(), "{status:?}");
    assert_eq!(seqs(&text), (1..=105).collect::<Vec<_>>());
    assert!(text.contains("event: closed\n"), "it ends in order");
}
