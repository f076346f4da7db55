//! Permissions of tools that workers call. The server enforces them, whatever the worker checks.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use thoughtwire_hub::Replying;
use thoughtwire_proto::{
    ConnectionReply, Decision, Directive, Event, RefusalCode, SessionCommand, ToolStatus,
    TurnEvent, TurnId, Verb, Verdict,
};

use crate::offering::{TestWorker, called, code, ended, offer, open, started_again};
use crate::support::{Listener, Room, event};

/// A room whose agent's tools have these permissions, and a worker that declares no tools.
async fn restricted(dir: &std::path::Path, permissions: Value) -> (Room, TestWorker) {
    let room = open(dir).await;
    let Value::Object(changes) = json!({ "permissions": permissions }) else { unreachable!() };
    room.hub.directory().edit_agent(&room.user, "bob", changes).await.unwrap();
    let (worker, _) = TestWorker::connect(&room, offer("w")).await;
    (room, worker)
}

/// A turn whose call `c-1` of the tool `dig` waits for approval.
struct HeldCall {
    dir: TempDir,
    room: Room,
    listener: Listener,
    worker: TestWorker,
    turn: TurnId,
    /// Answer to the call's verb.
    answer: Replying<ConnectionReply>,
}

async fn held_call() -> HeldCall {
    let dir = tempfile::tempdir().unwrap();
    let (room, mut worker) = restricted(dir.path(), json!({"dig": "ask"})).await;
    let (_, mut listener) = room.after(0).await;
    room.send("hi").await.unwrap();
    let turn = worker.run().await.turn;
    let answer = worker.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
    assert_eq!(asked(&mut listener).await, "c-1");
    HeldCall { dir, room, listener, worker, turn, answer }
}

