//! A backup of a local directory, moved into a database.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use thoughtwire_proto::{AgentId, AgentProfile, PeerRef, PeerWire, Seq, SessionId, TurnId};
use thoughtwire_store::{
    BatchExtras, Contents, Key, NewNote, OpenItem, Proven, Receipt, Retention, Scope,
    SearchedTexts, Store, StoreError,
};

use crate::support::{
    NOW, TestDatabase, agent, append, at, batch, called, log, new_session, note, open, says,
    search_notes, search_said, session, started, turn, user,
};

/// A text with the character that PostgreSQL's text cannot contain.
const ODD: &str = "a nul \0 and a substitute \u{1a}0 in tea";

fn peer() -> PeerRef {
    PeerRef { wire: PeerWire::Sparky, space: "u1".into(), name: "p1".into() }
}

fn receipt(id: &str) -> Receipt {
    Receipt {
        user: user(),
        id: id.parse().unwrap(),
        digest: "d".into(),
        answer: format!("{{\"is\":\"{id}\"}}"),
    }
}

/// Writes something of everything.
async fn fill(store: &Store) -> AgentProfile {
    let ada = agent(store, "ada").await;
    let bob = agent(store, "bob").await;
    let mut main = session(store, &ada).await;
    turn(store, &mut main, "umbrella", at(5)).await;
    append(store, &mut main, vec![(None, says("i-odd", ODD))]).await;
    let turn_id: TurnId = "t-open".parse().unwrap();
    let call = "c-1".parse().unwrap();
    let extras = BatchExtras {
        receipt: Some(receipt("command-1")),
        output: Some((call, format!("all of it {ODD}"))),
        provider_reply: Some("{\"signed\":1}".into()),
        ..BatchExtras::default()
    };
    let events =
        vec![(Some(&turn_id), started("i-odd")), (Some(&turn_id), called("c-1", "weather"))];
    store.logs().append(batch(&mut main, events).with(extras)).await.unwrap();
    let memory = store.memory();
    let imported = NewNote {
        source: Some("notes.md".into()),
        vector: Some(("m".into(), vec![0.6, 0.8])),
        ..note("north of the river")
    };
    let notes = vec![note(ODD), imported, note("umbrella and tea")];
    memory.add_notes(&ada.id, notes, u64::MAX, Some(receipt("command-2"))).await.unwrap();
    memory.add_notes(&bob.id, vec![note("Bob's tea")], u64::MAX, None).await.unwrap();
    while memory.index_recall().await.unwrap() {}
    store.peers().open_peer(&user(), &peer(), NOW).await.unwrap();
    let new = new_session(&ada, "s-chat");
    store.peers().open_chat(&user(), &peer(), Some("c1"), new).await.unwrap();
    let proof = Proven {
        user: user(),
        peer: peer(),
        connection: "k".into(),
        session: "s-chat".parse().unwrap(),
        seq: Seq(1),
    };
    store.peers().prove(vec![proof], None).await.unwrap();
    let key = Key {
        id: "k-1".parse().unwrap(),
        user: user(),
        name: Some("laptop".into()),
        scopes: vec![Scope::Chat, Scope::Offer],
        created_at: NOW,
        expires_at: Some(at(99)),
    };
    store.keys().add(key, "digest-1".into()).await.unwrap();
    let keep = Retention { days: Some(3), events: None };
    store.upkeep().set_retention(&"s-chat".parse().unwrap(), keep).await.unwrap();
    store.upkeep().set_clocks(vec![("calendar", at(77))]).await.unwrap();
    store.directory().delete_agent(&agent(store, "gone").await.id).await.unwrap();
    ada
}

/// Everything that can be read, as text.
async fn seen(store: &Store, ada: &AgentId) -> String {
    let (memory, peers) = (store.memory(), store.peers());
    let main: SessionId = "s-ada".parse().unwrap();
    let chat: SessionId = "s-chat".parse().unwrap();
    let mut seen = String::new();
    let mut tell = |name: &str, what: &dyn std::fmt::Debug| {
        writeln!(seen, "{name}: {what:?}").unwrap();
    };
    tell("agents", &store.directory().agents(&user()).await.unwrap());
    for session in [&main, &chat] {
        tell("log", &log(store, session).await);
        let stored = store.directory().session(session).await.unwrap().unwrap();
        tell("session", &(stored.agent, stored.is_main, stored.state, stored.created_at));
        tell("retention", &store.upkeep().retention(session).await.unwrap());
    }
    tell("output", &store.logs().tool_output(&main, &"c-1".parse().unwrap()).await.unwrap());
    tell("reply", &store.logs().provider_replies(&main, Seq(0), Seq(99)).await.unwrap());
    tell("blocks", &memory.blocks(ada).await.unwrap());
    tell("notes", &memory.notes(ada, 0, 10).await.unwrap());
    tell("summary", &memory.summary(ada).await.unwrap());
    let vectors = memory.vectors(ada, SearchedTexts::Notes, "m", 0, 5).await.unwrap();
    tell("vectors", &vectors.into_iter().map(|one| (one.text, one.vector)).collect::<Vec<_>>());
    for query in ["tea", "umbrellas", "rivers", "nul", "yes"] {
        tell(query, &search_notes(store, ada, query, 0, 10).await);
        let mut said = search_said(store, ada, query, 0, 10).await;
        // Messages get other numbers there.
        said.items.iter_mut().for_each(|message| message.id = 0);
        tell(query, &said);
    }
    tell("recall", &memory.recall_count(ada).await.unwrap());
    tell("chats", &peers.chats(&user(), "u1", true).await.unwrap());
    tell("proven", &peers.proven(&user(), &peer(), &chat, NOW).await.unwrap());
    tell("peer", &peers.open_peer(&user(), &peer(), NOW).await.unwrap());
    tell("keys", &store.keys().list().await.unwrap());
    let command = "command-2".parse().unwrap();
    tell("receipt", &store.directory().receipt(&user(), &command).await.unwrap());
    tell("clock", &store.upkeep().clock("calendar").await.unwrap());
    seen
}

