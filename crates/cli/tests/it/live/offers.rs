//! Agents that run in processes of their own, which die.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::access::Guarded;
use super::crash::moments;
use super::rest::call;
use super::support::{Live, TestClient, events, lasting_address};

/// The example `offered`: an agent that counts.
fn counter(url: &str, worker: &str) -> Child {
    let binary =
        PathBuf::from(env!("CARGO_BIN_EXE_thoughtwire")).with_file_name("examples").join("offered");
    let mut command = Command::new(&binary);
    command
        .args(["--url", url, "--worker", worker, "--agent", "counter"])
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo build -p thoughtwire --examples` makes it", binary.display())
    })
}

/// Waits until somebody has offered the agent; gives its main session.
async fn offered(client: &mut TestClient) -> String {
    client.send(json!({"type": "watch"})).await;
    let listed =
        client.until(|frame| frame["listing"]["agent_name"] == "counter").await.pop().unwrap();
    listed["listing"]["id"].as_str().unwrap().to_owned()
}

fn kind(frame: &Value) -> &str {
    frame["event"]["kind"].as_str().unwrap_or_default()
}

/// The messages of each turn, and its outcome.
fn turns(log: &[Value]) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let mut turns: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for frame in log {
        let Some(turn) = frame["turn"].as_str() else { continue };
        let (said, ends) = turns.entry(turn.to_owned()).or_default();
        match kind(frame) {
            "message" => said.push(frame["event"]["text"].as_str().unwrap().to_owned()),
            "turn_ended" => ends.push(frame["event"]["outcome"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }
    turns
}

#[tokio::test]
async fn killed_25_times_program_and_server_lose_and_double_nothing() {
    const COUNT: usize = 15;
    let dir = tempfile::tempdir().unwrap();
    let address = lasting_address();
    let flags = ["--listen", address.as_str()];
    let url = format!("ws://{address}/v1/ws");
    let mut live = Live::on(dir.path(), &flags).await;
    let mut program = counter(&url, "w");
    let session = offered(&mut live.native().await).await;
    // A turn ends with the server's crash here, so that each round has turns of its own.
    let stop = json!({"on_crash": "stop"});
    assert_eq!(call(&live, "PATCH", "/v1/agents/counter", &[], Some(stop)).await.0, 200);
    let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
    let mut acked = BTreeSet::new();
    for (round, millis) in (0..25).zip(moments()) {
        let mut client = live.native().await;
        let after = seen.keys().last().copied().unwrap_or(0);
        client.send(json!({"type": "attach", "session": session, "after": after})).await;
        for n in 0..2 {
            let id = format!("m-{round}-{n}");
            client
                .send(json!({"type": "send", "id": id, "session": session,
                "text": COUNT.to_string()}))
                .await;
        }
        let (kills_program, kills_server) = [(true, false), (false, true), (true, true)][round % 3];
        {
            // In every other round a turn runs by the time of the kill.
            let begun = tokio::sync::Notify::new();
            let read = async {
                while let Ok(frame) = client.next_or_close().await {
                    if frame["type"] == "event" {
                        if kind(&frame) == "turn_started" {
                            begun.notify_one();
                        }
                        let seq = frame["seq"].as_u64().unwrap();
                        assert_eq!(
                            Some(seq),
                            seen.keys().last().map(|last| last + 1).or(Some(1)),
                            "in order, once"
                        );
                        seen.insert(seq, frame);
                    } else if frame["type"] == "ack" {
                        acked.insert(frame["id"].as_str().unwrap().to_owned());
                    }
                }
            };
            let killed = async {
                if round % 2 == 0 {
                    begun.notified().await;
                }
                tokio::time::sleep(Duration::from_millis(30 + millis)).await;
                if kills_program {
                    program.kill().await.unwrap();
                }
                if kills_server {
                    live.kill().await;
                }
            };
            tokio::pin!(read);
            tokio::select! {
                () = &mut read => {}
                () = killed => {}
            }
        }
        if kills_server {
            live = Live::on(dir.path(), &flags).await;
        }
        if kills_program {
            program = counter(&url, "w");
        }
    }
    let begun = seen.values().filter(|frame| kind(frame) == "turn_started").count();
    assert!(begun >= 13, "every other round ran a turn: {begun}");

    let mut client = live.native().await;
    let (_, frames) = client.attach(&session, Some(0)).await;
    let mut log = events(&frames);
    let count = |log: &[Value], what: &str| log.iter().filter(|frame| kind(frame) == what).count();
    while count(&log, "turn_ended") < count(&log, "user_message") {
        let frame = client.next().await;
        if frame["type"] == "event" {
            log.push(frame);
        }
    }
    let expected: Vec<u64> = (1..=log.len() as u64).collect();
    assert_eq!(
        log.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        expected
    );
    for (seq, frame) in &seen {
        assert_eq!(
            &log[usize::try_from(*seq).unwrap() - 1],
            frame,
            "what was seen is what is there"
        );
    }
    assert!(count(&log, "user_message") >= acked.len(), "what was acknowledged is there");
    assert_eq!(count(&log, "turn_started"), count(&log, "user_message"));
    let turns = turns(&log);
    let all: Vec<String> = (1..=COUNT).map(|n| n.to_string()).collect();
    for (turn, (said, ends)) in &turns {
        assert_eq!(ends.len(), 1, "{turn} ended once");
        match ends[0].as_str() {
            "completed" => assert_eq!(*said, all, "{turn} is whole"),
            // A killed server ends its turns; a killed program comes back in time.
            "interrupted" => assert!(all.starts_with(said), "{turn}: {said:?}"),
            other => panic!("{turn} ended as {other}"),
        }
    }
    let outcomes: BTreeSet<&str> = turns.values().map(|(_, ends)| ends[0].as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["completed", "interrupted"]));
}

#[tokio::test]
async fn one_of_two_workers_dies_under_load() {
    const SESSIONS: usize = 8;
    let live = Live::start().await;
    let url = live.ws("/v1/ws");
    let mut dying = counter(&url, "dying");
    let _other = counter(&url, "other");
    let mut client = live.native().await;
    let mut sessions = vec![offered(&mut client).await];
    for n in 1..SESSIONS {
        let made = client
            .ask(json!({"type": "create_session", "id": format!("s-{n}"), "agent": "counter"}))
            .await;
        sessions.push(made["session"].as_str().unwrap().to_owned());
    }
    for session in &sessions {
        client.attach(session, Some(0)).await;
    }
    for session in &sessions {
        for n in 0..3 {
            client
                .send(json!({"type": "send", "id": format!("m-{n}"), "session": session,
                "text": "40"}))
                .await;
        }
    }
    // Both have turns, in the middle of which one of them dies.
    let mut log = client.until(|frame| frame["event"]["text"] == "20").await;
    dying.kill().await.unwrap();
    let ended = |log: &[Value]| log.iter().filter(|frame| kind(frame) == "turn_ended").count();
    while ended(&log) < 3 * SESSIONS {
        log.push(client.next().await);
    }
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for (turn, (said, ends)) in turns(&events(&log)) {
        assert_eq!(ends.len(), 1, "{turn} ended once");
        assert!(
            said.iter().enumerate().all(|(n, text)| *text == (n + 1).to_string()),
            "{turn}: {said:?}"
        );
        assert!(ends[0] != "completed" || said.len() == 40, "{turn} is whole");
        *outcomes.entry(ends[0].clone()).or_default() += 1;
    }
    assert!(
        outcomes.keys().all(|outcome| outcome == "completed" || outcome == "failed"),
        "{outcomes:?}"
    );
    // At most the four that it ran at once are lost.
    assert!((1..=4).contains(&outcomes["failed"]), "{outcomes:?}");
    assert!(log.iter().any(|frame| frame["event"]["code"] == "agent_lost"));
    assert!(
        log.iter().any(|frame| frame["type"] == "status"
            && frame["text"].as_str().unwrap().contains("went away"))
    );
}

#[tokio::test]
async fn offering_needs_its_scope_and_ends_at_the_users_wall() {
    let guarded = Guarded::start().await;
    let (_, chats) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, makes) = guarded.key("ada", &["offer", "agents"]).await;
    let (id, offers) = guarded.key("ada", &["offer"]).await;
    let (_, mallory) = guarded.key("mallory", &["offer"]).await;
    let offer = |agent: &str| json!({"type": "offer", "id": "o", "agent": agent, "worker": "w"});
    let mut client = guarded.native(&chats).await;
    assert_eq!(client.ask(offer("bob")).await["code"], "forbidden");
    let mut program = guarded.native(&offers).await;
    assert_eq!(program.ask(offer("bob")).await["code"], "unknown_agent");
    let mut maker = guarded.native(&makes).await;
    let made = maker.ask(offer("bob")).await;
    let (agent, session) =
        (made["agent"]["id"].as_str().unwrap(), made["session"].as_str().unwrap());
    drop(maker);
    assert_eq!(
        program
            .ask(json!({"type": "offer", "id": "p", "agent": "bob",
            "worker": "p"}))
            .await["type"],
        "ack"
    );
    // One that may only offer reads no sessions.
    assert_eq!(
        program.ask(json!({"type": "attach", "id": "a", "session": session})).await["code"],
        "forbidden"
    );

    client.attach(session, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "hi"})).await;
    let run = program.until_type("run").await.pop().unwrap();
    let mut other = guarded.native(&mallory).await;
    assert_eq!(other.ask(offer(agent)).await["code"], "unknown_agent");
    let say = json!({"type": "say", "id": "i-1", "turn": run["turn"], "verb": "assistant_message",
        "text": "I am bob."});
    assert_eq!(other.ask(say.clone()).await["code"], "no_turn");
    // Also over the owner's own connection, which does not run it.
    assert_eq!(client.ask(say.clone()).await["code"], "forbidden");
    assert_eq!(program.ask(say).await["type"], "ack");

    let bearer = format!("Bearer {}", guarded.owner);
    let (status, _) = super::rest::call(
        &guarded.live,
        "DELETE",
        &format!("/v1/keys/{id}"),
        &[("authorization", &bearer)],
        None,
    )
    .await;
    assert_eq!(status, 204);
    assert_eq!(program.next_or_close().await, Err(1008));
    client
        .until(|frame| {
            frame["type"] == "status" && frame["text"].as_str().unwrap().contains("went away")
        })
        .await;
}

#[tokio::test]
async fn a_program_that_floods_is_refused_and_harms_nobody() {
    let live = Live::start().await;
    let mut program = live.native().await;
    let ack = program.ask(json!({"type": "offer", "id": "o", "agent": "bob"})).await;
    let session = ack["session"].as_str().unwrap().to_owned();
    let (mut client, other) = live.agent("ada", "offline").await;
    client.attach(&session, Some(0)).await;
    client.attach(&other, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "hi"})).await;
    let run = program.until_type("run").await.pop().unwrap();
    // Words for turns that are not its own, and for one that is over.
    client.ask(json!({"type": "cancel", "id": "x", "session": session})).await;
    program.until_type("cancel").await;
    let flood = async {
        for n in 0..5_000 {
            let turn = if n % 2 == 0 { run["turn"].clone() } else { json!("t-none") };
            program
                .send(json!({"type": "say", "id": format!("i-{n}"), "turn": turn,
                "verb": "assistant_message", "text": "x"}))
                .await;
            if n % 50 == 49 {
                for _ in 0..50 {
                    let refused = program.next().await;
                    assert_eq!(
                        (&refused["type"], &refused["code"]),
                        (&json!("refused"), &json!("no_turn"))
                    );
                }
            }
        }
    };
    let talk = async {
        client.send(json!({"type": "send", "session": other, "text": "what is 6*7?"})).await;
        client
            .until(|frame| frame["session"] == other.as_str() && kind(frame) == "turn_ended")
            .await
    };
    let ((), frames) = tokio::join!(flood, talk);
    assert!(frames.iter().all(|frame| frame["event"]["text"] != "x"), "nothing of it is said");
    assert_eq!(frames.last().unwrap()["event"]["outcome"], "completed");
}

#[tokio::test]
async fn megabytes_of_deltas_reach_a_slow_room() {
    const ITEMS: usize = 6;
    const PIECES: usize = 600;
    let live = Live::start().await;
    let mut program = live.native().await;
    let ack =
        program.ask(json!({"type": "offer", "id": "o", "agent": "talker", "worker": "w"})).await;
    let session = ack["session"].as_str().unwrap().to_owned();
    let mut reader = live.native().await;
    reader.attach(&session, Some(0)).await;
    // These never read.
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let mut client = live.native().await;
        client.send(json!({"type": "attach", "session": session, "after": 0})).await;
        stalled.push(client);
    }
    reader.send(json!({"type": "send", "session": session, "text": "talk"})).await;
    let run = program.until_type("run").await.pop().unwrap();
    let turn = run["turn"].clone();
    let piece = |n: usize| format!("{n:05} {}", "x".repeat(1_000));
    let talk = async {
        for item in 0..ITEMS {
            let id = format!("i-{item}");
            for n in 0..PIECES {
                let delta = json!({"type": "say", "turn": turn, "verb": "delta", "item": id,
                    "n": n, "kind": "message", "text": piece(n)});
                program.send(delta).await;
            }
            let whole: String = (0..PIECES).map(piece).collect();
            program
                .send(json!({"type": "say", "id": id, "turn": turn,
                "verb": "assistant_message", "text": whole}))
                .await;
        }
        program.send(json!({"type": "say", "id": "end", "turn": turn, "verb": "finish"})).await;
        program.until(|frame| frame["id"] == "end").await
    };
    let (answers, frames) = tokio::join!(talk, reader.turn());
    assert!(answers.iter().all(|frame| frame["type"] == "ack"), "something was refused");
    let whole: String = (0..PIECES).map(piece).collect();
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for frame in &frames {
        match frame["type"].as_str().unwrap() {
            "delta" => texts
                .entry(frame["item"].as_str().unwrap())
                .or_default()
                .push_str(frame["text"].as_str().unwrap()),
            "partial" => drop(texts.insert(
                frame["item"].as_str().unwrap(),
                frame["text"].as_str().unwrap().to_owned(),
            )),
            _ => {}
        }
        if kind(frame) == "message" {
            assert!(frame["event"]["text"] == whole.as_str(), "a message is whole");
            let streamed =
                texts.get(frame["event"]["item"].as_str().unwrap()).map_or("", String::as_str);
            assert!(whole.starts_with(streamed), "what was streamed is its beginning");
        }
    }
    assert_eq!(frames.iter().filter(|frame| kind(frame) == "message").count(), ITEMS);
    // A slow reader gets everything at its own pace.
    for client in &mut stalled {
        let frames = client.turn().await;
        assert_eq!(frames.iter().filter(|frame| kind(frame) == "message").count(), ITEMS);
    }
}
