//! Work that one node does for all.

use std::time::Duration;

use thoughtwire_proto::Seq;
use thoughtwire_store::{Overlong, Retention, StoreChange};

use crate::support::{NOW, TestDatabase, agent, at, turn};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn one_node_claims_work_until_it_leaves_or_its_time_is_over() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let two = database.open("two", NOW).await;
    let (first, second) =
        tokio::join!(one.upkeep().claim("sweep", HOUR), two.upkeep().claim("sweep", HOUR));
    assert_eq!([first.unwrap(), second.unwrap()].iter().filter(|has| **has).count(), 1);
    assert!(two.upkeep().claim("other", Duration::ZERO).await.unwrap());
    assert!(one.upkeep().claim("other", HOUR).await.unwrap());
    // Its own claim holds nobody up, also after a restart.
    assert!(one.upkeep().claim("other", HOUR).await.unwrap());
    assert!(!two.upkeep().claim("other", HOUR).await.unwrap());
    one.close().await;
    assert!(two.upkeep().claim("other", HOUR).await.unwrap());
}

#[tokio::test]
async fn a_log_that_is_too_long_is_told_to_the_node_that_has_it() {
    let database = TestDatabase::create();
    let one = database.open("one", NOW).await;
    let two = database.open("two", NOW).await;
    let three = database.open("three", NOW).await;
    let id = agent(&one, "ada").await.main_session;
    let mut session = one.logs().load(&id, NOW).await.unwrap().unwrap();
    turn(&one, &mut session, "tea", at(1)).await;
    one.upkeep().set_retention(&id, Retention { days: None, events: Some(1) }).await.unwrap();
    let here = Overlong { session: id.clone(), through: Seq(4), is_elsewhere: false };
    assert_eq!(one.upkeep().overlong(NOW).await.unwrap(), std::slice::from_ref(&here));
    let elsewhere = Overlong { is_elsewhere: true, ..here.clone() };
    assert_eq!(two.upkeep().overlong(NOW).await.unwrap(), std::slice::from_ref(&elsewhere));
    while !two.changes().has_other_nodes() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (mut seen_by_one, mut seen_by_three) =
        (one.changes().follow().unwrap(), three.changes().follow().unwrap());
    two.changes().announce_overlong(elsewhere);
    // Everybody learns of this one.
    two.keys().replace_secret("login", vec![1]).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        match seen_by_one.recv().await.unwrap() {
            StoreChange::AllListings | StoreChange::NodeGone { .. } => {}
            change => told.push(change),
        }
    }
    assert!(told.contains(&StoreChange::Overlong(here)), "{told:?}");
    assert!(told.contains(&StoreChange::Keys), "{told:?}");
    loop {
        match seen_by_three.recv().await.unwrap() {
            StoreChange::AllListings | StoreChange::NodeGone { .. } => {}
            change => break assert_eq!(change, StoreChange::Keys),
        }
    }
}
