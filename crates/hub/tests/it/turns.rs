//! Turns: each ends once, whatever happens to it.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_hub::{Changed, HubOptions};
use thoughtwire_proto::{
    Command, CommandReply, DirectoryCommand, DirectoryReply, Disposition, Event, Outcome, Policy,
    RefusalCode, Request, SessionCommand, SessionId, SessionReply, ToolStatus, TurnEvent, Verdict,
};

use crate::support::{Puppet, Room, event, events, kinds};

fn outcomes(log: &[Event]) -> Vec<(Outcome, Option<&str>)> {
    log.iter()
        .filter_map(|event| match event {
            Event::Turn(TurnEvent::Ended { outcome, code, .. }) => {
                Some((*outcome, code.as_deref()))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_turn_goes_from_its_input_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let answer = room.send("think tool say stream").await.unwrap();
    assert!(matches!(
        answer,
        CommandReply::Session(SessionReply::Input {
            disposition: Disposition::Started,
            duplicate: false,
            ..
        })
    ));
    let seen = events(&listener.turn().await);
    let expected = "session_opened user_message turn_started thought tool_called \
         tool_returned message message message turn_ended";
    assert_eq!(kinds(&seen), expected.split(' ').collect::<Vec<_>>());
    assert_eq!(room.log().await, seen);
}

#[tokio::test]
async fn a_turn_needs_nobody_to_listen() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    room.send("think say").await.unwrap();
    let (_, mut listener) = room.after(0).await;
    assert_eq!(outcomes(&events(&listener.turn().await)), [(Outcome::Completed, None)]);
}

#[tokio::test]
async fn failure_and_panic_end_their_turn_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    for (text, outcome) in [
        ("think fail", (Outcome::Failed, Some("told_to"))),
        ("call begin panic", (Outcome::Failed, Some("agent_panicked"))),
        ("say", (Outcome::Completed, None)),
    ] {
        room.send(text).await.unwrap();
        let seen = events(&listener.turn().await);
        assert_eq!(outcomes(&seen), [outcome], "{text}");
    }
    let log = room.log().await;
    assert!(log.iter().any(|event| matches!(
        event,
        Event::Turn(TurnEvent::Message { complete: false, text, .. }) if text == "Half a sen")));
}

#[tokio::test]
async fn cancel_closes_what_is_open_and_ends_the_turn_once() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    room.send("call begin hang").await.unwrap();
    listener
        .until(|emission| {
            matches!(
                emission,
                thoughtwire_proto::Emission::Delta(_) | thoughtwire_proto::Emission::Partial(_)
            )
        })
        .await;
    room.cancel().await.unwrap();
    let seen = events(&listener.turn().await);
    assert_eq!(kinds(&seen), ["message", "tool_returned", "turn_ended"]);
    assert!(matches!(
        &seen[1],
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Unknown, .. })
    ));
    assert_eq!(outcomes(&seen), [(Outcome::Cancelled, Some("cancelled"))]);
    assert_eq!(room.cancel().await.unwrap_err().code, RefusalCode::NoTurn);
}

#[tokio::test]
async fn policies_decide_about_inputs_while_a_turn_runs() {
    let dir = tempfile::tempdir().unwrap();
    let options = HubOptions { queued_inputs: 2, ..HubOptions::default() };
    let room = Room::with(dir.path(), Arc::new(Puppet), options).await;
    let (_, mut listener) = room.after(0).await;
    room.send("hang").await.unwrap();
    let disposition = |answer: CommandReply| match answer {
        CommandReply::Session(SessionReply::Input { disposition, input, .. }) => {
            (disposition, input)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        room.send_as(None, "say", Policy::Reject).await.unwrap_err().code,
        RefusalCode::TurnRunning
    );
    assert_eq!(disposition(room.send("think").await.unwrap()).0, Disposition::Queued);
    let (queued, withdrawn) = disposition(room.send("panic").await.unwrap());
    assert_eq!(queued, Disposition::Queued);
    assert_eq!(room.send("say").await.unwrap_err().code, RefusalCode::QueueFull);
    room.ask(None, SessionCommand::Withdraw { input: withdrawn }.on(room.session.clone()))
        .await
        .unwrap();
    assert_eq!(
        disposition(room.send_as(None, "say", Policy::Interrupt).await.unwrap()).0,
        Disposition::Started
    );
    let mut ended = Vec::new();
    for _ in 0..3 {
        ended.extend(events(&listener.turn().await));
    }
    assert_eq!(
        outcomes(&ended),
        [
            (Outcome::Cancelled, Some("interrupted")),
            (Outcome::Completed, None),
            (Outcome::Completed, None)
        ]
    );
    // The interrupting input ran at once, the queued one behind it, the withdrawn one never.
    let tail = "user_message turn_ended turn_started message message turn_ended \
         turn_started thought message turn_ended";
    assert!(kinds(&ended).join(" ").ends_with(tail), "{:?}", kinds(&ended));
}

#[tokio::test]
async fn a_steering_input_joins_the_turn() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    room.send("ask steps").await.unwrap();
    let asked = listener
        .until(|emission| {
            matches!(
                crate::support::event(emission),
                Some(Event::Turn(TurnEvent::ApprovalAsked { .. }))
            )
        })
        .await;
    let call = events(&asked).into_iter().find_map(|event| match event {
        Event::Turn(TurnEvent::ApprovalAsked { call, .. }) => Some(call),
        _ => None,
    });
    let answer = room.send_as(None, "one more thing", Policy::Steer).await.unwrap();
    assert!(matches!(
        answer,
        CommandReply::Session(SessionReply::Input { disposition: Disposition::Steered, .. })
    ));
    let decide =
        SessionCommand::Decide { call: call.unwrap(), decision: Verdict::Approved, result: None }
            .on(room.session.clone());
    room.ask(None, decide.clone()).await.unwrap();
    assert_eq!(
        room.ask(None, decide).await.unwrap_err().code,
        RefusalCode::UnknownCall,
        "settled once"
    );
    let seen = events(&listener.turn().await);
    assert_eq!(
        kinds(&seen),
        [
            "user_message",
            "approval_settled",
            "tool_returned",
            "message",
            "thought",
            "message",
            "turn_ended"
        ]
    );
}

