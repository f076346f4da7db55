//! Opening a database: migrations and addresses.

use thoughtwire_store::{NodeIdentity, Store, StoreError};

use crate::support::{NOW, TestDatabase, agent, append, log, says, session};

fn node() -> NodeIdentity {
    NodeIdentity::new("one", None)
}

#[tokio::test]
async fn processes_that_open_an_empty_database_at_once_migrate_it_once() {
    let database = TestDatabase::create();
    let opened = ["a", "b", "c", "d"].map(|node| database.open(node, NOW));
    let stores = futures::future::join_all(opened).await;
    let mut ada = session(&stores[0], &agent(&stores[0], "ada").await).await;
    append(&stores[1], &mut ada, vec![(None, says("i-1", "tea"))]).await;
    assert_eq!(log(&stores[3], &ada.id).await.len(), 2);
}

#[tokio::test]
async fn data_of_a_newer_version_is_left_alone() {
    let database = TestDatabase::create();
    database.open("one", NOW).await.close().await;
    let (client, connection) =
        tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("UPDATE thoughtwire_schema SET version = 999").await.unwrap();
    let refused = Store::connect(&database.url, node(), NOW).await.err().unwrap();
    assert!(matches!(refused, StoreError::Newer { found: 999, .. }), "{refused}");
}

#[tokio::test]
async fn an_address_that_leads_nowhere_says_so() {
    for (url, says) in [
        ("postgres://u@127.0.0.1:1/x?sslmode=disable", "cannot be reached"),
        ("postgres://u@127.0.0.1/x?sslmode=perhaps", "sslmode 'perhaps' is unknown"),
        ("postgres://u@127.0.0.1/x?pool_size=0", "pool_size has to be a number from 1 up"),
        ("postgres://u@127.0.0.1/x?colour=red", "the database's address is wrong"),
        ("postgres://u@127.0.0.1/x?sslmode=verify-full&sslrootcert=/nowhere", "no certificates"),
    ] {
        let refused = Store::connect(url, node(), NOW).await.err().unwrap().to_string();
        assert!(refused.contains(says), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_backup_is_left_to_the_databases_own_tools() {
    let database = TestDatabase::create();
    let store = database.open("one", NOW).await;
    let refused = store.backup().await.unwrap_err().to_string();
    assert!(refused.contains("pg_dump"), "{refused}");
}
