//! Permissions of tools that programs outside call: the server holds them, whatever the program
//! checks.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use serde_json::{Value, json};
use thoughtwire_proto::{
    Answer, Command, Decision, Directive, Event, RefusalCode, ToolStatus, TurnEvent, Verb,
};

use crate::offering::{Program, called, code, ended, offer, open, started_again};
use crate::support::{Listener, Room, event};

/// A room whose agent's tools have these permissions, and a program that declares none of them.
async fn room(dir: &std::path::Path, permissions: Value) -> (Room, Program) {
    let room = open(dir).await;
    let Value::Object(changes) = json!({ "permissions": permissions }) else { unreachable!() };
    room.hub.edit_agent(&room.user, "bob", changes).await.unwrap();
    let (program, _) = Program::come(&room, offer("w")).await;
    (room, program)
}

async fn asked(listener: &mut Listener) -> String {
    let seen = listener
        .until(|emission| {
            matches!(event(emission), Some(Event::Turn(TurnEvent::ApprovalAsked { .. })))
        })
        .await;
    match event(seen.last().unwrap()) {
        Some(Event::Turn(TurnEvent::ApprovalAsked { call, .. })) => call.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn decide(room: &Room, call: &str, approve: bool) {
    let command = Command::Decide {
        session: Some(room.session.clone()),
        call: Some(call.parse().unwrap()),
        approve,
    };
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
        let (room, mut program) =
            room(&dir.path().join(number.to_string()), json!({ pattern: "ask" })).await;
        let (_, mut listener) = room.after(0).await;
        room.send("hi").await.unwrap();
        let turn = program.run().await.turn;
        // The program does not ask; neither does it wait for the acknowledgement.
        let mut answer = program.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
        assert_eq!(asked(&mut listener).await, "c-1");
        assert!((&mut answer).now_or_never().is_none(), "nobody has decided");
        assert_eq!(code(program.say(&turn, "r-1", returned("c-1")).await), RefusalCode::BadRequest);
        // Said again, as after a reconnect, it is held as well and not asked again.
        let mut again = program.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
        assert!((&mut again).now_or_never().is_none());
        // A program that asks is not asked for twice.
        let verb = Verb::Approval { call: "c-1".parse().unwrap(), timeout_ms: None };
        program.said(&turn, "a-1", verb.clone()).await;
        decide(&room, "c-1", true).await;
        assert!(matches!(answer.await, Ok(Answer::Said { duplicate: false, .. })));
        assert!(matches!(again.await, Ok(Answer::Said { duplicate: true, .. })));
        let settled = |directive| {
            matches!(directive, Directive::ApprovalSettled { decision: Decision::Approved, .. })
        };
        assert!(settled(program.told().await));
        program.said(&turn, "a-2", verb).await;
        assert!(settled(program.told().await), "the decision is told to whoever asks later");
        program.said(&turn, "r-2", returned("c-1")).await;
        program.finish(&turn, "i-1").await.unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let (room, mut program) = room(dir.path(), json!({"dig": "ask"})).await;
    let (_, mut listener) = room.after(0).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    let answer = program.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
    asked(&mut listener).await;
    decide(&room, "c-1", false).await;
    assert_eq!(code(answer.await), RefusalCode::Forbidden);
    let seen = listener
        .until(|emission| {
            matches!(event(emission), Some(Event::Turn(TurnEvent::ToolReturned { .. })))
        })
        .await;
    assert!(matches!(
        event(seen.last().unwrap()),
        Some(Event::Turn(TurnEvent::ToolReturned { call, status: ToolStatus::Error, .. }))
            if call.as_str() == "c-1"
    ));
    // Neither does it run under the same id, nor does a late result change what the log says.
    assert_eq!(code(program.say(&turn, "c-1", called("dig")).await), RefusalCode::Forbidden);
    program.said(&turn, "r-1", returned("c-1")).await;
    program.finish(&turn, "i-1").await.unwrap();
    let end = listener.turn().await;
    assert!(!end.iter().any(|emission| matches!(
        event(emission),
        Some(Event::Turn(TurnEvent::ToolReturned { .. }))
    )));
    assert_eq!(ended(&end).0, thoughtwire_proto::Outcome::Completed);
}

#[tokio::test]
async fn a_held_call_ends_with_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (room, mut program) = room(dir.path(), json!({"dig": "ask"})).await;
    let (_, mut listener) = room.after(0).await;
    room.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    let answer = program.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
    asked(&mut listener).await;
    room.cancel().await.unwrap();
    let outcome = tokio::time::timeout(std::time::Duration::from_secs(10), answer).await;
    assert_eq!(code(outcome.expect("it is answered")), RefusalCode::NoTurn);
}

#[tokio::test]
async fn a_held_call_is_held_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (before, mut program) = room(dir.path(), json!({"dig": "ask"})).await;
    let (_, mut listener) = before.after(0).await;
    before.send("hi").await.unwrap();
    let turn = program.run().await.turn;
    let answer = program.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
    asked(&mut listener).await;
    drop(answer);
    let room = started_again(before, dir.path(), (program, listener)).await;
    let (mut program, _) = Program::come(&room, offer("w")).await;
    assert!(program.run().await.resumed);
    let mut answer = program.0.say(&turn, "c-1".parse().ok(), called("dig")).await;
    tokio::task::yield_now().await;
    assert!((&mut answer).now_or_never().is_none(), "nobody has decided");
    decide(&room, "c-1", true).await;
    assert!(matches!(answer.await, Ok(Answer::Said { duplicate: true, .. })));
    program.said(&turn, "r-1", returned("c-1")).await;
    program.finish(&turn, "i-1").await.unwrap();
}

#[tokio::test]
async fn a_worker_is_told_the_permissions_of_declared_tools_by_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let room = open(dir.path()).await;
    let Value::Object(changes) = json!({"permissions": {"files__*": "deny", "files__read": "ask"}})
    else {
        unreachable!()
    };
    let agent = room.hub.edit_agent(&room.user, "bob", changes).await.unwrap();
    let tool = |name: &str| thoughtwire_proto::ToolDeclaration {
        name: name.to_owned(),
        description: String::new(),
        parameters: serde_json::Map::new(),
    };
    let tools = ["files__read", "files__write", "clock"].map(tool).to_vec();
    let declared = thoughtwire_proto::Offer { tools, ..offer("w") };
    let (mut program, _) = Program::come(&room, declared).await;
    room.send("hi").await.unwrap();
    let run = program.run().await;
    let permissions: BTreeMap<_, _> =
        room.hub.tools_of(&agent).into_iter().map(|tool| (tool.name, tool.permission)).collect();
    use thoughtwire_proto::Permission::{Allow, Ask, Deny};
    let expected = [("clock", Allow), ("files__read", Ask), ("files__write", Deny)];
    assert_eq!(permissions, expected.map(|(name, of)| (name.to_owned(), of)).into());
    let told = [("files__read", Ask), ("files__write", Deny)];
    assert_eq!(run.permissions, told.map(|(name, of)| (name.to_owned(), of)).into());
    let denied = program.say(&run.turn, "c-1", called("files__write")).await;
    assert_eq!(code(denied), RefusalCode::Forbidden);
    program.finish(&run.turn, "i-1").await.unwrap();
}
