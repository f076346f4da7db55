//! The owner's commands on a PostgreSQL database, and what a server tells of its lease.

use serde_json::{Value, json};
use thoughtwire_proto::Timestamp;
use thoughtwire_store::Store;

use crate::live::{Live, TestClient, new_database, postgres_tool};
use crate::usage::{Ran, thoughtwire};

/// Runs a command on a thread of its own, beside the test's servers.
async fn command(args: &[&str]) -> Ran {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || thoughtwire(&args.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Runs a command that succeeds. Gives the JSON that it prints.
async fn told(args: &[&str]) -> Value {
    let ran = command(&[args, &["--json"]].concat()).await;
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

async fn get(live: &Live, path: &str) -> (u16, String) {
    // A second installation is refused and changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    let response = reqwest::Client::new().get(format!("{}{path}", live.url)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// A client, and a session of a new agent that it has attached to. It is not the main one.
async fn other_session(live: &Live) -> (TestClient, String) {
    let (mut client, _) = live.agent("ada", "offline").await;
    let create = json!({"type": "create_session", "id": "s", "agent": "ada"});
    let session = client.ask(create).await["session"].as_str().unwrap().to_owned();
    client.attach(&session, None).await;
    (client, session)
}

/// A figure of a server.
async fn figure(live: &Live, name: &str) -> Option<f64> {
    let (_, text) = get(live, "/metrics").await;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn commands_work_on_a_database_beside_a_running_server() {
    let (dir, url) = (tempfile::tempdir().unwrap(), new_database());
    let live = Live::on(&dir.path().join("data"), &["--store", &url]).await;
    let (mut client, session) = other_session(&live).await;
    let place = ["--store", &url];
    let on = |args: &[&'static str]| [args, &["--store"]].concat();

    let listed = told(&[&on(&["agents", "list"])[..], &[&url]].concat()).await;
    assert_eq!(listed["agents"][0]["name"], "ada");
    let nodes = told(&[&on(&["nodes"])[..], &[&url]].concat()).await;
    let node = &nodes["nodes"][0];
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "the command is no server: {nodes}");
    assert_eq!((&node["state"], &node["url"]), (&json!("live"), &json!(live.url)));
    assert_eq!((&node["sessions"], &node["answers"]), (&json!(1), &json!(false)));
    assert!(node["lease_seconds"].as_f64().unwrap() > 0.0, "{node}");
    let nodes = told(&["nodes", "--url", &live.url]).await;
    assert_eq!((&nodes["shared"], &nodes["nodes"][0]["answers"]), (&json!(true), &json!(true)));
    let table = command(&["nodes", "--url", &live.url]).await;
    assert!(table.out.contains("INCARNATION") && table.out.contains(&live.url), "{table:?}");

    // A session of a live node stays with it.
    let ran = command(&[&["sessions", "delete", &session, "--yes"][..], &place].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("another node has session"), "{ran:?}");
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "hi"})).await;
    assert_eq!(client.turn().await.last().unwrap()["event"]["outcome"], "completed");

    // The server sees the agent that a command made, and the command's node has left.
    let made = command(&[&["agents", "create", "bob"][..], &place].concat()).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(get(&live, "/v1/agents/bob").await.1.contains("bob"));
    let nodes = told(&["nodes", "--url", &live.url]).await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "{nodes}");

    let file = dir.path().join("copy");
    let ran = command(&[&["backup", file.to_str().unwrap()][..], &place].concat()).await;
    assert!(ran.code == 1 && ran.err.contains("pg_dump"), "{ran:?}");
    assert!(!file.exists());
    let ran = command(&["chat", "--store", &url]).await;
    assert!(ran.code == 2 && ran.err.contains("needs a server"), "{ran:?}");
}

#[tokio::test]
async fn a_directory_whose_data_is_in_a_database_is_opened_with_it() {
    let (dir, url) = (tempfile::tempdir().unwrap(), new_database());
    let data = dir.path().join("data");
    let at = data.to_str().unwrap();
    let live = Live::on(&data, &["--store", &url]).await;
    let (_, session) = other_session(&live).await;
    drop(live);
    // The directory's node is the command's now: its sessions are not waited for.
    let place = ["--data-dir", at, "--store", &url];
    let ran = command(&[&["sessions", "delete", &session, "--yes"][..], &place].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = command(&["agents", "list", "--data-dir", at]).await;
    assert!(ran.code == 1 && ran.err.contains("name the database with --store"), "{ran:?}");
}

#[tokio::test]
async fn a_data_directory_is_a_single_node() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), Timestamp::from_millis(0)).unwrap());
    let at = dir.path().to_str().unwrap();
    let ran = command(&["nodes", "--data-dir", at]).await;
    assert!(ran.code == 0 && ran.err.contains("This is a single node"), "{ran:?}");
    let nodes = told(&["nodes", "--data-dir", at]).await;
    assert_eq!(nodes, json!({"shared": false, "nodes": []}));
}

