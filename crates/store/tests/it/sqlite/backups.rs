//! Backups: taken while writing, restored as another lifetime, without secrets.

use thoughtwire_proto::{Epoch, Seq, SessionId};
use thoughtwire_store::{Contents, Store, StoreError};

use super::erasing::{backup, has};
use crate::support::{NOW, agent, log, open, session, stored, turn};

#[tokio::test]
async fn a_backup_is_taken_back_as_another_lifetime_of_the_same_logs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada").await).await;
    turn(&store, &mut ada, "apple", NOW).await;
    let copy = dir.path().join("copy");
    backup(&store, &copy).await;
    let contents = Contents { agents: 1, sessions: 1, events: 5, keys: 0, newest: Some(NOW) };
    assert_eq!(Store::inspect(&copy).unwrap(), contents);
    turn(&store, &mut ada, "later", NOW).await;

    let taken_back = dir.path().join("deeper/restored");
    assert_eq!(Store::restore(&copy, &taken_back).unwrap(), contents);
    let restored = open(&taken_back);
    let again = stored(&restored, &ada.id).await.unwrap();
    assert_ne!(again.epoch, ada.epoch);
    let copied = log(&store, &ada.id).await[..5].to_vec();
    assert_eq!((log(&restored, &again.id).await, again.state.head()), (copied, Seq(5)));
    // Once: the next opening goes on in the same lifetime.
    restored.close().await;
    assert_eq!(epoch(&open(&taken_back), &ada.id).await, again.epoch);
    // The same copy again is another one.
    let twice = dir.path().join("twice");
    Store::restore(&copy, &twice).unwrap();
    assert_ne!(epoch(&open(&twice), &ada.id).await, again.epoch);
    assert_eq!(epoch(&store, &ada.id).await, ada.epoch, "the original is as it was");
}

#[tokio::test]
async fn a_backup_has_no_secrets_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let secret = b"a secret of thirty-two bytes, yes".to_vec();
    let secret = store.keys().secret("login", secret).await.unwrap();
    let copy = dir.path().join("copy");
    backup(&store, &copy).await;
    assert!(!has(&copy, "a secret of thirty-two bytes"));
    let restored = dir.path().join("restored");
    Store::restore(&copy, &restored).unwrap();
    let restored = open(&restored);
    let fresh = b"another one".to_vec();
    assert_eq!(restored.keys().secret("login", fresh.clone()).await.unwrap(), fresh);
    let original = store.keys().secret("login", fresh).await.unwrap();
    assert_eq!(original, secret, "the original is as it was");
}

async fn epoch(store: &Store, session: &SessionId) -> Epoch {
    stored(store, session).await.unwrap().epoch
}

#[tokio::test]
async fn what_is_no_backup_is_not_taken_back_and_data_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    agent(&store, "ada").await;
    let copy = dir.path().join("copy");
    backup(&store, &copy).await;
    let to = dir.path().join("to");

    let missing = Store::restore(&dir.path().join("nowhere"), &to).unwrap_err().to_string();
    assert!(missing.contains("nowhere: No such file"), "{missing}");
    for (name, bytes) in [("empty", vec![]), ("words", b"these are words ".repeat(300))] {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let no = Store::restore(&file, &to).unwrap_err();
        assert!(no.to_string().ends_with("is not a backup of Thoughtwire's data"), "{name}: {no}");
    }
    let foreign = dir.path().join("foreign");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1")
        .unwrap();
    assert!(matches!(Store::restore(&foreign, &to), Err(StoreError::Invalid(_))));
    let newer = dir.path().join("newer");
    std::fs::copy(&copy, &newer).unwrap();
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::restore(&newer, &to), Err(StoreError::Newer { found: 99, .. })));
    let cut = dir.path().join("cut");
    let bytes = std::fs::read(&copy).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Store::restore(&cut, &to), Err(StoreError::Corrupt(_))));
    assert!(!to.exists(), "nothing was begun");

    assert!(matches!(
        Store::restore(&copy, &dir.path().join("data")),
        Err(StoreError::Locked { .. })
    ));
    store.close().await;
    let no = Store::restore(&copy, &dir.path().join("data")).unwrap_err().to_string();
    assert!(no.contains("there is data in") && no.contains("it was left alone"), "{no}");
    open(&dir.path().join("data"));
}
