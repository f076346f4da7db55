//! Clients of nodes that do not have the session.

use serde_json::json;
use tokio_websockets::ClientBuilder;

use super::support::{SharedDatabase, follow, read_to, say};
use crate::live::{Live, TestClient};

/// Reads a text's deltas up to its message; gives both texts.
async fn streamed(client: &mut TestClient) -> (String, String) {
    let frames = client.until(|frame| frame["event"]["kind"] == "message").await;
    let deltas = frames.iter().filter(|frame| frame["type"] == "delta");
    let deltas: String = deltas.map(|frame| frame["text"].as_str().unwrap()).collect();
    let message = frames.last().unwrap()["event"]["text"].as_str().unwrap().to_owned();
    (deltas, message)
}

#[tokio::test]
async fn a_session_is_the_same_through_every_node() {
    let database = SharedDatabase::create();
    let (one, two, three) =
        tokio::join!(database.node("one"), database.node("two"), database.node("three"));
    let (_, session) = one.agent("ada", "load:items=8,bytes=40,rate=200,deltas=yes").await;
    let (mut a, mut seen_a) = follow(&one, &session).await;
    let (mut b, mut seen_b) = follow(&two, &session).await;
    let (mut c, mut seen_c) = follow(&three, &session).await;
    // Inputs come through nodes that do not have it, with their ids.
    let (ack, before) = say(&mut b, &session, "through-b").await;
    assert_eq!((&ack["type"], &ack["disposition"]), (&json!("ack"), &json!("started")), "{ack}");
    seen_b.take(&before);
    read_to(&mut b, &mut seen_b, "turn_ended").await;
    read_to(&mut c, &mut seen_c, "turn_ended").await;
    read_to(&mut a, &mut seen_a, "turn_ended").await;
    assert_eq!(seen_a.0, seen_b.0);
    assert_eq!(seen_a.0, seen_c.0);
    // The same id again has no second effect, through whatever node it comes.
    let (again, _) = say(&mut c, &session, "through-b").await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&ack["seq"], &json!(true)));
    // Text is streamed to all of them.
    say(&mut c, &session, "stream").await;
    let (streamed_a, streamed_b, streamed_c) =
        tokio::join!(streamed(&mut a), streamed(&mut b), streamed(&mut c));
    assert_eq!(streamed_a, streamed_b);
    assert_eq!(streamed_a, streamed_c);
    assert_eq!(streamed_a.0, streamed_a.1);
}

#[tokio::test]
async fn refusals_and_deletions_come_from_the_owner() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (mut a, _) = one.agent("ada", "offline").await;
    let made = a.ask(json!({"type": "create_session", "id": "s", "agent": "ada"})).await;
    let session = made["session"].as_str().unwrap().to_owned();
    a.attach(&session, Some(0)).await;
    let (mut b, _) = follow(&two, &session).await;
    let refused =
        b.ask(json!({"type": "withdraw", "id": "w", "session": session, "input": "x"})).await;
    assert_eq!(refused["code"], "unknown_input");
    let renamed =
        b.ask(json!({"type": "rename", "id": "r", "session": session, "title": "Tea"})).await;
    assert_eq!(renamed["type"], "ack", "{renamed}");
    let deleted = b.ask(json!({"type": "delete_session", "id": "d", "session": session})).await;
    assert_eq!(deleted["type"], "ack", "{deleted}");
    let detached = a.until(|frame| frame["type"] == "detached").await.pop().unwrap();
    assert_eq!(detached["reason"], "the session was deleted");
}

/// The status with which a server refuses a node.
async fn status(live: &Live, credential: Option<&str>) -> u16 {
    let mut request = ClientBuilder::from_uri(live.ws("/v1/cluster").parse().unwrap());
    if let Some(credential) = credential {
        let value = format!("Bearer {credential}").parse().unwrap();
        request = request.add_header(http::header::AUTHORIZATION, value).unwrap();
    }
    match request.connect().await {
        Err(tokio_websockets::Error::Upgrade(
            tokio_websockets::upgrade::Error::DidNotSwitchProtocols(status),
        )) => status,
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn only_nodes_enter_where_nodes_connect() {
    let database = SharedDatabase::create();
    let node = database.node("one").await;
    assert_eq!(status(&node, None).await, 401);
    assert_eq!(status(&node, Some("guess")).await, 401);
    let alone = Live::start().await;
    assert_eq!(status(&alone, None).await, 404);
}

#[tokio::test]
async fn presence_counts_each_client_of_every_node() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("ada", "offline").await;
    let (mut watcher, _) = follow(&one, &session).await;
    let (mut clients, mut there) = (Vec::new(), 1);
    for _ in 0..3 {
        clients.push(follow(&two, &session).await.0);
        there += 1;
        watcher.until(|frame| frame["type"] == "presence" && frame["clients"] == there).await;
    }
    clients.pop();
    watcher.until(|frame| frame["type"] == "presence" && frame["clients"] == 3).await;
    clients.clear();
    watcher.until(|frame| frame["type"] == "presence" && frame["clients"] == 1).await;
}
