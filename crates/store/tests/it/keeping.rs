//! What is kept: backups, retention, and that what is deleted is gone.

use std::io::Read as _;
use std::path::Path;

use thoughtwire_proto::{Event, Outcome, Seq, Timestamp, TurnEvent, TurnId};
use thoughtwire_store::{Contents, NewNote, Retention, Store, StoreError, StoredSession};

use crate::support::{NOW, agent, append, log, open, says, session};

/// A turn of four events: an input with these words, and an answer to it.
fn turn(store: &Store, session: &mut StoredSession, words: &str, at: Timestamp) {
    let id: TurnId = format!("t-{words}").parse().unwrap();
    let item = format!("i-{words}");
    let input = item.parse().unwrap();
    let mut said = append(
        session,
        vec![
            (None, says(&item, words)),
            (Some(&id), Event::Turn(TurnEvent::Started { input })),
            (
                Some(&id),
                Event::Turn(TurnEvent::Message {
                    item: format!("m-{words}").parse().unwrap(),
                    text: format!("{words}, yes"),
                    complete: true,
                }),
            ),
            (
                Some(&id),
                Event::Turn(TurnEvent::Ended {
                    input: item.parse().unwrap(),
                    outcome: Outcome::Completed,
                    code: None,
                    reason: None,
                }),
            ),
        ],
    );
    said.records.iter_mut().for_each(|record| record.at = at);
    store.append(said).wait().unwrap();
}

fn backup(store: &Store, to: &Path) {
    let mut bytes = Vec::new();
    store.backup().unwrap().read_to_end(&mut bytes).unwrap();
    std::fs::write(to, bytes).unwrap();
}

fn has(file: &Path, words: &str) -> bool {
    std::fs::read(file)
        .unwrap()
        .windows(words.len())
        .any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

#[test]
fn a_backup_is_taken_back_as_another_lifetime_of_the_same_logs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    turn(&store, &mut ada, "apple", NOW);
    let copy = dir.path().join("copy");
    backup(&store, &copy);
    let contents = Contents { agents: 1, sessions: 1, events: 5, keys: 0, newest: Some(NOW) };
    assert_eq!(Store::inspect(&copy).unwrap(), contents);
    turn(&store, &mut ada, "later", NOW);

    let taken_back = dir.path().join("deeper/restored");
    assert_eq!(Store::restore(&copy, &taken_back).unwrap(), contents);
    let restored = open(&taken_back);
    let again = restored.session(&ada.id).unwrap().unwrap();
    assert_ne!(again.epoch, ada.epoch);
    assert_eq!(
        (log(&restored, &again), again.state.head()),
        (log(&store, &ada)[..5].to_vec(), Seq(5))
    );
    // Once: the next opening goes on in the same lifetime.
    drop(restored);
    assert_eq!(open(&taken_back).session(&ada.id).unwrap().unwrap().epoch, again.epoch);
    // The same copy again is another one.
    let twice = dir.path().join("twice");
    Store::restore(&copy, &twice).unwrap();
    assert_ne!(open(&twice).session(&ada.id).unwrap().unwrap().epoch, again.epoch);
    assert_eq!(session_epoch(&store, &ada), ada.epoch, "the original is as it was");
}

#[test]
fn a_backup_has_no_secrets_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let secret =
        store.secret("login", b"a secret of thirty-two bytes, yes".to_vec()).wait().unwrap();
    let copy = dir.path().join("copy");
    backup(&store, &copy);
    assert!(!has(&copy, "a secret of thirty-two bytes"));
    let restored = dir.path().join("restored");
    Store::restore(&copy, &restored).unwrap();
    let restored = open(&restored);
    let fresh = b"another one".to_vec();
    assert_eq!(restored.secret("login", fresh.clone()).wait().unwrap(), fresh);
    assert_eq!(store.secret("login", fresh).wait().unwrap(), secret, "the original is as it was");
    store.replace_secret("login", b"a new one".to_vec()).wait().unwrap();
    assert_eq!(store.secret("login", Vec::new()).wait().unwrap(), b"a new one");
}

