//! Sparky's later generation, which has no `session_id`, and both generations without a chosen
//! chat.

use serde_json::{Value, json};
use thoughtwire_proto::connection::{Joined, Machine, Output, Tag};
use thoughtwire_proto::dialect::sparky::{Generation, Loading, Payload, WsMessage};
use thoughtwire_proto::dialect::sparky::{ServerLoading, SparkyMachine, Tools, encode};
use thoughtwire_proto::{
    Command, CommandReply, ConnectionCommand, DirectoryCommand, DirectoryReply, Emission, Event,
    PeerRef, PeerWire, Record, Refusal, RefusalCode, Seq, SessionCommand, SessionEmission,
    SessionId, SessionReply, Start, ToolStatus, TurnEvent,
};

fn machine() -> SparkyMachine {
    let loading = [
        ("files", Loading::Loaded),
        ("web", Loading::Begun),
        ("mail", Loading::Failed("no such program".into())),
    ];
    let servers = loading.map(|(name, loading)| ServerLoading { name: name.into(), loading });
    SparkyMachine::new(Tools { loaded: 7, servers: servers.to_vec() })
}

fn request(machine: &mut SparkyMachine) -> (Tag, Command) {
    match machine.poll() {
        Some(Output::Request { tag, request }) => (tag, request.command),
        other => panic!("{other:?}"),
    }
}

/// All frames that the machine has to send.
fn frames(machine: &mut SparkyMachine) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Some(output) = machine.poll() {
        match output {
            Output::Frame(frame) => frames.push(serde_json::from_str(&frame).unwrap()),
            other => panic!("{other:?} behind {frames:?}"),
        }
    }
    frames
}

fn done() -> Result<CommandReply, Refusal> {
    Ok(CommandReply::Session(SessionReply::Done { seq: None, duplicate: false }))
}

fn peer(name: &str) -> PeerRef {
    PeerRef { wire: PeerWire::Sparky, space: "u".into(), name: name.into() }
}

/// Connects with this data. Returns the tag and name of the request that opens the peer.
fn connect(machine: &mut SparkyMachine, data: &Value) -> (Tag, Option<String>) {
    machine.frame(&json!({"type": "connect", "data": data}).to_string());
    assert!(matches!(machine.poll(), Some(Output::Authenticate { .. })));
    machine.authenticated(Ok(()));
    match request(machine) {
        (
            tag,
            Command::Directory(DirectoryCommand::OpenPeer { wire: PeerWire::Sparky, name, .. }),
        ) => (tag, name),
        other => panic!("{other:?}"),
    }
}

fn known(
    machine: &mut SparkyMachine,
    tag: Tag,
    is_new: bool,
    chats: &[(&str, &str)],
    selected: Option<&str>,
) {
    let chats = chats
        .iter()
        .map(|(chat, session)| ((*chat).to_owned(), session.parse().unwrap()))
        .collect();
    let selected = selected.map(str::to_owned);
    machine.answer(
        tag,
        Ok(CommandReply::Directory(DirectoryReply::Peer {
            peer: peer("~chats"),
            is_new,
            chats,
            selected,
        })),
    );
}

fn opened(chat: &str, session: &str) -> Result<CommandReply, Refusal> {
    Ok(CommandReply::Directory(DirectoryReply::Chat {
        chat: chat.into(),
        session: session.parse().unwrap(),
        is_new: false,
        model: Some("openai/gpt-4o".into()),
    }))
}

#[test]
fn the_key_session_id_tells_the_generation() {
    for (data, expected) in [
        (json!({"session_id": null, "user_id": "u"}), Generation::Sessions),
        (json!({"session_id": "s", "user_id": "u"}), Generation::Sessions),
        // 932ae57's terminal client writes all of its keys.
        (
            json!({"session_id": null, "personality": null, "history": null, "user_id": "u",
                   "chat_id": null, "chat_name": null}),
            Generation::Sessions,
        ),
        // Clients between the two generations had a token and waited for `session_info`.
        (json!({"session_id": null, "token": "t"}), Generation::Sessions),
        (json!({"token": "t"}), Generation::Chats),
        (json!({"token": "t", "chat_id": "c"}), Generation::Chats),
        (
            json!({"personality": null, "history": null, "user_id": "u", "token": null,
                   "chat_id": null, "chat_name": null}),
            Generation::Chats,
        ),
        (json!({"user_id": "u"}), Generation::Chats),
        (json!({}), Generation::Chats),
        (json!("u"), Generation::Chats),
    ] {
        let text = json!({"type": "connect", "data": data}).to_string();
        let payload = WsMessage::from_text(&text).unwrap().payload;
        match payload {
            Payload::Connect { generation, .. } => assert_eq!(generation, expected, "{text}"),
            other => panic!("{other:?}"),
        }
        // Another test has a chat that `connect` names, which is opened first.
        if data["chat_id"].is_string() {
            continue;
        }
        let mut machine = machine();
        let (tag, name) = connect(&mut machine, &data);
        known(&mut machine, tag, true, &[], None);
        let told = frames(&mut machine);
        let kinds: Vec<&str> = told.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
        let (first, has_session) = match expected {
            Generation::Sessions => ("session_info", true),
            Generation::Chats => ("ready", false),
        };
        assert_eq!(kinds[0], first, "{text}");
        for frame in &told {
            assert!(frame["type"] == "tool_loading_progress" || frame["user_id"] == "u");
            assert!(has_session || frame.get("session_id").is_none(), "{frame}");
            assert!(has_session || frame["data"].get("session_id").is_none(), "{frame}");
        }
        assert_eq!(has_session, kinds.contains(&"session_info"), "{text}");
        assert_eq!(name.as_deref() == Some("~chats"), !has_session, "{text}");
    }
}

