//! A pooler in transaction mode between nodes and the database. The suite runs through one as well.

use std::time::Duration;

use thoughtwire_proto::SessionId;
use thoughtwire_store::{NodeIdentity, Store, StoreChange, StoreError};

use crate::support::{NOW, TestDatabase, agent, append, batch, log, new_session, says, session};

async fn open(url: &str, node: &str) -> Store {
    Store::connect(url, NodeIdentity::new(node, None), NOW).await.unwrap()
}

#[tokio::test]
async fn nodes_keep_their_leases_and_fences_through_it() {
    let database = TestDatabase::create();
    let url = database.pooled_url();
    let (one, two) = (open(&url, "one").await, open(&url, "two").await);
    let mut ada = session(&one, &agent(&one, "ada").await).await;
    one.logs().load(&ada.id, NOW).await.unwrap();
    let elsewhere = two.logs().load(&ada.id, NOW).await;
    assert!(matches!(elsewhere, Err(StoreError::Elsewhere { .. })));
    append(&one, &mut ada, vec![(None, says("i-1", "tea"))]).await;
    // A later process of the same node replaces the earlier one.
    let later = open(&url, "one").await;
    let late = batch(&mut ada.clone(), vec![(None, says("i-2", "too late"))]);
    assert!(matches!(one.logs().append(late).await, Err(StoreError::Fenced)));
    let mut ada = later.logs().load(&ada.id, NOW).await.unwrap().unwrap();
    append(&later, &mut ada, vec![(None, says("i-2", "kept"))]).await;
    later.close().await;
    assert!(two.logs().load(&ada.id, NOW).await.unwrap().is_some());
    assert_eq!(log(&two, &ada.id).await.len(), 3);
}

#[tokio::test]
async fn nodes_learn_of_changes_without_notifications() {
    let database = TestDatabase::create();
    let url = database.pooled_url();
    let (one, two) = (open(&url, "one").await, open(&url, "two").await);
    let mut seen = two.changes().follow().unwrap();
    let ada = agent(&one, "ada").await;
    let talk: SessionId = "s-talk".parse().unwrap();
    one.directory().create_session(new_session(&ada, talk.as_str())).await.unwrap();
    one.directory().delete_session(&talk, None).await.unwrap();
    let deleted = async {
        while !matches!(seen.recv().await.unwrap(),
            StoreChange::SessionDeleted { session, .. } if session == talk)
        {}
    };
    tokio::time::timeout(Duration::from_secs(30), deleted).await.expect("the change");
}