fn session_epoch(store: &Store, of: &StoredSession) -> thoughtwire_proto::Epoch {
    store.session(&of.id).unwrap().unwrap().epoch
}

#[test]
fn what_is_no_backup_is_not_taken_back_and_data_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    agent(&store, "ada");
    let copy = dir.path().join("copy");
    backup(&store, &copy);
    let to = dir.path().join("to");

    let missing = Store::restore(&dir.path().join("nowhere"), &to).unwrap_err().to_string();
    assert!(missing.contains("nowhere: No such file"), "{missing}");
    for (name, bytes) in [("empty", vec![]), ("words", b"these are words ".repeat(300))] {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let no = Store::restore(&file, &to).unwrap_err();
        assert!(no.to_string().ends_with("is no backup of Thoughtwire's data"), "{name}: {no}");
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
    drop(store);
    let no = Store::restore(&copy, &dir.path().join("data")).unwrap_err().to_string();
    assert!(no.contains("there is data in") && no.contains("it was left alone"), "{no}");
    open(&dir.path().join("data"));
}

#[test]
fn what_is_deleted_is_in_no_search_no_file_and_no_later_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (ada, bob) = (agent(&store, "ada"), agent(&store, "bob"));
    let (mut hers, mut his) = (session(&store, &ada), session(&store, &bob));
    turn(&store, &mut hers, "xylophone", NOW);
    turn(&store, &mut his, "harmonica", NOW);
    for profile in [&ada, &bob] {
        let text = if profile.id == ada.id {
            "a zither in the attic"
        } else {
            "a balalaika in the cellar"
        };
        store
            .archival_add(
                &profile.id,
                vec![NewNote { text: text.into(), at: NOW, source: None, vector: None }],
                u64::MAX,
            )
            .wait()
            .unwrap();
    }
    store.catch_up_recall().wait().unwrap();
    let before = dir.path().join("before");
    backup(&store, &before);
    assert!(has(&before, "xylophone") && has(&before, "zither"));
    store.delete_agent(&ada.id).wait().unwrap();
    let after = dir.path().join("after");
    backup(&store, &after);
    while store.erase_some().wait().unwrap() {}
    store.close();
    for file in [&after, &dir.path().join("thoughtwire.db")] {
        // Within an index, a word stands without its beginning where its neighbour has the same.
        for word in ["xylophon", "ylophon", "zither", "attic"] {
            assert!(!has(file, word), "{word} in {}", file.display());
        }
        assert!(has(file, "harmonica") && has(file, "balalaika"));
    }
}

