//! MemGPT's wire, driven by its own modules and by raw frames.

use serde_json::{Value, json};
use tokio::process::Command;

use super::support::{Live, test_deps, types};

async fn drive(module: &str) {
    let live = Live::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/live/memgpt_client.py");
    let output = Command::new(test_deps("venv/bin/python"))
        .args([script, &live.ws("/memgpt")])
        .arg(test_deps(module))
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"ok\n", "{errors}");
}

#[tokio::test]
async fn pymemgpt_0_2_5_converses() {
    drive("pymemgpt-0.2.5/memgpt/server/websocket_protocol.py").await;
}

#[tokio::test]
async fn pymemgpt_0_2_11_converses() {
    drive("pymemgpt-0.2.11/memgpt/server/ws_api/protocol.py").await;
}

async fn create(live: &Live, path: &str, name: &str, model: &str) -> super::support::TestClient {
    let mut client = live.connect(path).await;
    client
        .send(json!({"type": "command", "command": "create_agent", "config": {"name": name,
        "model": model}}))
        .await;
    assert_eq!(
        client.next().await,
        json!({"type": "command_response", "status": "OK: Agent initialized"})
    );
    client
}

#[tokio::test]
async fn fifty_thousand_events_in_one_step_all_arrive_before_the_end() {
    let live = Live::start().await;
    let mut client = create(&live, "/", "ada", "load:items=50000,bytes=20").await;
    client.send(json!({"type": "user_message", "message": "go", "agent_name": "ada"})).await;
    let frames = client.until_type("agent_response_end").await;
    assert_eq!(frames.len(), 50_002);
    assert_eq!(frames[0]["type"], "agent_response_start");
    let numbers: Vec<u64> = frames[1..50_001]
        .iter()
        .map(|frame| {
            let text = frame["message"].as_str().unwrap();
            text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        })
        .collect();
    let first = numbers[0];
    assert!((first..).zip(&numbers).all(|(expected, number)| expected == *number), "in order");
}

#[tokio::test]
async fn a_named_client_gets_what_it_missed_and_an_unnamed_one_joins_at_the_head() {
    let live = Live::start().await;
    let mut phone = create(&live, "/memgpt?client=phone", "ada", "load:items=5,bytes=20").await;
    phone.send(json!({"type": "user_message", "message": "go", "agent_name": "ada"})).await;
    phone.until_type("agent_response_end").await;
    drop(phone);
    // Said while the phone was away, by somebody else.
    let mut laptop = live.connect("/memgpt").await;
    laptop.send(json!({"type": "user_message", "message": "again", "agent_name": "ada"})).await;
    let said = laptop.until_type("agent_response_end").await;
    let mut phone = live.connect("/memgpt?client=phone").await;
    phone.send(json!({"type": "command", "command": "load_agent", "name": "ada"})).await;
    let mut seen: Vec<Value> = Vec::new();
    while seen.len() < 6 {
        seen.push(phone.next().await);
    }
    let responses: Vec<&Value> =
        seen.iter().filter(|frame| frame["type"] == "agent_response").collect();
    assert!(responses.len() >= 5, "{seen:?}");
    let missed: Vec<&Value> =
        said.iter().filter(|frame| frame["type"] == "agent_response").collect();
    assert!(missed.iter().all(|frame| responses.contains(frame)), "{seen:?}");
}

#[tokio::test]
async fn a_failed_turn_ends_with_the_error_alone() {
    let live = Live::start().await;
    let mut client = create(&live, "/memgpt", "ada", "openai/none").await;
    client.send(json!({"type": "user_message", "message": "hi", "agent_id": null})).await;
    client.send(json!({"type": "user_message", "message": "hi", "agent_id": null})).await;
    for _ in 0..2 {
        let frames = client.until_type("agent_response_error").await;
        assert_eq!(types(&frames), ["agent_response_start", "agent_response_error"]);
    }
}