#[tokio::test]
async fn a_backup_is_restored_to_a_database_once() {
    let (dir, url) = (tempfile::tempdir().unwrap(), new_database());
    let data = dir.path().join("data");
    drop(Store::open(&data, Timestamp::from_millis(0)).unwrap());
    let at = data.to_str().unwrap();
    assert_eq!(command(&["agents", "create", "ada", "--data-dir", at]).await.code, 0);
    let file = dir.path().join("copy");
    let file = file.to_str().unwrap();
    assert_eq!(command(&["backup", file, "--data-dir", at]).await.code, 0);
    let told = told(&["restore", file, "--store", &url]).await;
    assert_eq!(
        (&told["agents"], &told["sessions"], &told["events"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let live = Live::on(&dir.path().join("node"), &["--store", &url]).await;
    let (mut client, sessions) = (live.native().await, get(&live, "/v1/sessions").await.1);
    let sessions: Value = serde_json::from_str(&sessions).unwrap();
    let session = sessions["sessions"][0]["id"].as_str().unwrap();
    client.attach(session, Some(0)).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "hi"})).await;
    assert_eq!(client.turn().await.last().unwrap()["event"]["outcome"], "completed");
    drop(live);
    let ran = command(&["restore", file, "--store", &url]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("the database is as it was"), "{ran:?}");
}

#[tokio::test]
async fn the_doctor_looks_at_the_database() {
    let (dir, url) = (tempfile::tempdir().unwrap(), new_database());
    let at = dir.path().join("data");
    let flags = ["doctor", "--json", "--listen", "127.0.0.1:0", "--data-dir", at.to_str().unwrap()];
    let ran = command(&[&flags[..], &["--store", &url]].concat()).await;
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let finding = |told: &Value, subject: &str| {
        let findings = told["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["subject"] == subject).cloned()
    };
    for subject in ["database", "data", "encoding", "database clock", "pooler"] {
        assert_eq!(finding(&told, subject).unwrap()["health"], "good", "{subject}: {told}");
    }
    // The tests' database does not sync its disk.
    assert_eq!(ran.code, 1);
    let mend = finding(&told, "durability").unwrap()["mend"].clone();
    assert!(mend.as_str().unwrap().contains("fsync = on"), "{told}");
    assert!(finding(&told, "data directory").is_none() && !at.exists());
    let nobody = "postgres://nobody@127.0.0.1:1/nothing";
    let ran = command(&[&flags[..], &["--store", nobody]].concat()).await;
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &finding(&told, "database").unwrap()["health"]), (1, &json!("bad")));
}

#[tokio::test]
async fn a_server_without_its_database_is_not_ready_and_tells_of_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = std::env::temp_dir().join(format!("thoughtwire-{}", std::process::id()));
    let cluster = cluster.to_str().unwrap();
    let url = postgres_tool(&["cluster", cluster, "fsync=off"]);
    let live = Live::on(dir.path(), &["--store", &url]).await;
    assert_eq!(get(&live, "/readyz").await, (200, "ready\n".to_owned()));
    let left = figure(&live, "thoughtwire_lease_seconds").await.unwrap();
    assert!(left > 0.0 && left <= 4.0, "{left}");
    assert_eq!(figure(&live, "thoughtwire_takeovers_total").await, Some(0.0));
    postgres_tool(&["end", cluster]);
    while get(&live, "/readyz").await.0 == 200 {}
    while figure(&live, "thoughtwire_lease_seconds").await != Some(0.0) {}
    assert_eq!(get(&live, "/readyz").await.0, 503);
}

#[tokio::test]
async fn a_takeover_is_counted() {
    let (dir, url) = (tempfile::tempdir().unwrap(), new_database());
    let mut first = Live::on(&dir.path().join("first"), &["--store", &url]).await;
    let second = Live::on(&dir.path().join("second"), &["--store", &url]).await;
    let (mut client, session) = first.agent("ada", "offline").await;
    client.attach(&session, None).await;
    first.kill().await;
    let mut client = second.native().await;
    loop {
        client.send(json!({"type": "attach", "id": "a", "session": session})).await;
        let answer = client.until(|frame| frame["type"] != "pong").await.pop().unwrap();
        if answer["type"] == "attached" {
            break;
        }
    }
    assert_eq!(figure(&second, "thoughtwire_takeovers_total").await, Some(1.0));
    let nodes = told(&["nodes", "--url", &second.url]).await;
    let states: Vec<_> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["state"].clone()).collect();
    assert_eq!(states, ["dead", "live"], "{nodes}");
}
