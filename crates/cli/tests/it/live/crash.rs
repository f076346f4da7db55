//! `kill -9`, again and again: nothing that anybody saw is lost, nothing is doubled.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::rest::call;
use super::support::{Live, events};
use super::test_store::new_store;

/// A small generator with a fixed seed: the moments differ from round to round and are the same in
/// every run.
pub(crate) fn moments() -> impl Iterator<Item = u64> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state % 150)
    })
}

#[tokio::test]
async fn killed_25_times_at_any_moment_it_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
    let mut acked: Vec<String> = Vec::new();
    let mut session = String::new();
    for (round, millis) in (0..25).zip(moments()) {
        let mut live = Live::on(dir.path(), &[]).await;
        let mut client = if round == 0 {
            let (client, made) = live.agent("ada", "load:items=40,bytes=50,rate=400").await;
            session = made;
            // A turn ends with the crash here, so that each round has turns of its own.
            let stop = json!({"on_crash": "stop"});
            assert_eq!(call(&live, "PATCH", "/v1/agents/ada", &[], Some(stop)).await.0, 200);
            client
        } else {
            live.native().await
        };
        let after = seen.keys().last().copied().unwrap_or(0);
        client.send(json!({"type": "attach", "session": session, "after": after})).await;
        for n in 0..4 {
            let id = format!("m-{round}-{n}");
            client.send(json!({"type": "send", "id": id, "session": session, "text": id})).await;
        }
        // The kill comes whenever it comes, in every other round only once a turn runs. Until then
        // everything is read that arrives.
        let begun = tokio::sync::Notify::new();
        let read = async {
            while let Ok(frame) = client.next_or_close().await {
                if frame["type"] == "event" {
                    if frame["event"]["kind"] == "turn_started" {
                        begun.notify_one();
                    }
                    let seq = frame["seq"].as_u64().unwrap();
                    assert_eq!(
                        Some(seq),
                        seen.keys().last().map(|last| last + 1).or(Some(1)),
                        "in order, once"
                    );
                    seen.insert(seq, frame);
                } else if frame["type"] == "ack"
                    && frame["id"].as_str().is_some_and(|id| id.starts_with("m-"))
                {
                    acked.push(frame["id"].as_str().unwrap().to_owned());
                }
            }
        };
        let killed = async {
            if round % 2 == 0 {
                begun.notified().await;
            }
            tokio::time::sleep(Duration::from_millis(30 + millis)).await;
            live.kill().await;
        };
        tokio::join!(read, killed);
    }
    let turns = seen.values().filter(|frame| frame["event"]["kind"] == "turn_started").count();
    assert!(turns >= 13, "every other round ran a turn: {turns}");

    // Everything that waited runs to its end.
    let live = Live::on(dir.path(), &[]).await;
    let mut client = live.native().await;
    let (_, frames) = client.attach(&session, Some(0)).await;
    let mut log: Vec<Value> = events(&frames);
    let inputs = log.iter().filter(|frame| frame["event"]["kind"] == "user_message").count();
    let ended =
        |log: &[Value]| log.iter().filter(|frame| frame["event"]["kind"] == "turn_ended").count();
    while ended(&log) < inputs {
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
    let said: Vec<&str> = log
        .iter()
        .filter(|frame| frame["event"]["kind"] == "user_message")
        .map(|frame| frame["event"]["text"].as_str().unwrap())
        .collect();
    for id in &acked {
        assert_eq!(said.iter().filter(|text| *text == id).count(), 1, "{id} was acknowledged");
    }
    let started = log.iter().filter(|frame| frame["event"]["kind"] == "turn_started").count();
    assert_eq!(
        (started, ended(&log)),
        (inputs, inputs),
        "each input ran once, each turn ended once"
    );
    assert!(
        log.iter().any(|frame| frame["event"]["outcome"] == "interrupted"),
        "some kill hit a turn"
    );
}

#[tokio::test]
async fn a_crash_loses_at_most_the_last_second_of_a_streamed_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (mut client, session) =
        live.agent("ada", "load:items=1000,bytes=10,rate=50,deltas=yes").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "session": session, "text": "go"})).await;
    let mut streamed = String::new();
    while streamed.len() < 1500 {
        let frame = client.next().await;
        if frame["type"] == "delta" {
            streamed.push_str(frame["text"].as_str().unwrap());
        }
    }
    live.kill().await;
    let live = Live::on(dir.path(), &[]).await;
    let mut client = live.native().await;
    let (_, frames) = client.attach(&session, Some(0)).await;
    let log = events(&frames);
    let message =
        log.iter().find(|frame| frame["event"]["kind"] == "message").expect("the cut sentence");
    assert_eq!(message["event"]["complete"], false);
    let kept = message["event"]["text"].as_str().unwrap();
    assert!(streamed.starts_with(kept) || kept.starts_with(&streamed));
    // 50 pieces of 10 bytes are a second; what a slow machine had on its way comes on top.
    assert!(kept.len() + 700 >= streamed.len(), "{} of {} kept", kept.len(), streamed.len());
    // The turn goes on. The client may have attached before that was on disk.
    let is_resumed = |frame: &Value| frame["event"]["kind"] == "turn_resumed";
    let mut found = log.iter().any(is_resumed);
    while !found {
        found = is_resumed(&client.next().await);
    }
}

#[tokio::test]
async fn an_agents_memory_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, None).await;
    client
        .send(json!({"type": "send", "session": session, "text": "remember that my cat is \
    called Pixel"}))
        .await;
    client.turn().await;
    live.kill().await;
    let live = Live::on(dir.path(), &[]).await;
    let mut client = live.native().await;
    let other =
        client.ask(json!({"type": "create_session", "id": "s2", "agent": "ada"})).await["session"]
            .as_str()
            .unwrap()
            .to_owned();
    client.attach(&other, Some(0)).await;
    client
        .send(
            json!({"type": "send", "session": other, "text": "what do you remember about my cat?"}),
        )
        .await;
    let frames = client.turn().await;
    let said: String = events(&frames)
        .iter()
        .filter(|frame| frame["event"]["kind"] == "message")
        .map(|frame| frame["event"]["text"].to_string())
        .collect();
    assert!(said.contains("Pixel"), "{said}");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_says_that_there_is_one() {
    let live = Live::start().await;
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&live.dir)
        .envs(new_store(&live.dir))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("another process uses the data directory")
    );
}