#[tokio::test]
async fn a_command_id_takes_effect_once() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let sends = (0..5).map(|_| room.send_as(Some("m-1"), "think", Policy::Queue));
    let answers = futures::future::join_all(sends).await;
    let duplicates = answers
        .iter()
        .filter(|answer| {
            matches!(answer, Ok(CommandReply::Session(SessionReply::Input { duplicate: true, .. })))
        })
        .count();
    assert_eq!(duplicates, 4, "{answers:?}");
    let again = room.send_as(Some("m-1"), "think", Policy::Queue).await.unwrap();
    assert!(matches!(again, CommandReply::Session(SessionReply::Input { duplicate: true, .. })));
    assert_eq!(
        room.send_as(Some("m-1"), "other words", Policy::Queue).await.unwrap_err().code,
        RefusalCode::IdReused
    );
    assert_eq!(
        room.send_as(None, "  ", Policy::Queue).await.unwrap_err().code,
        RefusalCode::EmptyText
    );
    let (_, mut listener) = room.after(0).await;
    listener.turn().await;
    assert_eq!(room.log().await.iter().filter(|event| event.kind() == "user_message").count(), 1);
}

#[tokio::test]
async fn one_users_session_is_unknown_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::open(dir.path()).await;
    room.user = "mallory".parse().unwrap();
    assert_eq!(room.send("say").await.unwrap_err().code, RefusalCode::UnknownSession);
    assert_eq!(room.cancel().await.unwrap_err().code, RefusalCode::UnknownSession);
    let wake = Arc::new(tokio::sync::Notify::new());
    let attached = room
        .hub
        .attach(
            &room.user,
            &room.session,
            thoughtwire_proto::Start::Head,
            wake,
            thoughtwire_hub::Presence::Client { tools: Vec::new() },
        )
        .await;
    assert_eq!(attached.err().unwrap().code, RefusalCode::UnknownSession);
    let find = room
        .ask(
            None,
            Command::Directory(DirectoryCommand::FindAgent { agent: room.agent.id.to_string() }),
        )
        .await;
    assert_eq!(find.unwrap_err().code, RefusalCode::UnknownAgent);
}

/// A session of the room's agent beside its main one.
async fn another(room: &Room) -> SessionId {
    let command = Command::Directory(DirectoryCommand::CreateSession {
        agent: "ada".into(),
        title: None,
        instructions: None,
        history: vec![],
    });
    let Ok(CommandReply::Directory(DirectoryReply::Session { session, .. })) =
        room.ask(None, command).await
    else {
        panic!("no session")
    };
    session
}

#[tokio::test]
async fn a_deletion_asked_for_twice_at_once_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::open(dir.path()).await;
    room.session = another(&room).await;
    // Its task is awake, so that both meet it.
    let _listener = room.after(0).await;
    let delete = || room.ask(Some("d-1"), SessionCommand::Delete.on(room.session.clone()));
    let (first, second) = tokio::join!(delete(), delete());
    // Neither was asked before the other.
    let (done, again) = [false, true]
        .map(|duplicate| CommandReply::Session(SessionReply::Done { seq: None, duplicate }))
        .into();
    let answers = (first.unwrap(), second.unwrap());
    assert!(answers == (done.clone(), again.clone()) || answers == (again, done), "{answers:?}");
}

#[tokio::test]
async fn what_a_client_left_behind_is_told_to_the_list_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(dir.path()).await;
    let session = another(&room).await;
    let mut changes = room.hub.changes();
    let request = Request { id: None, command: SessionCommand::Delete.on(session.clone()) };
    drop(crate::support::carry_out(&room.hub, &room.user, None, request).await);
    let changed = tokio::time::timeout(Duration::from_secs(10), changes.recv())
        .await
        .expect("nobody is told")
        .unwrap();
    let user = room.user.clone();
    assert_eq!(changed, Changed::Session { user, session, gone: true });
}

