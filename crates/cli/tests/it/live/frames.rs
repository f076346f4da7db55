//! The server's frames on all wires, read by clients that take no more than 1 MiB in one.

use serde_json::{Value, json};
use thoughtwire_proto::dialect::native::{PartJoiner, ServerFrame};
use tokio_websockets::{ClientBuilder, Limits};

use super::support::{Live, TestClient};

/// The default frame limit of PyPI's `websockets`, in bytes.
const DEFAULT_LIMIT: usize = 1 << 20;

async fn connect(live: &Live, path: &str) -> TestClient {
    let limits = Limits::default().max_payload_len(Some(DEFAULT_LIMIT));
    let builder = ClientBuilder::from_uri(live.ws(path).parse().unwrap()).limits(limits);
    let (socket, _) = builder.connect().await.unwrap();
    TestClient { socket }
}

/// The next native frame, put together from its parts; and how many frames it came in.
async fn whole(client: &mut TestClient, joiner: &mut PartJoiner) -> (Value, usize) {
    let mut frames = 0;
    loop {
        let frame = client.next().await;
        frames += 1;
        let frame = ServerFrame::decode(&frame.to_string()).unwrap();
        if let Some(frame) = joiner.take(frame).unwrap() {
            return (serde_json::from_str(&frame.encode()).unwrap(), frames);
        }
    }
}

/// A `say` frame.
fn say(id: &str, turn: &Value, verb: &str, keys: Value) -> Value {
    let mut frame = json!({"type": "say", "id": id, "turn": turn, "verb": verb});
    if let (Value::Object(frame), Value::Object(keys)) = (&mut frame, keys) {
        frame.extend(keys);
    }
    frame
}

#[tokio::test]
async fn a_session_with_a_large_event_is_read_by_default_clients_of_every_wire() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=30,bytes=100000,deltas=yes").await;
    let mut memgpt = connect(&live, "/memgpt?client=large").await;
    memgpt.send(json!({"type": "command", "command": "load_agent", "name": "ada"})).await;
    memgpt.until_type("command_response").await;
    client.send(json!({"type": "send", "id": "m1", "session": session, "text": "go"})).await;

    // While it is said, and read back.
    let mut reader = connect(&live, "/v1/ws").await;
    let mut joiner = PartJoiner::default();
    reader.send(json!({"type": "attach", "session": session, "after": 0})).await;
    let (mut large, mut said) = (0, String::new());
    loop {
        let (frame, frames) = whole(&mut reader, &mut joiner).await;
        large += usize::from(frames > 1);
        match frame["event"]["kind"].as_str() {
            Some("message") => said = frame["event"]["text"].as_str().unwrap().to_owned(),
            Some("turn_ended") => break,
            _ => {}
        }
    }
    assert!(large > 0 && said.len() >= 3_000_000, "{large} large frames, {} bytes", said.len());

    let mut told = String::new();
    while told.len() < said.len() {
        let frame = memgpt.next().await;
        if frame["message_type"] == "assistant_message" {
            told.push_str(frame["message"].as_str().unwrap());
        }
    }
    assert!(told == said, "MemGPT's wire has {} bytes of {}", told.len(), said.len());
}

#[tokio::test]
async fn a_large_run_comes_in_parts() {
    let live = Live::start().await;
    let mut worker = connect(&live, "/v1/ws").await;
    let mut joiner = PartJoiner::default();
    worker
        .send(json!({"type": "offer", "id": "o", "agent": "bob", "worker": "w", "history": 10}))
        .await;
    let ack = worker.until_type("ack").await.pop().unwrap();
    let session = ack["session"].as_str().unwrap().to_owned();
    let mut client = live.native().await;
    for (turn, bytes) in [400_000, 1_000_000].into_iter().enumerate() {
        let text = "x".repeat(bytes);
        client
            .send(
                json!({"type": "send", "id": format!("m{turn}"), "session": session, "text": text}),
            )
            .await;
        let (run, frames) = loop {
            let (frame, frames) = whole(&mut worker, &mut joiner).await;
            if frame["type"] == "run" {
                break (frame, frames);
            }
        };
        assert_eq!(frames > 1, turn == 1, "{frames} frames");
        assert_eq!(run["input"]["text"].as_str().unwrap().len(), bytes);
        let id = format!("f{turn}");
        worker.send(say(&id, &run["turn"], "finish", json!({"text": "Done."}))).await;
        worker.until(|frame| frame["id"] == id).await;
    }
}

