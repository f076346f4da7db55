//! Opening: the lock, the schema's version, and a disk that says no.

use std::os::unix::fs::PermissionsExt as _;

use thoughtwire_store::{Store, StoreError};

use crate::support::{NOW, agent, append, batch, log, new_agent, open, says, session, user};

#[tokio::test]
async fn a_directory_is_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Store::is_locked(dir.path()).unwrap());
    let store = open(dir.path());
    assert!(Store::is_locked(dir.path()).unwrap());
    assert!(matches!(Store::open(dir.path(), NOW), Err(StoreError::Locked { .. })));
    store.close().await;
    let agents = store.directory().agents(&user()).await;
    assert!(matches!(agents, Err(StoreError::Stopped)));
    let late = store.directory().create_agent(new_agent("late")).await;
    assert!(matches!(late, Err(StoreError::Stopped)));
    open(dir.path());
}

#[tokio::test]
async fn a_directory_stays_with_its_process_without_its_lock_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lock = dir.path().join("lock");
    std::fs::remove_file(&lock).unwrap();
    assert!(matches!(Store::open(dir.path(), NOW), Err(StoreError::Locked { .. })));
    std::fs::remove_file(&lock).unwrap();
    std::fs::write(&lock, "").unwrap();
    assert!(matches!(Store::open(dir.path(), NOW), Err(StoreError::Locked { .. })));
    assert!(Store::is_locked(dir.path()).unwrap());
    agent(&store, "ada").await;
    drop(store);
    assert!(!Store::is_locked(dir.path()).unwrap());
    open(dir.path());
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = rusqlite::Connection::open(dir.path().join("thoughtwire.db")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    assert!(matches!(Store::open(dir.path(), NOW), Err(StoreError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("thoughtwire.db"),
        "these are not the bytes you are looking for".repeat(100),
    )
    .unwrap();
    assert!(matches!(Store::open(dir.path(), NOW), Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = open(&data);
    agent(&store, "ada").await;
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            file.file_name()
        );
    }
}

/// A real full disk: a file system of one MiB, where the tests may mount one.
#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(dir.path())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("not run: file systems cannot be mounted here (it needs root)");
        return;
    }
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada").await).await;
    let mut saved = 0;
    let error = loop {
        let before = ada.clone();
        let events = vec![(None, says(&format!("i-{saved}"), &"x".repeat(10_000)))];
        match store.logs().append(batch(&mut ada, events)).await {
            Ok(()) => saved += 1,
            Err(error) => {
                ada = before;
                break error;
            }
        }
    };
    assert!(matches!(error, StoreError::Full), "{error:?}");
    assert!(saved > 3);
    assert_eq!(
        log(&store, &ada.id).await.len(),
        saved + 1,
        "what was saved can be read while the disk is full"
    );
    store.close().await;
    drop(store);
    let unmounted = std::process::Command::new("mount")
        .args(["-o", "remount,size=8m"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    let store = open(dir.path());
    assert_eq!(log(&store, &ada.id).await.len(), saved + 1);
    append(&store, &mut ada, vec![(None, says("i-next", "there is room again"))]).await;
    drop(store);
    assert!(std::process::Command::new("umount").arg(dir.path()).status().unwrap().success());
}