#[test]
fn progress_comes_once_per_server_and_ready_counts_all_tools() {
    for (data, ready_at) in [(json!({"session_id": null}), 6), (json!({"token": "t"}), 0)] {
        let mut machine = machine();
        let (tag, _) = connect(&mut machine, &data);
        known(&mut machine, tag, true, &[], None);
        let mut told = frames(&mut machine);
        told.retain(|frame| frame["type"] != "session_info");
        let ready = told.remove(ready_at.min(told.len() - 1));
        assert_eq!((&ready["type"], &ready["data"]["tools_loaded"]), (&json!("ready"), &json!(7)));
        let progress: Vec<_> = told
            .iter()
            .map(|frame| (&frame["data"]["tool_name"], &frame["data"]["status"]))
            .collect();
        assert_eq!(
            json!(progress),
            json!([
                ["files", "loading"],
                ["files", "loaded"],
                ["web", "loading"],
                ["mail", "loading"],
                ["mail", "error"]
            ])
        );
        let mut again = self::machine();
        let (tag, _) = connect(&mut again, &data);
        known(&mut again, tag, false, &[], None);
        assert!(
            frames(&mut again).iter().all(|frame| frame["type"] != "tool_loading_progress"),
            "not to a client that was seen before"
        );
    }
}

#[test]
fn a_chosen_chat_resumes_at_its_proven_position() {
    let mut machine = machine();
    let (tag, _) = connect(&mut machine, &json!({"token": "t"}));
    known(&mut machine, tag, false, &[("c1", "x1"), ("c2", "x2")], Some("c1"));
    assert_eq!(frames(&mut machine).len(), 1, "ready, and no chat is attached by itself");
    for (choose, title) in [("switch_chat", None), ("start_chat", Some("Tea".to_owned()))] {
        let chat = format!("{choose}-1");
        machine.frame(
            &json!({"type": choose, "data": {"chat_id": chat, "chat_name": "Tea"}}).to_string(),
        );
        let (tag, command) = request(&mut machine);
        match command {
            Command::Directory(DirectoryCommand::OpenChat {
                chat: Some(named),
                title: told,
                ..
            }) => {
                assert_eq!((named, told), (chat.clone(), title));
            }
            other => panic!("{other:?}"),
        }
        let session: SessionId = format!("x-{choose}").parse().unwrap();
        machine.answer(tag, opened(&chat, session.as_str()));
        let (tag, command) = request(&mut machine);
        assert!(
            matches!(&command, Command::Connection(ConnectionCommand::Attach {
                start: Start::Proven(of), session: at, ..
            })
                if *of == peer("~chats") && *at == session),
            "{command:?}"
        );
        machine.answer(tag, done());
        assert_eq!(
            frames(&mut machine),
            [json!({"type": "chat_ready", "data": {"chat_id": chat, "is_new": false,
                    "model": "openai/gpt-4o"}, "user_id": "u", "chat_id": chat})]
        );
        // Choosing it again does not attach again, so that no frame is missed or repeated.
        machine.frame(&json!({"type": "switch_chat", "data": {"chat_id": chat}}).to_string());
        let (tag, _) = request(&mut machine);
        machine.answer(tag, opened(&chat, session.as_str()));
        assert_eq!(frames(&mut machine)[0]["type"], "chat_ready");
    }
}

