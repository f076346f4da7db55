//! Erasing: what is deleted leaves the file, its indexes and later backups.

use std::io::Read as _;
use std::path::Path;

use thoughtwire_proto::{PeerRef, PeerWire, Seq, StreamKind};
use thoughtwire_store::{BatchExtras, NewNote, OpenItem, Proven, Receipt, Store};

use crate::support::{
    NOW, agent, batch, erase_deleted, new_session, note, open, says, search_said, session, stored,
    turn, user,
};

/// Writes a backup to a file.
pub(super) async fn backup(store: &Store, to: &Path) {
    let mut bytes = Vec::new();
    store.backup().await.unwrap().read_to_end(&mut bytes).unwrap();
    std::fs::write(to, bytes).unwrap();
}

/// Whether a file contains the words.
pub(super) fn has(file: &Path, words: &str) -> bool {
    std::fs::read(file)
        .unwrap()
        .windows(words.len())
        .any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_session() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ada = agent(&store, "ada").await;
    let peer = PeerRef { wire: PeerWire::Sparky, space: "u1".into(), name: "p1".into() };
    store.peers().open_peer(&user(), &peer, NOW).await.unwrap();
    let new = new_session(&ada, "s-2");
    let id = store.peers().open_chat(&user(), &peer, None, new).await.unwrap().session;
    let mut gone = stored(&store, &id).await.unwrap();
    turn(&store, &mut gone, "tea", NOW).await;
    let extras = BatchExtras {
        receipt: Some(Receipt {
            user: user(),
            id: "c-1".parse().unwrap(),
            digest: "d".into(),
            answer: "{}".into(),
        }),
        output: Some(("k-1".parse().unwrap(), "all of it".into())),
        provider_reply: Some("{}".into()),
        ..BatchExtras::default()
    };
    let more = batch(&mut gone, vec![(None, says("i-2", "more"))]).with(extras);
    store.logs().append(more).await.unwrap();
    let open_item = OpenItem {
        item: "m-9".parse().unwrap(),
        turn: "t-9".parse().unwrap(),
        kind: StreamKind::Message,
        text: "Once".into(),
        continues: None,
    };
    store.logs().checkpoint(&id, open_item.clone()).await.unwrap();
    let proof =
        Proven { user: user(), peer, connection: "k".into(), session: id.clone(), seq: Seq(2) };
    store.peers().prove(vec![proof.clone()], None).await.unwrap();
    while store.memory().index_recall().await.unwrap() {}
    let file = rusqlite::Connection::open(Store::file(dir.path())).unwrap();
    let left = || {
        let tables = [
            "events",
            "open_items",
            "said",
            "outputs",
            "receipts",
            "kept_replies",
            "chats",
            "proven",
        ];
        tables.map(|table| {
            let select = format!(
                "SELECT count(*) FROM {table}
                 WHERE session NOT IN (SELECT num FROM sessions WHERE id = 's-ada')"
            );
            file.query_row(&select, [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    assert!(left().iter().all(|count| *count > 0), "{:?}", left());
    store.directory().delete_session(&id, None).await.unwrap();
    // A late write is dropped.
    store.logs().checkpoint(&id, open_item).await.unwrap();
    store.peers().prove(vec![proof], None).await.unwrap();
    erase_deleted(&store).await;
    assert_eq!(left(), [0; 8]);
}

#[tokio::test]
async fn what_is_trimmed_is_in_no_later_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada").await).await;
    for number in 0..10 {
        turn(&store, &mut ada, &format!("word{number}"), NOW).await;
    }
    while store.memory().index_recall().await.unwrap() {}
    store.upkeep().trim(&ada.id, Seq(18)).await.unwrap();
    assert!(!store.upkeep().erase_trimmed(&ada.id).await.unwrap());
    let copy = dir.path().join("copy");
    backup(&store, &copy).await;
    assert!(!has(&copy, "word3") && has(&copy, "word4"));
}

#[tokio::test]
async fn what_is_deleted_is_in_no_search_no_file_and_no_later_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (ada, bob) = (agent(&store, "ada").await, agent(&store, "bob").await);
    let (mut hers, mut his) = (session(&store, &ada).await, session(&store, &bob).await);
    turn(&store, &mut hers, "xylophone", NOW).await;
    turn(&store, &mut his, "harmonica", NOW).await;
    for profile in [&ada, &bob] {
        let text = if profile.id == ada.id {
            "a zither in the attic"
        } else {
            "a balalaika in the cellar"
        };
        store.memory().add_notes(&profile.id, vec![note(text)], u64::MAX, None).await.unwrap();
    }
    while store.memory().index_recall().await.unwrap() {}
    let before = dir.path().join("before");
    backup(&store, &before).await;
    assert!(has(&before, "xylophone") && has(&before, "zither"));
    store.directory().delete_agent(&ada.id).await.unwrap();
    let after = dir.path().join("after");
    backup(&store, &after).await;
    erase_deleted(&store).await;
    store.close().await;
    for file in [&after, &dir.path().join("thoughtwire.db")] {
        // Within an index, a word stands without its beginning where its neighbour has the same.
        for word in ["xylophon", "ylophon", "zither", "attic"] {
            assert!(!has(file, word), "{word} in {}", file.display());
        }
        assert!(has(file, "harmonica") && has(file, "balalaika"));
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_at_once_and_leaves_the_file_in_steps_between_which_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (ada, bob) = (agent(&store, "ada").await, agent(&store, "bob").await);
    let (mut hers, mut his) = (session(&store, &ada).await, session(&store, &bob).await);
    for number in 0..300 {
        turn(&store, &mut hers, &format!("xylophone{number}"), NOW).await;
    }
    let vector = Some(("m".to_owned(), vec![1.0]));
    let zither = |n| NewNote { vector: vector.clone(), ..note(&format!("zither{n}")) };
    let notes = (0..500).map(zither).collect();
    store.memory().add_notes(&ada.id, notes, u64::MAX, None).await.unwrap();
    while store.memory().index_recall().await.unwrap() {}
    store.directory().delete_agent(&ada.id).await.unwrap();
    assert_eq!(store.directory().delete_agent(&ada.id).await.unwrap(), []);
    assert!(stored(&store, &ada.main_session).await.is_none());
    let found = search_said(&store, &ada.id, "xylophone1", 0, 10).await;
    assert_eq!(found.total, 0);
    let mut steps = 0;
    while store.upkeep().erase_deleted().await.unwrap() {
        turn(&store, &mut his, &format!("harmonica{steps}"), NOW).await;
        steps += 1;
        // Cut here, it goes on at the next start.
        if steps == 3 {
            break;
        }
    }
    store.close().await;
    drop(store);
    let store = open(dir.path());
    while store.upkeep().erase_deleted().await.unwrap() {
        turn(&store, &mut his, &format!("harmonica{steps}"), NOW).await;
        steps += 1;
    }
    assert!(steps > 5, "{steps} steps");
    while store.memory().index_recall().await.unwrap() {}
    let word = format!("harmonica{}", steps - 1);
    let found = search_said(&store, &bob.id, &word, 0, 10).await;
    assert_eq!(found.total, 2);
    store.close().await;
    let file = dir.path().join("thoughtwire.db");
    for word in ["xylophon", "zither"] {
        assert!(!has(&file, word), "{word}");
    }
    let left = rusqlite::Connection::open(&file).unwrap();
    for table in ["erased_sessions", "erased_agents", "vectors", "notes"] {
        let found: i64 =
            left.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{table}");
    }
}
