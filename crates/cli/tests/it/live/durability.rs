//! The data under the server: a disk that does not sync, a file that is taken away, locks of
//! others.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::operations::readiness;
use super::rest::call;
use super::shim::FaultyMachine;
use super::support::{Live, events};

const FILE: &str = "thoughtwire.db";

/// How often an input with this text is in the log.
async fn times(live: &Live, session: &str, text: &str) -> usize {
    let mut client = live.native().await;
    let (_, frames) = client.attach(session, Some(0)).await;
    let said =
        |frame: &&Value| frame["event"]["kind"] == "user_message" && frame["event"]["text"] == text;
    events(&frames).iter().filter(said).count()
}

fn input(session: &str, text: &str) -> Value {
    json!({"type": "send", "id": text, "session": session, "text": text})
}

/// Sends over REST, without an id; gives the refusal's code, or nothing.
async fn post(live: &Live, session: &str, text: &str) -> Option<String> {
    let path = format!("/v1/sessions/{session}/inputs");
    let (_, answer) = call(live, "POST", &path, &[], Some(json!({"text": text}))).await;
    answer["error"]["code"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn an_input_refused_for_one_failed_sync_does_not_come_back_after_a_crash() {
    let Some(machine) = FaultyMachine::make() else { return };
    let mut live = machine.serve(&[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
    client.attach(&session, None).await;
    client.send(input(&session, "before")).await;
    client.turn().await;
    // Everything is indexed then, so that the next sync is the input's.
    assert_eq!(call(&live, "GET", "/v1/agents/ada/recall?query=before", &[], None).await.0, 200);
    machine.fail_syncs(Some(1));
    let refused = post(&live, &session, "refused").await;
    assert!(!machine.are_syncs_failing(), "a sync has failed");
    assert_eq!(refused.as_deref(), Some("store_failed"));
    live.kill().await;
    let live = machine.serve(&[]).await;
    assert_eq!(times(&live, &session, "before").await, 1);
    assert_eq!(times(&live, &session, "refused").await, 0);
    assert_eq!(post(&live, &session, "refused").await, None);
    assert_eq!(times(&live, &session, "refused").await, 1, "sent again it is there once");
}

#[tokio::test]
async fn while_nothing_syncs_the_outcome_is_called_unknown_and_the_same_id_is_safe() {
    for crashes in [false, true] {
        let Some(machine) = FaultyMachine::make() else { return };
        let mut live = machine.serve(&[]).await;
        let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
        machine.fail_syncs(None);
        let answer = client.ask(input(&session, "unsure")).await;
        assert_eq!((&answer["code"], &answer["retry"]), (&json!("store_unknown"), &json!(true)));
        // Nothing else is written before that is known.
        assert_eq!(post(&live, &session, "later").await.as_deref(), Some("store_unknown"));
        let (status, said) = readiness(&live).await;
        assert!(status == 503 && said.contains("unknown whether this was saved"), "{said}");
        if crashes {
            live.kill().await;
            machine.heal_syncs();
            live = machine.serve(&[]).await;
            client = live.native().await;
        } else {
            machine.heal_syncs();
            assert_eq!(readiness(&live).await.0, 200);
            assert_eq!(times(&live, &session, "unsure").await, 0, "now it is known");
        }
        let answer = client.ask(input(&session, "unsure")).await;
        assert_eq!(answer["type"], "ack", "{answer}");
        assert_eq!(times(&live, &session, "unsure").await, 1, "after a crash: {crashes}");
        assert_eq!(times(&live, &session, "later").await, 0);
    }
}

#[tokio::test]
async fn data_that_is_taken_away_is_noticed_and_nothing_more_is_written() {
    for (name, replaced) in
        [(FILE, false), (FILE, true), ("thoughtwire.db-wal", false), ("", false)]
    {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let live = Live::on(&dir, &[]).await;
        let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
        client.attach(&session, None).await;
        client.send(input(&session, "one")).await;
        client.turn().await;
        assert_eq!(readiness(&live).await.0, 200);
        let (taken, away) = (dir.join(name), root.path().join("away"));
        fs::rename(&taken, &away).unwrap();
        if replaced {
            fs::copy(&away, &taken).unwrap();
        }
        let (status, said) = readiness(&live).await;
        let told = "was deleted or replaced while the server runs";
        assert!(status == 503 && said.contains(told), "{name:?}: {status} {said}");
        let answer = client.ask(input(&session, "two")).await;
        assert_eq!(answer["code"], "store_failed", "{name:?}: {answer}");
        assert!(answer["reason"].as_str().unwrap().contains(told), "{answer}");
        // Put back as it was, it goes on.
        if replaced {
            fs::remove_file(&taken).unwrap();
        }
        fs::rename(&away, &taken).unwrap();
        assert_eq!(readiness(&live).await.0, 200, "{name:?}");
        assert_eq!(client.ask(input(&session, "three")).await["type"], "ack");
        assert_eq!(times(&live, &session, "two").await, 0);
        assert_eq!(times(&live, &session, "three").await, 1);
    }
}

#[tokio::test]
async fn a_second_server_is_refused_whatever_happened_to_the_lock_file() {
    let live = Live::start().await;
    let lock = live.dir.join("lock");
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(live.dir.join(FILE), elsewhere.path().join(FILE)).unwrap();
    let told = "another process uses the data directory";
    for case in ["there", "removed", "replaced", "without data"] {
        match case {
            "removed" => fs::remove_file(&lock).unwrap(),
            "replaced" => {
                fs::remove_file(&lock).unwrap();
                fs::write(&lock, "").unwrap();
            }
            "without data" => {
                let said = Live::refused(elsewhere.path(), None).await;
                assert!(said.contains(told), "the same file from elsewhere: {said}");
                fs::remove_file(&lock).unwrap();
                fs::remove_file(live.dir.join(FILE)).unwrap();
            }
            _ => {}
        }
        let said = Live::refused(&live.dir, None).await;
        assert!(said.contains(told), "{case}: {said}");
    }
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=3,bytes=10").await;
    client.attach(&session, None).await;
    let foreign = Connection::open(live.dir.join(FILE)).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    client.send(input(&session, "during")).await;
    // Reading goes on.
    assert_eq!(times(&live, &session, "during").await, 0);
    // Longer than the five seconds that a connection usually waits.
    tokio::time::sleep(Duration::from_secs(7)).await;
    foreign.execute_batch("COMMIT").unwrap();
    let turn = client.turn().await;
    assert_eq!(turn.last().unwrap()["event"]["outcome"], "completed", "{turn:?}");
    assert!(turn.iter().all(|frame| frame["type"] != "refused"), "{turn:?}");
    assert_eq!(times(&live, &session, "during").await, 1);
}

#[tokio::test]
async fn a_write_ahead_log_that_a_long_reader_held_back_is_cut_when_the_reader_is_gone() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
    let wal = live.dir.join("thoughtwire.db-wal");
    let length = |file: &Path| fs::metadata(file).unwrap().len();
    let foreign = Connection::open(live.dir.join(FILE)).unwrap();
    foreign.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM events";
    let before: u64 = foreign.query_row(count, [], |row| row.get(0)).unwrap();
    for number in 0..40 {
        let text = format!("{number} {}", "x".repeat(900_000));
        let answer = client
            .ask(json!({"type": "send", "id": format!("m-{number}"),
            "session": session, "text": text}))
            .await;
        assert_eq!(answer["type"], "ack", "{answer}");
    }
    assert!(length(&wal) > 32 << 20, "{}", length(&wal));
    assert_eq!(foreign.query_row(count, [], |row| row.get::<_, u64>(0)).unwrap(), before);
    drop(foreign);
    // Without another write.
    let give_up = tokio::time::Instant::now() + Duration::from_secs(30);
    while length(&wal) > 20 << 20 {
        assert!(tokio::time::Instant::now() < give_up, "it is still {} bytes long", length(&wal));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.ask(input(&session, "after")).await["type"], "ack");
}
