//! Files of older versions, and look-ups by index where logs are long.

use std::path::Path;

use thoughtwire_proto::{CallId, Event, SessionId, StreamKind, ToolStatus, TurnEvent, TurnId};
use thoughtwire_store::{OpenItem, Store};

use crate::suite::scripts::{CHINESE, found, tell};
use crate::support::{NOW, agent, append, called, erase_deleted, open, says, session, started};

/// Takes a file back to schema version 5, to open it as one of an earlier release.
fn as_version_5(dir: &Path) {
    let file = rusqlite::Connection::open(Store::file(dir)).unwrap();
    file.execute_batch(
        "ALTER TABLE peers DROP COLUMN selected_at; ALTER TABLE chats DROP COLUMN archived_at;
         DROP INDEX events_by_call; ALTER TABLE events DROP COLUMN call; DROP TABLE clock;
         DROP TABLE kept_replies; ALTER TABLE open_items DROP COLUMN continues;
         DROP INDEX sessions_kept_idle; ALTER TABLE sessions DROP COLUMN keep_idle;
         DROP INDEX said_in_order; ALTER TABLE agents DROP COLUMN erased;
         CREATE TABLE note_vectors (
             note INTEGER PRIMARY KEY, agent TEXT NOT NULL, model TEXT NOT NULL,
             vector BLOB NOT NULL
         );
         INSERT INTO note_vectors SELECT text, agent, model, vector FROM vectors WHERE texts = 0;
         CREATE INDEX note_vectors_by_model ON note_vectors (agent, model);
         DROP TABLE vectors;
         CREATE VIRTUAL TABLE notes_words USING fts5 (
             text, content = 'notes', content_rowid = 'id', tokenize = 'porter unicode61'
         );
         CREATE VIRTUAL TABLE said_words USING fts5 (
             text, content = 'said', content_rowid = 'id', tokenize = 'porter unicode61'
         );
         INSERT INTO notes_words (notes_words) VALUES ('rebuild');
         INSERT INTO said_words (said_words) VALUES ('rebuild');
         PRAGMA user_version = 5;",
    )
    .unwrap();
}

/// A session in which a call has returned.
async fn with_call(store: &Store) -> (SessionId, CallId) {
    let mut ada = session(store, &agent(store, "ada").await).await;
    let turn: TurnId = "t-1".parse().unwrap();
    let returned = TurnEvent::ToolReturned {
        call: "c-1".parse().unwrap(),
        name: "find".into(),
        status: ToolStatus::Success,
        text: "under the mat".into(),
        content: None,
    };
    let events = vec![
        (None, says("i-1", "look")),
        (Some(&turn), started("i-1")),
        (Some(&turn), called("c-1", "find")),
        (Some(&turn), Event::Turn(returned)),
    ];
    append(store, &mut ada, events).await;
    (ada.id, "c-1".parse().unwrap())
}

#[tokio::test]
async fn a_calls_output_is_looked_up_by_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (id, call) = with_call(&store).await;
    let output = store.logs().tool_output(&id, &call).await.unwrap();
    assert_eq!(output.as_deref(), Some("under the mat"));
    let file = rusqlite::Connection::open(dir.path().join("thoughtwire.db")).unwrap();
    let plan: String = file
        .query_row(
            "EXPLAIN QUERY PLAN SELECT body ->> '$.text' FROM events WHERE session = ? AND call = ?
             ORDER BY seq LIMIT 1",
            [1, 1],
            |row| row.get("detail"),
        )
        .unwrap();
    assert!(plan.contains("USING INDEX events_by_call"), "{plan}");
}

#[tokio::test]
async fn calls_of_an_earlier_version_are_found_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (id, call) = with_call(&store).await;
    store.close().await;
    as_version_5(dir.path());
    let store = open(dir.path());
    let output = store.logs().tool_output(&id, &call).await.unwrap();
    assert_eq!(output.as_deref(), Some("under the mat"));
}

#[tokio::test]
async fn a_text_that_an_earlier_version_left_open_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada").await).await;
    let turn: TurnId = "t-1".parse().unwrap();
    append(&store, &mut ada, vec![(None, says("i-1", "go")), (Some(&turn), started("i-1"))]).await;
    let open_item = OpenItem {
        item: "m-1".parse().unwrap(),
        turn,
        kind: StreamKind::Message,
        text: "Once upon".into(),
        continues: None,
    };
    store.logs().checkpoint(&ada.id, open_item).await.unwrap();
    store.close().await;
    as_version_5(dir.path());
    let store = open(dir.path());
    store.logs().load(&ada.id, NOW).await.unwrap();
    let records = store.logs().records_after(&ada.id, ada.state.head(), 10).await.unwrap();
    let kept = TurnEvent::Message {
        item: "m-1".parse().unwrap(),
        text: "Once upon".into(),
        complete: false,
        continues: None,
    };
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event, Event::Turn(kept));
}

#[tokio::test]
async fn an_older_file_is_searched_and_deleted_texts_leave_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let agent = agent(&store, "ada").await;
    tell(&store, &agent, CHINESE).await;
    assert_eq!(found(&store, &agent, "雨伞").await, [true; 2]);
    store.close().await;
    let file = Store::file(dir.path());
    as_version_5(dir.path());
    let store = open(dir.path());
    assert_eq!(found(&store, &agent, "雨伞").await, [true; 2]);
    store.directory().delete_agent(&agent.id).await.unwrap();
    erase_deleted(&store).await;
    store.close().await;
    let left = std::fs::read(&file).unwrap();
    assert!(!left.windows(6).any(|bytes| bytes == "雨伞".as_bytes()));
}
