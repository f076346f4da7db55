//! The native wire: positions, partials, idempotence, cancel, and a stop that says so.

use serde_json::{Value, json};

use super::support::{Live, events, kinds};

#[tokio::test]
async fn from_every_seq_the_events_are_the_same() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, Some(0)).await;
    for text in ["what is 6*7?", "remember that I like tea", "what do I like?"] {
        client.send(json!({"type": "send", "session": session, "text": text})).await;
        client.turn().await;
    }
    let (attached, all) = client.attach(&session, Some(0)).await;
    let all = events(&all);
    let head = attached["head"].as_u64().unwrap();
    assert_eq!(all.len() as u64, head);
    assert!(
        kinds(&all).contains(&"tool_returned".to_owned())
            && kinds(&all).contains(&"memory_edited".to_owned())
    );
    for after in 0..=head {
        let mut other = live.native().await;
        let (attached, frames) = other.attach(&session, Some(after)).await;
        assert_eq!(attached["recovered"], true);
        assert_eq!(events(&frames), all[usize::try_from(after).unwrap()..], "after {after}");
        assert_eq!(frames.last().unwrap()["seq"], head);
    }
    let (attached, frames) = client.attach(&session, Some(head + 1000)).await;
    assert_eq!((attached["recovered"].clone(), events(&frames).len() as u64), (json!(false), head));
    client.send(json!({"type": "attach", "session": session, "last": 2})).await;
    assert_eq!(events(&client.until_type("caught_up").await), all[all.len() - 2..]);
}

#[tokio::test]
async fn an_attach_in_mid_item_gives_the_partial_once_before_caught_up() {
    let live = Live::start().await;
    let (mut client, session) =
        live.agent("ada", "load:items=1000,bytes=10,rate=50,deltas=yes").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "session": session, "text": "go"})).await;
    client.until(|frame| frame["type"] == "delta" && frame["n"].as_u64() > Some(5)).await;
    let mut late = live.native().await;
    let (attached, frames) = late.attach(&session, Some(0)).await;
    assert!(attached["turn"].is_string());
    let partials: Vec<_> = frames.iter().filter(|frame| frame["type"] == "partial").collect();
    assert_eq!(partials.len(), 1);
    let next = late.until_type("delta").await.pop().unwrap();
    assert_eq!(next["n"], partials[0]["n"], "the first delta goes on where the partial ends");

    let ack = client.ask(json!({"type": "cancel", "id": "stop", "session": session})).await;
    assert_eq!(ack["type"], "ack");
    let rest = late.turn().await;
    let message = &events(&rest)[0];
    assert_eq!(
        (message["event"]["kind"].clone(), message["event"]["complete"].clone()),
        (json!("message"), json!(false))
    );
    assert!(
        message["event"]["text"]
            .as_str()
            .unwrap()
            .starts_with(partials[0]["text"].as_str().unwrap())
    );
    assert_eq!(rest.last().unwrap()["event"]["outcome"], "cancelled");
}

#[tokio::test]
async fn a_command_id_sent_five_times_takes_effect_once() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, Some(0)).await;
    let send = json!({"type": "send", "id": "m-1", "session": session, "text": "hello"});
    for _ in 0..5 {
        client.send(send.clone()).await;
    }
    let frames = client.until({
        let mut acks = 0;
        let mut ended = false;
        move |frame| {
            acks += u32::from(frame["type"] == "ack" && frame["id"] == "m-1");
            ended |= frame["event"]["kind"] == "turn_ended";
            acks == 5 && ended
        }
    });
    let frames = frames.await;
    let acks: Vec<&Value> = frames.iter().filter(|frame| frame["type"] == "ack").collect();
    assert_eq!(acks.iter().filter(|ack| ack["duplicate"] == true).count(), 4);
    assert!(acks.iter().all(|ack| ack["seq"] == acks[0]["seq"]));
    let other = json!({"type": "send", "id": "m-1", "session": session, "text": "something else"});
    assert_eq!(client.ask(other).await["code"], "id_reused");
    let (_, all) = client.attach(&session, Some(0)).await;
    assert_eq!(kinds(&all).iter().filter(|kind| *kind == "user_message").count(), 1);

    let first = client.ask(json!({"type": "create_agent", "id": "c-9", "name": "bob"})).await;
    let second = client.ask(json!({"type": "create_agent", "id": "c-9", "name": "bob"})).await;
    assert_eq!(first["agent"]["id"], second["agent"]["id"]);
    assert_eq!((first.get("duplicate"), &second["duplicate"]), (None, &json!(true)));
    assert_eq!(
        client.ask(json!({"type": "create_agent", "id": "c-10", "name": "bob"})).await["code"],
        "name_taken"
    );
}

