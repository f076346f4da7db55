//! Nodes: one owner for each session, and nothing from those that are declared dead.

use std::time::Duration;

use thoughtwire_proto::{Event, SessionId, StreamKind, TurnEvent, TurnId};
use thoughtwire_store::{NodeIdentity, OpenItem, Store, StoreError};
use tokio_postgres::NoTls;

use super::relay::Relay;
use crate::support::{
    NOW, TestDatabase, agent, append, batch, log, new_session, says, session, started,
};

#[tokio::test]
async fn a_live_nodes_session_is_elsewhere_and_free_when_the_node_leaves() {
    let database = TestDatabase::create();
    let one = NodeIdentity::new("one", Some("http://one:8282".into()));
    let one = Store::connect(&database.url, one, NOW).await.unwrap();
    let two = database.open("two", NOW).await;
    let profile = agent(&one, "ada").await;
    let mut ada = one.logs().load(&profile.main_session, NOW).await.unwrap().unwrap();
    let refused = two.logs().load(&ada.id, NOW).await.unwrap_err();
    let StoreError::Elsewhere { session, url } = refused else { panic!("{refused}") };
    assert_eq!((session, url.as_deref()), (ada.id.clone(), Some("http://one:8282")));
    // It may read, and not write.
    assert_eq!(log(&two, &ada.id).await.len(), 1);
    let theirs = batch(&mut ada.clone(), vec![(None, says("i-1", "not mine"))]);
    let refused = two.logs().append(theirs).await.unwrap_err();
    assert!(matches!(refused, StoreError::Elsewhere { .. }), "{refused}");
    append(&one, &mut ada, vec![(None, says("i-1", "mine"))]).await;
    one.close().await;
    let mut ada = two.logs().load(&ada.id, NOW).await.unwrap().unwrap();
    append(&two, &mut ada, vec![(None, says("i-2", "mine now"))]).await;
    assert_eq!(log(&two, &ada.id).await.len(), 3);
}

