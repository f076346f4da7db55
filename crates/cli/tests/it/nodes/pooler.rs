//! Servers whose database is behind a pooler in transaction mode.

use super::support::{SharedDatabase, follow, read_to, say};

#[tokio::test]
async fn a_conversation_goes_on_when_its_node_is_killed() {
    let database = SharedDatabase::create_pooled();
    let (mut one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("ada", "load:items=60,bytes=40,rate=20,deltas=yes").await;
    let (mut client, mut seen) = follow(&one, &session).await;
    let (mut other, mut seen_by_other) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "first").await.1);
    read_to(&mut client, &mut seen, "turn_ended").await;
    // The other node passes an input on to the owner.
    seen_by_other.take(&say(&mut other, &session, "second").await.1);
    read_to(&mut client, &mut seen, "turn_started").await;
    one.kill().await;
    while seen_by_other.count("turn_ended") < 2 {
        read_to(&mut other, &mut seen_by_other, "turn_ended").await;
    }
    assert_eq!(seen_by_other.last("turn_ended")["event"]["outcome"], "completed");
    // The killed node comes back, and its client resumes where it was.
    let one = database.node("one").await;
    let after = seen.0.last().unwrap()["seq"].as_u64().unwrap();
    let mut client = one.native().await;
    let (attached, frames) = client.attach(&session, Some(after)).await;
    assert_eq!(attached["recovered"], true);
    seen.take(&frames);
    assert_eq!(seen.0, seen_by_other.0);
}