#[tokio::test]
async fn a_long_step_delays_no_other_client() {
    let live = Live::start().await;
    // Three seconds of turn; whoever waited for it would see its end before the other's.
    let (mut slow, slow_session) = live.agent("slow", "load:items=3,bytes=10,rate=1").await;
    slow.attach(&slow_session, None).await;
    slow.send(json!({"type": "send", "session": slow_session, "text": "go"})).await;
    slow.until(|frame| frame["event"]["kind"] == "turn_started").await;
    let (mut quick, session) = live.agent("quick", "offline").await;
    quick.attach(&session, None).await;
    for _ in 0..5 {
        quick.send(json!({"type": "send", "session": session, "text": "what is 1+1?"})).await;
        quick.turn().await;
    }
    let (attached, _) = quick.attach(&slow_session, Some(0)).await;
    assert!(attached["turn"].is_string(), "the slow turn still runs");
    slow.turn().await;
}

#[tokio::test]
async fn a_reader_with_pauses_gets_every_frame_complete() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=300,bytes=60000,rate=60").await;
    let mut narrow = live.narrow().await;
    narrow.attach(&session, None).await;
    client.send(json!({"type": "send", "id": "m", "session": session, "text": "go"})).await;
    let mut seqs = Vec::new();
    loop {
        let frame = narrow.next().await;
        if frame["type"] == "event" {
            seqs.push(frame["seq"].as_u64().unwrap());
            if frame["event"]["kind"] == "turn_ended" {
                break;
            }
        }
        // Long enough for more to come than there is room for, and then it catches up.
        if seqs.len() % 150 == 30 {
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        }
    }
    let head = *seqs.last().unwrap();
    assert_eq!(seqs, (2..=head).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_answer_comes_before_the_events_that_it_is_about() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=1,bytes=10").await;
    client.attach(&session, None).await;
    for number in 0..300 {
        client
            .send(json!({"type": "send", "id": format!("m-{number}"), "session": session,
            "text": "go"}))
            .await;
        let seen = client.turn().await;
        let place = |holds: &dyn Fn(&Value) -> bool| {
            seen.iter().position(holds).unwrap_or_else(|| panic!("{seen:?}"))
        };
        let answer = place(&|frame| frame["type"] == "ack" && frame["id"] == format!("m-{number}"));
        assert!(answer < place(&|frame| frame["event"]["kind"] == "user_message"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_planned_stop_says_so_and_exits_with_0() {
    let mut live = Live::start().await;
    let (mut client, session) =
        live.agent("ada", "load:items=100000,bytes=10,rate=20,deltas=yes").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "session": session, "text": "go"})).await;
    client.until_type("delta").await;
    let stop = tokio::spawn(async move {
        let code = live.terminate().await;
        (live, code)
    });
    client.until_type("goaway").await;
    let code = loop {
        match client.next_or_close().await {
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    let (live, exit) = stop.await.unwrap();
    assert_eq!((code, exit), (1012, Some(0)));
    assert!(!live.dir.join("server.json").exists());
}

#[tokio::test]
async fn a_planned_stop_spreads_who_comes_back() {
    let mut live = Live::start().await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(live.native().await);
    }
    let stop = tokio::spawn(async move { live.terminate().await });
    let mut pauses = Vec::new();
    for client in &mut clients {
        let goaway = client.until_type("goaway").await.pop().unwrap();
        pauses.push(goaway["retry_after_ms"].as_u64().unwrap());
    }
    drop(clients);
    assert_eq!(stop.await.unwrap(), Some(0));
    pauses.sort_unstable();
    assert!(pauses[0] >= 1000 && pauses[39] <= 6000, "{pauses:?}");
    // Drawn evenly, all of forty fall into one half once in half a trillion times.
    assert!(pauses[0] < 3500 && pauses[39] > 3500, "{pauses:?}");
}

#[tokio::test]
async fn the_list_of_sessions_is_followed_live() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    let mut watcher = live.native().await;
    watcher.send(json!({"type": "watch", "id": "w"})).await;
    watcher.until(|frame| frame["type"] == "session").await;
    client.ask(json!({"type": "rename", "id": "r", "session": session, "title": "Tea"})).await;
    watcher.until(|frame| frame["type"] == "session" && frame.to_string().contains("Tea")).await;
    let second =
        client.ask(json!({"type": "create_session", "id": "s2", "agent": "ada"})).await["session"]
            .clone();
    client.ask(json!({"type": "delete_session", "id": "d", "session": second})).await;
    watcher.until(|frame| frame["type"] == "session_gone").await;
}

#[tokio::test]
async fn a_million_bytes_catch_up_in_order() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "load:items=5000,bytes=200").await;
    client.attach(&session, None).await;
    client.send(json!({"type": "send", "session": session, "text": "go"})).await;
    client.turn().await;
    let mut late = live.native().await;
    let (_, frames) = late.attach(&session, Some(0)).await;
    let seqs: Vec<u64> =
        events(&frames).iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() > 5000);
}