#[test]
fn a_client_without_chats_continues_in_the_default_one() {
    let mut machine = machine();
    let (tag, _) = connect(&mut machine, &json!({"user_id": "u"}));
    known(&mut machine, tag, false, &[("c1", "x1"), ("default", "x2")], Some("default"));
    let (tag, command) = request(&mut machine);
    assert!(
        matches!(&command, Command::Connection(ConnectionCommand::Attach {
            session, start: Start::Proven(_), ..
        })
            if session.as_str() == "x2"),
        "{command:?}"
    );
    machine.answer(tag, done());
    assert_eq!(frames(&mut machine)[0]["type"], "ready");
    machine.frame(r#"{"type": "message", "data": "hi"}"#);
    assert!(matches!(request(&mut machine).1, Command::Session {
            session, command: SessionCommand::Send { .. }
        }
        if session.as_str() == "x2"));
}

#[test]
fn a_message_without_a_chat_goes_to_the_users_last_chat() {
    for data in [json!({"session_id": null, "user_id": "u"}), json!({"token": "t"})] {
        let mut machine = machine();
        let (tag, _) = connect(&mut machine, &data);
        known(&mut machine, tag, true, &[], None);
        frames(&mut machine);
        machine.frame(r#"{"type": "message", "data": "hi"}"#);
        let (tag, command) = request(&mut machine);
        assert!(
            matches!(command, Command::Directory(DirectoryCommand::OpenChat { chat: None, .. })),
            "{command:?}"
        );
        machine.answer(tag, opened("c9", "x9"));
        let (tag, _attach) = request(&mut machine);
        machine.answer(tag, done());
        assert!(matches!(request(&mut machine).1, Command::Session {
            session, command: SessionCommand::Send { .. }
        }
            if session.as_str() == "x9"));
    }
}

#[test]
fn the_next_message_opens_a_deleted_chat_again() {
    let mut machine = machine();
    let (tag, _) = connect(&mut machine, &json!({"token": "t"}));
    known(&mut machine, tag, false, &[], None);
    frames(&mut machine);
    machine.frame(r#"{"type": "switch_chat", "data": {"chat_id": "c1"}}"#);
    let (tag, _) = request(&mut machine);
    machine.answer(tag, opened("c1", "x1"));
    let (tag, _) = request(&mut machine);
    machine.answer(tag, done());
    frames(&mut machine);
    machine.detached(&"x1".parse().unwrap(), "it was deleted");
    machine.frame(r#"{"type": "message", "data": "hi"}"#);
    let (_, command) = request(&mut machine);
    assert!(
        matches!(&command, Command::Directory(DirectoryCommand::OpenChat { chat: Some(chat), .. })
            if chat == "c1"),
        "{command:?}"
    );
}

#[test]
fn a_message_to_a_chat_under_deletion_is_sent_once_to_the_new_one() {
    let gone = || Err(Refusal::new(RefusalCode::UnknownSession, "there is no session x1"));
    let mut machine = machine();
    let (tag, _) = connect(&mut machine, &json!({"token": "t"}));
    known(&mut machine, tag, false, &[], None);
    frames(&mut machine);
    machine.frame(r#"{"type": "switch_chat", "data": {"chat_id": "c1"}}"#);
    let (tag, _) = request(&mut machine);
    machine.answer(tag, opened("c1", "x1"));
    let (tag, _) = request(&mut machine);
    machine.answer(tag, done());
    frames(&mut machine);
    machine.frame(r#"{"type": "message", "data": "hi"}"#);
    let (tag, _send) = request(&mut machine);
    machine.answer(tag, gone());
    let (tag, command) = request(&mut machine);
    assert!(
        matches!(&command, Command::Directory(DirectoryCommand::OpenChat { chat: Some(chat), .. })
            if chat == "c1"),
        "{command:?}"
    );
    machine.answer(tag, opened("c1", "x2"));
    let (tag, _attach) = request(&mut machine);
    machine.answer(tag, done());
    let (tag, command) = request(&mut machine);
    assert!(
        matches!(&command, Command::Session { session, command: SessionCommand::Send { text, .. } }
        if session.as_str() == "x2" && text == "hi")
    );
    machine.answer(tag, gone());
    assert_eq!(frames(&mut machine)[0]["type"], "error", "not for ever");
}

#[test]
fn another_tabs_chat_is_shown_only_if_both_are_in_the_default_one() {
    let mut machine = machine();
    let (tag, _) = connect(&mut machine, &json!({"token": "t"}));
    known(&mut machine, tag, false, &[], None);
    frames(&mut machine);
    let joined = |chat: &str, session: &str| Joined {
        peer: peer("~chats"),
        chat: chat.into(),
        session: session.parse().unwrap(),
        is_new: true,
    };
    machine.joined(&joined("c1", "x1"));
    assert_eq!(machine.poll(), None);
    machine.joined(&joined("default", "x2"));
    assert!(matches!(request(&mut machine).1, Command::Connection(
            ConnectionCommand::Attach { session, .. })
        if session.as_str() == "x2"));
}

#[test]
fn a_tool_result_has_a_status_and_its_content() {
    for (status, content, expected) in [
        (ToolStatus::Success, None, json!({"name": "n", "result": "r", "status": "success"})),
        (
            ToolStatus::Error,
            Some(json!({"a": [1, null]})),
            json!({"name": "n", "result": "r", "status": "error",
                   "result_content": {"a": [1, null]}}),
        ),
    ] {
        let (name, text) = ("n".to_owned(), "r".to_owned());
        let call = "c-1".parse().unwrap();
        let event = Event::Turn(TurnEvent::ToolReturned { call, name, status, text, content });
        let record = Record { seq: Seq(1), at: Default::default(), turn: None, event };
        let emission = Emission::Record(record);
        let emitted = SessionEmission { session: "x".parse().unwrap(), emission };
        for session_id in ["s", ""] {
            let frame: Value =
                serde_json::from_str(&encode(&emitted, session_id, "u", "c")[0]).unwrap();
            assert_eq!(frame["data"], expected);
            assert_eq!(frame.get("session_id").is_some(), !session_id.is_empty());
            assert_eq!((&frame["user_id"], &frame["chat_id"]), (&json!("u"), &json!("c")));
        }
    }
}
