//! Sparky's dialect: recorded frames, and the connection machine.

use proptest::prelude::*;
use serde::Deserialize;
use thoughtwire_proto::connection::{Encoding, Joined, Machine, Output, Tag};
use thoughtwire_proto::dialect::sparky::{
    Loading, ServerLoading, SparkyMachine, Tools, WsMessage, normalise, render,
};
use thoughtwire_proto::dialect::{FrameLimit, encode};
use thoughtwire_proto::{
    Command, CommandReply, ConnectionCommand, DirectoryCommand, DirectoryReply, Emission, PeerRef,
    PeerWire, Record, Refusal, RefusalCode, Role, Seq, SessionCommand, SessionEmission,
    SessionReply, Start, Timestamp, Verdict,
};

#[derive(Deserialize)]
struct SparkyRow {
    input: String,
    wire: Option<String>,
    error: Option<RefusalCode>,
}

#[test]
fn a_cancelled_turn_is_told_in_the_words_of_the_original() {
    let labels =
        Encoding::Sparky { session_id: "p-1".into(), user_id: "u-1".into(), chat_id: "c-1".into() };
    for (code, words) in
        [("interrupted", "Previous message cancelled"), ("cancelled", "Message cancelled")]
    {
        let ended = serde_json::json!({
            "kind": "turn_ended", "input": "i-1", "outcome": "cancelled", "code": code,
        });
        let record = Record {
            seq: Seq(3),
            at: Timestamp::from_millis(0),
            turn: Some("t-1".parse().unwrap()),
            event: serde_json::from_value(ended).unwrap(),
        };
        let session = "s-1".parse().unwrap();
        let shown = SessionEmission { session, emission: Emission::Record(record) };
        let frames = encode(&labels, &shown, FrameLimit::default());
        let [frame] = frames.as_slice() else { panic!("{frames:?}") };
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        assert_eq!(frame["type"], "status");
        assert_eq!(frame["data"]["message"], words);
    }
}

