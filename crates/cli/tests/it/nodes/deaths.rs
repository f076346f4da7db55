//! Nodes that are killed, stopped, or stand still: their sessions go on at others.

use serde_json::json;

use super::relay::{CuttingRelay, host_of};
use super::support::{SharedDatabase, follow, read_to, say};

/// A model whose turn takes some seconds.
const SLOW: &str = "load:items=60,bytes=40,rate=20,deltas=yes";

#[tokio::test]
async fn a_killed_nodes_turn_goes_on_at_another_node_and_its_clients_see_all_of_it() {
    let database = SharedDatabase::create();
    let (mut one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("ada", SLOW).await;
    let (mut client, mut seen) = follow(&one, &session).await;
    let (mut other, mut seen_by_other) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    read_to(&mut client, &mut seen, "turn_started").await;
    client.until(|frame| frame["type"] == "delta").await;
    one.kill().await;
    // The client of the other node stays connected, and misses nothing.
    read_to(&mut other, &mut seen_by_other, "turn_ended").await;
    assert_eq!(seen_by_other.last("turn_ended")["event"]["outcome"], "completed");
    let resumed = &seen_by_other.last("turn_resumed")["event"];
    assert_eq!((&resumed["reason"], &resumed["attempt"]), (&json!("moved"), &json!(1)));
    assert_eq!(seen_by_other.count("turn_ended"), 1);
    // The client of the dead node resumes where it was, through another.
    let after = seen.0.last().unwrap()["seq"].as_u64().unwrap();
    let mut client = two.native().await;
    let (attached, frames) = client.attach(&session, Some(after)).await;
    assert_eq!(attached["recovered"], true);
    seen.take(&frames);
    assert_eq!(seen.0, seen_by_other.0);
    // The dead node comes back, and its clients see the session as well.
    let one = database.node("one").await;
    let (_, seen_again) = follow(&one, &session).await;
    assert_eq!(seen_again.0, seen.0);
}

#[tokio::test]
async fn a_planned_stop_hands_a_turn_over_and_does_not_count_as_an_attempt() {
    let database = SharedDatabase::create();
    let (mut one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("ada", SLOW).await;
    let (mut other, mut seen) = follow(&two, &session).await;
    seen.take(&say(&mut other, &session, "go").await.1);
    read_to(&mut other, &mut seen, "turn_started").await;
    other.until(|frame| frame["type"] == "delta").await;
    one.signal();
    one.signal();
    read_to(&mut other, &mut seen, "turn_ended").await;
    assert_eq!(seen.last("turn_ended")["event"]["outcome"], "completed");
    if seen.count("turn_resumed") > 0 {
        let resumed = &seen.last("turn_resumed")["event"];
        assert_eq!((&resumed["reason"], &resumed["attempt"]), (&json!("moved"), &json!(0)));
    }
    assert_eq!(one.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_node_that_stood_still_for_longer_than_its_lease_saves_nothing_and_serves_again() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("ada", SLOW).await;
    let (mut client, mut seen) = follow(&one, &session).await;
    let (mut other, mut seen_by_other) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    read_to(&mut client, &mut seen, "turn_started").await;
    one.send_signal("STOP");
    read_to(&mut other, &mut seen_by_other, "turn_ended").await;
    assert_eq!(seen_by_other.last("turn_ended")["event"]["outcome"], "completed");
    one.send_signal("CONT");
    // Its clients are told to come again.
    while let Ok(frame) = client.next_or_close().await {
        seen.take(&[frame]);
    }
    // It is a node again, under the same address.
    let mut client = loop {
        if let Some(client) = one.try_native().await {
            break client;
        }
        tokio::task::yield_now().await;
    };
    let after = seen.0.last().unwrap()["seq"].as_u64().unwrap();
    let (attached, frames) = client.attach(&session, Some(after)).await;
    assert_eq!(attached["recovered"], true);
    seen.take(&frames);
    assert_eq!(seen.0, seen_by_other.0);
    let (ack, _) = say(&mut client, &session, "again").await;
    assert_eq!(ack["type"], "ack", "{ack}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_reach_the_database_is_left_by_those_that_follow_it() {
    let database = SharedDatabase::create();
    let relay = CuttingRelay::start().await;
    let host = host_of(&database.url);
    relay.lead_to(host);
    let through_relay = database.url.replace(host, &format!("127.0.0.1:{}", relay.port()));
    let (one, two) =
        tokio::join!(database.node_through("one", &through_relay), database.node("two"));
    let (_, session) = one.agent("ada", "offline").await;
    let (mut client, mut seen) = follow(&one, &session).await;
    let (mut other, mut seen_by_other) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "hello").await.1);
    read_to(&mut client, &mut seen, "turn_ended").await;
    read_to(&mut other, &mut seen_by_other, "turn_ended").await;
    relay.close();
    // The node still answers the other one. Its own clients are refused, and stay connected.
    let (refused, _) = say(&mut client, &session, "lost").await;
    assert_eq!(refused["retry"], true, "{refused}");
    // Its lease ends, and the session goes on at the other node.
    loop {
        let (answer, before) = say(&mut other, &session, "again").await;
        seen_by_other.take(&before);
        if answer["type"] == "ack" {
            break;
        }
        assert_eq!(answer["retry"], true, "{answer}");
    }
    read_to(&mut other, &mut seen_by_other, "turn_ended").await;
    let (refused, _) = say(&mut client, &session, "lost again").await;
    assert_eq!(refused["retry"], true, "{refused}");
    relay.open();
    while let Ok(frame) = client.next_or_close().await {
        seen.take(&[frame]);
    }
    let (_, seen_again) = follow(&two, &session).await;
    assert_eq!(seen_again.0, seen_by_other.0);
}
