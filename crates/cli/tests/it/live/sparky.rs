//! Sparky's wire.

use serde_json::{Value, json};

use super::support::{Live, TestClient, types};

const SLOW: &str = "load:items=40,bytes=10,rate=100";

async fn ready(client: &mut TestClient) -> Value {
    let frames = client.until_type("ready").await;
    frames.into_iter().find(|frame| frame["type"] == "session_info").unwrap()["data"].clone()
}

async fn say(client: &mut TestClient, text: &str) {
    client.send(json!({"type": "message", "data": {"text": text}})).await;
}

fn texts(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .filter(|frame| frame["type"] == "message")
        .map(|frame| frame["data"]["text"].as_str().unwrap())
        .collect()
}

async fn slow() -> (tempfile::TempDir, Live) {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::on(dir.path(), &["--model", SLOW]).await;
    (dir, live)
}

#[tokio::test]
async fn a_message_straight_after_ready_is_answered() {
    let live = Live::start().await;
    let mut client = live.sparky(json!({"session_id": null, "user_id": "u1"})).await;
    let frames = client.until_type("ready").await;
    assert_eq!(types(&frames[..1]), ["session_info"]);
    assert_eq!(types(&frames), ["session_info", "ready"], "no progress of built-in tools");
    assert!(frames.last().unwrap()["data"]["tools_loaded"].as_u64().unwrap() > 0);
    say(&mut client, "what is 6*7?").await;
    let turn = client.until_type("message").await;
    for kind in ["thought", "tool_use", "tool_result", "token_usage"] {
        assert!(types(&turn).contains(&kind), "{kind} in {:?}", types(&turn));
    }
    assert_eq!(turn[0]["data"], json!({"message": "Thinking..."}));
    assert!(texts(&turn)[0].contains("42"));
    assert!(turn.iter().all(|frame| frame["user_id"] == "u1"
        && frame["session_id"].is_string()
        && frame["chat_id"].is_string()));
}

#[tokio::test]
async fn chats_are_apart_and_labelled() {
    let live = Live::start().await;
    let mut client = live.sparky(json!({"session_id": null, "user_id": "u1"})).await;
    ready(&mut client).await;
    client.send(json!({"type": "start_chat", "data": {"chat_id": "c1", "chat_name": "One"}})).await;
    assert_eq!(client.next().await["data"], json!({"chat_id": "c1", "is_new": true}));
    say(&mut client, "hello one").await;
    let turn = client.until_type("message").await;
    assert!(turn.iter().all(|frame| frame["chat_id"] == "c1"));
    client.send(json!({"type": "switch_chat", "data": {"chat_id": "c2"}})).await;
    assert_eq!(client.next().await["chat_id"], "c2");
    say(&mut client, "hello two").await;
    assert!(client.until_type("message").await.iter().all(|frame| frame["chat_id"] == "c2"));
    client.send(json!({"type": "start_chat", "data": "c1"})).await;
    assert_eq!(client.next().await["data"], json!({"chat_id": "c1", "is_new": false}));
}

#[tokio::test]
async fn two_tabs_both_get_everything_and_still_do_when_one_closes() {
    let live = Live::start().await;
    let mut first =
        live.sparky(json!({"user_id": "u1", "session_id": "mine", "chat_id": "c1"})).await;
    ready(&mut first).await;
    let mut second =
        live.sparky(json!({"user_id": "u1", "session_id": "mine", "chat_id": "c1"})).await;
    assert_eq!(ready(&mut second).await["reconnected"], true);
    say(&mut first, "from the first").await;
    let turn = first.until_type("message").await;
    assert_eq!(second.until_type("message").await, turn);
    drop(first);
    say(&mut second, "from the second").await;
    assert!(!texts(&second.until_type("message").await).is_empty());
}

