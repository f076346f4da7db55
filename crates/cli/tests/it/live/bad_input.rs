//! Bad input: a clear answer, and the connection lives on, unless the WebSocket itself is broken.

use futures::SinkExt as _;
use serde_json::{Value, json};
use tokio_websockets::Message;

use super::support::{Live, TestClient};

fn deep() -> String {
    "[".repeat(100_000)
}

/// A frame, and what its answer has to be: key, and how its value begins.
type Row<'a> = (String, &'a str, &'a str, &'a str);

async fn refuses(client: &mut TestClient, rows: Vec<Row<'_>>) {
    for (frame, kind, key, begins) in rows {
        client.send_text(&frame).await;
        let answer = client.next().await;
        let shown = &frame[..frame.len().min(80)];
        assert_eq!(answer["type"], kind, "{shown} gave {answer}");
        let value = answer
            .pointer(key)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{shown} gave {answer}"));
        assert!(value.starts_with(begins), "{shown} gave {answer}");
    }
}

async fn breaks(live: &Live, path: &str) {
    let mut client = live.connect(path).await;
    client.socket.send(Message::text("x".repeat((1 << 20) + 1))).await.unwrap();
    assert_eq!(closed(&mut client).await, 1009, "{path}: too large");
    // The same in frames that are each small enough.
    assert_eq!(
        ended(live, path, &fragments(3, 400 << 10)).await,
        1009,
        "{path}: too large together"
    );
    let exactly = "x".repeat(1 << 20);
    let mut client = live.connect(path).await;
    client.send_text(&exactly).await;
    while client.next().await["type"] == "welcome" {}
}

async fn closed(client: &mut TestClient) -> u16 {
    loop {
        if let Err(code) = client.next_or_close().await {
            return code;
        }
    }
}

/// A text message in frames, the last of which is not final; masked with zeros.
fn fragments(count: u8, bytes: u32) -> Vec<u8> {
    let frame = |at: u8| {
        let mut frame = vec![u8::from(at == 0), 0xff];
        frame.extend(u64::from(bytes).to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + bytes as usize, b'x');
        frame
    };
    (0..count).flat_map(frame).collect()
}

/// The code with which a connection ends after bytes that no client library would send.
async fn ended(live: &Live, path: &str, bytes: &[u8]) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = live.url.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: \
        Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let close = answer.windows(4).rposition(|window| window[0] == 0x88).expect("a close frame");
    u16::from_be_bytes([answer[close + 2], answer[close + 3]])
}

#[tokio::test]
async fn broken_websockets_are_closed_with_their_code() {
    let live = Live::start().await;
    for path in ["/v1/ws", "/memgpt", "/ws/chat"] {
        breaks(&live, path).await;
        // FIN and text, masked with zeros, two bytes that are no UTF-8.
        assert_eq!(ended(&live, path, &[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28]).await, 1007, "{path}");
    }
}

