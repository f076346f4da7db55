//! Verbs of a worker: effects, repetitions, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thoughtwire_proto::{
    ConnectionReply, Emission, Event, Input, Offer, Outcome, Permission, Policy, RefusalCode,
    ToolDeclaration, ToolStatus, TurnEvent, Usage, Verb,
};

use super::{TestWorker, called, code, connected, delta, ended, offer, open, started, thought};
use crate::support::{events, kinds};

#[tokio::test]
async fn a_worker_runs_a_turn_with_every_verb() {
    let (_dir, room, mut listener, mut worker) = connected().await;
    room.send("What is 6*7?").await.unwrap();
    let run = worker.run().await;
    assert_eq!(
        (run.input.text.as_str(), run.resumed, run.history.len()),
        ("What is 6*7?", false, 0)
    );
    let turn = run.turn;
    // Only a client that reads along is shown deltas.
    let listening = tokio::spawn(async move { listener.turn().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    worker.said(&turn, "", delta("i-1", 0, "It ")).await;
    worker.said(&turn, "t-1", thought("Hm.")).await;
    worker.said(&turn, "c-1", called("calculator")).await;
    let returned = Verb::ToolReturned {
        call: "c-1".parse().unwrap(),
        status: ToolStatus::Success,
        text: "42".into(),
        content: None,
    };
    worker.said(&turn, "v-1", returned).await;
    worker
        .said(&turn, "f-1", Verb::FunctionMessage { text: "Running dig({\"deep\": true})".into() })
        .await;
    worker.said(&turn, "f-2", Verb::FunctionMessage { text: "Error: rock".into() }).await;
    worker.said(&turn, "", Verb::Status { text: "nearly".into() }).await;
    worker
        .said(
            &turn,
            "",
            Verb::Usage(Usage { input_tokens: 2, output_tokens: 3, cached_tokens: None }),
        )
        .await;
    worker
        .said(&turn, "i-1", Verb::AssistantMessage { text: "It is".into(), continues: None })
        .await;
    worker.said(&turn, "i-2", Verb::Finish { text: Some("42.".into()) }).await;
    let seen = listening.await.unwrap();
    let expected = "session_opened user_message turn_started thought tool_called \
         tool_returned tool_called tool_returned message usage message turn_ended";
    assert_eq!(kinds(&events(&seen)), expected.split_whitespace().collect::<Vec<_>>());
    let is_streamed = |emission: &Emission| match emission {
        Emission::Delta(delta) => delta.item.as_str() == "i-1" && delta.n == 0,
        Emission::Partial(partial) => partial.item.as_str() == "i-1",
        _ => false,
    };
    assert!(seen.iter().any(is_streamed));
    assert!(
        seen.iter()
            .any(|emission| matches!(emission, Emission::Status { text, .. } if text == "nearly"))
    );
    assert_eq!(ended(&seen), (Outcome::Completed, None));
}

#[tokio::test]
async fn a_repeated_verb_has_no_second_effect() {
    let (_dir, _room, mut listener, mut worker, turn) = started("hi").await;
    for duplicate in [false, true] {
        for (id, verb) in [("t-1", thought("Hm.")), ("c-1", called("x"))] {
            let answer = worker.say(&turn, id, verb).await.unwrap();
            assert!(
                matches!(
                    answer,
                    ConnectionReply::Said { seq: Some(_), duplicate: again, .. }
                        if again == duplicate
                ),
                "{answer:?}"
            );
        }
    }
    // The same holds after the turn has ended.
    let first = worker.finish(&turn, "i-1").await.unwrap();
    let again = worker.finish(&turn, "i-1").await.unwrap();
    let (ConnectionReply::Said { seq, .. }, ConnectionReply::Said { seq: same, duplicate, .. }) =
        (first, again)
    else {
        panic!("not said")
    };
    assert_eq!((seq, duplicate), (same, true));
    assert_eq!(code(worker.say(&turn, "t-2", thought("late")).await), RefusalCode::NoTurn);
    let seen = events(&listener.turn().await);
    assert_eq!(
        kinds(&seen)
            .iter()
            .filter(|kind| matches!(**kind, "thought" | "tool_called" | "message"))
            .count(),
        3
    );
}

#[tokio::test]
async fn a_worker_cannot_speak_in_turns_of_others() {
    let (_dir, room, _, mut worker, turn) = started("hi").await;
    // Another connection of the same user, and a connection of another user.
    let mut stranger = TestWorker(room.hub.worker_connection(&room.user));
    assert_eq!(code(stranger.say(&turn, "t-1", thought("me")).await), RefusalCode::NoTurn);
    let other = room
        .hub
        .worker_connection(&"mallory".parse().unwrap())
        .offer(Offer { agent: room.agent.id.to_string(), ..offer("w") }, false)
        .await;
    assert_eq!(code(other), RefusalCode::UnknownAgent);
    let call = || "c-9".parse().unwrap();
    for verb in [
        Verb::ToolReturned {
            call: call(),
            status: ToolStatus::Success,
            text: String::new(),
            content: None,
        },
        Verb::Approval { call: call(), about: None, timeout_ms: None },
        Verb::ClientRuns { call: call(), timeout_ms: None },
    ] {
        assert_eq!(code(worker.say(&turn, "v-1", verb).await), RefusalCode::UnknownCall);
    }
    for verb in [thought(""), delta("i-1", 7, "x")] {
        assert_eq!(code(worker.say(&turn, "v-2", verb).await), RefusalCode::BadRequest);
    }
    worker.finish(&turn, "i-1").await.unwrap();
    let expected = ["session_opened", "user_message", "turn_started", "message", "turn_ended"];
    assert_eq!(kinds(&room.log().await), expected, "refused verbs leave no event");
    let built_in = Offer { agent: "ada".to_owned(), ..offer("w") };
    assert_eq!(code(worker.0.offer(built_in, true).await), RefusalCode::NotOffered);
    assert_eq!(
        code(worker.0.offer(Offer { agent: "nobody".to_owned(), ..offer("w") }, false).await),
        RefusalCode::UnknownAgent
    );
    assert_eq!(
        code(worker.0.offer(Offer { turns: Some(1_001), ..offer("w") }, true).await),
        RefusalCode::BadRequest
    );
}

#[tokio::test]
async fn steered_inputs_keep_a_turn_going() {
    let (_dir, room, mut listener, mut worker, turn) = started("one").await;
    room.send_as(None, "and two", Policy::Steer).await.unwrap();
    // A finish that is refused takes nothing along.
    assert_eq!(
        code(worker.say(&turn, "i-0", Verb::Finish { text: Some(String::new()) }).await),
        RefusalCode::BadRequest
    );
    let spent =
        |tokens| Verb::Usage(Usage { input_tokens: tokens, output_tokens: 0, cached_tokens: None });
    worker.said(&turn, "", spent(5)).await;
    let Ok(ConnectionReply::Said { steered, .. }) = worker.finish(&turn, "i-1").await else {
        panic!("not said")
    };
    assert!(matches!(steered.as_slice(), [Input { text, .. }] if text == "and two"));
    worker.said(&turn, "", spent(7)).await;
    worker.finish(&turn, "i-2").await.unwrap();
    let seen = events(&listener.turn().await);
    assert_eq!(kinds(&seen).iter().filter(|kind| **kind == "message").count(), 2);
    let spent = seen.iter().filter_map(|event| {
        if let Event::Turn(TurnEvent::Usage(usage)) = event {
            Some(usage.input_tokens)
        } else {
            None
        }
    });
    assert_eq!(spent.collect::<Vec<_>>(), [5, 2]);
}

#[tokio::test]
async fn open_calls_and_streamed_items_are_limited() {
    let (_dir, _room, mut listener, mut worker, turn) = started("hi").await;
    for n in 0..256 {
        worker.said(&turn, &format!("c-{n}"), called("x")).await;
    }
    assert_eq!(code(worker.say(&turn, "c-256", called("x")).await), RefusalCode::TooLarge);
    let megabyte = "x".repeat(1 << 20);
    for n in 0..8 {
        worker.said(&turn, "", delta("i-1", n, &megabyte)).await;
    }
    assert_eq!(
        code(worker.say(&turn, "", delta("i-1", 8, &megabyte)).await),
        RefusalCode::TooLarge
    );
    // A whole item makes room.
    worker
        .said(&turn, "i-1", Verb::AssistantMessage { text: "It was long.".into(), continues: None })
        .await;
    worker.said(&turn, "", delta("i-2", 0, &megabyte)).await;
    worker.finish(&turn, "i-2").await.unwrap();
    assert_eq!(ended(&listener.turn().await), (Outcome::Completed, None));
}

#[tokio::test]
async fn permissions_hold_for_declared_tools() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let tool = |name: &str| ToolDeclaration {
        replay: None,
        name: name.to_owned(),
        description: "d".to_owned(),
        parameters: Map::new(),
    };
    let declared = Offer { tools: vec![tool("dig"), tool("bury"), tool("look")], ..offer("w") };
    let (mut worker, _) = TestWorker::connect(&room, declared).await;
    let Value::Object(changes) =
        json!({"permissions": {"dig": "deny", "bury": "ask", "other": "ask"}})
    else {
        unreachable!()
    };
    let agent = room.hub.directory().edit_agent(&room.user, "bob", changes).await.unwrap();
    room.send("hi").await.unwrap();
    let run = worker.run().await;
    let expected = BTreeMap::from([
        ("bury".to_owned(), Permission::Ask),
        ("dig".to_owned(), Permission::Deny),
    ]);
    assert_eq!(run.permissions, expected);
    assert_eq!(code(worker.say(&run.turn, "c-1", called("dig")).await), RefusalCode::Forbidden);
    worker.finish(&run.turn, "i-1").await.unwrap();
    assert_eq!(
        room.hub.tools_of(&agent).iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
        ["dig", "bury", "look"]
    );
}