#[tokio::test]
async fn a_chat_that_one_tab_opens_is_the_other_tabs_too() {
    let live = Live::start().await;
    let mut first = live.sparky(json!({"user_id": "u1", "session_id": "mine"})).await;
    ready(&mut first).await;
    let mut second = live.sparky(json!({"user_id": "u1", "session_id": "mine"})).await;
    ready(&mut second).await;
    let mut stranger = live.sparky(json!({"user_id": "u2", "session_id": "mine"})).await;
    ready(&mut stranger).await;
    say(&mut first, "in the default chat").await;
    assert_eq!(second.until_type("message").await, first.until_type("message").await);
    first.send(json!({"type": "start_chat", "data": {"chat_id": "c1"}})).await;
    assert_eq!(first.next().await["type"], "chat_ready");
    say(&mut first, "in another").await;
    let turn = first.until_type("message").await;
    assert!(turn.iter().all(|frame| frame["chat_id"] == "c1"));
    assert_eq!(second.until_type("message").await, turn);
    // Its own selection stays: what it says goes where it was.
    say(&mut second, "where am I?").await;
    assert!(second.until_type("message").await.iter().all(|frame| frame["chat_id"] == "default"));
    stranger.send(json!({"type": "nonsense"})).await;
    assert_eq!(stranger.next().await["type"], "error");
}

#[tokio::test]
async fn a_client_that_left_in_mid_turn_alone_gets_the_rest_on_return() {
    let (_dir, live) = slow().await;
    let mut client = live.sparky(json!({"user_id": "u1", "session_id": "mine"})).await;
    ready(&mut client).await;
    say(&mut client, "go").await;
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 3 {
        let frame = client.next().await;
        seen.extend(texts(&[frame]).iter().map(|text| (*text).to_owned()));
    }
    drop(client);
    let mut mallory = live.sparky(json!({"user_id": "mallory", "session_id": "mine"})).await;
    let info = ready(&mut mallory).await;
    assert_eq!(
        (info["is_new"].clone(), info["session_id"].clone()),
        (json!(true), json!("mine")),
        "unknown, so one of her own"
    );
    let mut client = live.sparky(json!({"user_id": "u1", "session_id": "mine"})).await;
    assert_eq!(ready(&mut client).await["is_new"], false);
    while seen.iter().collect::<std::collections::BTreeSet<_>>().len() < 40 {
        let frame = client.next().await;
        seen.extend(texts(&[frame]).iter().map(|text| (*text).to_owned()));
    }
    mallory.send(json!({"type": "nonsense"})).await;
    assert_eq!(mallory.next().await["type"], "error", "nothing of it reached her");
}

#[tokio::test]
async fn a_new_message_cancels_the_running_turn_and_says_so() {
    let (_dir, live) = slow().await;
    let mut client = live.sparky(json!({"session_id": null, "user_id": "u1"})).await;
    ready(&mut client).await;
    say(&mut client, "first").await;
    client.until_type("message").await;
    say(&mut client, "second").await;
    let frames =
        client.until(|frame| frame["data"]["message"] == "Previous message cancelled").await;
    assert!(texts(&frames).len() < 39);
    let rest = client.until(|frame| frame["type"] == "message").await;
    assert_eq!(rest[0]["data"]["message"], "Thinking...");
}

#[tokio::test]
async fn missed_messages_survive_a_killed_server() {
    let (dir, mut live) = slow().await;
    let mut client = live.sparky(json!({"user_id": "u1", "session_id": "mine"})).await;
    ready(&mut client).await;
    say(&mut client, "go").await;
    client.until_type("message").await;
    live.kill().await;
    let live = Live::on(dir.path(), &["--model", SLOW]).await;
    let mut client = live.sparky(json!({"user_id": "u1", "session_id": "mine"})).await;
    ready(&mut client).await;
    goes_on(&mut client).await;
}

/// Reads up to the status that the turn which a killed server left goes on.
pub(crate) async fn goes_on(client: &mut TestClient) -> Value {
    loop {
        let status = client.until_type("status").await.pop().unwrap();
        if status["data"]["message"] == "The server was restarted; the turn goes on." {
            return status;
        }
    }
}
