//! What those who run a server look at.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::access::Guarded;
use super::faults::Small;
use super::rest::{call, http};
use super::support::{Client, Live, events};
use crate::usage::{Ran, thoughtwire};

/// The figures, as `name{labels} value` lines.
async fn figures(live: &Live, key: Option<&str>) -> (u16, String) {
    let mut request = http().get(format!("{}/metrics", live.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn figures_tell_what_happened_to_those_who_may_know() {
    let guarded = Guarded::start().await;
    let (_, chat) = guarded.key("ada", &["chat"]).await;
    assert_eq!(figures(&guarded.live, None).await.0, 401);
    assert_eq!(figures(&guarded.live, Some(&chat)).await.0, 403);

    let owner = &guarded.owner;
    let mut client = guarded.native(owner).await;
    let made = client.ask(json!({"type": "create_agent", "id": "c", "name": "ada"})).await;
    let session = made["session"].as_str().unwrap().to_owned();
    client.attach(&session, Some(0)).await;
    client
        .send(json!({"type": "send", "id": "m", "session": session, "text": "what is 6*7?"}))
        .await;
    let head = client.turn().await.last().unwrap()["seq"].as_f64().unwrap();
    assert_eq!(
        client.ask(json!({"type": "cancel", "id": "x", "session": session})).await["code"],
        "no_turn"
    );
    client.send_text("{").await;
    assert_eq!(
        client.until(|frame| frame["code"].is_string()).await.pop().unwrap()["code"],
        "bad_frame"
    );

    let (status, text) = figures(&guarded.live, Some(owner)).await;
    assert_eq!(status, 200);
    let is =
        |name: &str, value: f64| assert_eq!(figure(&text, name), Some(value), "{name} in\n{text}");
    is("thoughtwire_connections{dialect=\"native\"}", 1.0);
    is("thoughtwire_live_sessions", 1.0);
    is("thoughtwire_subscribers", 1.0);
    is("thoughtwire_slow_subscribers", 0.0);
    is("thoughtwire_turns_total{outcome=\"completed\"}", 1.0);
    // `session_opened` was written with its agent, before the session ran.
    is("thoughtwire_events_total", head - 1.0);
    is("thoughtwire_refusals_total{code=\"no_turn\"}", 1.0);
    is("thoughtwire_refusals_total{code=\"bad_frame\"}", 1.0);
    is("thoughtwire_refusals_total{code=\"unauthorized\"}", 1.0);
    is("thoughtwire_refusals_total{code=\"forbidden\"}", 1.0);
    let some = |name: &str| {
        assert!(figure(&text, name).is_some_and(|value| value > 0.0), "{name} in\n{text}");
    };
    some("thoughtwire_tokens_total{kind=\"output\"}");
    some("thoughtwire_model_seconds_count{provider=\"offline\"}");
    some("thoughtwire_model_first_seconds_count{provider=\"offline\"}");
    some("thoughtwire_commit_batch_count");
    some("thoughtwire_commit_seconds_count");
    some("thoughtwire_fan_out_seconds_count");
    is("thoughtwire_commit_failures_total", 0.0);
    for secret in ["ada", session.as_str(), chat.as_str()] {
        assert!(!text.contains(secret), "figures name nobody");
    }
    drop(client);
    while figure(
        &figures(&guarded.live, Some(owner)).await.1,
        "thoughtwire_connections{dialect=\"native\"}",
    ) != Some(0.0)
    {}
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_counted_as_slow() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=3000,bytes=8000").await;
    let mut stalled = live.native().await;
    stalled.attach(&session, None).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    let slow = |text: &str| figure(text, "thoughtwire_slow_subscribers");
    while slow(&figures(&live, None).await.1) != Some(1.0) {}
    // It wakes, gets everything, and is slow no more.
    stalled.turn().await;
    while slow(&figures(&live, None).await.1) != Some(0.0) {}
    assert!(
        figure(&figures(&live, None).await.1, "thoughtwire_subscribers_fell_behind_total")
            .is_some_and(|times| times >= 1.0)
    );
}

#[tokio::test]
async fn who_takes_nothing_past_the_keep_alive_is_dropped_and_goes_on_when_it_comes_back() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=3000,bytes=8000").await;
    client.attach(&session, None).await;
    // One with more on its way than any buffer holds, and one to whom nothing is said: neither reads.
    let mut stalled = live.native().await;
    stalled.attach(&session, None).await;
    let silent = live.native().await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    let head = client.turn().await.last().unwrap()["seq"].as_u64().unwrap();
    let connections = async || {
        figure(&figures(&live, None).await.1, "thoughtwire_connections{dialect=\"native\"}")
    };
    assert_eq!(connections().await, Some(3.0));
    while connections().await != Some(1.0) {
        // Who answers pings stays.
        client.send(json!({"type": "ping"})).await;
        client.until_type("pong").await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    drop(silent);
    // What it was sent before it was dropped is still in its buffers: it goes on behind the last of that.
    let mut seen = 1;
    while let Ok(frame) = stalled.next_or_close().await {
        if frame["type"] == "event" {
            seen += 1;
            assert_eq!(frame["seq"], seen);
        }
    }
    assert!(seen < head, "it was dropped in the midst");
    let mut again = live.native().await;
    let (attached, rest) = again.attach(&session, Some(seen)).await;
    assert_eq!(attached["recovered"], true);
    let seqs: Vec<u64> = events(&rest).iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (seen + 1..=head).collect::<Vec<_>>());
}

pub(super) async fn readiness(live: &Live) -> (u16, String) {
    let response = http().get(format!("{}/readyz", live.url)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn it_is_not_ready_while_it_drains() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1000000,bytes=10,rate=20").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    client.until(|frame| frame["event"]["kind"] == "message").await;
    assert_eq!(readiness(&live).await, (200, "ready\n".to_owned()));
    live.signal();
    client.until_type("goaway").await;
    assert_eq!(readiness(&live).await, (503, "stopping\n".to_owned()));
    client.send(json!({"type": "cancel", "id": "c", "session": session})).await;
    assert!(live.end().await.success());
}

#[tokio::test]
async fn it_is_not_ready_while_nothing_can_be_saved() {
    let Some(disk) = Small::mount("size=2m") else { return };
    let live = Live::on(disk.path(), &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=20").await;
    let mut filler = std::fs::File::create(disk.path().join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    // What room is left within its own files is used up first.
    let mut number = 0;
    let said = loop {
        let text = format!("{number} {}", "x".repeat(20_000));
        client.ask(json!({"type": "send", "id": format!("m-{number}"), "session": session, "text": text})).await;
        match readiness(&live).await {
            (200, _) => number += 1,
            (status, said) => break (status, said),
        }
        assert!(number < 1_000);
    };
    assert_eq!(
        said,
        (503, "the disk is full, so nothing was saved; make room and try again\n".to_owned())
    );
    disk.remount("size=32m");
    assert_eq!(readiness(&live).await, (200, "ready\n".to_owned()));
}

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
    mut client: Client,
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
async fn a_backup_under_writes_has_all_that_was_acknowledged_before_it() {
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
    // What is there is not written over, on either side.
    let ran = command(&["backup", backups[0].0.to_str().unwrap(), "--data-dir", at]).await;
    assert!(
        ran.code == 1 && ran.err.contains("is there already, and it was left alone"),
        "{ran:?}"
    );
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
            // As far as it goes it is the same log; behind that, the cut turn's end and what was queued.
            let same = log
                .iter()
                .zip(original)
                .take_while(|(ours, theirs)| ours["event"] == theirs["event"])
                .count();
            assert!(same >= before.len(), "{same}");
            let next = log.get(same).map_or("", |frame| frame["event"]["kind"].as_str().unwrap());
            assert!(
                matches!(next, "" | "message" | "turn_ended" | "turn_started" | "usage"),
                "{next}"
            );
            // Who had seen more than there is starts over.
            let mut client = live.native().await;
            client.send(json!({"type": "attach", "session": session, "after": 5, "epoch": attached["epoch"]})).await;
            let told = client.until_type("attached").await.pop().unwrap();
            assert_eq!((&told["recovered"], &told["first"]), (&json!(false), &json!(1)));
        }
    }
}

#[tokio::test]
async fn a_backup_is_the_administrators_and_needs_no_server() {
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
async fn what_is_kept_no_longer_goes_from_logs_searches_and_later_backups() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let live = Live::on(&data, &[]).await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
    let (attached, _) = client.attach(&session, Some(0)).await;
    let words =
        ["xylophone", "balalaika", "harmonica", "drums", "flute", "tuba", "cello", "accordion"];
    for (number, word) in words.into_iter().enumerate() {
        client.send(json!({"type": "send", "id": format!("m-{number}"), "session": session, "text": format!("I play the {word}")})).await;
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
    // Who is there talks on.
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

/// What the doctor finds, by subject.
async fn examined(args: &[&str]) -> (i32, Value) {
    let ran = command(&[&["doctor", "--json"], args].concat()).await;
    let told: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code, told)
}

fn finding<'a>(told: &'a Value, subject: &str) -> &'a Value {
    let findings = told["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["subject"] == subject)
        .unwrap_or_else(|| panic!("{subject} in {told}"))
}

#[tokio::test]
async fn the_doctor_says_what_is_to_be_mended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let at = data.to_str().unwrap();
    // Nothing is there yet, and nothing is made.
    let (code, told) = examined(&["--data-dir", at, "--listen", "127.0.0.1:0"]).await;
    assert_eq!((code, &told["ok"]), (0, &json!(true)), "{told}");
    for subject in [
        "disk",
        "room",
        "data directory",
        "port 0",
        "keys",
        "proxy",
        "open files",
        "model offline",
        "clock",
    ] {
        finding(&told, subject);
    }
    assert!(!data.exists());

    // Beside a server, on its own port.
    let live = Live::on(&data, &[]).await;
    let address = live.url.trim_start_matches("http://");
    let (_, session) = live.agent("ada", "offline").await;
    let port = format!("port {}", address.rsplit_once(':').unwrap().1);
    let (code, told) = examined(&["--data-dir", at, "--listen", address]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(finding(&told, &port)["health"], "good");
    assert!(
        finding(&told, "data directory")["found"]
            .as_str()
            .unwrap()
            .contains("1 agents, 1 sessions"),
        "{session}: {told}"
    );

    // Another's port, an address for all without a key, a model without its key, a model that does not answer.
    let other = dir.path().join("other");
    let (code, told) = examined(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        address,
        "--model",
        "openai/gpt-5-mini",
    ])
    .await;
    assert_eq!((code, &told["ok"]), (1, &json!(false)));
    assert_eq!(finding(&told, &port)["health"], "bad");
    assert!(finding(&told, &port)["mend"].as_str().unwrap().contains("--listen"));
    assert!(
        finding(&told, "model openai/gpt-5-mini")["mend"].as_str().unwrap().contains("set the key"),
        "{told}"
    );
    let (code, told) = examined(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        "0.0.0.0:0",
        "--model",
        "ollama/nobody",
    ])
    .await;
    assert_eq!(code, 1);
    assert!(
        finding(&told, "keys")["mend"].as_str().unwrap().contains("thoughtwire keys add"),
        "{told}"
    );
    assert_eq!(finding(&told, "model ollama/nobody")["health"], "bad");
    let (_, told) = examined(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        "0.0.0.0:0",
        "--auth",
        "none",
    ])
    .await;
    assert_eq!(finding(&told, "keys")["health"], "doubtful");

    // A damaged file, files that others may read, and a configuration that cannot be read.
    drop(live);
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thoughtwire.db"), "no database").unwrap();
    let (code, told) =
        examined(&["--data-dir", other.to_str().unwrap(), "--listen", "127.0.0.1:0"]).await;
    assert_eq!((code, &finding(&told, "data directory")["health"]), (1, &json!("bad")));
    assert!(finding(&told, "privacy")["mend"].as_str().unwrap().starts_with("chmod 600"));
    let (code, told) = examined(&["--config", "/nowhere.toml"]).await;
    assert_eq!((code, &finding(&told, "configuration")["health"]), (1, &json!("bad")));
    let ran = command(&["doctor", "--data-dir", at, "--listen", "127.0.0.1:0"]).await;
    assert!(
        ran.code == 0 && ran.out.contains("good  clock: 20") && !ran.out.contains("BAD"),
        "{ran:?}"
    );
}