#[test]
fn a_log_longer_than_it_is_to_be_loses_whole_turns_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let mut ada = session(&store, &profile);
    for number in 0..10 {
        turn(
            &store,
            &mut ada,
            &format!("word{number}"),
            Timestamp::from_millis(NOW.as_millis() + number * 86_400_000),
        );
    }
    let head = 41;
    store.catch_up_recall().wait().unwrap();
    let late = Timestamp::from_millis(NOW.as_millis() + 9 * 86_400_000);
    assert_eq!(store.overlong(late).unwrap(), []);
    let through = |keep: Retention| {
        store.set_retention(ada.num, keep).wait().unwrap();
        assert_eq!(store.retention(ada.num).unwrap(), keep);
        store.overlong(late).unwrap().first().map(|overlong| overlong.through.0)
    };
    assert_eq!(through(Retention { days: None, events: Some(41) }), None);
    assert_eq!(through(Retention { days: None, events: Some(30) }), Some(11));
    assert_eq!(through(Retention { days: Some(9), events: None }), None);
    // `session_opened` and the turns of the first three days.
    assert_eq!(through(Retention { days: Some(6), events: None }), Some(13));
    assert_eq!(through(Retention { days: Some(6), events: Some(3) }), Some(38));
    assert_eq!(through(Retention::default()), None);
    // The agent's own setting counts where the session has none.
    let mut settings = profile.clone();
    settings.spec.settings.keep_events = Some(20);
    store.update_agent(settings).wait().unwrap();
    assert_eq!(through(Retention::default()), Some(21));
    assert_eq!(through(Retention { days: None, events: Some(40) }), Some(1));

    assert_eq!(store.turn_end(ada.num, Seq(20)).unwrap(), Some(Seq(17)));
    assert_eq!(store.turn_end(ada.num, Seq(4)).unwrap(), None);
    store.begin_at(ada.num, Seq(18)).wait().unwrap();
    // Cut here, the rest goes another time.
    assert_eq!(store.overlong(late).unwrap().len(), 1);
    assert!(!store.forget_some(ada.num).wait().unwrap());
    assert_eq!(store.overlong(late).unwrap(), []);
    let kept: Vec<u64> =
        store.events(ada.num, Seq::ZERO, 100).unwrap().iter().map(|record| record.seq.0).collect();
    assert_eq!(kept, (18..=head).collect::<Vec<_>>());
    assert_eq!(store.session(&ada.id).unwrap().unwrap().first, Seq(18));
    let found = |word: &str| store.recall_search(&profile.id, word, 0, 10).unwrap().total;
    assert_eq!((found("word3"), found("word4")), (0, 2));
    assert_eq!(store.recall_count(&profile.id).unwrap(), 12);
    let copy = dir.path().join("copy");
    backup(&store, &copy);
    assert!(!has(&copy, "word3") && has(&copy, "word4"));

    // Even with nothing left, what comes next is numbered on and found.
    store.begin_at(ada.num, Seq(42)).wait().unwrap();
    store.forget_some(ada.num).wait().unwrap();
    turn(&store, &mut ada, "afterwards", late);
    store.catch_up_recall().wait().unwrap();
    assert_eq!(found("afterwards"), 2);
    assert_eq!(store.events(ada.num, Seq::ZERO, 100).unwrap()[0].seq, Seq(42));
}

#[test]
fn what_is_deleted_is_gone_at_once_and_leaves_the_file_in_steps_between_which_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (ada, bob) = (agent(&store, "ada"), agent(&store, "bob"));
    let (mut hers, mut his) = (session(&store, &ada), session(&store, &bob));
    for number in 0..300 {
        turn(&store, &mut hers, &format!("xylophone{number}"), NOW);
    }
    let note = |text: String| NewNote {
        text,
        at: NOW,
        source: None,
        vector: Some(("m".into(), vec![1.0])),
    };
    store
        .archival_add(
            &ada.id,
            (0..500).map(|number| note(format!("zither{number}"))).collect(),
            u64::MAX,
        )
        .wait()
        .unwrap();
    store.catch_up_recall().wait().unwrap();
    store.delete_agent(&ada.id).wait().unwrap();
    assert_eq!(store.delete_agent(&ada.id).wait().unwrap(), []);
    assert!(store.session(&ada.main_session).unwrap().is_none());
    assert_eq!(store.recall_search(&ada.id, "xylophone1", 0, 10).unwrap().total, 0);
    let mut steps = 0;
    while store.erase_some().wait().unwrap() {
        turn(&store, &mut his, &format!("harmonica{steps}"), NOW);
        steps += 1;
        // Cut here, it goes on at the next start.
        if steps == 3 {
            break;
        }
    }
    store.close();
    drop(store);
    let store = open(dir.path());
    while store.erase_some().wait().unwrap() {
        turn(&store, &mut his, &format!("harmonica{steps}"), NOW);
        steps += 1;
    }
    assert!(steps > 5, "{steps} steps");
    store.catch_up_recall().wait().unwrap();
    assert_eq!(
        store.recall_search(&bob.id, &format!("harmonica{}", steps - 1), 0, 10).unwrap().total,
        2
    );
    store.close();
    let file = dir.path().join("thoughtwire.db");
    for word in ["xylophon", "zither"] {
        assert!(!has(&file, word), "{word}");
    }
    let left = rusqlite::Connection::open(&file).unwrap();
    for table in ["erased_sessions", "erased_agents", "note_vectors", "notes"] {
        let found: i64 =
            left.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{table}");
    }
    for index in ["said_words", "notes_words"] {
        left.execute_batch(&format!(
            "INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)"
        ))
        .unwrap();
    }
}
