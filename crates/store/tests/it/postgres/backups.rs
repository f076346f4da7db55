//! Dumps by `deploy/backup`, taken back by `deploy/restore`, and other copies of a database.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use thoughtwire_proto::Seq;
use thoughtwire_store::Store;
use tokio_postgres::{Client, NoTls};

use crate::support::{
    NOW, TestDatabase, agent, append, log, note, says, session, stored, turn, user,
};

fn script(name: &str, arguments: &[&str]) -> Output {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    Command::new(Path::new(scripts).join(name)).args(arguments).output().unwrap()
}

fn run(name: &str, arguments: &[&str]) -> String {
    let output = script(name, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn sql(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// All rows of all tables, in an order of their own.
async fn rows(sql: &Client) -> BTreeMap<String, Vec<String>> {
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let mut all = BTreeMap::new();
    for table in sql.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let rows = format!("SELECT t::text AS row FROM {table} AS t ORDER BY row");
        let rows = sql.query(&rows, &[]).await.unwrap();
        all.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    all
}

async fn filled(store: &Store) -> thoughtwire_store::StoredSession {
    let profile = agent(store, "ada").await;
    let mut ada = session(store, &profile).await;
    for words in ["apple", "pear"] {
        turn(store, &mut ada, words, NOW).await;
    }
    append(store, &mut ada, vec![(None, says("i-nul", "a\0b, \u{1f9e2} and \u{1a}"))]).await;
    store
        .memory()
        .add_notes(&profile.id, vec![note("the cellar key")], 1 << 20, None)
        .await
        .unwrap();
    store.keys().secret("login", b"a secret".to_vec()).await.unwrap();
    stored(store, &ada.id).await.unwrap()
}

#[tokio::test]
async fn a_dump_is_taken_back_as_another_lifetime_of_the_same_logs() {
    let (original, target) = (TestDatabase::create(), TestDatabase::create());
    let store = original.open("one", NOW).await;
    let ada = filled(&store).await;
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("dump");
    let dump = dump.to_str().unwrap();
    // The parameters that only the server knows are no hindrance.
    let with_parameters = format!("{}&pool_size=3&statement_timeout=7", original.url);
    run("backup", &[&with_parameters, dump]);
    let mut expected = rows(&sql(&original.url).await).await;
    assert_eq!(expected.insert("secrets".into(), vec![]).unwrap().len(), 1);

    let told = run("restore", &[&target.url, dump]);
    assert!(told.contains("1 agents, 1 sessions, 10 events"), "{told}");
    assert_eq!(rows(&sql(&target.url).await).await, expected);

    let restored = target.open("two", NOW).await;
    // The node of the original is none here.
    let mut loaded = restored.logs().load(&ada.id, NOW).await.unwrap().unwrap();
    assert_ne!(loaded.epoch, ada.epoch);
    assert_eq!(loaded.state.head(), Seq(10));
    assert_eq!(log(&restored, &ada.id).await, log(&store, &ada.id).await);
    assert_eq!(restored.memory().note_count(&ada.agent).await.unwrap(), 1);
    let fresh = b"another".to_vec();
    assert_eq!(restored.keys().secret("login", fresh.clone()).await.unwrap(), fresh);
    append(&restored, &mut loaded, vec![(None, says("i-new", "goes on"))]).await;
    let agents = restored.directory().agents(&user()).await.unwrap();
    assert_eq!(agents.len(), 1);
    agent(&restored, "bob").await;
    // Once: the next opening goes on in the same lifetime.
    restored.close().await;
    let again = target.open("two", NOW).await;
    assert_eq!(stored(&again, &ada.id).await.unwrap().epoch, loaded.epoch);
    // The original is as it was.
    store.check().await.unwrap();
    assert_eq!(stored(&store, &ada.id).await.unwrap().epoch, ada.epoch);
}

#[tokio::test]
async fn a_dump_is_not_restored_over_data() {
    let database = TestDatabase::create();
    let store = database.open("one", NOW).await;
    filled(&store).await;
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("dump");
    let dump = dump.to_str().unwrap();
    run("backup", &[&database.url, dump]);
    let before = rows(&sql(&database.url).await).await["events"].clone();
    let refused = script("restore", &[&database.url, dump]);
    assert!(!refused.status.success());
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("there is data in the database already"), "{told}");
    assert_eq!(rows(&sql(&database.url).await).await["events"], before);
    // Nor is a dump written over another file.
    assert!(!script("backup", &[&database.url, dump]).status.success());
}

#[tokio::test]
async fn a_copied_database_gets_epochs_of_its_own() {
    let original = TestDatabase::create();
    let store = original.open("one", NOW).await;
    let ada = filled(&store).await;
    store.close().await;
    let target = TestDatabase::create();
    let name = |url: &str| url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    let (from, to) = (name(&original.url), name(&target.url));
    let server = sql(&original.url.replace(&from, "postgres")).await;
    server.batch_execute(&format!("DROP DATABASE {to}")).await.unwrap();
    server.batch_execute(&format!("CREATE DATABASE {to} TEMPLATE {from}")).await.unwrap();
    let copy = target.open("one", NOW).await;
    assert_ne!(stored(&copy, &ada.id).await.unwrap().epoch, ada.epoch);
    let again = original.open("one", NOW).await;
    assert_eq!(stored(&again, &ada.id).await.unwrap().epoch, ada.epoch);
}