fn message_of(event: serde_json::Value) -> String {
    let labels =
        Encoding::Sparky { session_id: "p-1".into(), user_id: "u-1".into(), chat_id: "c-1".into() };
    let record = Record {
        seq: Seq(3),
        at: Timestamp::from_millis(0),
        turn: Some("t-1".parse().unwrap()),
        event: serde_json::from_value(event).unwrap(),
    };
    let session = "s-1".parse().unwrap();
    let shown = SessionEmission { session, emission: Emission::Record(record) };
    let frames = encode(&labels, &shown, FrameLimit::default());
    let [frame] = frames.as_slice() else { panic!("{frames:?}") };
    assert!(
        include_str!("../../../../vectors/sparky.jsonl").lines().any(|line| {
            let row: SparkyRow = serde_json::from_str(line).unwrap();
            row.wire.as_ref() == Some(frame)
        }),
        "no row of vectors/sparky.jsonl: {frame}"
    );
    let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
    assert_eq!(frame["type"], "status");
    frame["data"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn an_interrupted_turn_and_a_call_in_doubt_are_told_as_a_status() {
    for (reason, words) in [
        ("restart", "The server was restarted; the turn goes on."),
        ("moved", "The session moved to another server; the turn goes on."),
        ("worker_lost", "The worker was lost; the turn goes on."),
    ] {
        let resumed = serde_json::json!({"kind": "turn_resumed", "attempt": 1, "reason": reason});
        assert_eq!(message_of(resumed), words);
    }
    let asked = serde_json::json!({"kind": "approval_asked", "call": "c-1", "name": "pay",
        "about": "retry", "expires_at": "2026-01-01T00:05:00.000Z"});
    assert_eq!(
        message_of(asked),
        "pay was interrupted and may already have taken effect: answer /approve to run it again, \
         /done [result] if it was done, or /deny if it failed"
    );
}

/// A machine that is in a chat, whose session is `x`.
fn in_a_chat() -> SparkyMachine {
    let mut machine = SparkyMachine::new(Tools::default());
    machine.frame(r#"{"type": "connect", "data": {"session_id": "s", "user_id": "u"}}"#);
    machine.poll();
    machine.authenticated(Ok(()));
    let (tag, _) = request(&mut machine);
    let peer = PeerRef { wire: PeerWire::Sparky, space: "u".into(), name: "s".into() };
    let opened = DirectoryReply::Peer {
        peer,
        is_new: false,
        chats: vec![("c".to_owned(), "x".parse().unwrap())],
        selected: Some("c".into()),
    };
    machine.answer(tag, Ok(CommandReply::Directory(opened)));
    frame(&mut machine);
    let (tag, _attach) = request(&mut machine);
    machine.answer(tag, done());
    assert_eq!(frame(&mut machine)["type"], "ready");
    machine
}

#[test]
fn a_call_in_doubt_has_three_answers() {
    let mut machine = in_a_chat();
    for (said, verdict, text) in [
        ("/approve", Verdict::Approved, None),
        ("/deny", Verdict::Denied, None),
        ("/done", Verdict::Done, None),
        (" /done  receipt 7 ", Verdict::Done, Some("receipt 7")),
    ] {
        machine.frame(&serde_json::json!({"type": "message", "data": {"text": said}}).to_string());
        let (tag, command) = request(&mut machine);
        let Command::Connection(ConnectionCommand::DecideOldest { decision, result, .. }) = command
        else {
            panic!("{command:?}")
        };
        assert_eq!((decision, result.as_deref()), (verdict, text), "{said:?}");
        machine.answer(tag, done());
        assert_eq!(machine.poll(), None, "the agent does not see it");
    }
}

#[test]
fn what_only_looks_like_done_is_a_message() {
    let mut machine = in_a_chat();
    let sent = |machine: &mut SparkyMachine| match request(machine).1 {
        Command::Session { command: SessionCommand::Send { text, .. }, .. } => text,
        other => panic!("{other:?}"),
    };
    // Nothing waits for it.
    machine.frame(r#"{"type": "message", "data": {"text": "/done with that"}}"#);
    let (tag, _decide) = request(&mut machine);
    machine.answer(tag, Err(Refusal::new(RefusalCode::UnknownCall, "no call waits")));
    assert_eq!(sent(&mut machine), "/done with that");
    let mut machine = in_a_chat();
    machine.frame(r#"{"type": "message", "data": {"text": "/donetsk"}}"#);
    assert_eq!(sent(&mut machine), "/donetsk");
}

#[test]
fn every_recorded_frame_is_read_or_refused() {
    let mut types = std::collections::BTreeSet::new();
    for line in include_str!("../../../../vectors/sparky.jsonl").lines() {
        let row: SparkyRow = serde_json::from_str(line).unwrap();
        match (WsMessage::from_text(&row.input), row.wire, row.error) {
            (Ok(message), Some(wire), None) => {
                types.insert(message.payload.kind());
                assert_eq!(message.to_text(), wire, "{}", row.input);
                assert_eq!(
                    WsMessage::from_dict(&message.to_dict()).unwrap(),
                    WsMessage::from_text(&wire).unwrap(),
                    "{}",
                    row.input
                );
                assert_eq!(render(&normalise(&row.input).unwrap()).unwrap(), wire);
            }
            (Err(refusal), None, Some(code)) => {
                assert_eq!(refusal.code, code, "{}: {refusal}", row.input);
            }
            (outcome, _, _) => panic!("{}: {outcome:?}", row.input),
        }
    }
    assert_eq!(types.len(), 16, "every message type: {types:?}");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".*") {
        drop(WsMessage::from_text(&text));
        let mut machine = SparkyMachine::new(Tools::default());
        machine.frame(&text);
        prop_assert!(machine.poll().is_some(), "it is answered");
    }

    #[test]
    fn written_frames_are_read_back(text in any::<String>(), chat in any::<String>()) {
        let json = serde_json::json!({"type": "message", "data": {"text": text}, "chat_id": chat});
        let message = WsMessage::from_text(&json.to_string()).unwrap();
        let again = WsMessage::from_text(&message.to_text()).unwrap();
        prop_assert_eq!(&again.payload, &message.payload);
        prop_assert_eq!(again.to_text(), message.to_text());
    }
}

fn request(machine: &mut SparkyMachine) -> (Tag, Command) {
    match machine.poll() {
        Some(Output::Request { tag, request }) => (tag, request.command),
        other => panic!("{other:?}"),
    }
}

fn frame(machine: &mut SparkyMachine) -> serde_json::Value {
    match machine.poll() {
        Some(Output::Frame(frame)) => serde_json::from_str(&frame).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn done() -> Result<CommandReply, Refusal> {
    Ok(CommandReply::Session(SessionReply::Done { seq: None, duplicate: false }))
}

#[test]
fn a_reconnect_attaches_every_chat_at_its_proven_position() {
    let mut machine = SparkyMachine::new(Tools {
        loaded: 3,
        servers: vec![ServerLoading { name: "clock".into(), loading: Loading::Loaded }],
    });
    machine.frame(
        r#"{"type": "connect", "data": {"session_id": "s", "user_id": "u", "token": "secret"}}"#,
    );
    assert_eq!(
        machine.poll(),
        Some(Output::Authenticate {
            token: Some("secret".into()),
            client: None,
            space: Some("u".into())
        })
    );
    machine.authenticated(Ok(()));
    let (tag, command) = request(&mut machine);
    assert_eq!(
        command,
        Command::Directory(DirectoryCommand::OpenPeer {
            wire: PeerWire::Sparky,
            space: "u".into(),
            name: Some("s".into())
        })
    );
    let peer = PeerRef { wire: PeerWire::Sparky, space: "u".into(), name: "s".into() };
    let chats =
        vec![("c1".to_owned(), "x1".parse().unwrap()), ("c2".to_owned(), "x2".parse().unwrap())];
    machine.answer(
        tag,
        Ok(CommandReply::Directory(DirectoryReply::Peer {
            peer: peer.clone(),
            is_new: false,
            chats,
            selected: Some("c1".into()),
        })),
    );
    let info = frame(&mut machine);
    assert_eq!(
        info["data"],
        serde_json::json!({"session_id": "s", "is_new": false, "reconnected": true,
                           "chat_id": "c1"})
    );
    for _ in 0..2 {
        let (tag, command) = request(&mut machine);
        assert!(matches!(command, Command::Connection(ConnectionCommand::Attach {
                start: Start::Proven(of), ..
            }) if of == peer));
        machine.answer(tag, done());
    }
    assert_eq!(frame(&mut machine)["type"], "ready", "no progress of tools on a reconnect");
    assert!(machine.is_greeted());
    assert_eq!(
        machine.encoding(&"x2".parse().unwrap()),
        Encoding::Sparky { session_id: "s".into(), user_id: "u".into(), chat_id: "c2".into() }
    );
    // A chat that another connection opened starts at its beginning, and belongs to the peer as
    // well.
    assert_eq!(machine.peer(), Some(&peer));
    machine.joined(&Joined {
        peer,
        chat: "c3".into(),
        session: "x3".parse().unwrap(),
        is_new: true,
    });
    let (tag, command) = request(&mut machine);
    assert!(matches!(command, Command::Connection(ConnectionCommand::Attach {
            start: Start::After(cursor), ..
        }) if cursor.seq == Seq::ZERO));
    machine.answer(tag, done());
    // The last selection is kept.
    machine.frame(r#"{"type": "message", "data": "hi"}"#);
    assert!(matches!(request(&mut machine).1, Command::Session {
            session, command: SessionCommand::Send { .. }
        } if session.as_str() == "x1"));
}

#[test]
fn a_chat_that_could_not_be_attached_is_tried_again_with_the_next_frame() {
    let mut machine = SparkyMachine::new(Tools::default());
    machine.frame(r#"{"type": "connect", "data": {"session_id": "s"}}"#);
    machine.poll();
    machine.authenticated(Ok(()));
    let peer = PeerRef { wire: PeerWire::Sparky, space: "local".into(), name: "s".into() };
    let chats = ["c1", "c2"].map(|chat| (chat.to_owned(), chat.replace('c', "x").parse().unwrap()));
    let (tag, _) = request(&mut machine);
    machine.answer(
        tag,
        Ok(CommandReply::Directory(DirectoryReply::Peer {
            peer: peer.clone(),
            is_new: false,
            chats: chats.to_vec(),
            selected: Some("c1".into()),
        })),
    );
    assert_eq!(frame(&mut machine)["type"], "session_info");
    let attached = |machine: &mut SparkyMachine| match request(machine) {
        (tag, Command::Connection(ConnectionCommand::Attach { session, start, .. })) => {
            (tag, session.to_string(), start)
        }
        (_, other) => panic!("{other:?}"),
    };
    let failed = || Err(Refusal::new(RefusalCode::StoreFailed, "the disk failed"));
    // A deleted chat is left out without a word; another refusal is told.
    let (tag, session, _) = attached(&mut machine);
    assert_eq!(session, "x2");
    machine.answer(tag, failed());
    let told = frame(&mut machine);
    assert_eq!((&told["type"], &told["chat_id"]), (&"error".into(), &"c2".into()));
    assert_eq!(told["data"]["message"], "Error opening chat: the disk failed");
    let (tag, session, _) = attached(&mut machine);
    assert_eq!(session, "x1");
    machine.answer(tag, Err(Refusal::new(RefusalCode::UnknownSession, "there is no such session")));
    assert_eq!(frame(&mut machine)["type"], "ready");
    // A chat that another connection opened is refused, too.
    machine.joined(&Joined {
        peer,
        chat: "c3".into(),
        session: "x3".parse().unwrap(),
        is_new: true,
    });
    let (tag, _, first) = attached(&mut machine);
    machine.answer(tag, failed());
    assert_eq!(frame(&mut machine)["chat_id"], "c3");
    assert_eq!(machine.poll(), None, "nothing is tried again before the client sends");
    machine.frame(r#"{"type": "switch_chat", "data": {"chat_id": "c3"}}"#);
    let (tag, session, _) = attached(&mut machine);
    assert_eq!(session, "x2");
    machine.answer(tag, done());
    let (tag, session, again) = attached(&mut machine);
    assert_eq!((session.as_str(), again), ("x3", first));
    machine.answer(tag, done());
    assert!(matches!(
        request(&mut machine).1,
        Command::Directory(DirectoryCommand::OpenChat { chat: Some(chat), .. }) if chat == "c3"
    ));
}

#[test]
fn a_refused_connection_waits_for_another_connect() {
    let mut machine = SparkyMachine::new(Tools::default());
    for bad in [
        "nope",
        r#"{"type": "message", "data": "hi"}"#,
        r#"{"type": "connect", "data": {"history": [5]}}"#,
    ] {
        machine.frame(bad);
        assert_eq!(frame(&mut machine)["type"], "error", "{bad}");
        assert_eq!(machine.poll(), None);
    }
    machine.frame(r#"{"type": "connect"}"#);
    assert!(matches!(machine.poll(), Some(Output::Authenticate { .. })));
    machine.authenticated(Err(Refusal::new(RefusalCode::Unauthorized, "a key is needed")));
    assert_eq!(frame(&mut machine)["data"]["message"], "a key is needed");
    assert!(!machine.is_greeted());
}

#[test]
fn history_and_personality_go_into_the_first_chat() {
    let mut machine = SparkyMachine::new(Tools::default());
    machine.frame(concat!(
        r#"{"type": "connect", "data": {"session_id": null, "personality": "Be brief.", "#,
        r#""history": [{"role": "user", "parts": ["a", {"text": "b"}]}, "#,
        r#"{"role": "model", "content": "c"}]}}"#
    ));
    machine.poll();
    machine.authenticated(Ok(()));
    let (tag, _) = request(&mut machine);
    let peer = PeerRef { wire: PeerWire::Sparky, space: "local".into(), name: "s".into() };
    machine.answer(
        tag,
        Ok(CommandReply::Directory(DirectoryReply::Peer {
            peer,
            is_new: true,
            chats: vec![],
            selected: None,
        })),
    );
    assert_eq!(frame(&mut machine)["type"], "session_info");
    assert_eq!(frame(&mut machine)["type"], "ready");
    machine.frame(r#"{"type": "message", "data": {"text": "hi", "file_id": "file:1"}}"#);
    let (tag, command) = request(&mut machine);
    let Command::Directory(DirectoryCommand::OpenChat { instructions, history, chat, .. }) =
        command
    else {
        panic!("{command:?}")
    };
    assert_eq!((instructions.as_deref(), chat), (Some("Be brief."), None), "where it was last");
    assert_eq!(
        history.iter().map(|entry| (entry.role, entry.text.as_str())).collect::<Vec<_>>(),
        [(Role::User, "a\nb"), (Role::Assistant, "c")]
    );
    let (chat, session) = ("default".to_owned(), "x".parse().unwrap());
    machine.answer(
        tag,
        Ok(CommandReply::Directory(DirectoryReply::Chat {
            chat,
            session,
            is_new: true,
            model: None,
        })),
    );
    let (tag, _attach) = request(&mut machine);
    machine.answer(tag, done());
    let (_, command) = request(&mut machine);
    assert!(matches!(command, Command::Session {
            command: SessionCommand::Send { attachments, .. }, ..
        } if attachments == ["file:1"]));
}
