//! Faults, where the backend has them: what fails is not there, what is not told may be.

use std::time::Duration;

use thoughtwire_store::{
    BatchExtras, BrokenTable, Commit, RamDisk, RamDriver, Receipt, Store, StoreError,
    StoredSession, WriteFault,
};

use crate::support::{NOW, agent, batch, log, says, session, user};

/// A store that a driver commits, with one agent.
async fn driven() -> (RamDisk, Store, RamDriver, StoredSession) {
    let disk = RamDisk::new();
    let store = disk.open(NOW);
    let ada = session(&store, &agent(&store, "ada").await).await;
    store.close().await;
    let (store, driver) = disk.open_driven(NOW);
    (disk, store, driver, ada)
}

fn say(store: &Store, session: &mut StoredSession, item: &str) -> Commit<()> {
    store.logs().append(batch(session, vec![(None, says(item, item))]))
}

#[tokio::test]
async fn a_driven_store_commits_when_told_and_tells_afterwards() {
    let (disk, store, mut driver, mut ada) = driven().await;
    let first = say(&store, &mut ada, "i-1");
    let second = say(&store, &mut ada, "i-2");
    assert_eq!((driver.waiting(), log(&store, &ada.id).await.len()), (2, 1));
    let before = disk.copy();
    let committed = driver.commit(1).unwrap();
    let after = (driver.waiting(), log(&store, &ada.id).await.len());
    assert_eq!(after, (1, 2), "it is saved before anybody is told");
    committed.tell();
    first.await.unwrap();
    // Writes that were not committed when the driver is dropped never happened.
    drop(driver);
    assert!(matches!(second.await, Err(StoreError::Stopped)));
    assert_eq!(log(&disk.open(NOW), &ada.id).await.len(), 2);
    assert_eq!(log(&before.open(NOW), &ada.id).await.len(), 1);
}

#[tokio::test]
async fn a_failure_before_the_commit_saves_nothing_and_one_of_the_outcome_may() {
    for (fault, is_saved) in [
        (WriteFault::Transactions { every: 1 }, false),
        (WriteFault::Full, false),
        (WriteFault::UnknownUnsaved, false),
        (WriteFault::UnknownSaved, true),
    ] {
        let (_disk, store, mut driver, mut ada) = driven().await;
        let said = say(&store, &mut ada, "i-1");
        driver.set_write_fault(Some(fault));
        driver.commit(9).unwrap().tell();
        let error = said.await.unwrap_err();
        let is_unknown = matches!(fault, WriteFault::UnknownUnsaved | WriteFault::UnknownSaved);
        assert_eq!(matches!(error, StoreError::Unknown(_)), is_unknown, "{error}");
        assert_eq!(matches!(error, StoreError::Full), fault == WriteFault::Full);
        driver.set_write_fault(None);
        let saved = log(&store, &ada.id).await.len();
        assert_eq!(saved, if is_saved { 2 } else { 1 }, "{fault:?}");
    }
}

#[tokio::test]
async fn single_writes_fail_without_the_others_of_their_transaction() {
    let (_disk, store, mut driver, mut ada) = driven().await;
    driver.set_write_fault(Some(WriteFault::Records { every: 2 }));
    let bad = say(&store, &mut ada.clone(), "i-1");
    let clock = store.upkeep().set_clocks(vec![("one", NOW)]);
    driver.commit(9).unwrap().tell();
    assert!(bad.await.is_err() && clock.await.is_ok());
    driver.set_write_fault(Some(WriteFault::Receipts));
    let receipt = Receipt {
        user: user(),
        id: "c-1".parse().unwrap(),
        digest: "d".into(),
        answer: "{}".into(),
    };
    let extras = BatchExtras { receipt: Some(receipt), ..BatchExtras::default() };
    let with = batch(&mut ada.clone(), vec![(None, says("i-2", "x"))]).with(extras);
    let bad = store.logs().append(with);
    let good = say(&store, &mut ada, "i-3");
    driver.commit(9).unwrap().tell();
    assert!(bad.await.is_err() && good.await.is_ok());
    assert_eq!(log(&store, &ada.id).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn broken_tables_fail_reads_and_writes_and_reads_can_be_slow() {
    let (_disk, store, mut driver, mut ada) = driven().await;
    driver.set_broken(Some(BrokenTable::Sessions));
    assert!(store.directory().session(&ada.id).await.is_err());
    assert!(store.directory().agent_by_id(&ada.agent).await.is_ok());
    let bad = say(&store, &mut ada, "i-1");
    driver.commit(9).unwrap().tell();
    assert!(bad.await.is_err());
    driver.set_broken(None);
    driver.set_read_delay(Some(Duration::from_secs(3)));
    let began = tokio::time::Instant::now();
    assert!(store.directory().session(&ada.id).await.unwrap().is_some());
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}
