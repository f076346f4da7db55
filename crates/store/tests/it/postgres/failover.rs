//! A lost primary: nothing acknowledged is missing behind a synchronous standby, and what may be
//! missing behind another one is told by new epochs.

use std::time::Duration;

use thoughtwire_proto::{Event, SessionId};
use thoughtwire_store::{NodeIdentity, Store, StoreError, StoredSession};

use super::relay::Relay;
use crate::support::{
    NOW, TestDatabase, agent, append, batch, log, postgres_tool, says, session, stored,
};

/// A primary, and its standby behind a relay.
struct Pair {
    dir: tempfile::TempDir,
    primary: String,
    standby: String,
    relay: Relay,
}

impl Pair {
    async fn start() -> Self {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(permissions).tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let primary = postgres_tool(&["cluster", &path("primary"), "fsync=off"]);
        let relay = Relay::to(&primary).await;
        // The relay has to run meanwhile.
        let (data, source) = (path("standby"), relay.url(&primary));
        let copied = tokio::task::spawn_blocking(move || {
            postgres_tool(&["standby", &data, &source, "fsync=off"])
        });
        let standby = copied.await.unwrap();
        Self { dir, primary, standby, relay }
    }

    async fn sql(&self) -> tokio_postgres::Client {
        sql(&self.primary).await
    }

    /// Makes each commit wait for the standby.
    async fn synchronize(&self) {
        let sql = self.sql().await;
        sql.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        until(&sql, "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')")
            .await;
    }

    fn tool(&self, action: &str, name: &str) {
        postgres_tool(&[action, self.dir.path().join(name).to_str().unwrap()]);
    }

    /// Kills the primary and promotes the standby.
    fn fail_over(&self) {
        self.tool("kill", "primary");
        self.tool("promote", "standby");
    }

    /// The address with both servers in it.
    fn both(&self) -> String {
        let port = |url: &str| {
            url.split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap().to_owned()
        };
        let (one, two) = (port(&self.primary), port(&self.standby));
        self.primary.replace(&one, &format!("{one},127.0.0.1:{two}"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.tool("end", "primary");
        self.tool("end", "standby");
    }
}

async fn sql(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until a statement gives true.
async fn until(sql: &tokio_postgres::Client, statement: &str) {
    while !sql.query_one(statement, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connect(url: &str, node: &str) -> Store {
    Store::connect(url, NodeIdentity::new(node, None), NOW).await.unwrap()
}

/// Appends until that fails. Sends the number of each input that was acknowledged.
async fn write(
    store: std::sync::Arc<Store>,
    mut session: StoredSession,
    acknowledged: tokio::sync::mpsc::UnboundedSender<(SessionId, u64)>,
) {
    for number in 0.. {
        let said = batch(&mut session, vec![(None, says(&format!("i-{number}"), "tea"))]);
        if store.logs().append(said).await.is_err() {
            break;
        }
        drop(acknowledged.send((session.id.clone(), number)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_has_everything_that_was_acknowledged() {
    let pair = Pair::start().await;
    let one = std::sync::Arc::new(connect(&pair.primary, "one").await);
    pair.synchronize().await;
    // The node has seen that the settings changed.
    until(&pair.sql().await, "SELECT synchronous FROM lineage").await;
    let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let mut sessions = Vec::new();
    let mut writers = tokio::task::JoinSet::new();
    for name in ["ada", "bob", "cy", "dee"] {
        let session = session(&one, &agent(&one, name).await).await;
        sessions.push(session.clone());
        writers.spawn(write(std::sync::Arc::clone(&one), session, sender.clone()));
    }
    drop(sender);
    let mut seen = Vec::new();
    while seen.len() < 200 {
        seen.push(acknowledged.recv().await.unwrap());
    }
    tokio::task::block_in_place(|| pair.fail_over());
    while let Some(next) = acknowledged.recv().await {
        seen.push(next);
    }
    let two = connect(&pair.standby, "two").await;
    let mut logs = std::collections::HashMap::new();
    for session in &sessions {
        assert_eq!(stored(&two, &session.id).await.unwrap().epoch, session.epoch);
        logs.insert(session.id.clone(), log(&two, &session.id).await);
    }
    for (session, number) in &seen {
        let item = format!("i-{number}");
        let is_there = |event: &Event| {
            matches!(event, Event::Input(input) if
            serde_json::to_string(input).unwrap().contains(&format!("\"{item}\"")))
        };
        assert_eq!(logs[session].iter().filter(|event| is_there(event)).count(), 1, "{item}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_asynchronous_standby_lacks_is_told_by_new_epochs() {
    let pair = Pair::start().await;
    let one = connect(&pair.both(), "one").await;
    let mut ada = session(&one, &agent(&one, "ada").await).await;
    append(&one, &mut ada, vec![(None, says("i-1", "copied"))]).await;
    let standby = sql(&pair.standby).await;
    // The tables come to the standby later as well.
    until(&standby, "SELECT to_regclass('events') IS NOT NULL").await;
    until(&standby, "SELECT EXISTS (SELECT 1 FROM events WHERE seq = 2)").await;
    pair.relay.close(true);
    append(&one, &mut ada, vec![(None, says("i-2", "acknowledged, and lost"))]).await;
    tokio::task::block_in_place(|| pair.fail_over());
    // The node that goes on with the other server writes nothing there.
    let late = batch(&mut ada.clone(), vec![(None, says("i-3", "too late"))]);
    let refused = one.logs().append(late).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced | StoreError::Unknown(_)), "{refused}");
    assert!(matches!(one.check().await, Err(StoreError::Fenced)));
    let two = connect(&pair.standby, "two").await;
    let mut loaded = two.logs().load(&ada.id, NOW).await.unwrap().unwrap();
    assert_eq!(loaded.state.head().0, 2);
    assert_ne!(loaded.epoch, ada.epoch);
    append(&two, &mut loaded, vec![(None, says("i-4", "another event under its number"))]).await;
    // Once: the next node goes on in the same lifetime.
    let three = connect(&pair.standby, "three").await;
    assert_eq!(stored(&three, &ada.id).await.unwrap().epoch, loaded.epoch);
    append(&two, &mut loaded, vec![(None, says("i-5", "still its owner"))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_misses_an_acknowledged_write_has_it_told() {
    let database = TestDatabase::create();
    let relay = Relay::to(&database.url).await;
    let one = connect(&relay.url(&database.url), "one").await;
    let mut ada = session(&one, &agent(&one, "ada").await).await;
    append(&one, &mut ada, vec![(None, says("i-1", "tea"))]).await;
    // The state of a database that crashed before this write was on its disk.
    let sql = sql(&database.url).await;
    let forget = "UPDATE fences SET number = number - 1;
                  DELETE FROM events WHERE seq = 2; UPDATE sessions SET head = 1";
    sql.batch_execute(forget).await.unwrap();
    relay.cut();
    let next = batch(&mut ada.clone(), vec![(None, says("i-2", "coffee"))]);
    let refused = one.logs().append(next).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced | StoreError::Unknown(_)), "{refused}");
    let again = connect(&database.url, "one").await;
    assert_ne!(stored(&again, &ada.id).await.unwrap().epoch, ada.epoch);
}
