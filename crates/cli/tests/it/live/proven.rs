//! Proven positions of the older wires: what one connection has proven is not repeated to the next
//! one, whatever became of the others.

use futures::SinkExt as _;
use serde_json::{Value, json};

use super::support::{Live, TestClient};

const MODEL: &str = "load:items=5,bytes=20";

/// Closes a connection behind all that it was sent: its pongs are on their way.
async fn leave(mut client: TestClient) {
    client.socket.close().await.unwrap();
    while client.next_or_close().await.is_ok() {}
}

async fn phone(live: &Live) -> TestClient {
    let mut client = live.connect("/memgpt?client=phone").await;
    client.send(json!({"type": "command", "command": "load_agent", "name": "ada"})).await;
    client.until_type("command_response").await;
    client
}

/// Says something and reads to the end of the turn and a little further. Gives all that was said.
async fn memgpt_turn(client: &mut TestClient) -> usize {
    client.send(json!({"type": "user_message", "message": "go", "agent_name": "ada"})).await;
    let mut frames = client.until_type("agent_response_end").await;
    client.send(json!({"type": "nonsense"})).await;
    frames.extend(client.until_type("server_error").await);
    frames.iter().filter(|frame| frame["type"] == "agent_response").count()
}

#[tokio::test]
async fn a_dead_connection_does_not_hold_a_memgpt_client_back() {
    let live = Live::start().await;
    let (_owner, _) = live.agent("ada", MODEL).await;
    // It is open and reads nothing: its stack answers no ping any more.
    let dead = phone(&live).await;
    let mut second = phone(&live).await;
    assert_eq!(memgpt_turn(&mut second).await, 5);
    leave(second).await;
    for _ in 0..3 {
        let mut next = phone(&live).await;
        assert_eq!(memgpt_turn(&mut next).await, 5, "nothing that was proven comes again");
        leave(next).await;
    }
    drop(dead);
}

/// A turn of some seconds.
const SLOW: &str = "load:items=30,bytes=20,rate=10";

/// Leaves in the middle of a turn, after its start is proven to have been read.
async fn leave_in_mid_turn(mut client: TestClient) {
    client.send(json!({"type": "user_message", "message": "go", "agent_name": "ada"})).await;
    assert_eq!(client.next().await["type"], "agent_response_start");
    for _ in 0..3 {
        client.until_type("agent_response").await;
    }
    leave(client).await;
}

/// Comes back and reads to the end of the turn and a little further: no start and one end.
async fn end_of_turn(live: &Live) {
    let mut client = live.connect("/memgpt?client=phone").await;
    client.send(json!({"type": "command", "command": "load_agent", "name": "ada"})).await;
    let mut frames = client.until_type("agent_response_end").await;
    client.send(json!({"type": "nonsense"})).await;
    frames.extend(client.until_type("server_error").await);
    let count = |kind: &str| frames.iter().filter(|frame| frame["type"] == kind).count();
    assert_eq!((count("agent_response_start"), count("agent_response_end")), (0, 1), "{frames:?}");
    assert!(count("agent_response") > 0, "{frames:?}");
    leave(client).await;
}

#[tokio::test]
async fn a_memgpt_client_that_left_in_mid_turn_gets_its_end_once() {
    let live = Live::start().await;
    let (mut owner, session) = live.agent("ada", SLOW).await;
    let mut other = live.connect("/memgpt?client=laptop").await;
    other.send(json!({"type": "command", "command": "load_agent", "name": "ada"})).await;
    owner.attach(&session, None).await;
    // It comes back while the turn runs, and after the turn has ended.
    for waits in [false, true] {
        leave_in_mid_turn(phone(&live).await).await;
        if waits {
            owner.turn().await;
        }
        end_of_turn(&live).await;
        if !waits {
            owner.turn().await;
        }
    }
    // The turns are not another client's.
    other.send(json!({"type": "nonsense"})).await;
    let frames = other.until_type("server_error").await;
    let is_mark = |frame: &&Value| {
        frame["type"] == "agent_response_start" || frame["type"] == "agent_response_end"
    };
    assert_eq!(frames.iter().find(is_mark), None);
    // Nothing that was proven is repeated.
    let mut again = phone(&live).await;
    again.send(json!({"type": "nonsense"})).await;
    assert_eq!(again.next().await["type"], "server_error");
}

#[tokio::test]
async fn a_memgpt_client_gets_the_end_of_a_turn_that_outlived_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (_owner, _) = live.agent("ada", SLOW).await;
    leave_in_mid_turn(phone(&live).await).await;
    live.kill().await;
    end_of_turn(&Live::on(dir.path(), &[]).await).await;
}

async fn tab(live: &Live) -> TestClient {
    let mut client =
        live.sparky(json!({"user_id": "u1", "session_id": "mine", "chat_id": "c1"})).await;
    client.until_type("ready").await;
    client
}

async fn sparky_turn(client: &mut TestClient) -> usize {
    client.send(json!({"type": "message", "data": {"text": "go"}})).await;
    let mut frames: Vec<Value> = Vec::new();
    let is_said = |frame: &&Value| frame["type"] == "message";
    while frames.iter().filter(is_said).count() < 5 {
        frames.push(client.next().await);
    }
    client.send(json!({"type": "nonsense"})).await;
    frames.extend(client.until_type("error").await);
    frames.iter().filter(is_said).count()
}

#[tokio::test]
async fn a_dead_connection_does_not_hold_a_sparky_session_back() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::on(dir.path(), &["--model", MODEL]).await;
    let dead = tab(&live).await;
    let mut second = tab(&live).await;
    assert_eq!(sparky_turn(&mut second).await, 5);
    leave(second).await;
    for _ in 0..3 {
        let mut next = tab(&live).await;
        assert_eq!(sparky_turn(&mut next).await, 5, "nothing that was proven comes again");
        leave(next).await;
    }
    drop(dead);
}
