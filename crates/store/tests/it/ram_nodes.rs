//! Nodes on data in memory: leases, fences and changes, as on a database.

use std::time::Duration;

use thoughtwire_store::{NodeIdentity, RamDisk, RamDriver, Store, StoreChange, StoreError};

use crate::support::{NOW, agent, batch, says, session, stored, user};

/// A little more than a lease.
const PAST_LEASE: Duration = Duration::from_millis(5_001);

fn node(disk: &RamDisk, id: &str) -> (Store, RamDriver) {
    let url = Some(format!("http://{id}"));
    disk.open_driven_node(&NodeIdentity::new(id, url), NOW)
}

async fn settled<T>(driver: &mut RamDriver, write: impl Future<Output = T>) -> T {
    let mut write = std::pin::pin!(write);
    loop {
        tokio::select! {
            biased;
            outcome = &mut write => return outcome,
            () = std::future::ready(()) => {}
        }
        if let Some(committed) = driver.commit(100) {
            committed.tell();
        }
    }
}

#[tokio::test]
async fn a_session_is_its_nodes_until_the_lease_has_ended_and_the_node_is_fenced_then() {
    let disk = RamDisk::new();
    let one = disk.open_node(&NodeIdentity::new("one", Some("http://one".into())), NOW);
    let ada = agent(&one, "ada").await;
    let mut log = session(&one, &ada).await;
    let (two, mut driver) = node(&disk, "two");
    let load = settled(&mut driver, two.logs().load(&ada.main_session, NOW)).await;
    assert!(
        matches!(load, Err(StoreError::Elsewhere { url: Some(url), .. }) if url == "http://one")
    );
    for _ in 0..5 {
        disk.pass(Duration::from_secs(1));
        driver.beat();
    }
    disk.pass(Duration::from_millis(1));
    assert!(matches!(one.check_lease(), Err(StoreError::Away(_))));
    let load = settled(&mut driver, two.logs().load(&ada.main_session, NOW)).await.unwrap();
    let taken_from = load.unwrap().taken_from.unwrap();
    assert!(taken_from.is_other_node && !taken_from.was_stopped);
    let append = one.logs().append(batch(&mut log, vec![(None, says("i-1", "late"))])).await;
    assert!(matches!(append, Err(StoreError::Away(_))), "by its own clock: {append:?}");
    assert_eq!(stored(&two, &ada.main_session).await.unwrap().state.head().0, 1);
}

#[tokio::test]
async fn a_node_that_was_declared_dead_learns_it_from_its_next_renewal() {
    let disk = RamDisk::new();
    let (one, mut first) = node(&disk, "one");
    let ada = settled(&mut first, agent(&one, "ada")).await;
    let mut log = session(&one, &ada).await;
    let (two, mut second) = node(&disk, "two");
    for _ in 0..6 {
        disk.pass(Duration::from_secs(1));
        second.beat();
    }
    let found = settled(&mut second, two.logs().orphans(10)).await.unwrap();
    assert_eq!(found, [], "it has no work");
    first.beat();
    assert!(!*one.lease().unwrap().borrow());
    let append = one.logs().append(batch(&mut log, vec![(None, says("i-1", "late"))]));
    let append = settled(&mut first, append).await;
    assert!(matches!(append, Err(StoreError::Fenced)), "{append:?}");
}

#[tokio::test]
async fn behind_a_time_in_which_nobody_reached_the_disk_nobody_is_declared_dead() {
    let disk = RamDisk::new();
    let (one, mut first) = node(&disk, "one");
    let ada = settled(&mut first, agent(&one, "ada")).await;
    let (two, mut second) = node(&disk, "two");
    first.set_away(true);
    second.set_away(true);
    disk.pass(PAST_LEASE);
    first.beat();
    second.beat();
    first.set_away(false);
    second.set_away(false);
    second.beat();
    let load = settled(&mut second, two.logs().load(&ada.main_session, NOW)).await;
    assert!(matches!(load, Err(StoreError::Elsewhere { .. })), "{load:?}");
    first.beat();
    assert!(one.check_lease().is_ok());
}

#[tokio::test]
async fn a_node_that_left_gives_its_sessions_at_once_and_changes_reach_the_others() {
    let disk = RamDisk::new();
    let (one, mut first) = node(&disk, "one");
    let ada = settled(&mut first, agent(&one, "ada")).await;
    let (two, mut second) = node(&disk, "two");
    let mut told = two.changes().follow().unwrap();
    first.beat();
    second.beat();
    // A node that was alone may have missed to tell of changes.
    assert_eq!(told.recv().await.unwrap(), StoreChange::AllListings);
    one.changes().announce_listing(&user(), &ada.main_session);
    first.beat();
    second.beat();
    let listings = StoreChange::Listings(vec![(user(), ada.main_session.clone())]);
    assert_eq!(told.recv().await.unwrap(), listings);
    one.close().await;
    let load = settled(&mut second, two.logs().load(&ada.main_session, NOW)).await.unwrap();
    assert!(load.unwrap().taken_from.unwrap().was_stopped);
    second.beat();
    let gone = StoreChange::NodeGone { url: Some("http://one".into()) };
    assert_eq!(told.recv().await.unwrap(), gone);
}

#[tokio::test]
async fn a_write_that_arrives_late_is_stopped_by_the_fence() {
    let disk = RamDisk::new();
    let (one, mut first) = node(&disk, "one");
    let ada = settled(&mut first, agent(&one, "ada")).await;
    let mut log = session(&one, &ada).await;
    let append = one.logs().append(batch(&mut log, vec![(None, says("i-1", "in time"))]));
    disk.pass(PAST_LEASE);
    first.commit_sent(1).unwrap().tell();
    assert!(append.await.is_ok(), "nobody has declared it dead");
    let append = one.logs().append(batch(&mut log, vec![(None, says("i-2", "late"))]));
    let (two, mut second) = node(&disk, "two");
    for _ in 0..6 {
        disk.pass(Duration::from_secs(1));
        second.beat();
    }
    settled(&mut second, two.logs().orphans(10)).await.unwrap();
    first.commit_sent(1).unwrap().tell();
    assert!(matches!(append.await, Err(StoreError::Fenced)));
}