#[tokio::test]
async fn who_reads_a_deleted_session_is_never_shown_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::open(dir.path()).await;
    room.session = another(&room).await;
    let (_, mut listener) = room.after(0).await;
    room.ask(None, SessionCommand::Delete.on(room.session.clone())).await.unwrap();
    another(&room).await;
    assert!(listener.next().await.is_none());
}

#[tokio::test]
async fn a_deleted_session_is_gone_for_its_subscribers_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::open(dir.path()).await;
    let main = SessionCommand::Delete.on(room.session.clone());
    assert_eq!(room.ask(None, main).await.unwrap_err().code, RefusalCode::Forbidden);
    let create = Command::Directory(DirectoryCommand::CreateSession {
        agent: "ada".into(),
        title: None,
        instructions: None,
        history: vec![],
    });
    let CommandReply::Directory(DirectoryReply::Session { session: second, .. }) =
        room.ask(Some("c-1"), create).await.unwrap()
    else {
        panic!()
    };
    room.session = second.clone();
    let (_, mut listener) = room.after(0).await;
    room.send("hang").await.unwrap();
    room.ask(None, SessionCommand::Delete.on(second)).await.unwrap();
    while listener.next().await.is_some() {}
    assert_eq!(room.send("say").await.unwrap_err().code, RefusalCode::UnknownSession);
}

/// A real full disk, where the tests may mount one.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_ends_the_turn_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    };
    if !mount("size=1m") {
        eprintln!("not run: file systems cannot be mounted here (it needs root)");
        return;
    }
    let room = Room::open(dir.path()).await;
    let (_, mut listener) = room.after(0).await;
    let mut saved = 0;
    let refusal = loop {
        match room.send(&format!("think {}", "x".repeat(20_000))).await {
            Ok(_) => saved += 1,
            Err(refusal) => break refusal,
        }
        assert!(saved < 1000);
    };
    assert_eq!(refusal.code, RefusalCode::StoreFull);
    assert!(mount("remount,size=16m"));
    // Cut turns are ended, and inputs are taken again. Nothing is doubled or lost between.
    let answer = loop {
        match room.send("say").await {
            Ok(answer) => break answer,
            Err(refusal) => assert!(refusal.code == RefusalCode::StoreFull, "{refusal:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let CommandReply::Session(SessionReply::Input { input, .. }) = answer else {
        panic!("{answer:?}")
    };
    let is_its_end = |event: &Event| match event {
        Event::Turn(TurnEvent::Ended { input: ended, .. }) => *ended == input,
        _ => false,
    };
    let seen = events(&listener.until_event(is_its_end).await);
    let log = room.log().await;
    assert_eq!(seen, log[..seen.len()], "what was seen is what is there");
    let count = |kind: &str| log.iter().filter(|event| event.kind() == kind).count();
    assert_eq!(
        (count("user_message"), count("turn_started"), count("turn_ended")),
        (saved + 1, saved + 1, saved + 1)
    );
    room.hub.stop(std::time::Duration::ZERO).await;
    room.hub.store().close().await;
    assert!(
        std::process::Command::new("umount").arg("-l").arg(dir.path()).status().unwrap().success()
    );
}

#[tokio::test]
async fn a_turn_that_takes_too_long_is_ended_and_waiting_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(300);
    let room = Room::with(
        dir.path(),
        Arc::new(Puppet),
        HubOptions { turn_within: limit, ..HubOptions::default() },
    )
    .await;
    let (_, mut listener) = room.after(0).await;
    room.send("begin hang").await.unwrap();
    room.send_as(None, "ask", Policy::Queue).await.unwrap();
    let seen = events(&listener.turn().await);
    let Some(Event::Turn(TurnEvent::Ended {
        outcome: Outcome::Failed,
        code: Some(code),
        reason: Some(reason),
        ..
    })) = seen.last()
    else {
        panic!("{seen:?}")
    };
    assert_eq!(code, "turn_limit");
    assert!(reason.starts_with("The turn took longer than"), "{reason}");
    assert!(
        seen.iter().any(|event| matches!(
        event,
        Event::Turn(TurnEvent::Message { text, complete: false, .. }) if text == "Half a sen")),
        "{seen:?}"
    );
    // The queued input runs. Its time stands still while it waits for the owner.
    listener
        .until(|emission| {
            matches!(event(emission), Some(Event::Turn(TurnEvent::ApprovalAsked { .. })))
        })
        .await;
    tokio::time::sleep(3 * limit).await;
    let oldest = room.hub.oldest_approval(&room.user, &room.session, Verdict::Denied);
    let call = oldest.await.unwrap();
    room.ask(
        None,
        SessionCommand::Decide { call, decision: Verdict::Approved, result: None }
            .on(room.session.clone()),
    )
    .await
    .unwrap();
    assert!(matches!(
        events(&listener.turn().await).last(),
        Some(Event::Turn(TurnEvent::Ended { outcome: Outcome::Completed, .. }))
    ));
}