#[tokio::test]
async fn a_process_of_the_same_node_replaces_the_earlier_one_at_once() {
    let database = TestDatabase::create();
    let earlier = database.open("one", NOW).await;
    let mut ada = session(&earlier, &agent(&earlier, "ada").await).await;
    earlier.logs().load(&ada.id, NOW).await.unwrap();
    let later = database.open("one", NOW).await;
    let mut loaded = later.logs().load(&ada.id, NOW).await.unwrap().unwrap();
    let late = batch(&mut ada, vec![(None, says("i-1", "too late"))]);
    assert!(matches!(earlier.logs().append(late).await, Err(StoreError::Fenced)));
    let note = crate::support::note("too late");
    let noted = earlier.memory().add_notes(&ada.agent, vec![note], u64::MAX, None).await;
    assert!(matches!(noted, Err(StoreError::Fenced)));
    assert!(earlier.check().await.is_err());
    append(&later, &mut loaded, vec![(None, says("i-2", "kept"))]).await;
    assert_eq!(log(&later, &ada.id).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_renew_its_lease_stops_before_another_takes_over() {
    let database = TestDatabase::create();
    let relay = Relay::to(&database.url).await;
    let node = NodeIdentity::new("one", None);
    let cut_off = Store::connect(&relay.url(&database.url), node.clone(), NOW).await.unwrap();
    let mut ada = session(&cut_off, &agent(&cut_off, "ada").await).await;
    cut_off.logs().load(&ada.id, NOW).await.unwrap();
    relay.close(true);
    let two = database.open("two", NOW).await;
    let mut loaded = loop {
        match two.logs().load(&ada.id, NOW).await {
            Ok(loaded) => break loaded.unwrap(),
            Err(StoreError::Elsewhere { .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(other) => panic!("{other}"),
        }
    };
    // It knew a second before, by its own clock.
    assert!(matches!(cut_off.check().await, Err(StoreError::Away(_))));
    append(&two, &mut loaded, vec![(None, says("i-1", "taken over"))]).await;
    relay.close(false);
    let late = batch(&mut ada, vec![(None, says("i-2", "too late"))]);
    assert!(matches!(cut_off.logs().append(late).await, Err(StoreError::Fenced)));
    assert_eq!(log(&two, &ada.id).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_take_the_same_sessions_do_not_wait_for_each_other() {
    let database = TestDatabase::create();
    let gone = database.open("one", NOW).await;
    let ada = agent(&gone, "ada").await;
    let mut ids = Vec::new();
    for number in 0..40 {
        let new = new_session(&ada, &format!("s-{number}"));
        ids.push(gone.directory().create_session(new).await.unwrap().id);
    }
    for id in &ids {
        gone.logs().load(id, NOW).await.unwrap();
    }
    let (two, three) = (database.open("two", NOW).await, database.open("three", NOW).await);
    gone.close().await;
    let take = |store: &Store, ids: Vec<SessionId>| {
        let loads: Vec<_> = ids.iter().map(|id| store.logs().load(id, NOW)).collect();
        futures::future::join_all(loads)
    };
    let backwards = ids.iter().rev().cloned().collect();
    let (by_two, mut by_three) = tokio::join!(take(&two, ids.clone()), take(&three, backwards));
    by_three.reverse();
    for (one, other) in by_two.into_iter().zip(by_three) {
        let ((Ok(Some(_)), Err(refused)) | (Err(refused), Ok(Some(_)))) = (one, other) else {
            panic!("a session has one owner")
        };
        assert!(matches!(refused, StoreError::Elsewhere { .. }), "{refused}");
    }
}

#[tokio::test]
async fn many_sessions_are_taken_at_once_and_each_keeps_its_own_text() {
    let database = TestDatabase::create();
    let gone = database.open("one", NOW).await;
    let ada = agent(&gone, "ada").await;
    let mut ids = Vec::new();
    for number in 0..120 {
        let new = new_session(&ada, &format!("s-{number}"));
        let mut made = gone.directory().create_session(new).await.unwrap();
        gone.logs().load(&made.id, NOW).await.unwrap();
        // Every other session has an open turn, and every third of all of them a text in it.
        if number % 2 == 0 {
            let turn: TurnId = format!("t-{number}").parse().unwrap();
            let input = format!("i-{number}");
            let events = vec![(None, says(&input, "go")), (Some(&turn), started(&input))];
            append(&gone, &mut made, events).await;
            if number % 3 == 0 {
                let (item, text) = ("m".parse().unwrap(), format!("half of {number}"));
                let kind = StreamKind::Message;
                let open = OpenItem { item, turn, kind, text, continues: None };
                gone.logs().checkpoint(&made.id, open).await.unwrap();
            }
        }
        ids.push(made.id);
    }
    // One session's row cannot be read.
    let broken = ids[7].clone();
    let (beside, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let breaking = format!("UPDATE sessions SET state = '{{' WHERE id = '{broken}'");
    beside.batch_execute(&breaking).await.unwrap();
    gone.close().await;
    let two = database.open("two", NOW).await;
    let nobody: SessionId = "s-none".parse().unwrap();
    ids.push(nobody.clone());
    let loads: Vec<_> = ids.iter().map(|id| two.logs().load(id, NOW)).collect();
    let loaded = futures::future::join_all(loads).await;
    for (number, (id, loaded)) in ids.iter().zip(loaded).enumerate() {
        if *id == broken {
            assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{loaded:?}");
            continue;
        }
        let loaded = loaded.unwrap();
        if *id == nobody {
            assert!(loaded.is_none());
            continue;
        }
        let loaded = loaded.unwrap();
        assert_eq!((&loaded.id, loaded.state.turn().is_some()), (id, number % 2 == 0));
        assert!(loaded.taken_from.is_some_and(|from| from.was_stopped && from.is_other_node));
        let kept = format!("half of {number}");
        let texts = log(&two, id).await.iter().filter(|one| is_cut_text(one, &kept)).count();
        assert_eq!(texts, usize::from(number % 6 == 0), "{id}");
    }
}

/// Whether an event is a message that was cut, with this text.
fn is_cut_text(event: &Event, kept: &str) -> bool {
    matches!(
        event,
        Event::Turn(TurnEvent::Message { text, complete: false, .. }) if text == kept
    )
}
