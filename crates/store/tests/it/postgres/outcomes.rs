//! Broken connections: what is told is true, and nothing is saved twice.

use std::time::Duration;

use thoughtwire_proto::Event;
use thoughtwire_store::{NodeIdentity, Store, StoreError};

use super::relay::Relay;
use crate::support::{NOW, TestDatabase, agent, batch, log, note, says, session};

async fn through(relay: &Relay, database: &TestDatabase) -> Store {
    let node = NodeIdentity::new("one", None);
    Store::connect(&relay.url(&database.url), node.clone(), NOW).await.unwrap()
}

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|event| event.said().map(|(_, text)| text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_leaves_nothing_unknown() {
    let database = TestDatabase::create();
    let relay = Relay::to(&database.url).await;
    let store = through(&relay, &database).await;
    let mut ada = session(&store, &agent(&store, "ada").await).await;
    let bob = agent(&store, "bob").await;
    let mut notes = 0;
    for round in 0..40 {
        let cut = async {
            // Another moment of the flush in each round.
            tokio::time::sleep(Duration::from_micros(round * 60)).await;
            relay.cut();
        };
        let before = ada.clone();
        let said = batch(&mut ada, vec![(None, says(&format!("i-{round}"), &round.to_string()))]);
        let (appended, added, ()) = tokio::join!(
            store.logs().append(said),
            store.memory().add_notes(&bob.id, vec![note("tea")], u64::MAX, None),
            cut
        );
        match appended {
            Ok(()) => {}
            // The caller knows that it is not there.
            Err(StoreError::Away(_)) => ada = before,
            Err(other) => panic!("round {round}: {other}"),
        }
        match added {
            Ok(_) => notes += 1,
            Err(StoreError::Away(_)) => {}
            Err(other) => panic!("round {round}: {other}"),
        }
    }
    let events = log(&store, &ada.id).await;
    assert_eq!(events.len() as u64, ada.state.head().0);
    let texts = texts(&events);
    let mut once = texts.clone();
    once.dedup();
    assert_eq!(texts, once);
    assert_eq!(store.memory().note_count(&bob.id).await.unwrap(), notes);
    assert!(texts.len() > 20, "most rounds are tried again and saved: {}", texts.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_fail_while_the_database_is_away_and_go_on_when_it_is_back() {
    let database = TestDatabase::create();
    let relay = Relay::to(&database.url).await;
    let store = through(&relay, &database).await;
    let mut ada = session(&store, &agent(&store, "ada").await).await;
    relay.close(true);
    relay.until_cut().await;
    let lost = batch(&mut ada.clone(), vec![(None, says("i-1", "lost"))]);
    let refused = store.logs().append(lost).await.unwrap_err();
    assert!(matches!(refused, StoreError::Away(_) | StoreError::Unknown(_)), "{refused}");
    assert!(store.check().await.is_err());
    assert!(store.directory().agents(&ada.user).await.is_err());
    relay.close(false);
    let said = batch(&mut ada, vec![(None, says("i-2", "kept"))]);
    store.logs().append(said).await.unwrap();
    store.check().await.unwrap();
    assert_eq!(texts(&log(&store, &ada.id).await), ["kept"]);
}
