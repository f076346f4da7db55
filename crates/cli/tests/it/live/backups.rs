//! Backups, restores and retention.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::{call, http};
use super::support::{Live, TestClient, events};
use crate::usage::{Ran, thoughtwire};

/// Runs a command on a thread of its own, beside the test's clients.
pub(super) async fn command(args: &[&str]) -> Ran {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        thoughtwire(&args.iter().map(String::as_str).collect::<Vec<_>>(), b"")
    })
    .await
    .unwrap()
}

/// Sends inputs one after the other, and keeps those that were acknowledged.
async fn chatter(
    mut client: TestClient,
    session: String,
    mut stop: tokio::sync::watch::Receiver<bool>,
    kept: tokio::sync::watch::Sender<BTreeSet<String>>,
) {
    for number in 0.. {
        if *stop.borrow_and_update() {
            return;
        }
        let text = format!("m-{number}");
        let answer =
            client.ask(json!({"type": "send", "id": text, "session": session, "text": text})).await;
        assert!(answer["type"] == "ack" || answer["code"] == "queue_full", "{answer}");
        if answer["type"] == "ack" {
            kept.send_if_modified(|kept| kept.insert(text));
        }
    }
}

async fn whole_log(live: &Live, session: &str) -> (Value, Vec<Value>) {
    let mut client = live.native().await;
    let (attached, frames) = client.attach(session, Some(0)).await;
    (attached, events(&frames))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_has_everything_acknowledged_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let live = Live::on(&data, &[]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut writers = Vec::new();
    for number in 0..3 {
        let (client, session) =
            live.agent(&format!("ada-{number}"), "load:items=3,bytes=300").await;
        let (kept, seen) = tokio::sync::watch::channel(BTreeSet::new());
        let task = tokio::spawn(chatter(client, session.clone(), stopped.clone(), kept));
        writers.push((session, seen, task));
    }
    let at = data.to_str().unwrap();
    let mut backups = Vec::new();
    for number in 0..4 {
        for (_, seen, _) in &mut writers {
            seen.wait_for(|kept| kept.len() >= 20 * (number + 1)).await.unwrap();
        }
        let before: Vec<BTreeSet<String>> =
            writers.iter().map(|(_, seen, _)| seen.borrow().clone()).collect();
        let file = dir.path().join(format!("{number}.backup"));
        let ran = command(&["backup", file.to_str().unwrap(), "--data-dir", at, "--json"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&told["agents"], &told["sessions"]), (&json!(3), &json!(3)));
        assert_eq!(told["bytes"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
        backups.push((file, before));
    }
    stop.send_replace(true);
    let mut originals = Vec::new();
    for (session, _, task) in writers {
        task.await.unwrap();
        originals.push((session.clone(), whole_log(&live, &session).await));
    }
    // Neither command overwrites existing files.
    let ran = command(&["backup", backups[0].0.to_str().unwrap(), "--data-dir", at]).await;
    assert!(ran.code == 1 && ran.err.contains("already exists and was not changed"), "{ran:?}");
    let ran = command(&["restore", backups[0].0.to_str().unwrap(), "--data-dir", at]).await;
    assert!(
        ran.code == 1 && ran.err.contains("another process uses the data directory"),
        "{ran:?}"
    );

    for (number, (file, before)) in backups.iter().enumerate() {
        let restored = dir.path().join(format!("restored-{number}"));
        let ran =
            command(&["restore", file.to_str().unwrap(), "--data-dir", restored.to_str().unwrap()])
                .await;
        assert!(ran.code == 0 && ran.out.contains("3 agents, 3 sessions"), "{ran:?}");
        let live = Live::on(&restored, &[]).await;
        for ((session, (attached, original)), before) in originals.iter().zip(before) {
            let (again, log) = whole_log(&live, session).await;
            assert_ne!(again["epoch"], attached["epoch"], "another lifetime");
            let texts: BTreeSet<&str> =
                log.iter().filter_map(|frame| frame["event"]["text"].as_str()).collect();
            let lost: Vec<_> =
                before.iter().filter(|text| !texts.contains(text.as_str())).collect();
            assert!(lost.is_empty(), "{lost:?} were acknowledged before backup {number}");
            // As far as it goes it is the same log; behind that, the cut turn goes on.
            let same = log
                .iter()
                .zip(original)
                .take_while(|(ours, theirs)| ours["event"] == theirs["event"])
                .count();
            assert!(same >= before.len(), "{same}");
            let next = log.get(same).map_or("", |frame| frame["event"]["kind"].as_str().unwrap());
            assert!(matches!(next, "" | "message" | "turn_resumed"), "{next}");
            // A client that saw more than the backup has starts over.
            let mut client = live.native().await;
            client
                .send(json!({"type": "attach", "session": session, "after": 5,
                "epoch": attached["epoch"]}))
                .await;
            let told = client.until_type("attached").await.pop().unwrap();
            assert_eq!((&told["recovered"], &told["first"]), (&json!(false), &json!(1)));
        }
    }
}

#[tokio::test]
async fn a_backup_needs_the_admin_scope_but_no_server() {
    let guarded = Guarded::start().await;
    let (_, chat) = guarded.key("ada", &["chat", "agents"]).await;
    let status = http()
        .get(format!("{}/v1/backup", guarded.live.url))
        .bearer_auth(chat)
        .send()
        .await
        .unwrap()
        .status();
    assert_eq!(status, 403);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("data");
    let place = ["--data-dir", at.to_str().unwrap()];
    drop(Live::on(&at, &[]).await);
    assert_eq!(command(&[&["agents", "create", "ada"], &place[..]].concat()).await.code, 0);
    let file = dir.path().join("copy");
    let ran = command(&[&["backup", file.to_str().unwrap()], &place[..]].concat()).await;
    assert!(ran.code == 0 && ran.out.contains("1 agents, 1 sessions, 1 events"), "{ran:?}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let names: BTreeSet<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left beside it: {names:?}");
}

#[tokio::test]
async fn retention_deletes_from_logs_searches_and_later_backups() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let live = Live::on(&data, &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
    let (attached, _) = client.attach(&session, Some(0)).await;
    let words =
        ["xylophone", "balalaika", "harmonica", "drums", "flute", "tuba", "cello", "accordion"];
    for (number, word) in words.into_iter().enumerate() {
        client
            .send(json!({"type": "send", "id": format!("m-{number}"), "session": session,
            "text": format!("I play the {word}")}))
            .await;
        client.turn().await;
    }
    let at = data.to_str().unwrap();
    let place = ["--data-dir", at];
    let found = async |word: &str| {
        let (_, page) =
            call(&live, "GET", &format!("/v1/agents/ada/recall?query={word}"), &[], None).await;
        page["total"].as_u64().unwrap()
    };
    assert!(found("xylophone").await >= 1);
    let ran =
        command(&[&["sessions", "keep", &session, "--events", "20"], &place[..]].concat()).await;
    assert!(ran.code == 0 && ran.out.contains("the newest 20 events"), "{ran:?}");
    let shown = async || call(&live, "GET", &format!("/v1/sessions/{session}"), &[], None).await.1;
    while shown().await["first"] == 1 {}
    while found("xylophone").await > 0 {}
    assert!(found("accordion").await >= 1);
    assert_eq!(shown().await["keep_events"], 20);

    let (again, log) = whole_log(&live, &session).await;
    let first = again["first"].as_u64().unwrap();
    let seqs: Vec<u64> = log.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (first..=again["head"].as_u64().unwrap()).collect::<Vec<_>>());
    assert_eq!(log[0]["event"]["kind"], "user_message");
    let mut late = live.native().await;
    late.send(
        json!({"type": "attach", "session": session, "after": 2, "epoch": attached["epoch"]}),
    )
    .await;
    assert_eq!(late.until_type("attached").await.pop().unwrap()["recovered"], false);
    let (_, page) =
        call(&live, "GET", &format!("/v1/sessions/{session}/events?after=0&limit=1"), &[], None)
            .await;
    assert_eq!((&page["events"][0]["seq"], &page["first"]), (&json!(first), &json!(first)));
    // A connected client continues.
    client
        .send(json!({"type": "send", "id": "on", "session": session, "text": "what is 6*7?"}))
        .await;
    client.turn().await;

    let file = dir.path().join("copy");
    assert_eq!(command(&[&["backup", file.to_str().unwrap()], &place[..]].concat()).await.code, 0);
    let holds = |file: &Path, word: &str| {
        std::fs::read(file).unwrap().windows(word.len()).any(|window| window == word.as_bytes())
    };
    assert!(!holds(&file, "xylophone") && holds(&file, "accordion"));

    // An agent's own setting holds where its session says nothing.
    assert_eq!(command(&[&["sessions", "keep", &session], &place[..]].concat()).await.code, 0);
    assert_eq!(shown().await["keep_events"], Value::Null);
    assert_eq!(
        command(&[&["agents", "edit", "ada", "--keep-events", "8"], &place[..]].concat())
            .await
            .code,
        0
    );
    while shown().await["first"] == first {}
    let ran = command(&[&["agents", "edit", "ada", "--keep-days", "0"], &place[..]].concat()).await;
    assert!(ran.code == 1 && ran.err.contains("at least 1"), "{ran:?}");
}