/// Id of the next call about which the owner is asked.
async fn asked(listener: &mut Listener) -> String {
    let seen = listener
        .until_event(|event| matches!(event, Event::Turn(TurnEvent::ApprovalAsked { .. })))
        .await;
    match event(seen.last().unwrap()) {
        Some(Event::Turn(TurnEvent::ApprovalAsked { call, .. })) => call.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn decide(room: &Room, call: &str, approve: bool) {
    let command = SessionCommand::Decide {
        call: call.parse().unwrap(),
        decision: if approve { Verdict::Approved } else { Verdict::Denied },
        result: None,
    }
    .on(room.session.clone());
    room.ask(None, command).await.unwrap();
}

fn returned(call: &str) -> Verb {
    Verb::ToolReturned {
        call: call.parse().unwrap(),
        status: ToolStatus::Success,
        text: "dug".to_owned(),
        content: None,
    }
}

#[tokio::test]
async fn a_call_that_needs_approval_is_acknowledged_once_it_is_approved() {
    let dir = tempfile::tempdir().unwrap();
    for (number, pattern) in ["dig", "d*"].into_iter().enumerate() {
        let (room, mut worker) =
            restricted(&dir.path().join(number.to_string()), json!({ pattern: "ask" })).await;
        let (_, mut listener) = room.after(0).await;
        room.send("hi").await.unwrap();
        let turn = worker.run().await.turn;
        // The worker does not ask; neither does it wait for the acknowledgement.
        let mut answer = worker.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
        assert_eq!(asked(&mut listener).await, "c-1");
        assert!((&mut answer).now_or_never().is_none(), "nobody has decided");
        assert_eq!(code(worker.say(&turn, "r-1", returned("c-1")).await), RefusalCode::BadRequest);
        // Said again, as after a reconnect, it is held as well and not asked again.
        let mut again = worker.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
        assert!((&mut again).now_or_never().is_none());
        // A worker that asks is not asked for twice.
        let verb = Verb::Approval { call: "c-1".parse().unwrap(), about: None, timeout_ms: None };
        worker.said(&turn, "a-1", verb.clone()).await;
        decide(&room, "c-1", true).await;
        assert!(matches!(answer.await, Ok(ConnectionReply::Said { duplicate: false, .. })));
        assert!(matches!(again.await, Ok(ConnectionReply::Said { duplicate: true, .. })));
        let settled = |directive| {
            matches!(directive, Directive::ApprovalSettled { decision: Decision::Approved, .. })
        };
        assert!(settled(worker.told().await));
        worker.said(&turn, "a-2", verb).await;
        assert!(settled(worker.told().await), "the decision is told to whoever asks later");
        worker.said(&turn, "r-2", returned("c-1")).await;
        worker.finish(&turn, "i-1").await.unwrap();
        let seen = listener.turn().await;
        let kinds: Vec<_> = seen.iter().filter_map(event).map(Event::kind).collect();
        assert_eq!(
            kinds,
            ["approval_settled", "tool_returned", "message", "turn_ended"],
            "it was asked once"
        );
    }
}

#[tokio::test]
async fn a_call_that_is_denied_is_refused_and_closed() {
    let HeldCall { dir: _dir, room, mut listener, mut worker, turn, answer } = held_call().await;
    decide(&room, "c-1", false).await;
    assert_eq!(code(answer.await), RefusalCode::Forbidden);
    let seen = listener
        .until_event(|event| matches!(event, Event::Turn(TurnEvent::ToolReturned { .. })))
        .await;
    assert!(matches!(
        event(seen.last().unwrap()),
        Some(Event::Turn(TurnEvent::ToolReturned { call, status: ToolStatus::Error, .. }))
            if call.as_str() == "c-1"
    ));
    // Neither does it run under the same id, nor does a late result change what the log says.
    assert_eq!(code(worker.say(&turn, "c-1", called("dig")).await), RefusalCode::Forbidden);
    worker.said(&turn, "r-1", returned("c-1")).await;
    worker.finish(&turn, "i-1").await.unwrap();
    let end = listener.turn().await;
    assert!(!end.iter().any(|emission| matches!(
        event(emission),
        Some(Event::Turn(TurnEvent::ToolReturned { .. }))
    )));
    assert_eq!(ended(&end).0, thoughtwire_proto::Outcome::Completed);
}

#[tokio::test]
async fn a_held_call_ends_with_its_turn() {
    let held = held_call().await;
    held.room.cancel().await.unwrap();
    let outcome = tokio::time::timeout(std::time::Duration::from_secs(10), held.answer).await;
    assert_eq!(code(outcome.expect("no answer comes")), RefusalCode::NoTurn);
    let is_approved = |event: &Event| match event {
        Event::Turn(TurnEvent::ApprovalSettled { decision, .. }) => *decision == Decision::Approved,
        _ => false,
    };
    assert!(!held.room.log().await.iter().any(is_approved), "nobody approved the call");
}

#[tokio::test]
async fn a_held_call_is_held_after_a_restart() {
    let HeldCall { dir, room, listener, worker, turn, answer } = held_call().await;
    drop(answer);
    let room = started_again(room, dir.path(), (worker, listener)).await;
    let (mut worker, _) = TestWorker::connect(&room, offer("w")).await;
    assert!(worker.run().await.resumed);
    let mut answer = worker.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
    tokio::task::yield_now().await;
    assert!((&mut answer).now_or_never().is_none(), "nobody has decided");
    decide(&room, "c-1", true).await;
    assert!(matches!(answer.await, Ok(ConnectionReply::Said { duplicate: true, .. })));
    worker.said(&turn, "r-1", returned("c-1")).await;
    worker.finish(&turn, "i-1").await.unwrap();
}

#[tokio::test]
async fn a_worker_is_told_the_permissions_of_declared_tools_by_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let Value::Object(changes) = json!({"permissions": {"files__*": "deny", "files__read": "ask"}})
    else {
        unreachable!()
    };
    let agent = room.hub.directory().edit_agent(&room.user, "bob", changes).await.unwrap();
    let tool = |name: &str| thoughtwire_proto::ToolDeclaration {
        replay: None,
        name: name.to_owned(),
        description: String::new(),
        parameters: serde_json::Map::new(),
    };
    let tools = ["files__read", "files__write", "clock"].map(tool).to_vec();
    let declared = thoughtwire_proto::Offer { tools, ..offer("w") };
    let (mut worker, _) = TestWorker::connect(&room, declared).await;
    room.send("hi").await.unwrap();
    let run = worker.run().await;
    let permissions: BTreeMap<_, _> =
        room.hub.tools_of(&agent).into_iter().map(|tool| (tool.name, tool.permission)).collect();
    use thoughtwire_proto::Permission::{Allow, Ask, Deny};
    let expected = [("clock", Allow), ("files__read", Ask), ("files__write", Deny)];
    assert_eq!(permissions, expected.map(|(name, of)| (name.to_owned(), of)).into());
    let told = [("files__read", Ask), ("files__write", Deny)];
    assert_eq!(run.permissions, told.map(|(name, of)| (name.to_owned(), of)).into());
    let denied = worker.say(&run.turn, "c-1", called("files__write")).await;
    assert_eq!(code(denied), RefusalCode::Forbidden);
    worker.finish(&run.turn, "i-1").await.unwrap();
}