#[tokio::test]
async fn a_refusal_of_a_frame_that_cannot_be_read_carries_its_id() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for rest in [
        r#""text":"cut \ud83d""#.to_owned(),
        format!(r#""content":{deep}"#),
        r#""content":1e400"#.to_owned(),
        r#""text":"not ended"#.to_owned(),
    ] {
        let frame = format!(r#"{{"type":"send","id":"m1","session":"{session}",{rest}}}"#);
        client.send_text(&frame).await;
        let answer = client.next().await;
        assert_eq!(
            (&answer["type"], &answer["id"]),
            (&json!("refused"), &json!("m1")),
            "{frame:.200}"
        );
    }
    let mut binary = br#"{"type":"send","id":"m2","text":""#.to_vec();
    binary.extend_from_slice(b"\xff\"}");
    use futures::SinkExt as _;
    client.socket.send(tokio_websockets::Message::binary(binary)).await.unwrap();
    let answer = client.next().await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("refused"), &json!("m2")));
}

#[tokio::test]
async fn a_program_that_checks_no_permissions_is_held_to_them() {
    let live = Live::start().await;
    let mut worker = live.native().await;
    let offer = json!({"type": "offer", "id": "o", "agent": "bob", "worker": "w"});
    let session = worker.ask(offer).await["session"].as_str().unwrap().to_owned();
    let patched = super::rest::http()
        .patch(format!("{}/v1/agents/bob", live.url))
        .json(&json!({"permissions": {"dig*": "ask", "burn": "deny"}}))
        .send()
        .await
        .unwrap();
    assert!(patched.status().is_success(), "{patched:?}");
    let mut owner = live.native().await;
    owner.attach(&session, None).await;
    for (number, (decision, answer)) in
        [("approved", "ack"), ("denied", "refused")].into_iter().enumerate()
    {
        let (call, end) = (format!("c{number}"), format!("f{number}"));
        owner.send(json!({"type": "send", "session": session, "text": "dig"})).await;
        let turn = worker.until_type("run").await.pop().unwrap()["turn"].clone();
        let (burn, dig) =
            (json!({"name": "burn", "args": {}}), json!({"name": "dig_deep", "args": {}}));
        let burn = say(&format!("b{number}"), &turn, "tool_called", burn);
        assert_eq!(worker.ask(burn).await["code"], "forbidden");
        worker.send(say(&call, &turn, "tool_called", dig)).await;
        owner
            .until(|frame| {
                frame["event"]["kind"] == "approval_asked" && frame["event"]["call"] == json!(call)
            })
            .await;
        assert!(worker.is_quiet().await, "the call is not acknowledged before it is approved");
        let decide =
            json!({"type": "decide", "session": session, "call": call, "decision": decision});
        owner.send(decide).await;
        let answered = worker.until(|frame| frame["id"] == json!(call)).await.pop().unwrap();
        assert_eq!(answered["type"], answer);
        if answer == "ack" {
            let id = format!("r{number}");
            let returned = json!({"call": call, "status": "success", "text": "dug"});
            worker.ask(say(&id, &turn, "tool_returned", returned)).await;
        }
        worker.ask(say(&end, &turn, "finish", json!({"text": "Done."}))).await;
        let seen = owner.turn().await;
        let status = seen.iter().find(|frame| frame["event"]["kind"] == "tool_returned").unwrap();
        assert_eq!(status["event"]["status"], if answer == "ack" { "success" } else { "error" });
    }
}