/// A backup of a store, in a file.
async fn backup(store: &Store, dir: &Path) -> PathBuf {
    let (file, mut bytes) = (dir.join("backup"), Vec::new());
    store.backup().await.unwrap().read_to_end(&mut bytes).unwrap();
    std::fs::write(&file, bytes).unwrap();
    file
}

async fn restore(file: &Path, database: &TestDatabase) -> Result<(Contents, u64), StoreError> {
    let scratch = tempfile::tempdir().unwrap();
    let mut events = 0;
    let progress = |written| events = written;
    let restored =
        Store::restore_database(file, scratch.path(), &database.url, at(9), progress).await;
    restored.map(|contents| (contents, events))
}

#[tokio::test]
async fn a_backup_of_a_directory_is_the_same_in_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let local = open(&dir.path().join("data"));
    let ada = fill(&local).await;
    let file = backup(&local, dir.path()).await;
    let database = TestDatabase::create();
    let (contents, events) = restore(&file, &database).await.unwrap();
    assert_eq!((contents.agents, contents.sessions, contents.keys), (2, 3, 1));
    assert_eq!(events, contents.events, "progress goes up to the last event");
    let moved = database.open("n1", at(10)).await;
    assert_eq!(seen(&moved, &ada.id).await, seen(&local, &ada.id).await);

    // The logs begin another lifetime, and secrets are new.
    let (old, new) = (session(&local, &ada).await, session(&moved, &ada).await);
    assert_ne!(old.epoch, new.epoch);
    let secret = |store: &Store, fresh: u8| store.keys().secret("login", vec![fresh]);
    secret(&local, 1).await.unwrap();
    assert_eq!(secret(&moved, 2).await.unwrap(), [2]);
    // Numbers go on, and so does the session whose turn was cut.
    let again = agent(&moved, "carol").await;
    assert_eq!(moved.memory().note_count(&again.id).await.unwrap(), 0);
    moved.memory().add_notes(&again.id, vec![note("new")], u64::MAX, None).await.unwrap();
    let item = OpenItem {
        item: "x".parse().unwrap(),
        turn: "t-open".parse().unwrap(),
        kind: thoughtwire_proto::StreamKind::Message,
        text: "half".into(),
        continues: None,
    };
    moved.logs().checkpoint(&old.id, item).await.unwrap();
    assert!(moved.logs().load(&old.id, at(11)).await.unwrap().unwrap().state.turn().is_some());
}

#[tokio::test]
async fn a_database_with_data_or_a_server_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let local = open(&dir.path().join("data"));
    agent(&local, "ada").await;
    let file = backup(&local, dir.path()).await;
    let database = TestDatabase::create();
    let server = database.open("n1", NOW).await;
    let refused = restore(&file, &database).await.unwrap_err().to_string();
    assert!(refused.contains("a server has the database open; stop it"), "{refused}");
    agent(&server, "bob").await;
    server.close().await;
    let refused = restore(&file, &database).await.unwrap_err().to_string();
    assert!(refused.contains("there is data in the database already"), "{refused}");
    let server = database.open("n1", NOW).await;
    let agents = server.directory().agents(&user()).await.unwrap();
    assert_eq!(agents.len(), 1, "nothing came in: {agents:?}");
}

#[tokio::test]
async fn a_backup_that_cannot_be_read_to_its_end_leaves_the_database_empty() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let local = open(&data);
    let ada = agent(&local, "ada").await;
    turn(&local, &mut session(&local, &ada).await, "tea", at(1)).await;
    local.close().await;
    let file = data.join("thoughtwire.db");
    let sql = rusqlite::Connection::open(&file).unwrap();
    sql.execute("UPDATE events SET body = '{' WHERE seq = 3", []).unwrap();
    drop(sql);
    let database = TestDatabase::create();
    restore(&file, &database).await.unwrap_err();
    let moved = database.open("n1", NOW).await;
    assert!(moved.directory().agents(&user()).await.unwrap().is_empty());
}