#[tokio::test]
async fn native_refusals() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    let row = |frame: &str, code| (frame.to_owned(), "refused", "/code", code);
    let rows = vec![
        row("not json", "bad_frame"),
        row("", "bad_frame"),
        row("null", "bad_frame"),
        row("5", "bad_frame"),
        row("[\"type\"]", "bad_frame"),
        (deep(), "refused", "/code", "too_large"),
        row(r#"{"type":"send","session":"s","text":"\ud800"}"#, "bad_frame"),
        row("{}", "bad"),
        row(r#"{"type":"dance"}"#, "unknown_type"),
        row(r#"{"type":"send","session":5,"text":"x"}"#, "bad_request"),
        row(r#"{"type":"send","text":"x"}"#, "bad_request"),
        row(r#"{"type":"send","id":"e1","session":"nowhere","text":"x"}"#, "unknown_session"),
        row(r#"{"type":"attach","session":"nowhere"}"#, "unknown_session"),
        row(r#"{"type":"detach","session":"nowhere"}"#, "not_attached"),
        row(r#"{"type":"create_agent","id":"e2","name":"ada"}"#, "name_taken"),
        row(r#"{"type":"create_session","id":"e3","agent":"ghost"}"#, "unknown_agent"),
        row(r#"{"type":"decide","id":"e4","call":"none","decision":"approved"}"#, "bad_request"),
    ];
    refuses(&mut client, rows).await;
    let empty =
        client.ask(json!({"type": "send", "id": "e5", "session": session, "text": ""})).await;
    assert_eq!(empty["code"], "empty_text");
    assert_eq!(
        client.ask(json!({"type": "cancel", "id": "e6", "session": session})).await["code"],
        "no_turn"
    );
    assert_eq!(
        client
            .ask(json!({"type": "withdraw", "id": "e7", "session": session, "input": "none"}))
            .await["code"],
        "unknown_input"
    );
    client.socket.send(Message::binary(vec![0xff, 0xfe])).await.unwrap();
    assert_eq!(client.next().await["code"], "bad_frame");
    client.socket.send(Message::binary(br#"{"type":"ping"}"#.to_vec())).await.unwrap();
    assert_eq!(client.next().await["type"], "pong", "a binary frame is read as text");
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn memgpt_refusals() {
    let live = Live::start().await;
    let (_owner, _) = live.agent("ada", "offline").await;
    let mut client = live.connect("/memgpt").await;
    let bad = |frame: &str| {
        (frame.to_owned(), "command_response", "/status", "Error: bad data from client - ")
    };
    let rows = vec![
        // The very first frame: the original dies of it.
        bad("not json"),
        bad(""),
        bad("5"),
        bad("null"),
        bad("[\"type\"]"),
        bad("\"my type\""),
        bad("[1,2]"),
        (deep(), "command_response", "/status", "Error: bad data from client - "),
        bad(r#"{"type":"user_message","message":"\ud800","agent_name":"ada"}"#),
        bad(r#"{"a":1}"#),
        bad(r#"{"type":"command"}"#),
        bad(r#"{"type":"user_message","agent_name":"ada"}"#),
        (
            r#"{"type":"ping"}"#.into(),
            "server_error",
            "/message",
            "unrecognized client package data type: ",
        ),
        (
            r#"{"type":null}"#.into(),
            "server_error",
            "/message",
            "unrecognized client package data type: ",
        ),
        (
            r#"{"type":"command","command":"reset"}"#.into(),
            "server_error",
            "/message",
            "unrecognized client command type: ",
        ),
        (
            r#"{"type":"command","command":"create_agent"}"#.into(),
            "command_response",
            "/status",
            "Error: Failed to init agent - 'config'",
        ),
        (
            r#"{"type":"command","command":"create_agent","config":[]}"#.into(),
            "command_response",
            "/status",
            "Error: Failed to init agent - ",
        ),
        (
            r#"{"type":"command","command":"create_agent","config":{"name":"ada"}}"#.into(),
            "command_response",
            "/status",
            "Error: Failed to init agent - ",
        ),
        (
            r#"{"type":"command","command":"create_agent","config":{"name":5}}"#.into(),
            "command_response",
            "/status",
            "Error: Failed to init agent - ",
        ),
        (
            r#"{"type":"command","command":"load_agent"}"#.into(),
            "command_response",
            "/status",
            "Error: 'name' not provided",
        ),
        (
            r#"{"type":"command","command":"load_agent","name":null}"#.into(),
            "command_response",
            "/status",
            "Error: 'name' not provided",
        ),
        (
            r#"{"type":"command","command":"load_agent","name":"ghost"}"#.into(),
            "command_response",
            "/status",
            "Error: Failed to load agent 'ghost' - ",
        ),
        (
            r#"{"type":"user_message","message":"hi"}"#.into(),
            "agent_response_error",
            "/message",
            "agent_name was not specified in the request",
        ),
        (
            r#"{"type":"user_message","message":"hi","agent_id":null}"#.into(),
            "agent_response_error",
            "/message",
            "agent_name was not specified",
        ),
        (
            r#"{"type":"user_message","message":"hi","agent_name":"ghost"}"#.into(),
            "agent_response_error",
            "/message",
            "No agent has been initialized",
        ),
        (
            r#"{"type":"user_message","message":"","agent_name":"ada"}"#.into(),
            "agent_response_error",
            "/message",
            "server.user_message failed with: ",
        ),
    ];
    refuses(&mut client, rows).await;
    client.socket.send(Message::binary(vec![0xff, 0xfe])).await.unwrap();
    assert!(
        client.next().await["status"]
            .as_str()
            .unwrap()
            .starts_with("Error: bad data from client - ")
    );
    client.socket.send(Message::binary(br#"{"type":"x"}"#.to_vec())).await.unwrap();
    assert_eq!(client.next().await["type"], "server_error");
    client.send(json!({"type": "user_message", "message": {"a": 1}, "agent_name": "ada"})).await;
    client.until_type("agent_response_end").await;
}

#[tokio::test]
async fn sparky_refusals() {
    let live = Live::start().await;
    let mut client = live.connect("/ws/chat").await;
    let first =
        |frame: &str| (frame.to_owned(), "error", "/data/message", "Invalid message format: ");
    let rows = vec![
        first("nope"),
        first("null"),
        first("[]"),
        first("42"),
        first("\"x\""),
        first("{}"),
        first(r#"{"type":null}"#),
        first(r#"{"type":"ping"}"#),
        (deep(), "error", "/data/message", "Invalid message format: "),
        (
            r#"{"type":"message","data":"hi"}"#.into(),
            "error",
            "/data/message",
            "First message must be 'connect' type",
        ),
        first(r#"{"type":"connect","data":{"session_id":5}}"#),
        first(r#"{"type":"connect","data":{"history":"x"}}"#),
        first(r#"{"type":"connect","data":{"history":[{"role":"ghost"}]}}"#),
    ];
    refuses(&mut client, rows).await;
    client.socket.send(Message::binary(vec![0xff])).await.unwrap();
    assert_eq!(client.next().await["type"], "error", "a binary frame first is no zombie");
    client.send_text(r#"{"type":"connect"}"#).await;
    client.until_type("ready").await;
    let later = |frame: &str| (frame.to_owned(), "error", "/data/message", "Invalid message: ");
    let rows = vec![
        later("nope"),
        later("[1]"),
        later("{}"),
        later(r#"{"type":"dance"}"#),
        later(r#"{"type":"start_chat"}"#),
        later(r#"{"type":"start_chat","data":{}}"#),
        later(r#"{"type":"start_chat","data":{"chat_id":5}}"#),
        later(r#"{"type":"message"}"#),
        later(r#"{"type":"message","data":{}}"#),
        later(r#"{"type":"message","data":{"message":"x"}}"#),
        later(r#"{"type":"message","data":7}"#),
        later(r#"{"type":"message","data":{"text":"\ud800"}}"#),
        later(r#"{"type":"message","data":{"text":"m"},"session_id":5}"#),
        (
            r#"{"type":"start_chat","data":""}"#.into(),
            "error",
            "/data/message",
            "Error starting chat: ",
        ),
        (
            r#"{"type":"message","data":""}"#.into(),
            "error",
            "/data/message",
            "Error processing message: ",
        ),
    ];
    refuses(&mut client, rows).await;
    client.socket.send(Message::binary(vec![0xff])).await.unwrap();
    assert_eq!(client.next().await["type"], "error");
    // Swallowed or ignored, as the original does; the next answer is to the last frame.
    for silent in
        [r#"{"type":"ping"}"#, r#"{"type":"connect","data":{}}"#, r#"{"type":"status","data":"x"}"#]
    {
        client.send_text(silent).await;
    }
    client.send_text(r#"{"type":"start_chat","data":{"chat_id":"c1"}}"#).await;
    assert_eq!(client.next().await["type"], "chat_ready");
}
