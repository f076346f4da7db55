//! Changes that nodes on one database tell each other.

use std::time::Duration;

use thoughtwire_proto::{AgentId, Key, Scope, SessionId};
use thoughtwire_store::{NodeIdentity, Store, StoreChange};
use tokio::sync::broadcast;
use tokio_postgres::{Client, NoTls};

use super::relay::Relay;
use crate::support::{NOW, TestDatabase, agent, new_session, user};

/// The next change but for those that a new node causes, or why there is none.
async fn next_or_end(
    changes: &mut broadcast::Receiver<StoreChange>,
) -> Result<StoreChange, broadcast::error::RecvError> {
    loop {
        let change = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
        match change.expect("a change")? {
            StoreChange::AllListings | StoreChange::NodeGone { .. } => {}
            other => return Ok(other),
        }
    }
}

async fn next(changes: &mut broadcast::Receiver<StoreChange>) -> StoreChange {
    next_or_end(changes).await.unwrap()
}

async fn until_it_knows_another(store: &Store) {
    while !store.changes().has_other_nodes() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn add_key(store: &Store, id: &str) {
    let key = Key {
        id: id.parse().unwrap(),
        user: user(),
        name: None,
        scopes: vec![Scope::Chat],
        created_at: NOW,
        expires_at: None,
    };
    store.keys().add(key, format!("digest of {id}")).await.unwrap();
}

/// A connection beside the stores.
async fn connect(database: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn another_node_learns_of_each_change_and_a_node_not_of_its_own() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let two = database.open("two", NOW).await;
    let (mut seen_by_one, mut seen_by_two) =
        (one.changes().follow().unwrap(), two.changes().follow().unwrap());
    let profile = agent(&one, "ada").await;
    let talk = one.directory().create_session(new_session(&profile, "s-talk")).await.unwrap();
    let (ada, main) = (profile.id.clone(), profile.main_session.clone());

    add_key(&one, "k-1").await;
    assert_eq!(next(&mut seen_by_two).await, StoreChange::Keys);
    assert!(one.keys().delete(&"k-1".parse().unwrap()).await.unwrap());
    assert_eq!(next(&mut seen_by_two).await, StoreChange::Keys);
    // A deletion that finds nothing is not told.
    assert!(!one.keys().delete(&"k-1".parse().unwrap()).await.unwrap());
    one.keys().replace_secret("login", vec![1]).await.unwrap();
    assert_eq!(next(&mut seen_by_two).await, StoreChange::Keys);
    one.directory().update_agent(profile).await.unwrap();
    let changed = StoreChange::Agent { user: user(), agent: ada.clone() };
    assert_eq!(next(&mut seen_by_two).await, changed);
    one.directory().delete_session(&talk.id, None).await.unwrap();
    let deleted = StoreChange::SessionDeleted { user: user(), session: talk.id };
    assert_eq!(next(&mut seen_by_two).await, deleted);
    one.directory().delete_agent(&ada).await.unwrap();
    let deleted = StoreChange::AgentDeleted { user: user(), agent: ada, sessions: vec![main] };
    assert_eq!(next(&mut seen_by_two).await, deleted);

    // The first change that the other one sees is not its own.
    two.keys().replace_secret("login", vec![2]).await.unwrap();
    assert_eq!(next(&mut seen_by_one).await, StoreChange::Keys);
    assert!(matches!(
        seen_by_one.try_recv(),
        Err(broadcast::error::TryRecvError::Empty) | Ok(StoreChange::AllListings)
    ));
    two.close().await;
    assert_eq!(next_or_end(&mut seen_by_two).await, Err(broadcast::error::RecvError::Closed));
}

#[tokio::test]
async fn listings_are_told_together_and_each_once() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let announced: Vec<_> =
        ["s-1", "s-2"].map(|id| (user(), id.parse::<SessionId>().unwrap())).into();
    // Nobody has to be told yet.
    assert!(!one.changes().has_other_nodes());
    one.changes().announce_listing(&user(), &"s-0".parse().unwrap());
    let two = database.open("two", NOW).await;
    let mut seen = two.changes().follow().unwrap();
    until_it_knows_another(&one).await;
    for _ in 0..3 {
        for (user, session) in &announced {
            one.changes().announce_listing(user, session);
        }
    }
    // They may come with one notification or with two.
    let mut told = Vec::new();
    while told.len() < announced.len() {
        let StoreChange::Listings(some) = next(&mut seen).await else { panic!("other changes") };
        told.extend(some);
    }
    told.sort();
    assert_eq!(told, announced);
}

#[tokio::test]
async fn a_new_node_has_others_told_that_listings_may_have_changed() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let mut seen_by_one = one.changes().follow().unwrap();
    let two = database.open("two", NOW).await;
    let change = tokio::time::timeout(Duration::from_secs(30), seen_by_one.recv()).await;
    assert_eq!(change.unwrap().unwrap(), StoreChange::AllListings);
    // So do nodes that leave, with what they did not tell.
    until_it_knows_another(&one).await;
    while seen_by_one.try_recv().is_ok() {}
    two.close().await;
    let change = tokio::time::timeout(Duration::from_secs(30), seen_by_one.recv()).await;
    assert_eq!(change.unwrap().unwrap(), StoreChange::NodeGone { url: None });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connections_broke_learns_what_it_missed() {
    let database = TestDatabase::create();
    let relay = Relay::to(&database.url).await;
    let node = NodeIdentity::new("two", None);
    let one = database.open("one", NOW).await;
    let two = Store::connect(&relay.url(&database.url), node, NOW).await.unwrap();
    let mut seen = two.changes().follow().unwrap();
    for round in 0..3 {
        relay.close(true);
        let ada = agent(&one, &format!("ada-{round}")).await;
        one.directory().delete_agent(&ada.id).await.unwrap();
        relay.close(false);
        let change = next(&mut seen).await;
        assert!(
            matches!(&change, StoreChange::AgentDeleted { agent, .. } if *agent == ada.id),
            "{change:?}"
        );
    }
}

#[tokio::test]
async fn a_change_without_a_notification_is_found_by_asking() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let mut seen = one.changes().follow().unwrap();
    let beside = connect(&database).await;
    let insert = "INSERT INTO changes (node, body) VALUES (0, '\"keys\"'), (0, '\"unheard of\"')";
    beside.batch_execute(insert).await.unwrap();
    assert_eq!(next(&mut seen).await, StoreChange::Keys);
}

#[tokio::test]
async fn a_change_that_commits_late_is_not_skipped() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let mut seen = one.changes().follow().unwrap();
    let (late, beside) = (connect(&database).await, connect(&database).await);
    let agent: AgentId = "a-late".parse().unwrap();
    let change = StoreChange::Agent { user: user(), agent };
    let body = serde_json::to_string(&change).unwrap();
    late.batch_execute(&format!("BEGIN; INSERT INTO changes (node, body) VALUES (0, '{body}')"))
        .await
        .unwrap();
    beside.batch_execute("INSERT INTO changes (node, body) VALUES (0, '\"keys\"')").await.unwrap();
    assert_eq!(next(&mut seen).await, StoreChange::Keys);
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(next(&mut seen).await, change);
}
